/** The three kinds of events of NEXMark. Light events lack the long texts. */
export interface Person {
  readonly kind: 'person'
  readonly id: number
  readonly name: string
  readonly emailAddress: string
  readonly creditCard: string
  readonly city: string
  readonly state: string
  /** Milliseconds since the epoch, as in all events. */
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
  /** A person's id. */
  readonly seller: number
  readonly category: number
  readonly extra?: string
}

export interface Bid {
  readonly kind: 'bid'
  readonly auction: number
  /** A person's id. */
  readonly bidder: number
  readonly price: number
  readonly channel?: string
  readonly url?: string
  readonly dateTime: number
  readonly extra?: string
}

export type Event = Person | Auction | Bid

export const isPerson = (event: Event): event is Person => event.kind === 'person'
export const isAuction = (event: Event): event is Auction => event.kind === 'auction'
export const isBid = (event: Event): event is Bid => event.kind === 'bid'
export const timeOf = (event: Event): number => event.dateTime
