import { isBid } from '../events.ts'
import { everyRow, type Query } from './query.ts'

/** Bids on every 123rd auction. */
export const q2: Query = events =>
  events
    .filter('bids', isBid)
    .filter('of some auctions', bid => bid.auction % 123 === 0)
    .map('rows', bid => everyRow(bid.auction, bid.price))
