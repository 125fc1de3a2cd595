import { isBid } from '../events.ts'
import { everyRow, type Query } from './query.ts'

/** Every bid. */
export const q0: Query = events =>
  events.filter('bids', isBid).map('rows', bid => everyRow(bid.auction, bid.bidder, bid.price, bid.dateTime))
