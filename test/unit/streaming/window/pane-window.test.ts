import { describe, expect, it } from 'vitest'
import { avg, count, countDistinct, max, min, sum } from '../../../../src/entry/stream.ts'
import { PaneWindowOperator, type PaneWindowOptions } from '../../../../src/streaming/operators/window/pane-window.ts'
import { MemoryState } from '../../../../src/streaming/state/memory-state.ts'
import { encodeValue } from '../../../../src/wire/value-codec.ts'
import { type Event, type Make, maybeCut, partitionsOfRig, random, rig, Shard, texts } from './rig.ts'

interface Row {
  readonly v: number
  readonly t: string
}

const of = (row: Row): number => {
  maybeCut()
  return row.v
}

const aggregates = {
  n: count(),
  total: sum(of),
  mean: avg((row: Row) => row.v),
  hi: max((row: Row) => row.v),
  lo: min((row: Row) => row.v),
  first: min((row: Row) => row.t),
  kinds: countDistinct((row: Row) => row.t),
}

const windows =
  (options: Partial<PaneWindowOptions> & { sizeMs: number; everyMs: number }): Make =>
  (unit, state) =>
    new PaneWindowOperator(0, unit, state, { aggregates, keyCodec: 'string', ...options })

/** Disordered by up to `disorder`, in order of coming. */
function events(seed: number, total: number, keys: number, span: number, disorder: number): Event[] {
  const next = random(seed)
  return Array.from({ length: total }, () => {
    const time = Math.floor(next() * span) - 200
    return {
      key: `k${Math.floor(next() * keys)}`,
      time,
      row: { v: Math.floor(next() * 100) - 30, t: `t${Math.floor(next() * 5)}` },
      comes: time + next() * disorder,
    }
  }).sort((a, b) => a.comes - b.comes)
}

/** Every window of every key that holds a row, from the rows alone. */
function naive(list: readonly Event[], sizeMs: number, everyMs: number): unknown[] {
  const found: unknown[] = []
  const keys = new Set(list.map(({ key }) => key))
  for (const key of keys) {
    const own = list.filter(event => event.key === key)
    const times = own.map(({ time }) => time)
    const firstStart = Math.floor((Math.min(...times) - sizeMs) / everyMs) * everyMs
    for (let start = firstStart; start <= Math.max(...times); start += everyMs) {
      const rows = own.filter(({ time }) => time >= start && time < start + sizeMs).map(({ row }) => row as Row)
      if (rows.length === 0) continue
      const values = rows.map(({ v }) => v)
      const total = values.reduce((a, b) => a + b, 0)
      found.push({
        key,
        windowStart: start,
        windowEnd: start + sizeMs,
        n: rows.length,
        total,
        mean: total / rows.length,
        hi: Math.max(...values),
        lo: Math.min(...values),
        first: rows.map(({ t }) => t).sort()[0],
        kinds: new Set(rows.map(({ t }) => t)).size,
      })
    }
  }
  return found
}

describe('windows by panes', () => {
  for (const [sizeMs, everyMs] of [
    [100, 100],
    [100, 20],
    [100, 30],
    [50, 80],
  ] as const) {
    it(`of ${sizeMs} ms every ${everyMs} ms hold what their times say, whatever the order, cuts, barriers and crashes`, () => {
      for (let seed = 1; seed <= 25; seed += 1) {
        const list = events(seed, 300, 1 + (seed % 9) * 4, 900, 250)
        const faults = seed % 5 === 0 ? {} : { crashShare: 0.03, barrierShare: 0.25, cutShare: 0.2 }
        const result = rig({ seed, events: list, make: windows({ sizeMs, everyMs }), lagMax: seed % 3 === 0 ? 80 : 0, ...faults })
        expect(texts(result.rows), `seed ${seed}`).toEqual(texts(naive(list, sizeMs, everyMs)))
        expect(result.late).toEqual([])
        expect(result.recordsLeft, `seed ${seed}`).toBe(seed % 5 === 0 ? -12 : 0)
      }
    })
  }

  it('hold many keys in columns that are dense, and few in sparse ones', () => {
    const list = events(3, 6000, 700, 4000, 300)
    const result = rig({
      seed: 3,
      events: list,
      make: windows({ sizeMs: 400, everyMs: 100 }),
      crashShare: 0.005,
      barrierShare: 0.2,
      cutShare: 0.1,
    })
    expect(texts(result.rows)).toEqual(texts(naive(list, 400, 100)))
  })

  it('close in the order of their ends, and give rows the time of their last millisecond', () => {
    const { outputs } = rig({ seed: 1, events: events(1, 200, 5, 900, 100), make: windows({ sizeMs: 100, everyMs: 20 }), shardsMax: 1 })
    const ends = outputs.map(({ row }) => (row as { windowEnd: number }).windowEnd)
    expect(ends).toEqual([...ends].sort((a, b) => a - b))
    expect(
      outputs.every(({ row, time, key }) => time === (row as { windowEnd: number }).windowEnd - 1 && key === (row as { key: unknown }).key),
    ).toBe(true)
  })
})

it('a window whose store refuses while a stored pane is read is undone all the same', () => {
  const memory = new MemoryState(partitionsOfRig)
  const partitions = Array.from({ length: partitionsOfRig }, (_, partition) => partition)
  const shardOf = (attempt: number, n: number, isRefusing: () => boolean): Shard => {
    const point = { attempt: attempt - 1, n }
    for (const partition of partitions) memory.begin(partition, attempt, point)
    const store = memory.store(attempt, point)
    const read = (...at: Parameters<typeof store.read>): Uint8Array | undefined => {
      if (isRefusing()) throw new Error('another attempt has begun')
      return store.read(...at)
    }
    return new Shard(windows({ sizeMs: 100, everyMs: 100 }), 'fail', { ...store, read }, partitions, [], [])
  }
  const row: Event = { key: 'a', time: 10, row: { v: 1, t: 't' } }
  const first = shardOf(1, 0, () => false)
  first.feed([row])
  first.state.passBarrier(1)
  first.run(() => void first.state.encodeSome(100))
  const store = memory.store(1, { attempt: 0, n: 0 })
  for (const partition of partitions) {
    store.endBarrier(partition, 1, encodeValue({ watermark: '-Infinity', kept: first.state.mark(partition, 0).kept }), () => undefined)
  }
  let isRefusing = true
  const second = shardOf(2, 1, () => isRefusing)
  expect(() => second.feed([row])).toThrow('another attempt has begun')
  expect(() => second.operator.rollback()).not.toThrow()
  isRefusing = false
  expect(() => second.feed([row])).not.toThrow()
})
