/** The job that is simulated, its rows, and what must come of them: counted here with loops, from the rows' times alone (I8, I9). */
import { seededRandom } from '../../../src/base/random.ts'
import { count, defineJob, defineKey, defineTupleKey, generator, row, sum, tumbling } from '../../../src/entry/stream.ts'
import type { Job } from '../../../src/streaming/graph/job.ts'

export interface Row {
  readonly k: string
  readonly v: number
  readonly at: number
}

const Key = defineKey('k', 'string')
const KeyAt = defineTupleKey('k-at', Key, { at: 'int64' })
const disorderMs = 40
const windowMs = 100
const quietMs = 70

export const job = defineJob('simulated', { onError: 'fail' }, flow => {
  const keyed = flow
    .source('rows', generator({ events: (): Row => ({ k: '', v: 0, at: 0 }) }))
    .eventTime(r => r.at, { outOfOrderness: '40ms' })
    .keyBy('keyed', Key, r => r.k)
  keyed.aggregate('totals', { n: count(), s: sum(r => r.v) }).sink('to totals', flow.map('totals', Key))
  keyed
    .window('windows', tumbling('100ms'), { n: count(), s: sum(r => r.v) })
    .sink('to windows', flow.map('windows', KeyAt), w => [w.windowStart])
  keyed
    .process('ticks', {
      emits: row<{ readonly at: number; readonly n: number; readonly fired: number }>(),
      state: () => ({ at: {} as Record<string, number>, fired: 0 }),
      onEvent(ctx, r) {
        const name = String(Math.floor(r.at / windowMs))
        ctx.state.at[name] = (ctx.state.at[name] ?? 0) + 1
        ctx.setTimer(name, (Math.floor(r.at / windowMs) + 1) * windowMs + quietMs)
      },
      onTimer(ctx, name) {
        ctx.state.fired += 1
        ctx.emit({ at: Number(name), n: ctx.state.at[name] ?? -1, fired: ctx.state.fired })
        delete ctx.state.at[name]
      },
    })
    .sink('to ticks', flow.map('ticks', KeyAt), t => [t.at])
}) as Job<undefined>

export const maps = ['totals', 'windows', 'ticks'] as const

/** By split. */
export function rowsOf(seed: number, splits: number, rows: number): readonly (readonly Row[])[] {
  const random = seededRandom(seed)
  return Array.from({ length: splits }, () =>
    Array.from({ length: rows }, (_, i): Row => {
      const at = Math.max(0, i * 12 - Math.floor(random.next() * disorderMs))
      return { k: `k${Math.floor(random.next() * 6)}`, v: Math.floor(random.next() * 50), at }
    }),
  )
}

/** Map -> key as JSON -> value. */
export function expectedOf(splits: readonly (readonly Row[])[]): ReadonlyMap<string, ReadonlyMap<string, unknown>> {
  const all = splits.flat()
  const totals = new Map<string, unknown>()
  const windows = new Map<string, unknown>()
  const ticks = new Map<string, unknown>()
  for (const k of new Set(all.map(r => r.k))) {
    const own = all.filter(r => r.k === k)
    const addUp = (rows: readonly Row[]): { n: number; s: number } => ({ n: rows.length, s: rows.reduce((s, r) => s + r.v, 0) })
    totals.set(JSON.stringify(k), { key: k, ...addUp(own) })
    const buckets = [...new Set(own.map(r => Math.floor(r.at / windowMs)))].sort((a, b) => a - b)
    for (const [index, bucket] of buckets.entries()) {
      const rows = own.filter(r => Math.floor(r.at / windowMs) === bucket)
      const windowStart = bucket * windowMs
      windows.set(JSON.stringify([k, windowStart]), { key: k, windowStart, windowEnd: windowStart + windowMs, ...addUp(rows) })
      ticks.set(JSON.stringify([k, bucket]), { at: bucket, n: rows.length, fired: index + 1 })
    }
  }
  return new Map([
    ['totals', totals],
    ['windows', windows],
    ['ticks', ticks],
  ])
}
