/** Windows, joins and state per key, from the builder to their rows. */
import { describe, expect, it } from 'vitest'
import {
  count,
  countWindow,
  defineAggregate,
  defineJob,
  defineKey,
  generator,
  type Job,
  type KeyedStage,
  row,
  session,
  sliding,
  sum,
  tumbling,
} from 'nearstate/stream'
import { type TestJob, testJob } from 'nearstate/testing'
import { expectSteady } from './steady.ts'

interface Row {
  readonly k: string
  readonly v: number
  readonly at: number
}

const Key = defineKey('k', 'string')
const at = (time: number, v = 1, k = 'a'): Row => ({ k, v, at: time })
type Keyed = KeyedStage<typeof Key, Row>

const job = (build: (rows: Keyed, others: Keyed) => void, onError: 'fail' | 'skip' = 'fail') =>
  defineJob('job', { onError }, flow => {
    const keyed = (name: string): Keyed =>
      flow
        .source(name, generator({ events: () => at(0) }))
        .eventTime(r => r.at)
        .keyBy(`${name} by k`, Key, r => r.k)
    build(keyed('rows'), keyed('others'))
  })

const feed = async (build: Parameters<typeof job>[0], rows: readonly Row[], others: readonly Row[] = []): Promise<TestJob> => {
  const test = await testJob(job(build))
  test.source('rows').push(rows)
  test.source('others').push(others)
  return test
}

const spread = (values: readonly number[]): { readonly low: number; readonly high: number } => ({
  low: Math.min(...values),
  high: Math.max(...values),
})

describe('windows', () => {
  it('slide: a row is in each window that holds it', async () => {
    const test = await feed(rows => rows.window('w', sliding('20ms', '10ms'), { total: sum(r => r.v) }), [at(5, 1), at(15, 2)])
    test.end()
    expect(test.rowsOf('w')).toEqual([
      { key: 'a', windowStart: -10, windowEnd: 10, total: 1 },
      { key: 'a', windowStart: 0, windowEnd: 20, total: 3 },
      { key: 'a', windowStart: 10, windowEnd: 30, total: 2 },
    ])
  })

  it('are sessions that rows without a gap make', async () => {
    const test = await feed(rows => rows.window('w', session('10ms'), { n: count() }), [at(0), at(9), at(30)])
    test.end()
    expect(test.rowsOf('w')).toEqual([
      { key: 'a', windowStart: 0, windowEnd: 19, n: 2 },
      { key: 'a', windowStart: 30, windowEnd: 40, n: 1 },
    ])
  })

  it('count rows, with a result every so many', async () => {
    const window = countWindow(4, { every: 2 })
    const rows = [at(1), at(2), at(3), at(4), at(5), at(6), at(7)]
    const test = await feed(keyed => keyed.window('w', window, { n: count() }), rows)
    expect(test.rowsOf('w')).toEqual([
      { key: 'a', windowStart: 1, windowEnd: 3, n: 2 },
      { key: 'a', windowStart: 1, windowEnd: 5, n: 4 },
      { key: 'a', windowStart: 3, windowEnd: 7, n: 4 },
    ])
  })

  it('give early results, marked, and new ones for rows within the allowed lateness; later ones are set aside', async () => {
    const test = await feed(rows => {
      const w = rows.window('w', tumbling('100ms'), { n: count() }, { early: '20ms', allowedLateness: '50ms' })
      w.late('late')
    }, [])
    test.advanceTo(1)
    test.source('rows').push([at(10)])
    test.advanceTo(45)
    expect(test.takeRowsOf('w')).toEqual([{ key: 'a', windowStart: 0, windowEnd: 100, n: 1, early: true }])
    test.advanceTo(99)
    expect(test.takeRowsOf('w')).toEqual([{ key: 'a', windowStart: 0, windowEnd: 100, n: 1, early: false }])
    test.source('rows').push([at(20)])
    expect(test.takeRowsOf('w')).toEqual([{ key: 'a', windowStart: 0, windowEnd: 100, n: 2, early: false }])
    test.advanceTo(149)
    test.source('rows').push([at(30)])
    expect(test.takeRowsOf('w')).toEqual([])
    expect(test.rowsOf('late')).toEqual([at(30)])
  })

  it('take aggregates of the author', async () => {
    const range = defineAggregate<Row, number[], { low: number; high: number }>({
      create: () => [],
      add: (values, r) => [...values, r.v],
      combine: (values, others) => [...values, ...others],
      finish: spread,
    })
    const test = await feed(rows => rows.window('w', sliding('20ms', '10ms'), { range }), [at(12, 7), at(18, 3)])
    test.advanceTo(19)
    expect(test.rowsOf('w')).toEqual([{ key: 'a', windowStart: 0, windowEnd: 20, range: { low: 3, high: 7 } }])
  })
})

