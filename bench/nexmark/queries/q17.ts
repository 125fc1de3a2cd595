import { count, max, min, sum, tumbling } from 'nearstate/stream'
import { isBid } from '../events.ts'
import { AuctionId } from '../keys.ts'
import { dayOf, query } from '../query.ts'

/** Each auction's bids per UTC day: their number, lowest, highest and sum. */
export const q17 = query(
  events =>
    events
      .filter('bids', isBid)
      .keyBy('by auction', AuctionId, bid => bid.auction)
      .window('per day', tumbling('1d'), {
        bids: count(),
        lowest: min(bid => bid.price),
        highest: max(bid => bid.price),
        total: sum(bid => bid.price),
      }),
  ({ key, windowStart, bids, lowest = 0, highest = 0, total }) => [key, dayOf(windowStart), bids, lowest, highest, total],
)
