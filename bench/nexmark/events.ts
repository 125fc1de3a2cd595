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

const hasLast = (text: string | undefined): boolean => text === undefined || text.charCodeAt(text.length - 1) > 0

/** Reads every text to its end: one that was put together of pieces, or cut out of another, has to be there as a whole. */
export function areTextsWhole(event: Event): boolean {
  if (event.kind === 'bid') return hasLast(event.channel) && hasLast(event.url) && hasLast(event.extra)
  if (event.kind === 'auction') return hasLast(event.itemName) && hasLast(event.description) && hasLast(event.extra)
  return hasLast(event.name) && hasLast(event.emailAddress) && hasLast(event.creditCard) && hasLast(event.extra)
}
