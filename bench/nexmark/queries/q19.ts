import { defineKey } from 'nearstate/stream'
import { isBid } from '../events.ts'
import { rowOf, type Query } from './query.ts'

const Auction = defineKey('auction', 'int64')

/** The ten highest bids of each auction. */
export const q19: Query = events =>
  events
    .filter('bids', isBid)
    .keyBy('by auction', Auction, bid => bid.auction)
    .topN('ten highest', 10, (a, b) => b.price - a.price || a.dateTime - b.dateTime || a.bidder - b.bidder)
    .map('rows', ({ key, rank, row }) => rowOf(`${key} ${rank}`, key, rank, row.bidder, row.price))
