import { describe, expect, it } from 'vitest'
import { avg, count, countDistinct, sum } from '../../../../src/entry/stream.ts'
import { CountWindowOperator } from '../../../../src/streaming/operators/window/count-window.ts'
import { type Event, maybeCut, random, rig, texts } from './rig.ts'

interface Row {
  readonly v: number
}

const aggregates = {
  n: count(),
  total: sum((row: Row) => {
    maybeCut()
    return row.v
  }),
  mean: avg((row: Row) => row.v),
  kinds: countDistinct((row: Row) => row.v),
}

function naive(list: readonly Event[], size: number, every: number): unknown[] {
  return [...new Set(list.map(({ key }) => key))].flatMap(key => {
    const own = list.filter(event => event.key === key)
    const found: unknown[] = []
    for (let end = every; end <= own.length; end += every) {
      const rows = own.slice(Math.max(0, end - size), end)
      const values = rows.map(({ row }) => (row as Row).v)
      const total = values.reduce((a, b) => a + b, 0)
      const times = rows.map(({ time }) => time)
      found.push({
        key,
        windowStart: Math.min(...times),
        windowEnd: Math.max(...times) + 1,
        n: values.length,
        total,
        mean: total / values.length,
        kinds: new Set(values).size,
      })
    }
    return found
  })
}

describe('count windows', () => {
  for (const [size, every] of [
    [4, 4],
    [6, 2],
    [5, 2],
    [3, 7],
  ] as const) {
    it(`of the last ${size} rows every ${every}, whatever cuts, barriers and crashes`, () => {
      for (let seed = 1; seed <= 20; seed += 1) {
        const next = random(seed)
        const list = Array.from({ length: 200 }, (_, i) => ({
          key: `k${Math.floor(next() * 7)}`,
          time: i + Math.floor(next() * 30),
          row: { v: Math.floor(next() * 8) },
        }))
        const result = rig({
          seed,
          events: list,
          make: (unit, state) => new CountWindowOperator(0, unit, state, { size, every, aggregates, keyCodec: 'string' }),
          crashShare: 0.03,
          barrierShare: 0.25,
          cutShare: 0.2,
        })
        expect(texts(result.rows), `seed ${seed}`).toEqual(texts(naive(list, size, every)))
      }
    })
  }
})
