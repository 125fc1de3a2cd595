import { isBid } from '../events.ts'
import { everyRow, type Query } from './query.ts'

/** Every bid, its price in another currency. */
export const q1: Query = events =>
  events.filter('bids', isBid).map('rows', bid => everyRow(bid.auction, bid.bidder, Math.floor((bid.price * 908) / 1000), bid.dateTime))
