import { describe, expect, it } from 'vitest'
import { count, sum } from '../../../../src/entry/stream.ts'
import type { Aggregates } from '../../../../src/streaming/graph/aggregate.ts'
import { PaneWindowOperator } from '../../../../src/streaming/operators/window/pane-window.ts'
import { SessionWindowOperator } from '../../../../src/streaming/operators/window/session-window.ts'
import type { CustomAggregate } from '../../../../src/streaming/operators/window/steps.ts'
import { MemoryState } from '../../../../src/streaming/state/memory-state.ts'
import { type Event, type Make, maybeCut, partitionsOfRig, random, rig, Shard, texts } from './rig.ts'

interface Row {
  readonly v: number
}
interface Result {
  readonly key: string
  readonly windowStart: number
  readonly windowEnd: number
  readonly n: number
  readonly early?: boolean
}

const aggregates = { n: count(), total: sum((row: Row) => row.v) }
const all = Array.from({ length: partitionsOfRig }, (_, partition) => partition)

function shardOf(make: Make, onError: 'fail' | 'deadLetter' = 'deadLetter'): { shard: Shard; rows: () => Result[]; late: unknown[] } {
  const outputs: { row: unknown; time: number; key: unknown }[] = []
  const late: unknown[] = []
  const shard = new Shard(make, onError, undefined, all, outputs, late)
  return { shard, late, rows: () => outputs.splice(0).map(({ row }) => row as Result) }
}

const at = (time: number, key = 'a', v = 1): Event => ({ key, time, row: { v } })
const windows =
  (options: { sizeMs: number; everyMs: number; latenessMs?: number; earlyMs?: number; aggregates?: Aggregates<never> }): Make =>
  (unit, state) =>
    new PaneWindowOperator(0, unit, state, { aggregates, keyCodec: 'string', ...options })
const sessions =
  (options: { gapMs: number; latenessMs?: number; earlyMs?: number }): Make =>
  (unit, state) =>
    new SessionWindowOperator(0, unit, state, { aggregates, keyCodec: 'string', ...options })

describe('late rows', () => {
  it('close at the last millisecond and no sooner', () => {
    const { shard, rows, late } = shardOf(windows({ sizeMs: 100, everyMs: 100 }))
    shard.feed([at(0), at(99)])
    shard.advance(98, () => 9)
    expect(rows()).toEqual([])
    shard.feed([at(99)])
    shard.advance(99, () => 9)
    expect(rows()).toMatchObject([{ windowStart: 0, windowEnd: 100, n: 3 }])
    shard.feed([at(99), at(100)])
    expect(late).toEqual([{ v: 1 }])
    expect(shard.unit.counters.late[0]).toBe(1)
  })

  it('are counted by the windows that are still open, where windows overlap', () => {
    const { shard, rows, late } = shardOf(windows({ sizeMs: 100, everyMs: 50 }))
    shard.feed([at(60)])
    shard.advance(99, () => 9)
    expect(rows()).toMatchObject([{ windowStart: 0, n: 1 }])
    // [0, 100) is closed, [50, 150) is not.
    shard.feed([at(70)])
    shard.feed([at(40)])
    shard.advance(Number.POSITIVE_INFINITY, () => 9)
    expect(rows()).toMatchObject([{ windowStart: 50, n: 2 }])
    expect(late).toHaveLength(1)
  })

  it('within the allowed lateness give the result again, and beyond it do not', () => {
    const { shard, rows, late } = shardOf(windows({ sizeMs: 100, everyMs: 100, latenessMs: 50 }))
    shard.feed([at(10), at(20, 'b')])
    shard.advance(120, () => 9)
    expect(rows()).toHaveLength(2)
    shard.feed([at(30, 'a', 5), at(31, 'a', 7), at(5, 'c')])
    expect(rows()).toEqual([
      { key: 'a', windowStart: 0, windowEnd: 100, n: 3, total: 13 },
      { key: 'c', windowStart: 0, windowEnd: 100, n: 1, total: 1 },
    ])
    shard.advance(149, () => 9)
    shard.feed([at(30)])
    expect(rows()).toEqual([])
    expect(late).toHaveLength(1)
    expect(shard.operator.stateBytes).toBe(0)
  })

  it('the last result of each window is that of all its rows, whatever the order, cuts, barriers and crashes', () => {
    for (let seed = 1; seed <= 25; seed += 1) {
      const next = random(seed)
      const list = Array.from({ length: 250 }, () => {
        const time = Math.floor(next() * 1000)
        return { ...at(time, `k${Math.floor(next() * 6)}`, Math.floor(next() * 9)), comes: time + next() * 200 }
      }).sort((a, b) => a.comes - b.comes)
      // Watermarks run ahead of what is safe by up to 150 ms, and lateness allows for it.
      const make = seed % 2 === 0 ? windows({ sizeMs: 100, everyMs: 40, latenessMs: 400 }) : sessions({ gapMs: 15, latenessMs: 400 })
      const faults = seed % 5 === 0 ? {} : { crashShare: 0.03, barrierShare: 0.25, cutShare: 0.2 }
      const { rows, late } = rig({ seed, events: list, make, lagMax: -150, ...faults })
      const { rows: wanted } = rig({
        seed,
        events: list,
        make: seed % 2 === 0 ? windows({ sizeMs: 100, everyMs: 40 }) : sessions({ gapMs: 15 }),
      })
      expect(late).toEqual([])
      const last = new Map(rows.map(row => [`${(row as Result).key} ${(row as Result).windowStart} ${(row as Result).windowEnd}`, row]))
      if (seed % 2 === 0) expect(texts([...last.values()]), `seed ${seed}`).toEqual(texts(wanted))
      // Sessions that grew leave the results that they had before.
      else expect(texts([...last.values()]), `seed ${seed}`).toEqual(expect.arrayContaining(texts(wanted)))
    }
  })
})

