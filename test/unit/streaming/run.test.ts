import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../../src/base/random.ts'
import { count, countDistinct, defineJob, defineKey, defineTupleKey, row, sum, tumbling } from '../../../src/entry/stream.ts'
import { runInProcess } from '../../../src/shard/jobs/in-process-run.ts'
import { memoryConnectors, memorySource } from './fixture.ts'

interface Order {
  readonly customer?: string | undefined
  readonly country: string
  readonly amount: number
  readonly at: number
}

const Customer = defineKey('customer', 'string')
const Country = defineKey('country', 'string')
const CountryHour = defineTupleKey('country-hour', Country, { hour: 'string' })
const hour = 3_600_000

const orders = (seed: number, n: number): Order[] => {
  const random = seededRandom(seed)
  return Array.from({ length: n }, (_, i) => ({
    customer: random.next() < 0.2 ? undefined : `c${Math.floor(random.next() * 17)}`,
    country: `land-${Math.floor(random.next() * 5)}`,
    amount: Math.floor(random.next() * 100),
    at: i * 60_000 + Math.floor(random.next() * 600_000),
  }))
}

const job = defineJob('totals', { onError: 'deadLetter' }, flow => {
  const lines = flow.source('orders', memorySource<Order>()).eventTime(o => o.at, { outOfOrderness: '10m' })
  const known = lines.require('known', 'customer')
  known
    .rejected('unknown')
    .keyBy('unknown by country', Country, o => o.country)
    .aggregate('unknown per country', { n: count() })
    .sink('to unknown', flow.map('unknown', Country))
  const byCustomer = known.keyBy('by customer', Customer, o => o.customer)
  byCustomer
    .process('totals', {
      emits: row<{ readonly orders: number; readonly amount: number; readonly countries: number }>(),
      state: () => ({ orders: 0, amount: 0, countries: new Set<string>() }),
      onEvent(ctx, order) {
        if (order.amount === 13) throw new Error('unlucky')
        ctx.state.orders += 1
        ctx.state.amount += order.amount
        ctx.state.countries.add(order.country)
        ctx.emit({ orders: ctx.state.orders, amount: ctx.state.amount, countries: ctx.state.countries.size })
      },
    })
    .sink('to totals', flow.map('totals', Customer))
  byCustomer
    .rekey('by country', Country, o => o.country)
    .window('hours', tumbling('1h'), { n: count(), spend: sum(o => o.amount), customers: countDistinct(o => o.customer) })
    .sink('to hours', flow.map('hours', CountryHour), w => [String(w.windowStart / hour)])
})

function naive(all: readonly Order[]): {
  totals: Map<string, unknown>
  hours: Map<string, unknown>
  unknown: Map<string, unknown>
  unlucky: number
} {
  const totals = new Map<string, { orders: number; amount: number; countries: Set<string> }>()
  const hours = new Map<string, { key: string; windowStart: number; windowEnd: number; n: number; spend: number; customers: Set<string> }>()
  const unknown = new Map<string, { key: string; n: number }>()
  let unlucky = 0
  for (const o of all) {
    if (o.customer === undefined) {
      unknown.set(o.country, { key: o.country, n: (unknown.get(o.country)?.n ?? 0) + 1 })
      continue
    }
    const start = Math.floor(o.at / hour) * hour
    const id = JSON.stringify([o.country, String(start / hour)])
    const h = hours.get(id) ?? { key: o.country, windowStart: start, windowEnd: start + hour, n: 0, spend: 0, customers: new Set() }
    h.n += 1
    h.spend += o.amount
    h.customers.add(o.customer)
    hours.set(id, h)
    if (o.amount === 13) {
      unlucky += 1
      continue
    }
    const t = totals.get(o.customer) ?? { orders: 0, amount: 0, countries: new Set() }
    t.orders += 1
    t.amount += o.amount
    t.countries.add(o.country)
    totals.set(o.customer, t)
  }
  return {
    totals: new Map([...totals].map(([k, t]) => [k, { ...t, countries: t.countries.size }])),
    hours: new Map([...hours].map(([k, h]) => [k, { ...h, customers: h.customers.size }])),
    unknown,
    unlucky,
  }
}

describe('a job over several shards', () => {
  const splits = [orders(1, 300), orders(2, 150), orders(3, 220)]
  const expected = naive(splits.flat())

  const check = (result: Awaited<ReturnType<typeof runInProcess>>): void => {
    expect(new Map([...result.maps.entries('totals')].sort())).toEqual(new Map([...expected.totals].sort()))
    expect(new Map([...result.maps.entries('hours')].sort())).toEqual(new Map([...expected.hours].sort()))
    expect(new Map([...result.maps.entries('unknown')].sort())).toEqual(new Map([...expected.unknown].sort()))
    expect(result.maps.entries('totals.dead-letters').size).toBe(expected.unlucky)
    expect(result.stages.get('totals')?.deadLetters).toBe(expected.unlucky)
    expect(result.stages.get('hours')?.late).toBe(0)
    expect(result.stages.get('orders')?.rowsOut).toBe(670)
    expect(result.stages.get('dead-letters')?.rowsIn).toBe(expected.unlucky)
  }

  for (const shards of [1, 2, 5]) {
    it(`equals arrays and loops on ${shards} shards`, async () => {
      check(await runInProcess({ job, shards, connectorOf: memoryConnectors({ memory: splits.map(records => ({ records })) }) }))
    })
  }

  for (let seed = 1; seed <= 40; seed += 1) {
    it(`equals arrays and loops under a tiny credit, cut-off units and a hostile order of events, seed ${seed}`, async () => {
      const connectorOf = memoryConnectors({ memory: splits.map(records => ({ records })) }, 1 + (seed % 23))
      const limits = { creditFrames: 1 + (seed % 2), waitingRowsMax: 3, frameRowsMax: 1 + (seed % 5) }
      check(
        await runInProcess({
          job,
          shards: 1 + (seed % 4),
          connectorOf,
          limits,
          random: seededRandom(seed),
          cutOffChance: (seed % 3) * 0.25,
        }),
      )
    })
  }
})
