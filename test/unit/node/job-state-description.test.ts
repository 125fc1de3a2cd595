import { describe, expect, it } from 'vitest'
import { collect, count, defineJob, defineKey, generator, session, tumbling } from '../../../src/entry/stream.ts'
import type { JobRecord } from '../../../src/node/job-record.ts'
import { collectingStages, describeKeptRows, describeState } from '../../../src/node/job-state-description.ts'
import { buildJob } from '../../../src/streaming/graph/job.ts'
import { newRun, type RunRecord } from '../../../src/streaming/master/record.ts'

const Id = defineKey('id', 'int64')
const job = defineJob('kinds', {}, flow => {
  const events = flow.source('events', generator({ events: n => ({ n }) })).eventTime(({ n }) => n)
  const keyed = events.keyBy('by id', Id, ({ n }) => n)
  keyed.aggregate('sums', { b: count(), a: count() })
  keyed.reduce('latest', (_, event) => event)
  keyed.topN('best', 3, (a, b) => b.n - a.n)
  keyed.topN('best of hours', 3, (a, b) => b.n - a.n, { window: tumbling('1h') })
  keyed.window('visits', session('30m'), { n: count() })
  keyed.window('hours', tumbling('1h'), { n: count() })
  keyed.dedupe('firsts')
  events.sink('kept', collect())
})
const { graph } = buildJob(job, undefined, 'kinds')

const recordOf = (run: Partial<RunRecord>, collects: readonly string[] = []): JobRecord => ({
  name: 'kinds',
  id: 'id',
  hash: 'hash',
  argsJson: '',
  checkpointIntervalMs: 1000,
  warnings: [],
  collects,
  submittedAtMs: 0,
  run: { ...newRun('exactly-once'), status: 'running', attempt: 4, ...run },
  nodes: [],
  primaries: '',
  stages: [],
})
const running = recordOf({})

describe('how the state of a stage is to be read', () => {
  it('says what the stage keeps, by which keys', () => {
    const keys = { keySpace: 'id', keyCodec: 'int64' }
    expect(describeState(running, graph, 'sums')).toMatchObject({ kind: 'aggregate', ...keys })
    expect(Object.keys(describeState(running, graph, 'sums').aggregates ?? {})).toEqual(['b', 'a'])
    expect(describeState(running, graph, 'latest')).toMatchObject({ kind: 'reduce', ...keys })
    expect(describeState(running, graph, 'best')).toMatchObject({ kind: 'topN', ...keys })
    expect(describeState(running, graph, 'visits')).toMatchObject({ kind: 'session', gapMs: 1_800_000, ...keys })
    expect(describeState(running, graph, 'kept').keyCodec).toBe(undefined)
    expect(collectingStages(graph)).toEqual(['kept'])
  })

  it('refuses the others with the reason, and names those there are for one that is not', () => {
    const refusal = (stage: string) => () => describeState(running, graph, stage)
    expect(refusal('hours')).toThrow('a tumbling window keeps columns')
    expect(refusal('best of hours')).toThrow('keeps the rows of each window')
    expect(refusal('firsts')).toThrow('has no meaning outside')
    expect(refusal('by id')).toThrow('a keyBy stage keeps no state per key')
    expect(refusal('nope')).toThrow('those with state to read are sums, latest, best, visits, kept')
  })

  it('gives the last checkpoint where nothing can add one: below the attempt that may yet begin', () => {
    const settledOf = (run: Partial<RunRecord>): unknown => describeState(recordOf(run), graph, 'sums').settled
    const restore = { attempt: 3, n: 9 }
    expect(settledOf({ checkpoint: 5, restore })).toBe(undefined)
    expect(settledOf({ status: 'suspended', checkpoint: 5, restore })).toEqual({ attempt: 4, n: 5, lastAttempt: 4 })
    expect(settledOf({ status: 'suspended', checkpoint: 0, restore })).toEqual({ attempt: 3, n: 9, lastAttempt: 4 })
    expect(settledOf({ status: 'restarting', checkpoint: 0, restore })).toEqual({ attempt: 3, n: 9, lastAttempt: 3 })
    expect(settledOf({ status: 'starting', attempt: 0 })).toEqual({ attempt: 0, n: 0, lastAttempt: 0 })
    expect(describeState(recordOf({ guarantee: 'none', status: 'restarting' }), graph, 'sums')).toMatchObject({ hasCheckpoints: false })
  })

  it('of a job that has ended knows collected rows only, and those only when it has completed', () => {
    expect(describeKeptRows(running, 'kept')).toBe(undefined)
    const completed = recordOf({ status: 'completed', checkpoint: 5 }, ['kept'])
    expect(describeKeptRows(completed, 'kept')).toMatchObject({ kind: 'collect', isActive: false, settled: { attempt: 4, n: 5 } })
    expect(() => describeKeptRows(completed, 'sums')).toThrow('only rows that it has collected stay')
    expect(() => describeKeptRows(recordOf({ status: 'failed' }, ['kept']), 'kept')).toThrow('it went with the job')
  })
})
