import { describe, expect, it } from 'vitest'
import {
  count,
  collect,
  defineJob,
  defineKey,
  defineTupleKey,
  files,
  type FilesOptions,
  type Flow,
  generator,
  type GeneratorOptions,
  sum,
  type TextRow,
  countWindow,
  session,
  sliding,
  tumbling,
} from '../../../src/entry/stream.ts'
import { buildJob } from '../../../src/streaming/graph/job.ts'
import { graphHash, parseGraph } from '../../../src/streaming/graph/job-graph.ts'
import { memorySource } from './fixture.ts'

interface Row {
  readonly k: string
  readonly at: number
}

const Customer = defineKey('customer', 'string')
const Country = defineKey('country', 'string')
const Day = defineTupleKey('country-day', Country, { day: 'string' })

/** Builds as a JavaScript user would: without types. */
const build = (describe: (flow: Flow, keyed: never, rows: never) => void): (() => unknown) => {
  return () =>
    buildJob(
      defineJob('j', flow => {
        const rows = flow.source('rows', memorySource<Row>()).eventTime(r => r.at)
        const keyed = rows.keyBy('keyed', Customer, r => r.k)
        describe(flow, keyed as never, rows as never)
      }),
      undefined,
    )
}

interface Untyped {
  [method: string]: (...args: unknown[]) => Untyped
}

const timeless = (flow: Untyped): Untyped | undefined => flow['source']?.('s', memorySource())['keyBy']?.('k', Customer, () => 'x')
const stamped = (flow: Untyped): Untyped | undefined => flow['source']?.('s', memorySource())['eventTime']?.(() => 0)

