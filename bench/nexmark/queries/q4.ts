import { count, sum } from 'nearstate/stream'
import { Category } from '../keys.ts'
import { query } from '../query.ts'
import { winningBids } from './winning-bids.ts'

/** Per category: how many closed auctions had a bid, and the sum of their final prices. */
export const q4 = query(
  events =>
    winningBids(events)
      .rekey('by category', Category, sale => sale.category)
      .aggregate('per category', { sales: count(), sum: sum(sale => sale.price) }),
  ({ key, sales, sum: total }) => [key, sales, total],
  ({ key }) => String(key),
)