describe('early results', () => {
  it('come when the watermark passes another multiple, for keys with new rows in open windows', () => {
    const { shard, rows } = shardOf(windows({ sizeMs: 100, everyMs: 100, earlyMs: 20 }))
    shard.feed([at(1), at(2, 'b')])
    shard.advance(5, () => 1)
    expect(rows()).toEqual([])
    shard.advance(21, () => 1)
    expect(rows().map(({ key, n, early }) => [key, n, early])).toEqual([
      ['a', 1, true],
      ['b', 1, true],
    ])
    shard.feed([at(30)])
    shard.advance(39, () => 1)
    expect(rows()).toEqual([])
    shard.advance(40, () => 1)
    expect(rows().map(({ key, n, early }) => [key, n, early])).toEqual([['a', 2, true]])
    shard.advance(60, () => 1)
    expect(rows()).toEqual([])
    shard.advance(99, () => 1)
    expect(rows().map(({ key, n, early }) => [key, n, early])).toEqual([
      ['a', 2, false],
      ['b', 1, false],
    ])
  })

  it('of sessions come so long after the first row', () => {
    const { shard, rows } = shardOf(sessions({ gapMs: 100, earlyMs: 20 }))
    shard.advance(0, () => 1)
    shard.feed([at(1)])
    shard.advance(19, () => 1)
    expect(rows()).toEqual([])
    shard.advance(20, () => 1)
    expect(rows()).toMatchObject([{ n: 1, early: true }])
    shard.feed([at(50)])
    shard.advance(149, () => 1)
    expect(rows()).toMatchObject([{ windowStart: 1, windowEnd: 150, n: 2, early: false }])
  })
})

describe('custom aggregates', () => {
  const list: CustomAggregate = {
    create: () => [],
    add: (accumulator, row) => {
      maybeCut()
      const { v } = row as Row
      ;(accumulator as number[]).push(v)
      // After it has changed its state.
      if (v === 13) throw new Error('13')
      return undefined
    },
    combine: (accumulator, other) => [...(accumulator as number[]), ...(other as number[])],
    finish: accumulator => {
      if ((accumulator as number[]).includes(66)) throw new Error('66')
      return [...(accumulator as number[])].sort((a, b) => a - b)
    },
  }
  const custom = { n: count(), values: { kind: 'aggregate', operation: 'count', of: undefined, custom: list } } as Aggregates<never>

  it('are undone with their units, stored, and leave out a row that they throw for', () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const next = random(seed)
      const events = Array.from({ length: 200 }, () =>
        at(Math.floor(next() * 500), `k${Math.floor(next() * 4)}`, Math.floor(next() * 20)),
      ).sort((a, b) => a.time - b.time)
      const make: Make =
        seed % 2 === 0
          ? windows({ sizeMs: 100, everyMs: 50, aggregates: custom })
          : (unit, state) => new SessionWindowOperator(0, unit, state, { gapMs: 10, aggregates: custom, keyCodec: 'string' })
      const clean = rig({ seed: 1, events: events.filter(({ row }) => (row as Row).v !== 13), make })
      const { rows } = rig({ seed, events, make, crashShare: 0.03, barrierShare: 0.25, cutShare: 0.2 })
      expect(texts(rows), `seed ${seed}`).toEqual(texts(clean.rows))
    }
  })

  it('give up only the window whose result throws', () => {
    const { shard, rows } = shardOf(windows({ sizeMs: 100, everyMs: 100, aggregates: custom }))
    shard.feed([at(1, 'a', 66), at(2, 'b', 5), at(3, 'c', 13)])
    shard.advance(99, () => 9)
    expect(rows()).toMatchObject([{ key: 'b', values: [5] }])
    expect(shard.unit.counters.deadLetters[0]).toBe(2)
  })
})

describe('what windows keep', () => {
  it('is gone when all have closed, with its records', () => {
    const list = Array.from({ length: 3000 }, (_, i) => at(i, `k${i % 500}`, i))
    const result = rig({ seed: 1, events: list, make: windows({ sizeMs: 100, everyMs: 20 }), barrierShare: 0.2 })
    expect(result).toMatchObject({ recordsLeft: 0, stateBytes: 0 })
  })

  it('goes into few records: one for the keys of a pane and a part of a partition', () => {
    const memory = new MemoryState(partitionsOfRig)
    for (const partition of all) memory.begin(partition, 1, { attempt: 0, n: 0 })
    const shard = new Shard(windows({ sizeMs: 1000, everyMs: 1000 }), 'fail', memory.store(1, { attempt: 0, n: 0 }), all, [], [])
    shard.feed(Array.from({ length: 2000 }, (_, i) => at(i % 1000, `k${i}`)))
    shard.state.passBarrier(1)
    shard.run(() => {
      while (shard.state.encodeSome(100));
    })
    expect(memory.size.records).toBeLessThanOrEqual(partitionsOfRig * 4)
  })
})
