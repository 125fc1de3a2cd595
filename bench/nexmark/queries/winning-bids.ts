/** Auctions that have closed, with the bid that won: the highest, then the earliest, then that of the lowest bidder. */
import { type KeyedStage, row, type Stage } from 'nearstate/stream'
import type { Auction, Bid, Event } from '../events.ts'
import { AuctionId } from '../keys.ts'

export interface Sale {
  readonly auction: number
  readonly seller: number
  readonly category: number
  readonly expires: number
  readonly bidder: number
  readonly price: number
  readonly dateTime: number
}

interface State {
  auction: Auction | undefined
  /** The best so far, and its price; -1: there is none. */
  best: Bid | undefined
  price: number
  /** What came before the auction. */
  waiting: readonly Bid[]
  /** When the auction closes; before it has come, how long it is waited for. */
  until: number
}

const none: readonly Bid[] = []

/** An auction counts bids from its beginning up to and including its end. */
export function winningBids(events: Stage<Event>): KeyedStage<typeof AuctionId, Sale> {
  return events
    .filter('auctions and bids', (event): event is Auction | Bid => event.kind !== 'person')
    .keyBy('by auction', AuctionId, event => (event.kind === 'bid' ? event.auction : event.id))
    .process('winning bid', {
      emits: row<Sale>(),
      state: (): State => ({ auction: undefined, best: undefined, price: -1, waiting: none, until: Number.NEGATIVE_INFINITY }),
      onEvent(ctx, event) {
        const { state } = ctx
        if (event.kind === 'auction') {
          state.auction = event
          for (const bid of state.waiting) if (counts(event, bid)) take(state, bid)
          state.waiting = none
          state.until = event.expires
          ctx.setTimer('close', event.expires)
          return
        }
        // Most bids are not the highest, and need no look at their auction.
        if (event.price < state.price) return
        if (state.auction !== undefined) {
          if (counts(state.auction, event)) take(state, event)
        } else if (event.dateTime > ctx.watermarkMs) {
          // An auction that a bid counts for does not begin after it.
          state.waiting = state.waiting === none ? [event] : [...state.waiting, event]
          if (event.dateTime <= state.until) return
          state.until = event.dateTime
          ctx.setTimer('close', event.dateTime)
        } else if (state.waiting.length === 0) {
          ctx.state = gone
        }
      },
      onTimer(ctx) {
        const { auction, best } = ctx.state
        if (auction !== undefined && best !== undefined) {
          const { id, seller, category, expires } = auction
          ctx.emit({ auction: id, seller, category, expires, bidder: best.bidder, price: best.price, dateTime: best.dateTime })
        }
        ctx.state = gone
      },
    })
}

/** The key is forgotten. */
const gone = undefined as unknown as State

function take(state: State, bid: Bid): void {
  state.best = better(state.best, bid)
  state.price = state.best.price
}

const counts = (auction: Auction, bid: Bid): boolean => auction.dateTime <= bid.dateTime && bid.dateTime <= auction.expires

function better(a: Bid | undefined, b: Bid): Bid {
  if (a === undefined) return b
  const order = b.price - a.price || a.dateTime - b.dateTime || a.bidder - b.bidder
  return order > 0 ? b : a
}
