import { describe, expect, it } from 'vitest'
import type { JoinType } from '../../../../src/streaming/operators/join-port.ts'
import { JoinIntervalOperator } from '../../../../src/streaming/operators/join-interval.ts'
import { JoinWindowOperator } from '../../../../src/streaming/operators/window/join-window.ts'
import { type Event, type Make, maybeCut, random, rig, texts } from './rig.ts'

interface Row {
  readonly id: number
}

const joined = (left: unknown, right: unknown): unknown => {
  maybeCut()
  return { l: (left as Row | undefined)?.id ?? null, r: (right as Row | undefined)?.id ?? null }
}

function events(seed: number, total: number, keys: number, span: number, disorder: number): Event[] {
  const next = random(seed)
  return Array.from({ length: total }, (_, id) => {
    const time = Math.floor(next() * span)
    return { key: Math.floor(next() * keys), time, row: { id }, input: next() < 0.5 ? 0 : 1, comes: time + next() * disorder }
  }).sort((a, b) => a.comes - b.comes)
}

const types: readonly JoinType[] = ['inner', 'left', 'outer']
const id = (event: Event | undefined): number | null => (event === undefined ? null : (event.row as Row).id)

function pairs(
  left: readonly Event[],
  right: readonly Event[],
  type: JoinType,
  meet: (l: Event, r: Event) => boolean,
): { l: Event | undefined; r: Event | undefined }[] {
  const found: { l: Event | undefined; r: Event | undefined }[] = []
  for (const l of left) for (const r of right) if (l.key === r.key && meet(l, r)) found.push({ l, r })
  if (type !== 'inner') for (const l of left) if (!right.some(r => l.key === r.key && meet(l, r))) found.push({ l, r: undefined })
  if (type === 'outer') for (const r of right) if (!left.some(l => l.key === r.key && meet(l, r))) found.push({ l: undefined, r })
  return found
}

describe('joins', () => {
  for (const type of types) {
    it(`${type} by window gives what a comparison of all rows gives, whatever the order, cuts, barriers and crashes`, () => {
      for (let seed = 1; seed <= 20; seed += 1) {
        const [sizeMs, everyMs] = seed % 2 === 0 ? [100, 100] : [100, 40]
        const list = events(seed, 220, 1 + (seed % 5) * 6, 1200, 200)
        const make: Make = (unit, state) =>
          new JoinWindowOperator(0, unit, state, { sizeMs, everyMs, type, join: joined, keyCodec: 'int64' })
        const faults = seed % 5 === 0 ? {} : { crashShare: 0.03, barrierShare: 0.25, cutShare: 0.2 }
        const wanted: unknown[] = []
        for (let start = -sizeMs; start <= 1200; start += 1) {
          if (start % everyMs !== 0) continue
          const inside = list.filter(({ time }) => time >= start && time < start + sizeMs)
          for (const { l, r } of pairs(
            inside.filter(({ input }) => input === 0),
            inside.filter(({ input }) => input === 1),
            type,
            () => true,
          ))
            wanted.push({ l: id(l), r: id(r) })
        }
        const result = rig({ seed, events: list, make, lagMax: seed % 3 === 0 ? 80 : 0, ...faults })
        expect(texts(result.rows), `seed ${seed}`).toEqual(texts(wanted))
        expect(result.late).toEqual([])
        if (seed % 5 !== 0) expect(result.recordsLeft).toBe(0)
      }
    })

    it(`${type} by interval gives what a comparison of all rows gives, whatever the order, cuts, barriers and crashes`, () => {
      for (let seed = 1; seed <= 25; seed += 1) {
        const beforeMs = (seed % 3) * 20
        const afterMs = (seed % 4) * 25
        const list = events(seed, 220, 1 + (seed % 5) * 6, 1200, 200)
        const make: Make = (unit, state) =>
          new JoinIntervalOperator(0, unit, state, { beforeMs, afterMs, type, join: joined, keyCodec: 'int64' })
        const faults = seed % 5 === 0 ? {} : { crashShare: 0.03, barrierShare: 0.25, cutShare: 0.2 }
        const wanted = pairs(
          list.filter(({ input }) => input === 0),
          list.filter(({ input }) => input === 1),
          type,
          (l, r) => r.time >= l.time - beforeMs && r.time <= l.time + afterMs,
        ).map(({ l, r }) => ({ l: id(l), r: id(r) }))
        const result = rig({ seed, events: list, make, lagMax: seed % 3 === 0 ? 80 : 0, ...faults })
        expect(texts(result.rows), `seed ${seed}`).toEqual(texts(wanted))
        expect(result.late).toEqual([])
        if (seed % 5 !== 0) expect(result.recordsLeft, `seed ${seed}`).toBe(0)
      }
    })
  }

  it('a row whose partner function throws is set aside and changes nothing', () => {
    const list: Event[] = [
      { key: 1, time: 10, row: { id: 1 }, input: 0 },
      { key: 1, time: 11, row: { id: 2 }, input: 1 },
      { key: 1, time: 12, row: { id: 3 }, input: 1 },
    ]
    const join = (l: unknown, r: unknown): unknown => {
      if ((r as Row | undefined)?.id === 2) throw new Error('no')
      return joined(l, r)
    }
    const make: Make = (unit, state) =>
      new JoinIntervalOperator(0, unit, state, { beforeMs: 5, afterMs: 5, type: 'outer', join, keyCodec: 'int64' })
    const { rows, failed } = rig({ seed: 1, events: list, make, shardsMax: 1 })
    expect(rows).toEqual([{ l: 1, r: 3 }])
    expect(failed).toBe(1)
  })
})
