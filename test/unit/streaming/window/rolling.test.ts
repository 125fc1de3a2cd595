import { describe, expect, it } from 'vitest'
import { DedupeOperator } from '../../../../src/streaming/operators/dedupe.ts'
import { ReduceOperator } from '../../../../src/streaming/operators/reduce.ts'
import { TopNOperator } from '../../../../src/streaming/operators/top-n.ts'
import { TopNWindowOperator } from '../../../../src/streaming/operators/window/top-n-window.ts'
import { type Event, type Make, maybeCut, random, rig, texts } from './rig.ts'

interface Row {
  readonly id: number
  readonly v: number
}

function events(seed: number, total: number, keys: number, span: number, disorder: number): Event[] {
  const next = random(seed)
  return Array.from({ length: total }, (_, id) => {
    const time = Math.floor(next() * span)
    return { key: `k${Math.floor(next() * keys)}`, time, row: { id, v: Math.floor(next() * 12) }, comes: time + next() * disorder }
  }).sort((a, b) => a.comes - b.comes)
}

const rowOf = (event: Event): Row => event.row as Row

function tryAll(make: Make, naive: (list: readonly Event[]) => unknown[]): void {
  for (let seed = 1; seed <= 25; seed += 1) {
    const list = events(seed, 220, 1 + (seed % 5) * 5, 1200, 200)
    const faults = seed % 5 === 0 ? {} : { crashShare: 0.03, barrierShare: 0.25, cutShare: 0.2 }
    const result = rig({ seed, events: list, make, lagMax: seed % 3 === 0 ? 80 : 0, ...faults })
    expect(texts(result.rows), `seed ${seed}`).toEqual(texts(naive(list)))
    expect(result.late).toEqual([])
    expect(result.failed).toBe(0)
  }
}

describe('rolling operators', () => {
  for (const ttlMs of [undefined, 60]) {
    const kind = ttlMs === undefined ? '' : ' with a time to live'

    it(`reduce gives a value for each row${kind}, whatever cuts, barriers and crashes`, () => {
      const reduce = (value: unknown, row: unknown): unknown => {
        maybeCut()
        return { id: (row as Row).id, v: (value as Row).v + (row as Row).v }
      }
      tryAll(
        (unit, state) => new ReduceOperator(0, unit, state, { reduce, ttlMs, keyCodec: 'string' }),
        list => {
          const values = new Map<unknown, { value: Row; until: number }>()
          return list.map(event => {
            const known = values.get(event.key)
            const isOver = known === undefined || event.time >= known.until
            const value = isOver ? rowOf(event) : { id: rowOf(event).id, v: known.value.v + rowOf(event).v }
            const until = event.time + (ttlMs ?? Number.POSITIVE_INFINITY)
            values.set(event.key, { value, until: isOver ? until : Math.max(known.until, until) })
            return value
          })
        },
      )
    })

    it(`dedupe lets the first of each value through${kind}, whatever cuts, barriers and crashes`, () => {
      const of = (row: unknown): number => {
        maybeCut()
        return (row as Row).v
      }
      tryAll(
        (unit, state) => new DedupeOperator(0, unit, state, { of, ttlMs, keyCodec: 'string' }),
        list => {
          const seen = new Map<string, number>()
          return list
            .filter(event => {
              const id = `${event.key} ${rowOf(event).v}`
              if (event.time < (seen.get(id) ?? Number.NEGATIVE_INFINITY)) return false
              seen.set(id, event.time + (ttlMs ?? Number.POSITIVE_INFINITY))
              return true
            })
            .map(({ row }) => row)
        },
      )
    })

    it(`topN gives the ranks that a row changes${kind}, whatever cuts, barriers and crashes`, () => {
      const compare = (a: unknown, b: unknown): number => {
        maybeCut()
        return (b as Row).v - (a as Row).v
      }
      tryAll(
        (unit, state) => new TopNOperator(0, unit, state, { n: 3, compare, ttlMs, keyCodec: 'string' }),
        list => {
          const rankings = new Map<unknown, { events: Event[]; until: number }>()
          return list.flatMap(event => {
            const until = event.time + (ttlMs ?? Number.POSITIVE_INFINITY)
            let known = rankings.get(event.key)
            if (known === undefined || event.time >= known.until) known = { events: [], until }
            const before = known.events
            // Stable: of equal rows at one time the one that came first.
            const after = [...before, event].sort((a, b) => rowOf(b).v - rowOf(a).v || a.time - b.time).slice(0, 3)
            rankings.set(event.key, { events: after, until: Math.max(known.until, until) })
            const from = after.indexOf(event)
            return from === -1 ? [] : after.slice(from).map((ranked, i) => ({ key: event.key, rank: from + i + 1, row: ranked.row }))
          })
        },
      )
    })
  }

  it('dedupe by key alone keeps one row of each', () => {
    const list = [1, 2, 3].map(id => ({ key: 'a', time: id, row: { id } }))
    expect(rig({ seed: 1, events: list, make: (unit, state) => new DedupeOperator(0, unit, state, { keyCodec: 'string' }) }).rows).toEqual([
      { id: 1 },
    ])
  })

  it('what has a time to live leaves nothing behind', () => {
    const list = events(4, 300, 20, 2000, 100)
    const result = rig({
      seed: 4,
      events: list,
      make: (unit, state) => new DedupeOperator(0, unit, state, { of: row => (row as Row).v, ttlMs: 50, keyCodec: 'string' }),
      barrierShare: 0.3,
    })
    expect(result).toMatchObject({ recordsLeft: 0, stateBytes: 0 })
  })

  it('topN of windows gives the first of each window, whatever the order, cuts, barriers and crashes', () => {
    const compare = (a: unknown, b: unknown): number => {
      maybeCut()
      return (b as Row).v - (a as Row).v || (a as Row).id - (b as Row).id
    }
    for (const [sizeMs, everyMs] of [
      [100, 100],
      [100, 40],
    ] as const) {
      tryAll(
        (unit, state) => new TopNWindowOperator(0, unit, state, { sizeMs, everyMs, n: 2, compare, keyCodec: 'string' }),
        list => {
          const found: unknown[] = []
          for (const key of new Set(list.map(event => event.key))) {
            for (let start = -sizeMs + (sizeMs % everyMs); start <= 1200; start += everyMs) {
              list
                .filter(event => event.key === key && event.time >= start && event.time < start + sizeMs)
                .map(rowOf)
                .sort(compare)
                .slice(0, 2)
                .forEach((row, i) => found.push({ key, windowStart: start, windowEnd: start + sizeMs, rank: i + 1, row }))
            }
          }
          return found
        },
      )
    }
  })
})
