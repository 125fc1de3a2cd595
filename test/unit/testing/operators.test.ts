import { describe, expect, it } from 'vitest'
import {
  avg,
  count,
  countDistinct,
  defineJob,
  defineKey,
  defineTupleKey,
  generator,
  max,
  min,
  row,
  sum,
  tumbling,
} from '../../../src/entry/stream.ts'
import type { Job } from '../../../src/streaming/graph/job.ts'
import type { Flow, KeyedStage, Stage } from '../../../src/streaming/graph/stage-types.ts'
import { expectSteady, type Subject } from './steady.ts'

interface Row {
  readonly k: string
  readonly v: number
  readonly at: number
  readonly note?: string
}

const Key = defineKey('k', 'string')
const Number_ = defineKey('n', 'int64')
const KeyAt = defineTupleKey('k-at', Key, { at: 'int64' })
const disorderMs = 40

/** 120 rows over 7 keys, out of order by less than the disorder allowed, some twice at one moment, some late. */
const rows: readonly Row[] = Array.from({ length: 120 }, (_, i) => {
  const back = (i * 7919) % disorderMs
  const isNoted = i % 3 === 0
  return { k: `k${(i * 5) % 7}`, v: (i * 37) % 23, at: Math.max(0, i * 11 - back), ...(isNoted ? { note: `n${i}` } : {}) }
})

type Rows = Stage<Row>
type Keyed = KeyedStage<typeof Key, Row>

const job = (name: string, build: (rows: Rows, keyed: Keyed, flow: Flow) => void): Job<undefined> =>
  defineJob(name, { onError: 'skip' }, flow => {
    const all = flow
      .source('rows', generator({ events: (): Row => ({ k: '', v: 0, at: 0 }) }))
      .eventTime(r => r.at, { outOfOrderness: '40ms' })
    build(
      all,
      all.keyBy('keyed', Key, r => r.k),
      flow,
    )
  }) as Job<undefined>

const subject = (name: string, stages: readonly string[], build: Parameters<typeof job>[1], more: Partial<Subject> = {}): Subject => ({
  name,
  job: job(name.replaceAll(' ', '-'), build),
  rows: { rows },
  stages,
  ...more,
})

const twice = (r: Row): readonly Row[] => (r.v % 2 === 0 ? [r, { ...r, v: -r.v }] : [])

