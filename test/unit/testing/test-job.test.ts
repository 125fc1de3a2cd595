import { describe, expect, it } from 'vitest'
import { count, defineJob, defineKey, defineTupleKey, generator, row, sum, tumbling } from 'nearstate/stream'
import { testJob } from 'nearstate/testing'

interface Line {
  readonly customer: string
  readonly amount: number
  readonly at: number
}

const Customer = defineKey('customer', 'string')
const CustomerHour = defineTupleKey('customer-hour', Customer, { hour: 'int64' })
const hour = 3_600_000
const none = (): Line => ({ customer: '', amount: 0, at: 0 })
const line = (customer: string, amount: number, at: number): Line => ({ customer, amount, at })

const spend = defineJob('spend', { onError: 'deadLetter' }, flow => {
  const keyed = flow
    .source('lines', generator({ events: none }))
    .eventTime(l => l.at, { outOfOrderness: '10s' })
    .map('checked', l => {
      if (l.amount < 0) throw new Error('amount is negative')
      return l
    })
    .keyBy('by customer', Customer, l => l.customer)
    .enrich('with tier', flow.map<typeof Customer>('tiers', Customer), (l, tier) => ({ ...l, tier: tier ?? 'new' }))
  const windows = keyed.window('hours', tumbling('1h'), { spend: sum(l => l.amount), lines: count() })
  windows.late('late lines')
  windows.sink('to hours', flow.map('hours', CustomerHour), w => [w.windowStart])
  keyed.process('quiet', {
    emits: row<{ readonly customer: string; readonly lines: number }>(),
    state: () => ({ lines: 0 }),
    onEvent(ctx) {
      ctx.state.lines += 1
      ctx.setTimer('quiet', ctx.eventTimeMs + 60_000)
    },
    onTimer(ctx) {
      ctx.emit({ customer: ctx.key, lines: ctx.state.lines })
    },
  })
})

