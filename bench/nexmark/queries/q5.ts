import { count, sliding } from 'nearstate/stream'
import { isBid } from '../events.ts'
import { AuctionId, WindowEnd } from '../keys.ts'
import { query } from '../query.ts'
import { topOfWindows } from './top-of-windows.ts'

/** The auctions with the most bids of the last 10 s, every 2 s. */
export const q5 = query(
  events =>
    topOfWindows(
      events
        .filter('bids', isBid)
        .keyBy('by auction', AuctionId, bid => bid.auction)
        .window('bids per auction', sliding('10s', '2s'), { bids: count() })
        .rekey('by window', WindowEnd, ({ windowEnd }) => windowEnd),
      'hottest',
      '2s',
      ({ bids }) => bids,
    ),
  ({ windowEnd, key, bids }) => [windowEnd, key, bids],
)