describe('state per key', () => {
  it('is reduced, row by row, and begins anew after its time to live', async () => {
    const build = (rows: Keyed): void => void rows.reduce('r', (value, r) => ({ ...r, v: value.v + r.v }), { ttl: '100ms' })
    const test = await feed(build, [at(0, 1), at(50, 2), at(200, 5)])
    expect(test.rowsOf<Row>('r').map(r => r.v)).toEqual([1, 3, 5])
  })

  it('lets the first of a key, or of a value, through', async () => {
    const build = (rows: Keyed): void => {
      rows.dedupe('keys')
      rows.dedupe('values', { of: r => r.v, ttl: '50ms' }).late('too late to say')
    }
    const test = await feed(build, [at(0, 1), at(10, 1), at(20, 2), at(100, 1)])
    expect(test.rowsOf('keys')).toEqual([at(0, 1)])
    expect(test.rowsOf('values')).toEqual([at(0, 1), at(20, 2), at(100, 1)])
    test.advanceTo(100)
    test.source('rows').push([at(40, 9)])
    expect(test.rowsOf('too late to say')).toEqual([at(40, 9)])
  })

  it('has timers on the wall clock, which outlive a crash', async () => {
    const build = (rows: Keyed): void =>
      void rows.process('rings', {
        emits: row<string>(),
        state: () => ({ n: 0 }),
        onEvent(ctx) {
          ctx.state.n += 1
          ctx.setWallTimer('ring', ctx.wallTimeMs + 10_000)
        },
        onWallTimer: (ctx, name) => ctx.emit(`${name} ${ctx.key} ${ctx.state.n} at ${ctx.wallTimeMs - start} for ${ctx.eventTimeMs}`),
      })
    const test = await feed(build, [at(5), at(6, 1, 'b')])
    const start = test.wallTimeMs
    test.pass('9s')
    test.source('rows').push([at(7, 1, 'b')]) // moves its timer
    expect(test.rowsOf('rings')).toEqual([])
    await test.checkpoint()
    test.pass('1s')
    expect(test.rowsOf('rings')).toEqual(['ring a 1 at 10000 for 7'])
    // The checkpoint was before it rang: it is late now, and rings at once.
    test.pass('1s')
    test.crash({ shards: 2 })
    expect(test.rowsOf('rings')).toEqual(['ring a 1 at 11000 for 7'])
    await test.checkpoint()
    test.crash()
    expect(test.rowsOf('rings')).toHaveLength(1)
    test.pass('8s')
    expect(test.takeRowsOf('rings').at(-1)).toBe('ring b 2 at 19000 for 7')
    test.source('rows').push([at(8)])
    test.end()
    expect(test.takeRowsOf('rings')).toEqual(['ring a 2 at 19000 for 1767225619000'])
    expect(test.status).toBe('completed')
  })

  it('ranks rows, rolling and by window', async () => {
    const greatest = (a: Row, b: Row): number => b.v - a.v
    const build = (rows: Keyed): void => {
      rows.topN('rolling', 2, greatest)
      rows.topN('of windows', 1, greatest, { window: tumbling('100ms') })
    }
    const test = await feed(build, [at(0, 1), at(1, 5), at(2, 3)])
    expect(test.rowsOf<{ rank: number; row: Row }>('rolling').map(({ rank, row: r }) => [rank, r.v])).toEqual([
      [1, 1],
      [1, 5],
      [2, 1],
      [2, 3],
    ])
    test.end()
    expect(test.rowsOf('of windows')).toEqual([{ key: 'a', windowStart: 0, windowEnd: 100, rank: 1, row: at(1, 5) }])
  })

  it('of process is forgotten after its time to live', async () => {
    const build = (rows: Keyed): void =>
      void rows.process('p', {
        emits: row<number>(),
        ttl: '80ms',
        state: () => ({ n: 0 }),
        onEvent(ctx) {
          ctx.state.n += 1
          ctx.emit(ctx.state.n)
        },
      })
    const test = await feed(build, [at(0), at(10)])
    test.advanceTo(500)
    test.source('rows').push([at(600)])
    expect(test.rowsOf('p')).toEqual([1, 2, 1])
  })
})

describe('joins', () => {
  const left = [at(10, 1), at(20, 2, 'b')]
  const right = [at(30, 7), at(40, 8, 'c')]
  const joined = async (type: 'inner' | 'left' | 'outer'): Promise<readonly string[]> => {
    const build = (rows: Keyed, others: Keyed): void =>
      void rows.joinWindow('j', others, { window: tumbling('100ms'), type }, (l, r, w) => `${w.key}${l?.v ?? '-'}${r?.v ?? '-'}`)
    const test = await feed(build, left, right)
    test.end()
    return test.rowsOf<string>('j').toSorted()
  }

  it('by window give pairs, left rows, or rows of either side without a partner', async () => {
    expect(await joined('inner')).toEqual(['a17'])
    expect(await joined('left')).toEqual(['a17', 'b2-'])
    expect(await joined('outer')).toEqual(['a17', 'b2-', 'c-8'])
  })

  it('by interval give pairs at once, and what found no partner when none can follow', async () => {
    const interval = { before: '5ms', after: '15ms', type: 'left' } as const
    const build = (rows: Keyed, others: Keyed): void => {
      rows.joinInterval('j', others, interval, (l, r) => [l.v, r?.v ?? 0]).late('late')
    }
    const test = await feed(build, [at(100, 1), at(200, 2)], [at(95, 3), at(115, 4), at(116, 5)])
    expect(test.takeRowsOf('j')).toEqual([
      [1, 3],
      [1, 4],
    ])
    test.advanceTo(300)
    expect(test.takeRowsOf('j')).toEqual([[2, 0]])
    test.source('others').push([at(201, 6)])
    expect(test.rowsOf('late')).toEqual([at(201, 6)])
  })

  it('give the same whatever happens around them', { timeout: 60_000 }, async () => {
    const rows = Array.from({ length: 40 }, (_, i) => at(i * 7, i, `k${i % 3}`))
    const build = (a: Keyed, b: Keyed): void => {
      a.joinInterval('interval', b, { before: '20ms', after: '20ms', type: 'outer' }, (l, r) => ({ l: l?.v, r: r?.v }))
      a.joinWindow('window', b, { window: sliding('60ms', '30ms'), type: 'outer' }, (l, r, w) => ({ ...w, l: l?.v, r: r?.v }))
    }
    const subject = {
      name: 'joins',
      job: job(build, 'skip') as Job<undefined>,
      rows: { rows, others: rows.slice(5, 20) },
      stages: ['interval', 'window'],
    }
    await expect(expectSteady(subject, 4)).resolves.toBeUndefined()
  })
})
