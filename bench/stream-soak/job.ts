/**
 * The soak's job: bids and their prices per auction, first in windows and then summed up for good. What it says in the end is right to the
 * bid: one that counts twice, or not at all, shows at its auction.
 */
import { count, defineJob, defineKey, generator, row, type Schema, sum, tumbling } from 'nearstate/stream'
import { isBid, timeOf } from '../nexmark/events.ts'
import { eventsOf } from '../nexmark/generator.ts'

export interface SoakArgs {
  readonly events: number
  readonly seed: number
  readonly keys: number
  /** Events per second of event time. */
  readonly rate: number
  /** Events per second of the wall clock, at most. */
  readonly pace?: number
  readonly splits: number
}

/** Of one auction. */
export interface Total {
  readonly bids: number
  readonly prices: number
}

export const eventsStage = 'events'
export const totalsMap = 'soak-totals'
export const Auction = defineKey('soak-auction', 'int64')

/** Written by the program beside it. */
const Args: Schema<SoakArgs> = {
  '~standard': { version: 1, vendor: 'nearstate', validate: value => ({ value: value as SoakArgs }) },
}

export default defineJob('stream-soak', { args: Args }, (flow, { events, pace, splits, ...options }) => {
  flow
    .source(
      eventsStage,
      generator({
        events: eventsOf({ ...options, light: true }),
        count: events,
        splits,
        ...(pace === undefined ? {} : { ratePerSecond: pace }),
      }),
    )
    .eventTime(timeOf, { outOfOrderness: '0ms' })
    .filter('bids', isBid)
    .keyBy('by auction', Auction, bid => bid.auction)
    .window('bids per window', tumbling('10s'), { bids: count(), prices: sum(bid => bid.price) })
    .process('summed up', {
      emits: row<Total>(),
      state: (): Total => ({ bids: 0, prices: 0 }),
      onEvent(ctx, { bids, prices }) {
        ctx.state = { bids: ctx.state.bids + bids, prices: ctx.state.prices + prices }
        ctx.emit(ctx.state)
      },
    })
    .sink('to totals', flow.map(totalsMap, Auction))
})
