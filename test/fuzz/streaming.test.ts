/** Windows and timers against lists, whatever the order of arrival, the shards, and the units that are cut off. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../src/base/random.ts'
import { count, countDistinct, defineJob, defineKey, defineTupleKey, max, row, sum, tumbling } from '../../src/entry/stream.ts'
import { runInProcess } from '../../src/shard/jobs/in-process-run.ts'
import { Batch } from '../../src/streaming/operators/batch.ts'
import { FrameWriter, readFrame, readRows } from '../../src/streaming/exchange/frame.ts'
import { cloneState } from '../../src/streaming/operators/clone-state.ts'
import { TimerHeap } from '../../src/streaming/operators/timer-heap.ts'
import { decodeValue, encodeValue } from '../../src/wire/value-codec.ts'
import { memoryConnectors, memorySource } from '../unit/streaming/fixture.ts'

interface Row {
  readonly k: string
  readonly v: number
  readonly at: number
}
const Key = defineKey('k', 'string')
const KeyAt = defineTupleKey('k-at', Key, { at: 'int64' })
const disorderMs = 50

/** Rows whose times are no more than the allowed disorder behind the greatest before them. */
const splitOf = fc
  .array(
    fc.record({
      k: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      v: fc.integer({ min: -5, max: 20 }),
      step: fc.integer({ min: 0, max: 40 }),
      back: fc.integer({ min: 0, max: disorderMs }),
    }),
    { maxLength: 60 },
  )
  .map(list => {
    let greatest = 0
    return list.map(({ k, v, step, back }): Row => {
      greatest += step
      return { k, v, at: Math.max(0, greatest - back) }
    })
  })

const windows = defineJob('windows', { onError: 'skip' }, flow => {
  const keyed = flow
    .source('rows', memorySource<Row>())
    .eventTime(r => r.at, { outOfOrderness: '50ms' })
    .keyBy('keyed', Key, r => r.k)
  keyed
    .window('w', tumbling('30ms'), { n: count(), s: sum(r => r.v), d: countDistinct(r => r.v), hi: max(r => r.v) })
    .sink('to windows', flow.map('windows', KeyAt), w => [w.windowStart])
  // A second window over the results of the first: their event time is their window's last millisecond.
  keyed
    .window('w small', tumbling('10ms'), { n: count() })
    .rekey('again', Key, w => w.key)
    .window('w of w', tumbling('60ms'), { windows: count(), n: sum(w => w.n) })
    .sink('to windows of windows', flow.map('windows of windows', KeyAt), w => [w.windowStart])
  keyed
    .process('sessions', {
      emits: row<{ readonly n: number; readonly end: number }>(),
      state: () => ({ n: 0 }),
      onEvent(ctx, r) {
        if (r.v === 20) throw new Error('twenty')
        ctx.state.n += 1
        ctx.setTimer('tick', (Math.floor(r.at / 100) + 1) * 100 + disorderMs)
      },
      onTimer(ctx) {
        ctx.emit({ n: ctx.state.n, end: ctx.eventTimeMs })
      },
    })
    .aggregate('last tick', { n: max(t => t.n), ticks: max(t => t.end) })
    .sink('to ticks', flow.map('ticks', Key))
})

function naiveWindows(rows: readonly Row[], size: number): Map<string, Row[]> {
  const found = new Map<string, Row[]>()
  for (const r of rows) {
    const id = JSON.stringify([r.k, Math.floor(r.at / size) * size])
    found.set(
      id,
      rows.filter(other => other.k === r.k && Math.floor(other.at / size) === Math.floor(r.at / size)),
    )
  }
  return found
}

describe('windows and timers', () => {
  it('depend on event times alone', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(splitOf, { minLength: 1, maxLength: 4 }),
        fc.integer(),
        fc.integer({ min: 1, max: 3 }),
        async (splits, seed, shards) => {
          const all = splits.flat()
          const { maps, stages } = await runInProcess({
            job: windows,
            shards,
            connectorOf: memoryConnectors({ memory: splits.map(records => ({ records })) }, 1 + Math.abs(seed % 9)),
            limits: { creditFrames: 1, waitingRowsMax: 2, frameRowsMax: 3 },
            random: seededRandom(seed),
            cutOffChance: 0.2,
          })
          const expected = new Map(
            [...naiveWindows(all, 30)].map(([id, rows]) => {
              const [key, start] = JSON.parse(id) as [string, number]
              const values = rows.map(r => r.v)
              const total = values.reduce((a, b) => a + b, 0)
              return [
                id,
                {
                  key,
                  windowStart: start,
                  windowEnd: start + 30,
                  n: rows.length,
                  s: total,
                  d: new Set(values).size,
                  hi: Math.max(...values),
                },
              ]
            }),
          )
          expect(stages.get('w')?.late).toBe(0)
          expect(new Map([...maps.entries('windows')].sort())).toEqual(new Map([...expected].sort()))
          const nested = [...naiveWindows(all, 60)].map(
            ([id, rows]) => [id, { windows: new Set(rows.map(r => Math.floor(r.at / 10))).size, n: rows.length }] as const,
          )
          const got = [...maps.entries('windows of windows')].map(([id, value]) => {
            const { windows: w, n } = value as { windows: number; n: number }
            return [id, { windows: w, n }] as const
          })
          expect(new Map(got.sort())).toEqual(new Map(nested.sort()))
          const counted = new Map<string, number>()
          for (const r of all) if (r.v !== 20) counted.set(r.k, (counted.get(r.k) ?? 0) + 1)
          expect(new Map([...maps.entries('ticks')].map(([k, t]) => [k, (t as { n: number }).n]).sort() as [string, number][])).toEqual(
            new Map([...counted].sort()),
          )
        },
      ),
      { numRuns: 60 },
    )
  })
})

