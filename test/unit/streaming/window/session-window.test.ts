import { describe, expect, it } from 'vitest'
import { avg, count, countDistinct, max, min, sum } from '../../../../src/entry/stream.ts'
import { SessionWindowOperator, type SessionWindowOptions } from '../../../../src/streaming/operators/window/session-window.ts'
import { type Event, type Make, maybeCut, random, rig, texts } from './rig.ts'

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
  hi: max((row: Row) => row.v),
  lo: min((row: Row) => row.v),
  kinds: countDistinct((row: Row) => row.v % 7),
}

const sessions =
  (options: Partial<SessionWindowOptions> & { gapMs: number }): Make =>
  (unit, state) =>
    new SessionWindowOperator(0, unit, state, { aggregates, keyCodec: 'string', ...options })

function events(seed: number, total: number, keys: number, span: number, disorder: number): Event[] {
  const next = random(seed)
  return Array.from({ length: total }, () => {
    const time = Math.floor(next() * span)
    return { key: `k${Math.floor(next() * keys)}`, time, row: { v: Math.floor(next() * 100) }, comes: time + next() * disorder }
  }).sort((a, b) => a.comes - b.comes)
}

function naive(list: readonly Event[], gapMs: number): unknown[] {
  const found: unknown[] = []
  for (const key of new Set(list.map(event => event.key))) {
    const own = list.filter(event => event.key === key).sort((a, b) => a.time - b.time)
    let session: Event[] = []
    const close = (): void => {
      const values = session.map(({ row }) => (row as Row).v)
      const total = values.reduce((a, b) => a + b, 0)
      found.push({
        key,
        windowStart: session[0]?.time,
        windowEnd: (session.at(-1)?.time ?? 0) + gapMs,
        n: values.length,
        total,
        mean: total / values.length,
        hi: Math.max(...values),
        lo: Math.min(...values),
        kinds: new Set(values.map(v => v % 7)).size,
      })
      session = []
    }
    for (const event of own) {
      if (session.length > 0 && event.time - (session.at(-1)?.time ?? 0) >= gapMs) close()
      session.push(event)
    }
    close()
  }
  return found
}

describe('session windows', () => {
  it('hold rows less than a gap apart, whatever the order, cuts, barriers and crashes', () => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const list = events(seed, 250, 1 + (seed % 7) * 3, 3000, 400)
      const faults = seed % 5 === 0 ? {} : { crashShare: 0.03, barrierShare: 0.25, cutShare: 0.2 }
      const result = rig({ seed, events: list, make: sessions({ gapMs: 60 }), lagMax: seed % 3 === 0 ? 80 : 0, ...faults })
      expect(texts(result.rows), `seed ${seed}`).toEqual(texts(naive(list, 60)))
      expect(result.late).toEqual([])
      if (seed % 5 !== 0) expect(result.recordsLeft, `seed ${seed}`).toBe(0)
    }
  })

  it('merge when a late row joins two of them', () => {
    const list = [10, 100, 55].map(time => ({ key: 'a', time, row: { v: time } }))
    expect(rig({ seed: 1, events: list, make: sessions({ gapMs: 50 }) }).rows).toMatchObject([
      { windowStart: 10, windowEnd: 150, n: 3, total: 165 },
    ])
  })
})
