import { isBid } from '../events.ts'
import { SideKey } from '../keys.ts'
import { lastOf, query } from '../query.ts'

export const sideKeys = 10_000
export const sideMap = 'side'

/** Every bid with a value from the map `side`. */
export const q13 = query(
  (events, flow) =>
    events
      .filter('bids', isBid)
      .keyBy('by side key', SideKey, ({ auction }) => auction % sideKeys)
      .enrich('side', flow.map(sideMap, SideKey), ({ auction, bidder, price }, value) => ({
        auction,
        bidder,
        price,
        value: String(value),
      })),
  ({ auction, bidder, price, value }) => [auction, bidder, price, value],
  undefined,
  row => row.auction + row.bidder + row.price + lastOf(row.value),
)
