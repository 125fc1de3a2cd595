import { tumbling } from 'nearstate/stream'
import { isBid } from '../events.ts'
import { AuctionId, WindowEnd } from '../keys.ts'
import { query } from '../query.ts'
import { greatest, topOfWindows } from './top-of-windows.ts'

/** The highest bids of each 10 s: first of each group of auctions, on the shards that own them, then of all. */
export const q7 = query(
  events =>
    topOfWindows(
      events
        .filter('bids', isBid)
        .keyBy('by group', AuctionId, ({ auction }) => auction % 64)
        .window('highest of group', tumbling('10s'), { bids: greatest(({ price }) => price) })
        .flatMap('candidates', ({ windowEnd, bids }) => bids.map(({ auction, bidder, price }) => ({ windowEnd, auction, bidder, price })))
        .rekey('by window', WindowEnd, ({ windowEnd }) => windowEnd),
      'highest',
      '10s',
      ({ price }) => price,
    ),
  ({ windowEnd, auction, bidder, price }) => [windowEnd, auction, bidder, price],
)
