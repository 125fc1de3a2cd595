/** What happens at the auction site. Light events lack the long texts. Times are milliseconds since the Unix epoch. */
export interface Person {
  readonly kind: 'person'
  readonly id: number
  readonly name: string
  readonly emailAddress: string
  readonly creditCard: string
  readonly city: string
  readonly state: string
  readonly dateTime: number
  readonly extra?: string
}

export interface Auction {
  readonly kind: 'auction'
  readonly id: number
  readonly itemName: string
  readonly description?: string
  readonly initialBid: number
  readonly reserve: number
  readonly dateTime: number
  readonly expires: number
  readonly seller: number
  readonly category: number
  readonly extra?: string
}

export interface Bid {
  readonly kind: 'bid'
  readonly auction: number
  readonly bidder: number
  readonly price: number
  readonly channel?: string
  readonly url?: string
  readonly dateTime: number
  readonly extra?: string
}

export type NexmarkEvent = Person | Auction | Bid

export const isPerson = (event: NexmarkEvent): event is Person => event.kind === 'person'
export const isAuction = (event: NexmarkEvent): event is Auction => event.kind === 'auction'
export const isBid = (event: NexmarkEvent): event is Bid => event.kind === 'bid'
