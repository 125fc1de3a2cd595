import { count, defineKey, max, session } from 'nearstate/stream'
import { isBid } from '../events.ts'
import { everyRow, type Query } from './query.ts'

const Bidder = defineKey('bidder', 'int64')

/** Bids of each bidder per session, which ten seconds without a bid end. */
export const q11: Query = events =>
  events
    .filter('bids', isBid)
    .keyBy('by bidder', Bidder, bid => bid.bidder)
    .window('sessions', session('10s'), { bids: count(), end: max(bid => bid.dateTime) })
    .map('rows', ({ key, bids, windowStart, end = windowStart }) => everyRow(key, bids, windowStart, end))
