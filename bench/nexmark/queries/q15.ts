import { count, countDistinct, sum, tumbling } from 'nearstate/stream'
import { isBid } from '../events.ts'
import { Day } from '../keys.ts'
import { dayOf, query } from '../query.ts'

/** Bids, bidders and auctions of each UTC day, and its bids in three ranges of prices. */
export const q15 = query(
  events =>
    events
      .filter('bids', isBid)
      .keyBy('by day', Day, ({ dateTime }) => dayOf(dateTime))
      .window('per day', tumbling('1d'), {
        bids: count(),
        bidders: countDistinct(bid => bid.bidder),
        auctions: countDistinct(bid => bid.auction),
        low: sum(({ price }) => (price < 10_000 ? 1 : 0)),
        middle: sum(({ price }) => (price >= 10_000 && price < 1_000_000 ? 1 : 0)),
        high: sum(({ price }) => (price >= 1_000_000 ? 1 : 0)),
      }),
  ({ key, bids, bidders, auctions, low, middle, high }) => [key, bids, bidders, auctions, low, middle, high],
)
