import { isBid } from '../events.ts'
import { AuctionBidder } from '../keys.ts'
import { query } from '../query.ts'

/** The last bid of each bidder on each auction; of two at once the higher. */
export const q18 = query(
  events =>
    events
      .filter('bids', isBid)
      .keyBy('by auction and bidder', AuctionBidder, ({ auction, bidder }) => [auction, bidder] as const)
      .reduce('last bid', (last, bid) => ((bid.dateTime - last.dateTime || bid.price - last.price) > 0 ? bid : last)),
  bid => [bid.auction, bid.bidder, bid.price, bid.dateTime],
  bid => `${bid.auction} ${bid.bidder}`,
)