const subjects: readonly Subject[] = [
  subject('map', ['mapped', 'mapped with key'], (all, keyed) => {
    all.map('mapped', r => r.v * 2)
    keyed.map('mapped with key', (r, k) => `${k}${r.v}`)
  }),
  subject('map that throws for some rows', ['mapped'], all => {
    all.map('mapped', r => {
      if (r.v % 5 === 0) throw new Error('five')
      return r
    })
  }),
  subject('filter', ['kept', 'kept with key'], (all, keyed) => {
    all.filter('kept', r => r.v > 10)
    keyed.filter('kept with key', (r: Row, k: string) => k !== 'k3' && r.v > 3)
  }),
  subject('sideOutput', ['small', 'large', 'one key', 'other keys'], (all, keyed) => {
    all.sideOutput('small', r => r.v > 10).aside('large')
    keyed.sideOutput('other keys', (_r, k) => k === 'k3').aside('one key')
  }),
  subject('sideOutput that throws for some rows', ['even', 'odd'], all => {
    const even = (r: Row): boolean => {
      if (r.v % 5 === 0) throw new Error('five')
      return r.v % 2 === 1
    }
    all.sideOutput('even', even).aside('odd')
  }),
  subject('flatMap', ['out', 'keyed out'], (all, keyed) => {
    all.flatMap('out', twice)
    keyed.flatMap('keyed out', (r, k) => [k, r.v])
  }),
  subject('require and rejected', ['noted', 'not noted'], all => {
    all.require('noted', 'note').rejected('not noted')
  }),
  subject('merge', ['merged', 'merged keyed'], (all, keyed) => {
    all
      .filter('few', r => r.v < 5)
      .merge(
        'merged',
        all.filter('many', r => r.v > 15),
      )
    keyed.filter('few keyed', r => r.v < 5).merge('merged keyed', keyed)
  }),
  subject('keyBy and rekey', ['keyed', 'by number', 'by text'], (_all, keyed) => {
    keyed.rekey('by number', Number_, r => r.v).rekey('by text', Key, r => `v${r.v}`)
  }),
  subject(
    'enrich',
    ['enriched'],
    (_all, keyed, flow) => {
      keyed.enrich('enriched', flow.map<typeof Key>('names', Key), (r, name) => ({ ...r, name: name ?? 'none' }))
    },
    {
      maps: {
        names: [
          ['k1', 'one'],
          ['k2', { text: 'two' }],
        ],
      },
    },
  ),
  subject('aggregate', ['totals'], (_all, keyed) => {
    keyed.aggregate('totals', {
      n: count(),
      s: sum(r => r.v),
      lo: min(r => r.v),
      hi: max(r => r.v),
      mean: avg(r => r.v),
      d: countDistinct(r => r.v),
    })
  }),
  subject('tumbling windows', ['windows'], (_all, keyed) => {
    keyed.window('windows', tumbling('100ms'), { n: count(), s: sum(r => r.v), hi: max(r => r.v), d: countDistinct(r => r.v) })
  }),
  subject('windows of windows', ['windows of windows'], (_all, keyed) => {
    keyed
      .window('small', tumbling('20ms'), { n: count() })
      .rekey('again', Number_, w => w.n)
      .window('windows of windows', tumbling('200ms'), { windows: count(), n: sum(w => w.n) })
  }),
  subject('process with timers', ['buckets', 'ticks'], (_all, keyed) => {
    // What a timer sees may not depend on rows that come after its time: each has a bucket of its own.
    keyed.process('buckets', {
      emits: row<readonly number[]>(),
      state: () => ({ byBucket: {} as Record<string, number[]> }),
      onEvent(ctx, r) {
        if (r.v === 22) throw new Error('twenty-two')
        const end = (Math.floor(r.at / 100) + 1) * 100
        const bucket = `until ${end}`
        ctx.state.byBucket[bucket] ??= []
        ctx.state.byBucket[bucket].push(r.v)
        ctx.setTimer(bucket, end - 1)
      },
      onTimer(ctx, bucket) {
        ctx.emit([ctx.eventTimeMs, ...(ctx.state.byBucket[bucket] ?? [])])
        delete ctx.state.byBucket[bucket]
      },
    })
    keyed.process('ticks', {
      emits: row<string>(),
      state: () => ({ n: 0 }),
      onEvent(ctx, r) {
        const name = `${r.at} ${r.v}`
        ctx.setTimer(name, r.at + 50)
        ctx.setTimer(name, r.at + 70)
        if (r.v % 2 === 0) ctx.clearTimer(name)
      },
      onTimer(ctx, name) {
        ctx.emit(`${ctx.key} ${name} ${ctx.eventTimeMs}`)
        if (!name.endsWith('again')) ctx.setTimer(`${name} again`, ctx.eventTimeMs + 30)
      },
    })
  }),
  subject('process with wall timers', ['rings', 'strict rings'], (_all, keyed) => {
    keyed.process('rings', {
      emits: row<string>(),
      state: () => ({ n: 0 }),
      onEvent(ctx, r) {
        ctx.state.n += 1
        ctx.setWallTimer(`${r.v}`, ctx.wallTimeMs + 1000 + r.v)
        if (r.v % 5 === 0) ctx.clearWallTimer(`${r.v + 1}`)
      },
      onWallTimer: (ctx, name) => ctx.emit(`${ctx.key} ${name} ${ctx.state.n}`),
    })
    keyed.process('strict rings', {
      emits: row<string>(),
      state: () => ({ n: 0 }),
      onEvent(ctx, r) {
        ctx.setWallTimer(`${r.v % 3}`, ctx.wallTimeMs + 10_000)
        if (r.v % 4 === 1) throw new Error('not this one')
      },
      onWallTimer(ctx, name) {
        if (name === '2' && ctx.key === 'k3') throw new Error('nor this')
        ctx.emit(`${ctx.key} ${name}`)
        ctx.setWallTimer(name, ctx.wallTimeMs)
      },
    })
  }),
  subject('log', ['logged', 'logged by key'], (all, keyed) => {
    all.log('logged', { every: 3, text: r => r.k })
    keyed.log('logged by key')
  }),
  subject(
    'lookup',
    ['looked up', 'by window'],
    (all, keyed, flow) => {
      const names = flow.map('names', Number_)
      all.lookup(
        'looked up',
        names,
        r => r.v,
        (r, name) => `${r.at} ${r.v} ${String(name)}`,
        { inFlight: 3 },
      )
      keyed
        .lookup(
          'name of v',
          names,
          r => r.v,
          (r, name) => ({ ...r, name: name === undefined ? 0 : 1 }),
          { inFlight: 4 },
        )
        .window('by window', tumbling('100ms'), { n: count(), named: sum(r => r.name) })
    },
    { maps: { names: [3, 6, 9, 12].map(v => [v, `name ${v}`] as const) } },
  ),
  subject('mapAsync', ['in order', 'windows of it', 'as answered'], (all, keyed) => {
    const later = async (r: Row): Promise<Row> => {
      if (r.v % 3 === 0) await Promise.resolve()
      if (r.v % 7 === 1) throw new Error('one of seven')
      return { ...r, v: r.v * 2 }
    }
    all.mapAsync('in order', later, { inFlight: 3 })
    keyed.mapAsync('as answered', async (r, _call, k) => `${k} ${(await later(r)).v}`, { inFlight: 5, ordered: false })
    keyed.mapAsync('for windows', later, { inFlight: 4, ordered: false }).window('windows of it', tumbling('100ms'), { n: count() })
  }),
  subject(
    'sinks to maps',
    ['keyed'],
    (_all, keyed, flow) => {
      keyed.map('shaped', r => ({ v: r.v, at: r.at })).sink('to last', flow.map('last', Key))
      keyed.window('w', tumbling('100ms'), { n: count() }).sink('to windows', flow.map('per window', KeyAt), w => [w.windowStart])
    },
    { writes: ['last', 'per window'] },
  ),
]

describe('every operator', () => {
  it.each(subjects.map(one => [one.name, one] as const))(
    'gives the same whatever happens around it: %s',
    { timeout: 60_000 },
    async (_, one) => {
      await expectSteady(one)
    },
  )

  it('sends what fails to the dead letters, the same ones in every run', async () => {
    const failing = defineJob('failing', { onError: 'deadLetter' }, flow => {
      flow
        .source('rows', generator({ events: (): Row => ({ k: '', v: 0, at: 0 }) }))
        .eventTime(r => r.at, { outOfOrderness: '40ms' })
        .keyBy('keyed', Key, r => r.k)
        .process('strict', {
          emits: row<number>(),
          state: () => ({ n: 0 }),
          onEvent(ctx, r) {
            ctx.state.n += 1
            if (r.v % 4 === 1) throw new Error(`v is ${r.v}`)
            ctx.emit(ctx.state.n)
          },
        })
    }) as Job<undefined>
    const subject = { name: 'failing', job: failing, rows: { rows }, stages: ['strict'], writes: ['failing.dead-letters'] }
    await expect(expectSteady(subject)).resolves.toBeUndefined()
  })
})
