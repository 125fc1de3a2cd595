import { isBid } from '../events.ts'
import { query } from '../query.ts'

/** Every bid. */
export const q0 = query(
  events => events.filter('bids', isBid),
  bid => [bid.auction, bid.bidder, bid.price, bid.dateTime],
  undefined,
  bid => bid.auction + bid.bidder + bid.price + bid.dateTime,
)