describe('frames', () => {
  const rowsOf = (list: readonly Row[]): Batch => {
    const batch = new Batch(1)
    for (const [index, r] of list.entries()) batch.push(r, r.at, index * 3, r.k, index % 240)
    return batch
  }
  const codec = { encode: encodeValue, decode: decodeValue }

  it('carry rows with their columns, any part of a batch', () => {
    fc.assert(
      fc.property(splitOf, fc.nat(), fc.nat(), (list, a, b) => {
        const [from = 0, to = 0] = [a % (list.length + 1), b % (list.length + 1)].sort((x, y) => x - y)
        const bytes = new FrameWriter('jöb', 7, codec).rows(3, 11, rowsOf(list), from, to, 42, true)
        const frame = readFrame(bytes)
        if (frame === undefined) throw new Error('unreadable')
        expect({ ...frame, body: undefined }).toEqual({
          kind: 'rows',
          job: 'jöb',
          attempt: 7,
          edge: 3,
          sequence: 11,
          count: to - from,
          watermark: 42,
          idle: true,
          last: false,
          body: undefined,
        })
        const back = readRows(frame, codec)
        expect(back.rows).toEqual(list.slice(from, to))
        expect([...back.times]).toEqual(list.slice(from, to).map(r => r.at))
        expect(back.keys).toEqual(list.slice(from, to).map(r => r.k))
        expect([...back.partitions]).toEqual(list.slice(from, to).map((_, index) => (from + index) % 240))
      }),
    )
  })

  it('that are cut or broken are told, never read past their end', () => {
    const bytes = new FrameWriter('job', 1, codec).rows(
      0,
      0,
      rowsOf([
        { k: 'a', v: 1, at: 1 },
        { k: 'b', v: 1, at: 1 },
      ]),
      0,
      2,
      0,
      false,
    )
    fc.assert(
      fc.property(fc.nat({ max: bytes.length - 1 }), fc.nat({ max: bytes.length - 1 }), fc.nat({ max: 255 }), (length, at, value) => {
        const hostile = bytes.slice(0, length)
        if (at < hostile.length) hostile[at] = value
        const frame = readFrame(hostile)
        if (frame?.kind !== 'rows') return
        try {
          expect(readRows(frame, codec).size).toBe(frame.count)
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(Error)
        }
      }),
    )
  })
})

describe('timers', () => {
  it('come out by time, name and order', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.constantFrom('x', 'y'))), list => {
        const heap = new TimerHeap<null>()
        const timers = list.map(([timeMs, name], order) => ({ timeMs, name, owner: null, order }))
        for (const timer of timers) heap.push(timer)
        const out = timers.map(() => heap.take())
        expect(out).toEqual(timers.sort((a, b) => a.timeMs - b.timeMs || (a.name < b.name ? -1 : a.name > b.name ? 1 : a.order - b.order)))
        expect(heap.take()).toBeUndefined()
      }),
    )
  })
})

describe('copies of state', () => {
  it('equal what they copy and share nothing with it', () => {
    fc.assert(
      fc.property(fc.anything({ withDate: true, withMap: true, withSet: true, withTypedArray: true, withNullPrototype: true }), value => {
        const copy = cloneState(value)
        expect(copy).toEqual(value)
        if (typeof value === 'object' && value !== null) expect(copy).not.toBe(value)
      }),
    )
  })

  it('refuse what cannot be stored', () => {
    const cycle: { self?: unknown } = {}
    cycle.self = cycle
    expect(() => cloneState(cycle)).toThrow(/nests deeper than 100, or contains itself/)
    expect(() => cloneState({ f: () => 1 })).toThrow(/holds a function/)
  })
})
