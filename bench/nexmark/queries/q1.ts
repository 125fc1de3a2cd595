import { isBid } from '../events.ts'
import { query } from '../query.ts'

/** Every bid, its price in another currency. */
export const q1 = query(
  events =>
    events.filter('bids', isBid).map('converted', ({ auction, bidder, price, dateTime }) => ({
      auction,
      bidder,
      price: Math.floor((price * 908) / 1000),
      dateTime,
    })),
  bid => [bid.auction, bid.bidder, bid.price, bid.dateTime],
  undefined,
  bid => bid.auction + bid.bidder + bid.price + bid.dateTime,
)
