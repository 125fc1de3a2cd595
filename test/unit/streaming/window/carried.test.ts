import { describe, expect, it } from 'vitest'
import { avg, count, defineAggregate, min, sum } from '../../../../src/entry/stream.ts'
import type { Aggregates } from '../../../../src/streaming/graph/aggregate.ts'
import { hasDue } from '../../../../src/streaming/operators/operator.ts'
import { PaneWindowOperator } from '../../../../src/streaming/operators/window/pane-window.ts'
import { type Event, type Make, maybeCut, partitionsOfRig, random, rig, Shard, texts } from './rig.ts'

interface Row {
  readonly v: number
}
interface Options {
  readonly sizeMs: number
  readonly everyMs: number
  readonly latenessMs?: number
  readonly earlyMs?: number
}

const all = Array.from({ length: partitionsOfRig }, (_, partition) => partition)
const of = (row: Row): number => {
  maybeCut()
  return row.v
}
const deductible = { n: count(), total: sum(of), mean: avg((row: Row) => row.v) }
/** A smallest value cannot be deducted: all panes are combined. */
const combining = { ...deductible, lo: min((row: Row) => row.v) }

const windows =
  (aggregates: Aggregates<never>, options: Options): Make =>
  (unit, state) =>
    new PaneWindowOperator(0, unit, state, { aggregates, keyCodec: 'string', ...options })

function events(seed: number, total: number, keys: number, disorder: number, valueOf: (next: () => number) => number): Event[] {
  const next = random(seed)
  return Array.from({ length: total }, () => {
    const time = Math.floor(next() * 1500) - 200
    return { key: `k${Math.floor(next() * keys)}`, time, row: { v: valueOf(next) }, comes: time + next() * disorder }
  }).sort((a, b) => a.comes - b.comes)
}

const small = (next: () => number): number => Math.floor(next() * 100) - 30

const without = (rows: readonly unknown[]): unknown[] =>
  rows.map(row => Object.fromEntries(Object.entries(row as object).filter(([name]) => name !== 'lo')))

describe('a sliding window that goes on from the one before gives what combining all panes gives', () => {
  const cases: readonly [string, Options, number][] = [
    ['30 panes', { sizeMs: 600, everyMs: 20 }, 0],
    ['panes shorter than a slide', { sizeMs: 500, everyMs: 150 }, 0],
    ['late rows', { sizeMs: 300, everyMs: 20, latenessMs: 100 }, -700],
    ['rows that are too late for some of the windows', { sizeMs: 300, everyMs: 20 }, -700],
    ['early results', { sizeMs: 300, everyMs: 20, earlyMs: 30, latenessMs: 50 }, -700],
  ]
  for (const [name, options, lagMax] of cases) {
    it(`${name}: whatever the order, cuts, barriers and crashes`, () => {
      let late = 0
      for (let seed = 1; seed <= 30; seed += 1) {
        const list = events(seed, 300, 1 + (seed % 7) * 3, 250, small)
        const faults = seed % 5 === 0 ? {} : { crashShare: 0.03, barrierShare: 0.25, cutShare: 0.2 }
        const given = rig({ seed, events: list, make: windows(deductible, options), lagMax, ...faults })
        const wanted = rig({ seed, events: list, make: windows(combining, options), lagMax, ...faults })
        expect(texts(given.rows), `seed ${seed}`).toEqual(texts(without(wanted.rows)))
        expect(texts(given.late), `seed ${seed}`).toEqual(texts(wanted.late))
        late += given.late.length
      }
      expect(late > 0).toBe(lagMax < 0)
    })
  }

  it('rows that come while a window is being given, for a pane that there was none of', () => {
    const given = (aggregates: Aggregates<never>): unknown[] => {
      const outputs: { row: unknown; time: number; key: unknown }[] = []
      const shard = new Shard(windows(aggregates, { sizeMs: 50, everyMs: 10 }), 'fail', undefined, all, outputs, [])
      const { operator } = shard
      if (!hasDue(operator)) throw new Error('windows have due work')
      const keys = ['a', 'b', 'c', 'd']
      shard.feed(keys.flatMap(key => [0, 10, 30].map((time): Event => ({ key, time, row: { v: 1 } }))))
      shard.advance(39, () => 1)
      operator.advanceTo(49)
      expect(operator.prepareFire(2)).toBe(true)
      shard.run(() => operator.fire())
      operator.fired()
      // One key was given already, one was not: neither window to come may miss the row.
      shard.feed(['a', 'b', 'c', 'd'].map((key): Event => ({ key, time: 25, row: { v: 1 } })))
      shard.advance(Number.POSITIVE_INFINITY, () => 1)
      return outputs.map(({ row }) => row).filter(row => (row as { windowEnd: number }).windowEnd > 50)
    }
    const rows = given(deductible)
    expect(rows).toContainEqual({ key: 'd', windowStart: 20, windowEnd: 70, n: 2, total: 2, mean: 1 })
    expect(texts(rows)).toEqual(texts(without(given(combining))))
  })

  it('sums that are rounded, in the last digit too', () => {
    const values = [0.1, 0.7, 1e300, -1e300, 3, 2 ** 53, -(2 ** 53), 1 / 3, -0, 2 ** 49, Number.MAX_VALUE]
    let isRounded = false
    for (let seed = 1; seed <= 40; seed += 1) {
      // Mostly whole numbers, so that windows go on from each other until one of the others comes.
      const list = events(seed, 300, 4, 100, next => (next() < 0.9 ? small(next) : (values[Math.floor(next() * values.length)] as number)))
      const options = { sizeMs: 400, everyMs: 20 }
      const given = rig({ seed, events: list, make: windows({ total: sum(of) }, options) })
      const wanted = rig({ seed, events: list, make: windows({ total: sum(of), lo: min((row: Row) => row.v) }, options) })
      expect(texts(given.rows), `seed ${seed}`).toEqual(texts(without(wanted.rows)))
      isRounded ||= given.rows.some(row => !Number.isSafeInteger((row as { total: number }).total))
    }
    expect(isRounded).toBe(true)
  })
})

