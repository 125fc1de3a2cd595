import { count, defineKey, max, min, sum, tumbling } from 'nearstate/stream'
import { isBid } from '../events.ts'
import { everyRow, type Query } from './query.ts'

const Auction = defineKey('auction', 'int64')

/** Each auction's bids per UTC day: their number, lowest, highest and sum. */
export const q17: Query = events =>
  events
    .filter('bids', isBid)
    .keyBy('by auction', Auction, bid => bid.auction)
    .window('per day', tumbling('1d'), {
      bids: count(),
      lowest: min(bid => bid.price),
      highest: max(bid => bid.price),
      total: sum(bid => bid.price),
    })
    .map('rows', ({ key, windowStart, bids, lowest = 0, highest = 0, total }) =>
      everyRow(key, new Date(windowStart).toISOString().slice(0, 10), bids, lowest, highest, total),
    )