describe('a job under test', () => {
  it('runs what is pushed at once, and shows what each stage has handed on', async () => {
    const test = await testJob(spend, { maps: { tiers: [['ada', 'gold']] } })
    test.source('lines').push([line('ada', 5, 1000), line('bob', 7, 2000)])
    expect(test.rowsOf('with tier')).toEqual([
      { customer: 'ada', amount: 5, at: 1000, tier: 'gold' },
      { customer: 'bob', amount: 7, at: 2000, tier: 'new' },
    ])
    expect(test.eventsOf('by customer')).toEqual([
      { row: line('ada', 5, 1000), time: 1000, key: 'ada', shard: 0 },
      { row: line('bob', 7, 2000), time: 2000, key: 'bob', shard: 0 },
    ])
    expect(test.rowsOf('hours')).toEqual([])
    expect(test.status).toBe('running')
  })

  it('closes windows and fires timers when event time is moved, to the millisecond', async () => {
    const test = await testJob(spend)
    test.source('lines').push([line('ada', 5, 1000)])
    test.advanceTo(60_999)
    expect(test.takeRowsOf('quiet')).toEqual([])
    test.advanceTo(61_000)
    expect(test.takeRowsOf('quiet')).toEqual([{ customer: 'ada', lines: 1 }])
    expect(test.takeRowsOf('quiet')).toEqual([])
    test.advanceTo(hour - 2)
    expect(test.rowsOf('hours')).toEqual([])
    test.advanceTo(hour - 1)
    expect(test.rowsOf('hours')).toEqual([{ key: 'ada', windowStart: 0, windowEnd: hour, spend: 5, lines: 1 }])
    expect(test.map('hours').entries()).toEqual([[['ada', 0], { key: 'ada', windowStart: 0, windowEnd: hour, spend: 5, lines: 1 }]])
  })

  it('sets late rows aside, counts them, and keeps dead letters', async () => {
    const test = await testJob(spend)
    const lines = test.source<Line>('lines')
    test.advanceTo('1970-01-01T02:00Z')
    lines.push([line('ada', 5, hour), line('ada', -1, 2 * hour)])
    expect(test.asideOf('hours')).toEqual([{ ...line('ada', 5, hour), tier: 'new' }])
    expect(test.rowsOf('late lines')).toEqual(test.asideOf('hours'))
    expect(test.figuresOf('hours').late).toBe(1)
    expect(test.deadLetters()).toMatchObject([
      { stage: 'checked', reason: 'amount is negative', row: line('ada', -1, 2 * hour), line: 2 + 1 },
    ])
  })

  it('completes at the end of its sources', async () => {
    const test = await testJob(spend, { shards: 3, splits: 2 })
    const lines = test.source<Line>('lines')
    lines.push([line('ada', 5, 1000)])
    lines.push([line('bob', 7, 2000), line('ada', 1, 5000)], { split: 1 })
    lines.end({ split: 0 })
    expect(test.status).toBe('running')
    test.end()
    expect(test.status).toBe('completed')
    expect(test.rowsOf('hours')).toHaveLength(2)
    expect(test.map('hours').get(['ada', 0])).toMatchObject({ spend: 6, lines: 2 })
    expect(() => lines.push([line('ada', 1, 1)])).toThrow('Cannot push into source "lines": its split 0 has ended')
  })

  it('takes records through the source as the world has them, and rows as they are', async () => {
    const numbers = defineJob('numbers', flow => {
      flow.source('numbers', generator({ events: n => ({ n: n * 2 }) })).map('out', r => r.n)
    })
    const test = await testJob(numbers)
    test.source('numbers').pushRecords([1, 2])
    test.source('numbers').push([{ n: 100 }])
    expect(test.rowsOf('out')).toEqual([2, 4, 100])
  })

  it('gives rows the event time that the test says', async () => {
    const test = await testJob(spend)
    test.source('lines').push([line('ada', 5, 0)], { at: '1970-01-01T05:00Z' })
    expect(test.eventsOf('checked')[0]?.time).toBe(5 * hour)
  })

  it('stamps rows of a source without event time by its own clock', async () => {
    const plain = defineJob('plain', flow => {
      flow.source('numbers', generator({ events: n => n })).map('out', n => n)
    })
    const test = await testJob(plain, { startAt: '2026-03-01T00:00Z' })
    test.pass('5s')
    test.source('numbers').push([1])
    expect(test.eventsOf('out')[0]?.time).toBe(Date.parse('2026-03-01T00:00:05Z'))
  })

  it('leaves a split without events out once it is idle', async () => {
    const idle = defineJob('idle', flow => {
      flow
        .source('lines', generator({ events: none }))
        .eventTime(l => l.at, { idleAfter: '30s' })
        .keyBy('by customer', Customer, l => l.customer)
        .window('hours', tumbling('1h'), { lines: count() })
    })
    const test = await testJob(idle, { splits: 2 })
    test.source('lines').push([line('ada', 1, 1), line('ada', 1, 2 * hour)], { split: 0 })
    expect(test.rowsOf('hours')).toEqual([])
    test.pass('29s')
    test.source('lines').push([line('ada', 1, 2 * hour)], { split: 0 })
    expect(test.rowsOf('hours')).toEqual([])
    test.pass('1s')
    expect(test.rowsOf('hours')).toHaveLength(1)
  })

  it('throws what user code throws where the job fails at errors, with the stage', async () => {
    const failing = defineJob('failing', { onError: 'fail' }, flow => {
      flow.source('lines', generator({ events: none })).map('broken', l => {
        if (l.amount === 2) throw new TypeError('two')
        return l
      })
    })
    const test = await testJob(failing)
    test.source('lines').push([line('ada', 1, 1)])
    expect(() => test.source('lines').push([line('ada', 2, 1)])).toThrow('Stage "broken" failed')
    expect(test.status).toBe('failed')
  })

  it('freezes what enrich reads', async () => {
    const greedy = defineJob('greedy', { onError: 'fail' }, flow => {
      flow
        .source('lines', generator({ events: none }))
        .keyBy('by customer', Customer, l => l.customer)
        .enrich('changed', flow.map<typeof Customer>('tiers', Customer), (l, tier) => {
          ;(tier as { list: number[] }).list.push(1)
          return l
        })
    })
    const test = await testJob(greedy, { maps: { tiers: new Map([['ada', { list: [] }]]) } })
    expect(() => test.source('lines').push([line('ada', 1, 1)])).toThrow(/not extensible|read only/)
  })

  it('says what there is when a name is not found', async () => {
    const test = await testJob(spend)
    expect(() => test.source('line')).toThrow('Cannot find source "line" in job "spend": it has "lines"')
    expect(() => test.map('hour')).toThrow('it has "tiers", "hours", "spend.dead-letters"')
    expect(() => test.rowsOf('nothing')).toThrow('Cannot find stage "nothing" in job "spend"')
    expect(() => test.source('lines').push([], { split: 3 })).toThrow('Cannot find split 3 of source "lines": it has 1')
  })

  it('goes step by step where the test wants it', async () => {
    const test = await testJob(spend, { manual: true, unitRows: 1 })
    test.source('lines').push([line('ada', 5, 1000), line('bob', 7, 2000)])
    expect(test.rowsOf('checked')).toEqual([])
    expect(test.step()).toBe(true)
    expect(test.rowsOf('checked')).toHaveLength(1)
    test.run()
    expect(test.rowsOf('checked')).toHaveLength(2)
    expect(test.step()).toBe(false)
  })

  it('gives the same outputs with any number of shards and any seed', async () => {
    const outputsOf = async (shards: number, seed: number | undefined, unitRows?: number): Promise<unknown> => {
      const limits = { creditFrames: 1, waitingRowsMax: 4, frameRowsMax: 3 }
      const options = {
        shards,
        splits: 2,
        limits,
        cutOffs: 0.2,
        ...(seed === undefined ? {} : { seed }),
        ...(unitRows === undefined ? {} : { unitRows }),
      }
      const test = await testJob(spend, options)
      for (let i = 0; i < 60; i += 1) {
        test.source('lines').push([line(`c-${i % 7}`, i, i * 100_000), line(`c-${i % 3}`, -i, i * 100_000)], { split: i % 2 })
      }
      test.end()
      const sorted = (rows: readonly unknown[]): readonly string[] => rows.map(one => JSON.stringify(one)).sort()
      return { hours: sorted(test.map('hours').values()), letters: test.deadLetters().length, quiet: sorted(test.rowsOf('quiet')).length }
    }
    const expected = await outputsOf(1, undefined)
    for (let seed = 1; seed <= 10; seed += 1) {
      expect(await outputsOf(1 + (seed % 3), seed), `seed ${seed}`).toEqual(expected)
      expect(await outputsOf(3, seed, 1), `seed ${seed}`).toEqual(expected)
    }
  })
})

