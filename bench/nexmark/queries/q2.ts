import { isBid } from '../events.ts'
import { query } from '../query.ts'

/** Bids on every 123rd auction. */
export const q2 = query(
  events =>
    events
      .filter('bids', isBid)
      .filter('on some auctions', ({ auction }) => auction % 123 === 0)
      .map('prices', ({ auction, price }) => ({ auction, price })),
  ({ auction, price }) => [auction, price],
)
