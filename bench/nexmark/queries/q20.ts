import { defineKey, row } from 'nearstate/stream'
import { type Auction, type Bid } from '../events.ts'
import { everyRow, type Query } from './query.ts'

const AuctionId = defineKey('auction', 'int64')

/** Every bid with its auction, where that one's category is 10; bids that come before their auction wait for it. */
export const q20: Query = events =>
  events
    .filter('bids and auctions', (event): event is Auction | Bid => event.kind !== 'person')
    .keyBy('by auction', AuctionId, event => (event.kind === 'bid' ? event.auction : event.id))
    .process('join', {
      emits: row<readonly [bid: Bid, seller: number]>(),
      state: (): State => ({ seller: undefined, waiting: [] }),
      onEvent(ctx, event) {
        if (event.kind === 'auction') {
          const { waiting } = ctx.state
          const seller = event.category === 10 ? event.seller : -1
          ctx.state = { seller, waiting: [] }
          if (seller !== -1) for (const bid of waiting) ctx.emit([bid, seller])
          return
        }
        const { seller, waiting } = ctx.state
        if (seller === undefined) ctx.state = { seller, waiting: [...waiting, event] }
        else if (seller !== -1) ctx.emit([event, seller])
      },
    })
    .map('rows', ([bid, seller]) => everyRow(bid.auction, bid.bidder, bid.price, seller))

interface State {
  /** Undefined: the auction has not come yet; -1: it is of another category. */
  readonly seller: number | undefined
  readonly waiting: readonly Bid[]
}