describe('building a job', () => {
  it('gives a graph that is plain data and the same every time', () => {
    const job = defineJob('orders', { onError: 'skip' }, flow => {
      flow
        .source('lines', files({ path: 'a/*.csv', format: 'csv' }))
        .eventTime(() => 0, { outOfOrderness: '5s', idleAfter: '1m' })
        .keyBy('by country', Country, r => String(r['country']))
        .window('days', tumbling('1d'), { n: count() })
        .sink('out', flow.map('days', Day), () => ['x'])
    })
    const { graphJson } = buildJob(job, undefined)
    expect(parseGraph(graphJson)).toEqual({
      name: 'orders',
      onError: 'skip',
      onBrokenRow: 'skip',
      stages: [
        {
          name: 'lines',
          kind: 'source',
          inputs: [],
          source: {
            connector: 'files',
            options: { path: 'a/*.csv', format: 'csv' },
            eventTime: { outOfOrdernessMs: 5000, idleAfterMs: 60_000 },
          },
        },
        { name: 'by country', kind: 'keyBy', inputs: ['lines'], key: { space: 'country', codec: 'string' } },
        {
          name: 'days',
          kind: 'window',
          inputs: ['by country'],
          key: { space: 'country', codec: 'string' },
          window: { kind: 'tumbling', sizeMs: 86_400_000 },
          aggregates: { n: 'count' },
        },
        {
          name: 'out',
          kind: 'sink',
          inputs: ['days'],
          key: { space: 'country', codec: 'string' },
          sink: { map: 'days', keySpace: 'country-day', keyCodec: ['tuple', 'string', 'string'] },
        },
      ],
    })
    expect(graphHash(graphJson)).toBe(graphHash(buildJob(job, undefined).graphJson))
    expect(graphHash(graphJson)).toMatch(/^[0-9a-f]{16}$/)
    expect(graphHash(graphJson)).not.toBe(graphHash(graphJson.replace('days', 'dayz')))
  })

  it('lets broken records become dead letters and user code fail the job, unless told otherwise', () => {
    const build = (flow: Flow): void => void flow.source('rows', memorySource<Row>())
    const rules = (onError?: 'fail' | 'skip' | 'deadLetter'): unknown => {
      const { graph } = buildJob(defineJob('j', onError === undefined ? {} : { onError }, build), undefined)
      return [graph.onError, graph.onBrokenRow, graph.stages.at(-1)?.kind]
    }
    expect(rules()).toEqual(['fail', 'deadLetter', 'deadLetters'])
    expect(rules('fail')).toEqual(['fail', 'fail', 'source'])
    expect(rules('skip')).toEqual(['skip', 'skip', 'source'])
    expect(rules('deadLetter')).toEqual(['deadLetter', 'deadLetter', 'deadLetters'])
  })

  const refusals: readonly (readonly [string, (flow: Untyped, keyed: Untyped, rows: Untyped) => unknown, RegExp])[] = [
    ['a stage name twice', (_f, _k, rows) => rows['map']?.('keyed', () => 1), /stage "keyed": another stage has this name/],
    ['an empty stage name', (_f, _k, rows) => rows['map']?.(' ', () => 1), /needs a name/],
    ['no function', (_f, _k, rows) => rows['map']?.('m', 7), /stage "m": map must be a function/],
    ['an async function', (_f, _k, rows) => rows['map']?.('m', async () => 1), /stage "m": map is asynchronous/],
    [
      'an async onEvent',
      (_f, k) => k['process']?.('p', { state: () => 0, onEvent: async () => undefined }),
      /stage "p": onEvent is asynchronous/,
    ],
    [
      'a sink without key',
      (f, _k, rows) => rows['sink']?.('s', f['map']?.('m', Customer)),
      /stage "s": sink needs a key, and "rows" has none/,
    ],
    ['a sink with another key', (f, k) => k['sink']?.('s', f['map']?.('m', Country)), /key space "country", the stage has "customer"/],
    [
      'a tuple map placed by another key',
      (f, k) => k['sink']?.('s', f['map']?.('m', Day), () => ['x']),
      /placed by "country", the stage has "customer"/,
    ],
    [
      'a tuple map without its other elements',
      (f, _k, rows) => rows['keyBy']?.('c', Country, () => 'x')['sink']?.('s', f['map']?.('m', Day)),
      /stage "s": the function that gives the other elements of the key must be a function/,
    ],
    [
      'an enrich from elsewhere',
      (f, k) => k['enrich']?.('e', f['map']?.('m', Country), () => 1),
      /stage "e": map "m" has key space "country"/,
    ],
    ['something that is no map', (_f, k) => k['sink']?.('s', { name: 'm' }), /stage "s": a map is wanted/],
    ['something that is no key space', (_f, _k, rows) => rows['keyBy']?.('k', 'customer', () => 'x'), /stage "k": a key space is wanted/],
    [
      'one map with two keys',
      f => [f['map']?.('m', Customer), f['map']?.('m', Country)],
      /map "m" has key space "country" here and "customer" elsewhere/,
    ],
    [
      'one key space with two codecs',
      f => f['map']?.('m', defineKey('customer', 'int64')),
      /key space "customer" is int64 here and string elsewhere/,
    ],
    ['a system map', f => f['map']?.('__bundles', Customer), /belong to the system/],
    [
      'a window without event time',
      f => timeless(f)?.['window']?.('w', tumbling('1s'), { n: count() }),
      /stage "w": a window needs event time/,
    ],
    ['a window of nothing', (_f, k) => k['window']?.('w', tumbling('1s'), {}), /stage "w": at least one aggregate/],
    ['an aggregate named key', (_f, k) => k['aggregate']?.('a', { key: count() }), /cannot be named "key"/],
    ['something that is no aggregate', (_f, k) => k['aggregate']?.('a', { n: () => 1 }), /"n" is no aggregate/],
    [
      'a window spec of a later release',
      (_f, k) => k['window']?.('w', { kind: 'sliding', sizeMs: 1 }, { n: count() }),
      /stage "w": a window is wanted: tumbling/,
    ],
    [
      'a merge of two keys',
      (_f, k, rows) =>
        k['merge']?.(
          'm',
          rows['keyBy']?.('c', Country, () => 'x'),
        ),
      /"keyed" has key space "customer".*rekey/,
    ],
    ['a merge with nothing', (_f, k) => k['merge']?.('m', 7), /merge wants another stage/],
    ['rejected rows of a map', (_f, _k, rows) => rows['map']?.('m', () => 1)['rejected']?.('r'), /stage "r": only a require stage/],
    ['late rows of a map', (_f, k) => k['map']?.('m', () => 1)['late']?.('l'), /stage "l": only windows of time, joins and dedupe/],
    [
      'a bad duration',
      f => f['source']?.('s', memorySource())['eventTime']?.(() => 0, { idleAfter: '5 parsecs' }),
      /idleAfter of stage "s" "5 parsecs"/,
    ],
    ['event time twice', f => stamped(f)?.['eventTime']?.(() => 0), /event time is set already/],
    [
      'an unknown option of eventTime',
      f => f['source']?.('s', memorySource())['eventTime']?.(() => 0, { outOfOrder: '5s' }),
      /stage "s": eventTime: there is no option "outOfOrder"; outOfOrderness and idleAfter are/,
    ],
    [
      'eventTime options that are none',
      f => f['source']?.('s', memorySource())['eventTime']?.(() => 0, '5s'),
      /must be an object, got string/,
    ],
    [
      'an option of keyBy',
      (_f, _k, rows) => rows['keyBy']?.('c', Country, () => 'x', { parallelism: 2 }),
      /stage "c": keyBy takes a name, a key space and a function, and nothing else/,
    ],
    ['an option of rekey', (_f, k) => k['rekey']?.('c', Country, () => 'x', {}), /stage "c": rekey takes/],
    [
      'an option of a tuple sink',
      (f, _k, rows) =>
        rows['keyBy']?.('c', Country, () => 'x')['sink']?.('s', f['map']?.('m', Day), () => ['x'], { visble: 'onCheckpoint' }),
      /stage "s": a sink: there is no option "visble"/,
    ],
    [
      'an option of a sink',
      (f, k) => k['sink']?.('s', f['map']?.('m', Customer), { visible: 'never' }),
      /visible is "never", "atOnce" or "onCheckpoint" is wanted/,
    ],
    ['an option of a map', f => f['map']?.('m', Customer, undefined, { ttl: '1h' }), /stage "m": flow.map takes/],
    ['an option of a source', f => f['source']?.('s', memorySource(), {}), /stage "s": source takes/],
    [
      'an unknown field of a window',
      (_f, k) => k['window']?.('w', { ...tumbling('1h'), offsetMs: 5 }, { n: count() }),
      /stage "w": its window: there is no option "offsetMs"/,
    ],
    ['a window of no size', (_f, k) => k['window']?.('w', { kind: 'tumbling', sizeMs: 0 }, { n: count() }), /a window is wanted/],
    [
      'an option of a window stage',
      (_f, k) => k['window']?.('w', tumbling('1h'), { n: count() }, { lateness: '1h' }),
      /no option "lateness"/,
    ],
    ['a sliding window of too many panes', () => sliding('1d', '7ms'), /panes, the limit is 10000/],
    ['a session as a window of a join', (_f, k) => k['joinWindow']?.('j', k, { window: session('1m') }, () => 0), /fixed size is wanted/],
    ['a join of an unknown type', (_f, k) => k['joinWindow']?.('j', k, { window: tumbling('1m'), type: 'right' }, () => 0), /got "right"/],
    ['an interval without an end', (_f, k) => k['joinInterval']?.('j', k, { before: '1m' }, () => 0), /after must be a duration/],
    ['a join with no stage', (_f, k) => k['joinInterval']?.('j', {}, { before: '1m', after: '1m' }, () => 0), /wants another stage/],
    ['a broadcast join', (_f, k) => k['broadcastJoin']?.('b'), /need a replicated map, which there is none of yet/],
    ['calls without end', (_f, k) => k['mapAsync']?.('m', async () => 1, { inFlight: 0 }), /inFlight is 0, a whole number from 1 to 10000/],
    [
      'an order of lookups',
      (f, k) =>
        k['lookup']?.(
          'l',
          f['map']?.('m', Customer),
          () => 'x',
          () => 0,
          { ordered: false },
        ),
      /no option "ordered"/,
    ],
    ['a log of too much', (_f, k) => k['log']?.('l', { perSecond: 101 }), /perSecond is 101, a whole number from 1 to 100/],
    ['other elements of a sink that is no map', (_f, k) => k['sink']?.('s', collect(), () => []), /only a sink into a map has keys/],
    ['rows set aside by a map', (_f, k) => k['map']?.('m', (r: unknown) => r)['aside']?.('a'), /only a sideOutput stage/],
    ['a ranking of nothing', (_f, k) => k['topN']?.('t', 0, () => 0), /topN keeps 0 rows/],
    ['a ttl of a ranking of windows', (_f, k) => k['topN']?.('t', 1, () => 0, { window: tumbling('1m'), ttl: '1m' }), /has no ttl/],
    ['a time to live of nothing', (_f, k) => k['reduce']?.('r', (a: unknown) => a, { ttl: '0s' }), /at least "1ms"/],
    ['late rows of a window of rows', (_f, k) => k['window']?.('w', countWindow(2), { n: count() })['late']?.('l'), /only windows of time/],
    [
      'lateness of a window of rows',
      (_f, k) => k['window']?.('w', countWindow(2), { n: count() }, { early: '1s' }),
      /no option "early"; it has none/,
    ],
    [
      'a misspelt function of process',
      (_f, k) => k['process']?.('p', { state: () => 0, onEvent: () => undefined, ontimer: () => undefined }),
      /stage "p": process: there is no option "ontimer"; state, onEvent, onTimer, onWallTimer, upgrade, emits and ttl are/,
    ],
    ['no source', f => f['source']?.('s', {}), /stage "s": a source is wanted/],
  ]
  for (const [what, mistake, message] of refusals) {
    it(`refuses ${what}, by name`, () => {
      expect(build((flow, keyed, rows) => void mistake(flow as unknown as Untyped, keyed, rows))).toThrow(message)
      expect(build((flow, keyed, rows) => void mistake(flow as unknown as Untyped, keyed, rows))).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
      )
    })
  }

  it('refuses operators that do not exist', () => {
    expect(build((_flow, keyed) => (keyed as unknown as { joinEverything(): void }).joinEverything())).toThrow(TypeError)
  })

  it('refuses stages that are added after the build', () => {
    let kept: Untyped | undefined
    build((_flow, keyed) => {
      kept = keyed
    })()
    expect(() => kept?.['map']?.('late comer', () => 1)).toThrow(/the build function has returned/)
  })

  it('refuses bad definitions', () => {
    const nothing = (): void => undefined
    expect(() => defineJob('no spaces please', nothing)).toThrow(/Cannot define job/)
    expect(() => defineJob('j', (async () => undefined) as unknown as () => void)).toThrow(/asynchronous/)
    expect(() => defineJob('j', { onErr: 1 } as object, nothing)).toThrow(/no option "onErr"/)
    expect(() => defineJob('j', { onError: 'ignore' } as object, nothing)).toThrow(/"fail", "skip" or "deadLetter"/)
    expect(() => buildJob(defineJob('j', nothing), undefined)).toThrow(/has no stages/)
    expect(() => files({ path: [], format: 'csv' })).toThrow(/path/)
    expect(() => files({ path: 'x', format: 'xml' as 'csv' })).toThrow(/"csv" or "jsonl"/)
    expect(() => generator({ events: n => n, splits: 65 })).toThrow(/splits is 65, 1 to 64/)
    expect(() => generator({ events: n => n, count: -1 })).toThrow(/count/)
    expect(() => files({ path: 'x', format: 'csv', sep: ';' } as FilesOptions<TextRow> & { format: 'csv' })).toThrow(
      'Cannot make a files source: there is no option "sep"; path, format, row and ratePerSecond are',
    )
    expect(() => (files as () => unknown)()).toThrow('Cannot make a files source: its options must be an object, got undefined')
    expect(() => generator({ events: n => n, rate: 5 } as GeneratorOptions<number>)).toThrow(
      'Cannot make a generator source: there is no option "rate"; events, count, ratePerSecond and splits are',
    )
    expect(() => (tumbling as (...args: unknown[]) => unknown)('1h', { offset: '5m' })).toThrow(/tumbling takes its size and nothing else/)
    expect(() => defineJob('j', nothing as unknown as object, { onError: 'skip' } as unknown as () => void)).toThrow(
      /its options come before the function/,
    )
    expect(() => tumbling('5 parsecs' as '5s')).toThrow(/window size "5 parsecs"/)
    expect(() => tumbling('0s')).toThrow(/at least "1ms"/)
  })

  it('checks arguments by their schema and says what is wrong with them', () => {
    const schema = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: (value: unknown) =>
          typeof value === 'object' && value !== null && 'n' in value ? { value } : { issues: [{ message: 'is missing', path: ['n'] }] },
      },
    }
    let seen: unknown
    const job = defineJob('j', { args: schema }, (flow, args) => {
      seen = args
      flow
        .source('rows', memorySource<Row>())
        .keyBy('k', Customer, r => r.k)
        .aggregate('a', { s: sum(() => 1) })
    })
    buildJob(job, { n: 1 })
    expect(seen).toEqual({ n: 1 })
    expect(() => buildJob(job, {})).toThrow('Cannot build job "j": arguments: n: is missing')
    expect(() =>
      buildJob(
        defineJob('j', flow => void flow.source('rows', memorySource<Row>())),
        { n: 1 },
      ),
    ).toThrow(/takes no arguments/)
  })
})
