import { isBid } from '../events.ts'
import { AuctionId } from '../keys.ts'
import { query } from '../query.ts'

/** The ten highest bids of each auction; of equal ones the earlier, then that of the lower bidder. */
export const q19 = query(
  events =>
    events
      .filter('bids', isBid)
      .keyBy('by auction', AuctionId, bid => bid.auction)
      .topN('ten highest', 10, (a, b) => b.price - a.price || a.dateTime - b.dateTime || a.bidder - b.bidder),
  ({ key, rank, row }) => [key, rank, row.bidder, row.price],
  ({ key, rank }) => `${key} ${rank}`,
)