interface Mix {
  n: number
  total: number
}

const combine = (a: Mix, b: Mix): Mix => {
  maybeCut()
  a.n += b.n
  a.total += b.total
  return a
}
const deduct = (a: Mix, b: Mix): Mix => {
  maybeCut()
  a.n -= b.n
  a.total -= b.total
  return a
}
const parts = {
  create: (): Mix => ({ n: 0, total: 0 }),
  add: (mix: Mix, row: Row): Mix => {
    maybeCut()
    mix.n += 1
    mix.total += row.v
    return mix
  },
  combine,
  // The accumulator itself: what is handed on must not be the same object.
  finish: (mix: Mix): Mix => mix,
}

describe('custom aggregates with deduct', () => {
  it('give what their rows say, cut off anywhere', () => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const list = events(seed, 200, 5, 200, small)
      const faults = { crashShare: 0.03, barrierShare: 0.25, cutShare: 0.4 }
      const make = windows({ mix: defineAggregate({ ...parts, deduct }), n: count(), total: sum(of) }, { sizeMs: 400, everyMs: 20 })
      const { rows } = rig({ seed, events: list, make, ...faults })
      expect(rows.length).toBeGreaterThan(100)
      for (const row of rows as { key: string; windowStart: number; windowEnd: number; mix: Mix; n: number; total: number }[]) {
        const own = list.filter(({ key, time }) => key === row.key && time >= row.windowStart && time < row.windowEnd)
        const total = own.reduce((before, event) => before + (event.row as Row).v, 0)
        expect(row, `seed ${seed}`).toMatchObject({ n: own.length, total, mix: { n: own.length, total } })
      }
    }
  })

  it('add one pane and deduct one, per window, however many panes it has', () => {
    let combined = 0
    let deducted = 0
    const counted = {
      ...parts,
      combine: (a: Mix, b: Mix): Mix => {
        combined += 1
        return combine(a, b)
      },
    }
    const list = Array.from({ length: 200 }, (_, i): Event => ({ key: 'a', time: i * 10, row: { v: i } }))
    const run = (aggregate: ReturnType<typeof defineAggregate<Row, Mix, Mix>>): unknown[] => {
      combined = 0
      const outputs: { row: unknown; time: number; key: unknown }[] = []
      const shard = new Shard(windows({ mix: aggregate }, { sizeMs: 300, everyMs: 10 }), 'fail', undefined, all, outputs, [])
      shard.feed(list)
      shard.advance(Number.POSITIVE_INFINITY, () => 100)
      return outputs.map(({ row }) => row)
    }
    const wanted = run(defineAggregate(counted))
    expect(combined).toBe(200 * 30)
    const given = run(
      defineAggregate({
        ...counted,
        deduct: (a: Mix, b: Mix): Mix => {
          deducted += 1
          return deduct(a, b)
        },
      }),
    )
    expect(given).toEqual(wanted)
    expect([combined, deducted]).toEqual([200, 200])
  })

  it('whose deduct throws give that window up, and the next one combines its panes', () => {
    let calls = 0
    const failing = defineAggregate({
      ...parts,
      deduct: (a: Mix, b: Mix): Mix => {
        calls += 1
        if (calls === 2 || calls === 3) throw new Error('no')
        return deduct(a, b)
      },
    })
    const outputs: { row: unknown; time: number; key: unknown }[] = []
    const shard = new Shard(windows({ mix: failing }, { sizeMs: 30, everyMs: 10 }), 'deadLetter', undefined, all, outputs, [])
    shard.feed(Array.from({ length: 8 }, (_, i) => ({ key: 'a', time: i * 10, row: { v: 1 } })))
    shard.advance(Number.POSITIVE_INFINITY, () => 100)
    expect(outputs.map(({ row }) => (row as { mix: Mix }).mix.n)).toEqual([1, 2, 3, 3, 3, 3, 3, 2, 1])
    expect(shard.unit.counters.deadLetters[0]).toBe(1)
  })

  it('are refused where deduct is no function, or returns a promise', () => {
    expect(() => defineAggregate({ ...parts, deduct: 1 as never })).toThrow(/deduct must be a function/)
    expect(() => defineAggregate({ ...parts, deduct: (async () => await Promise.resolve(1)) as never })).toThrow(/deduct/)
  })
})
