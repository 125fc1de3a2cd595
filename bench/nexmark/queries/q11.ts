import { count, session } from 'nearstate/stream'
import { isBid } from '../events.ts'
import { PersonId } from '../keys.ts'
import { query } from '../query.ts'

const gapMs = 10_000

/** Bids of each bidder per session, which ten seconds without a bid end. */
export const q11 = query(
  events =>
    events
      .filter('bids', isBid)
      .keyBy('by bidder', PersonId, bid => bid.bidder)
      .window('sessions', session('10s'), { bids: count() }),
  ({ key, bids, windowStart, windowEnd }) => [key, bids, windowStart, windowEnd - gapMs],
)
