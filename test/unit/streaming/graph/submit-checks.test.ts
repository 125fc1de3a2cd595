import { describe, expect, it } from 'vitest'
import { count, countWindow, defineJob, defineKey, type Flow, generator, row, session, sliding, sum } from '../../../../src/entry/stream.ts'
import { buildJob, type Job } from '../../../../src/streaming/graph/job.ts'
import type { JobGraph } from '../../../../src/streaming/graph/job-graph.ts'
import { checkSubmit, graphText, type KnownMap, submitError } from '../../../../src/streaming/graph/submit-checks.ts'

const Key = defineKey('k', 'string')
const customer: KnownMap = { keySpace: 'k', keyCodec: 'string' }

const graphOf = (build: (flow: Flow) => void): JobGraph => buildJob(defineJob('j', build) as Job<unknown>, undefined).graph

const keyed = (flow: Flow, events?: number) =>
  flow
    .source('rows', generator({ events: n => ({ k: String(n), v: n }), ...(events === undefined ? {} : { count: events }) }))
    .eventTime(r => r.v)
    .keyBy('by k', Key, r => r.k)

const reader = graphOf(flow => {
  keyed(flow)
    .enrich('with tier', flow.map('tiers', Key), r => r)
    .sink('out', flow.map('out', Key))
})
const found = (graph: JobGraph, maps: Readonly<Record<string, KnownMap>>, createsMaps = true) =>
  checkSubmit(graph, { mapOf: name => maps[name], createsMaps }).filter(({ stage }) => stage !== 'dead-letters')

describe('a job at submit', () => {
  it('has nothing against it when its maps are there with its keys', () => {
    expect(found(reader, { tiers: customer, out: customer })).toEqual([])
  })

  it('is refused for maps that are missing where none are made, naming each stage', () => {
    const findings = found(reader, {}, false)
    expect(findings.map(({ level, stage }) => [level, stage])).toEqual([
      ['error', 'with tier'],
      ['error', 'out'],
    ])
    expect(submitError('j', findings)?.message).toBe(
      'Cannot submit job "j": stage "with tier": map "tiers" does not exist; create it first; stage "out": map "out" does not exist; create it first',
    )
  })

  it('is warned of a map that it reads and nobody has written', () => {
    const findings = found(reader, {})
    expect(findings).toMatchObject([{ level: 'warning', stage: 'with tier' }])
    expect(submitError('j', findings)).toBeUndefined()
  })

  it.each([
    ['another space', { keySpace: 'country', keyCodec: 'string' }],
    ['another codec', { keySpace: 'k', keyCodec: 'int64' }],
  ] as const)('is refused for a map whose keys are of %s', (_, tiers) => {
    expect(found(reader, { tiers, out: customer })).toMatchObject([
      { level: 'error', stage: 'with tier', message: expect.stringContaining(`keys of "${tiers.keySpace}" (${tiers.keyCodec})`) },
    ])
  })

  it('is warned of a map that it reads and writes', () => {
    const graph = graphOf(flow => {
      const tiers = flow.map('tiers', Key)
      keyed(flow)
        .enrich('with tier', tiers, r => r)
        .sink('to tiers', tiers)
    })
    expect(found(graph, { tiers: customer })).toMatchObject([
      { level: 'warning', stage: 'with tier', message: expect.stringContaining('"to tiers" of the same job writes') },
    ])
  })

  const growing = (events?: number): JobGraph =>
    graphOf(flow => {
      const rows = keyed(flow, events)
      const stateless = { state: () => 0, onEvent: () => undefined }
      rows.aggregate('aggregate', { n: count() })
      rows.reduce('reduce', a => a)
      rows.reduce('reduce with ttl', a => a, { ttl: '1h' })
      rows.dedupe('dedupe')
      rows.dedupe('dedupe with ttl', { ttl: '1h' })
      rows.topN('topN', 3, (a, b) => a.v - b.v)
      rows.topN('topN of windows', 3, (a, b) => a.v - b.v, { window: sliding('1h', '10m') })
      rows.window('row windows', countWindow(5), { n: count() })
      rows.window('rows with ttl', countWindow(5, { ttl: '1h' }), { n: count() })
      rows.window('sessions', session('1h'), { n: count() })
      rows.process('process', { emits: row<number>(), ...stateless })
      rows.process('process with ttl', { emits: row<number>(), ttl: '1h', ...stateless })
    })

  it('is warned of state that grows with the keys of an endless input, stage by stage', () => {
    const findings = found(growing(), {})
    expect(findings.every(({ level }) => level === 'warning')).toBe(true)
    expect(findings.map(({ stage }) => stage)).toEqual(['aggregate', 'reduce', 'dedupe', 'topN', 'row windows', 'process'])
  })

  it('is not warned of it where the input ends', () => {
    expect(found(growing(100), {})).toEqual([])
  })
})

it('shows a graph as text', () => {
  const graph = graphOf(flow => {
    const rows = keyed(flow)
    rows.window('w', sliding('1h', '5m'), { spend: sum(r => r.v) }, { allowedLateness: '10s' }).late('late')
    rows.joinInterval('pairs', rows, { before: '0s', after: '30s', type: 'left' }, l => l)
  })
  expect(graphText({ ...graph, stages: graph.stages.filter(({ kind }) => kind !== 'deadLetters') })).toBe(
    [
      'job "j", on error: fail, on broken rows: deadLetter',
      'rows   source                       generator; event time, out of order by 0ms',
      'by k   keyBy         <- rows        k (string)',
      'w      window        <- by k        sliding 1h every 5m; spend: sum; late by 10s',
      'late   late          <- w',
      'pairs  joinInterval  <- by k, by k  left; 0ms before to 30s after',
    ].join('\n'),
  )
})