describe('a job under test that crashes', () => {
  const totals = defineJob('totals', { onError: 'fail' }, flow => {
    flow
      .source('lines', generator({ events: none }))
      .eventTime(l => l.at)
      .keyBy('by customer', Customer, l => l.customer)
      .aggregate('total', { spend: sum(l => l.amount) })
      .sink('to totals', flow.map('totals', Customer))
  })

  it('goes on from its last checkpoint: what came after it is read again, and handed on once', async () => {
    const test = await testJob(totals)
    test.source('lines').push([line('ada', 5, 1), line('bob', 1, 2)])
    const { n, records } = await test.checkpoint()
    expect(n).toBe(2)
    expect(records).toBeGreaterThanOrEqual(2)
    test.source('lines').push([line('ada', 7, 3)])
    expect(test.takeRowsOf('total')).toHaveLength(3)
    test.crash()
    expect(test.attempt).toBe(2)
    expect(test.takeRowsOf('total')).toEqual([{ key: 'ada', spend: 12 }])
    test.end()
    expect(test.status).toBe('completed')
    expect(test.rowsOf('total')).toEqual([
      { key: 'ada', spend: 5 },
      { key: 'bob', spend: 1 },
      { key: 'ada', spend: 12 },
    ])
  })

  it('starts anew without a checkpoint, on other shards where it is told to', async () => {
    const test = await testJob(totals, { shards: 3 })
    test.source('lines').push([line('ada', 5, 1)])
    test.crash({ shards: 2 })
    test.source('lines').push([line('ada', 2, 2)])
    expect(test.map('totals').get('ada')).toEqual({ key: 'ada', spend: 7 })
  })

  it('counts rows twice where at-least-once allows it, and ends where nothing is promised', async () => {
    const none = await testJob(totals, { guarantee: 'none' })
    none.source('lines').push([line('ada', 5, 1)])
    await expect(none.checkpoint()).rejects.toThrow('the job runs with guarantee "none"')
    none.crash()
    expect(none.status).toBe('failed')
    expect(() => none.advanceTo(5)).toThrow('with guarantee "none" it does not go on')
    const often = await testJob(totals, { guarantee: 'at-least-once' })
    often.source('lines').push([line('ada', 5, 1)])
    await often.checkpoint()
    often.crash()
    expect(often.rowsOf('total')).toEqual([{ key: 'ada', spend: 5 }])
  })

  it('takes checkpoints as its clock goes on', async () => {
    const test = await testJob(totals, { checkpointEvery: '1s' })
    test.source('lines').push([line('ada', 5, 1)])
    test.pass('3500ms')
    test.crash()
    expect(test.takeRowsOf('total')).toEqual([{ key: 'ada', spend: 5 }])
    expect((await test.checkpoint()).n).toBe(1)
  })

  it('crashes in the midst of a checkpoint, which then never was', async () => {
    const test = await testJob(totals, { manual: true, shards: 2 })
    test.source('lines').push([line('ada', 5, 1)])
    test.run()
    test.beginCheckpoint()
    test.step()
    test.crash()
    test.run()
    expect(test.rowsOf('total')).toEqual([{ key: 'ada', spend: 5 }])
  })

  it('fails an attempt of which a unit was cut off when nothing can be undone, rather than count it twice', async () => {
    const test = await testJob(totals, { seed: 1, cutOffs: 1 })
    expect(() => test.source('lines').push([line('ada', 5, 1), line('ada', 5, 2)])).toThrow('cut off')
    expect(test.status).toBe('failed')
  })
})
