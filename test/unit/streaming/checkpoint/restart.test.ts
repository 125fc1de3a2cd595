import { describe, expect, it } from 'vitest'
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

const job = (onError: 'fail' | 'skip') =>
  defineJob('totals', { onError }, flow => {
    const lines = flow.source('orders', memorySource<Order>()).eventTime(o => o.at, { outOfOrderness: '10m' })
    const byCustomer = lines.keyBy('by customer', Customer, o => o.customer)
    byCustomer
      .aggregate('rolling', { n: count(), amount: sum(o => o.amount), lands: countDistinct(o => o.country) })
      .sink('to rolling', flow.map('rolling', Customer))
    byCustomer
      .process('quiet', {
        emits: row<{ readonly orders: number; readonly quiets: number; readonly last: number; readonly lands: number }>(),
        state: () => ({ orders: 0, quiets: 0, last: 0, lands: new Map<string, number>() }),
        onEvent(ctx, order) {
          ctx.state.orders += 1
          ctx.state.lands.set(order.country, (ctx.state.lands.get(order.country) ?? 0) + 1)
          ctx.state.last = Math.max(ctx.state.last, ctx.eventTimeMs)
          ctx.setTimer('quiet', ctx.state.last + 40 * minute)
          ctx.setTimer('long', ctx.state.last + 4 * hour)
        },
        onTimer(ctx, name) {
          if (name === 'quiet') ctx.state.quiets += 1
          const { orders: all, quiets, last, lands } = ctx.state
          ctx.emit({ orders: all, quiets, last, lands: lands.size })
          if (name === 'long') ctx.state = undefined as unknown as typeof ctx.state
        },
      })
      .sink('to quiet', flow.map('quiet', Customer))
    byCustomer
      .rekey('by country', Country, o => o.country)
      .window('hours', tumbling('1h'), { n: count(), spend: sum(o => o.amount), customers: countDistinct(o => o.customer) })
      .sink('to hours', flow.map('hours', CountryHour), w => [String(w.windowStart / hour)])
  })

const all = orders(3, 900)
const splits = [0, 1, 2, 3].map(part => ({ records: all.filter((_, i) => i % 4 === part) }))

const run = (seed: number, more: Partial<RunOptions> = {}, onError: 'fail' | 'skip' = 'fail') =>
  runWithCheckpoints({
    job: job(onError),
    connectorOf: memoryConnectors({ memory: splits }, 7),
    random: seededRandom(seed),
    ...more,
  })

const results = (maps: { entries(name: string): ReadonlyMap<string, unknown> }) =>
  Object.fromEntries(['rolling', 'quiet', 'hours'].map(name => [name, Object.fromEntries([...maps.entries(name)].sort())]))

describe('a job with checkpoints', () => {
  it('gives the same rows whatever crashes, on whatever shards it goes on', async () => {
    const expected = results((await run(1, { shards: 1 })).maps)
    expect(Object.keys(expected['rolling'] ?? {}).length).toBe(23)
    for (let seed = 2; seed < 14; seed += 1) {
      const found = await run(seed, { crashChance: 0.002, giveUpChance: 0.002 })
      expect({ seed, ...results(found.maps) }).toEqual({ seed, ...expected })
    }
  })

  it('gives the same rows when units are cut off and undone as well', async () => {
    const expected = results((await run(1, { shards: 1 })).maps)
    for (let seed = 20; seed < 26; seed += 1) {
      const found = await run(seed, { crashChance: 0.002, cutOffChance: 0.05 }, 'skip')
      expect({ seed, ...results(found.maps) }).toEqual({ seed, ...expected })
    }
  })
})
