import { describe, expect, it } from 'vitest'
import type { Epoch, NodeId, ShardId } from '../../../src/base/ids.ts'
import type { ClusterState, PartitionRecord, Replica } from '../../../src/membership/cluster-state.ts'
import { checkJobName, type JobRecord, jobDocument, primariesDigest } from '../../../src/node/job-record.ts'
import { newRun, withStatus } from '../../../src/streaming/master/record.ts'
import { mergeStages } from '../../../src/streaming/execution/progress.ts'
import type { ShardProgress, StageProgress } from '../../../src/streaming/assignment.ts'

const stage = (change: Partial<StageProgress>): StageProgress => ({
  name: 'lines',
  kind: 'source',
  tasks: 1,
  rowsIn: 0,
  rowsOut: 0,
  deadLetters: 0,
  late: 0,
  watermark: null,
  stateBytes: 0,
  busyMs: 0,
  blockedMs: 0,
  batches: [],
  ...change,
})
const shard = (status: ShardProgress['status'], stages: readonly StageProgress[] = []): ShardProgress => ({ status, stages })

describe('progress of a job', () => {
  it('adds the figures of the shards and takes the least watermark that there is', () => {
    const shards = [
      shard('running', [stage({ rowsOut: 2, watermark: 50 }), stage({ name: 'sink' })]),
      shard('running', [stage({ rowsOut: 3, watermark: 40, tasks: 2 })]),
      shard('completed', [stage({ rowsOut: 1, watermark: null })]),
    ]
    expect(mergeStages(shards.map(({ stages }) => stages))).toEqual([
      stage({ rowsOut: 6, tasks: 4, watermark: 40 }),
      stage({ name: 'sink' }),
    ])
  })
})

describe('the document of a job', () => {
  const record: JobRecord = {
    name: 'j',
    id: 'i',
    hash: 'h',
    checkpointIntervalMs: 1000,
    warnings: [],
    run: newRun('exactly-once'),
    argsJson: '',
    submittedAtMs: 5,
    nodes: [],
    primaries: '',
    stages: [],
  }

  it('has the fields that other programs read, and no more than it knows', () => {
    expect(jobDocument(record)).toEqual({
      name: 'j',
      id: 'i',
      status: 'starting',
      guarantee: 'exactly-once',
      submittedAt: 5,
      restarts: 0,
      checkpoint: null,
      checkpoints: 0,
      warnings: [],
      stages: [],
    })
  })

  it('says why and where it failed', () => {
    const run = withStatus(record.run, 'failed', { message: 'no', stage: 's', functionStack: 'at' })
    const failed: JobRecord = { ...record, run, endedAtMs: 9 }
    expect(jobDocument(failed)).toMatchObject({ status: 'failed', endedAt: 9, failure: 'no', failedStage: 's', failureStack: 'at' })
  })
})

describe('a job name', () => {
  it('is short and plain', () => {
    for (const name of ['retail-360', 'a', 'A.b_c-9']) expect(() => checkJobName(name)).not.toThrow()
    for (const name of ['', '-a', 'a/b', 'a b', 'x'.repeat(101)]) expect(() => checkJobName(name)).toThrow(/job name/)
  })
})

it('the digest of primaries changes with a primary, and with nothing else', () => {
  const replica = (name: string): Replica => ({ node: name as NodeId, shard: `${name}/0` as ShardId })
  const stateOf = (primary: Replica | undefined, change: Partial<PartitionRecord> = {}): ClusterState => ({
    cluster: 'c',
    partitionCount: 1,
    leader: undefined,
    members: [],
    partitions: [{ epoch: 1 as Epoch, primary, backups: [], inSync: [], ...change }],
  })
  const digest = primariesDigest(stateOf(replica('a')))
  expect(primariesDigest(stateOf(replica('a'), { epoch: 7 as Epoch, backups: [replica('b')] }))).toBe(digest)
  expect(primariesDigest(stateOf(replica('b')))).not.toBe(digest)
  expect(primariesDigest(stateOf(undefined))).not.toBe(digest)
})
