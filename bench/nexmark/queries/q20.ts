import { row } from 'nearstate/stream'
import type { Auction, Bid } from '../events.ts'
import { AuctionId } from '../keys.ts'
import { query } from '../query.ts'

interface SoldBid {
  readonly auction: number
  readonly bidder: number
  readonly price: number
  readonly seller: number
}

interface State {
  /** Null: the auction is of another category; undefined: it has not come yet. */
  readonly seller: number | null | undefined
  readonly waiting: readonly Bid[]
}

/** Every bid with the seller of its auction, where the category is 10. */
export const q20 = query(
  events =>
    events
      .filter('auctions and bids', (event): event is Auction | Bid => event.kind !== 'person')
      .keyBy('by auction', AuctionId, event => (event.kind === 'bid' ? event.auction : event.id))
      .process('join', {
        emits: row<SoldBid>(),
        state: (): State => ({ seller: undefined, waiting: [] }),
        onEvent(ctx, event) {
          const { seller, waiting } = ctx.state
          if (event.kind === 'auction') {
            const found = event.category === 10 ? event.seller : null
            ctx.state = { seller: found, waiting: [] }
            if (found !== null) for (const bid of waiting) ctx.emit(soldBid(bid, found))
          } else if (seller === undefined) {
            ctx.state = { seller, waiting: [...waiting, event] }
          } else if (seller !== null) {
            ctx.emit(soldBid(event, seller))
          }
        },
      }),
  ({ auction, bidder, price, seller }) => [auction, bidder, price, seller],
)

const soldBid = ({ auction, bidder, price }: Bid, seller: number): SoldBid => ({ auction, bidder, price, seller })
