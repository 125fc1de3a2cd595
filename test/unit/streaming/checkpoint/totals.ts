/** A job whose results depend on events alone: rolling aggregates, timers per hour, windows behind a second exchange. */
import { seededRandom } from '../../../../src/base/random.ts'
import { count, countDistinct, defineJob, defineKey, defineTupleKey, row, sum, tumbling } from '../../../../src/entry/stream.ts'
import { memoryConnectors, memorySource } from '../fixture.ts'
import { type RunOptions, runWithCheckpoints } from './cluster.ts'

interface Order {
  readonly customer: string
  readonly country: string
  readonly amount: number
  readonly at: number
}

const Customer = defineKey('customer', 'string')
const Country = defineKey('country', 'string')
const CountryHour = defineTupleKey('country-hour', Country, { hour: 'string' })
const hour = 3_600_000
const minute = 60_000

const orders = (seed: number, n: number): Order[] => {
  const random = seededRandom(seed)
  return Array.from({ length: n }, (_, i) => ({
    customer: `c${Math.floor(random.next() * 23)}`,
    country: `land-${Math.floor(random.next() * 5)}`,
    amount: Math.floor(random.next() * 100),
    at: i * minute + Math.floor(random.next() * 10 * minute),
  }))
}

export const job = (onError: 'fail' | 'skip') =>
  defineJob('totals', { onError }, flow => {
    const lines = flow.source('orders', memorySource<Order>()).eventTime(o => o.at, { outOfOrderness: '10m' })
    const byCustomer = lines.keyBy('by customer', Customer, o => o.customer)
    byCustomer
      .aggregate('rolling', { n: count(), amount: sum(o => o.amount), lands: countDistinct(o => o.country) })
      .sink('to rolling', flow.map('rolling', Customer))
    byCustomer
      .process('quiet', {
        emits: row<{ readonly orders: number; readonly hours: number; readonly odd: number; readonly lands: number }>(),
        state: () => ({ orders: 0, hours: 0, odd: 0, lands: new Map<string, number>() }),
        // A timer per hour with orders, that no order of the hour comes after; one that is moved; and one that is cleared in the end.
        onEvent(ctx, order) {
          ctx.state.orders += 1
          ctx.state.lands.set(order.country, (ctx.state.lands.get(order.country) ?? 0) + 1)
          ctx.setTimer(`hour ${Math.floor(ctx.eventTimeMs / hour)}`, (Math.floor(ctx.eventTimeMs / hour) + 1) * hour)
          ctx.setTimer('odd', 1e12 + (ctx.state.orders % 2))
          ctx.setTimer('cleared', 1e11)
          if (ctx.state.orders % 3 === 0) ctx.clearTimer('cleared')
        },
        onTimer(ctx, name) {
          if (name.startsWith('hour')) ctx.state.hours += 1
          else if (name === 'odd') ctx.state.odd += ctx.eventTimeMs % 2 === 1 ? 1 : 100
          else ctx.state.odd += 10_000
          const { orders: all, hours, odd, lands } = ctx.state
          ctx.emit({ orders: all, hours, odd, lands: lands.size })
        },
      })
      .sink('to quiet', flow.map('quiet', Customer))
    byCustomer
      .rekey('by country', Country, o => o.country)
      .window('hours', tumbling('1h'), { n: count(), spend: sum(o => o.amount), customers: countDistinct(o => o.customer) })
      .sink('to hours', flow.map('hours', CountryHour), w => [String(w.windowStart / hour)])
  })

export const all = orders(3, 900)
const splits = [0, 1, 2, 3].map(part => ({ records: all.filter((_, i) => i % 4 === part) }))

export const run = (seed: number, more: Partial<RunOptions> = {}, onError: 'fail' | 'skip' = 'fail') =>
  runWithCheckpoints({
    job: job(onError),
    connectorOf: memoryConnectors({ memory: splits }, 7),
    random: seededRandom(seed),
    ...more,
  })

export const results = (maps: { entries(name: string): ReadonlyMap<string, unknown> }) =>
  Object.fromEntries(['rolling', 'quiet', 'hours'].map(name => [name, Object.fromEntries([...maps.entries(name)].sort())]))

export const hoursOf = (customer: string) => new Set(all.filter(o => o.customer === customer).map(o => Math.floor(o.at / hour))).size
