import { row } from 'nearstate/stream'
import { PersonId } from '../keys.ts'
import { query } from '../query.ts'
import { type Sale, winningBids } from './winning-bids.ts'

const last = 10

interface SellerTotal {
  readonly seller: number
  readonly count: number
  readonly sum: number
}

/** Per seller: number and sum of the final prices of its last ten closed auctions that had a bid. */
export const q6 = query(
  events =>
    winningBids(events)
      .rekey('by seller', PersonId, sale => sale.seller)
      .process('last sales', {
        emits: row<SellerTotal>(),
        state: (): readonly Sale[] => [],
        onEvent(ctx, sale) {
          // Auctions close in the order of time, but for those that close at once.
          const sales = [...ctx.state, sale].sort((a, b) => a.expires - b.expires || a.auction - b.auction).slice(-last)
          ctx.state = sales
          ctx.emit({ seller: ctx.key, count: sales.length, sum: sales.reduce((sum, { price }) => sum + price, 0) })
        },
      }),
  ({ seller, count, sum }) => [seller, count, sum],
  ({ seller }) => String(seller),
)
