/** The driver of one job on a cluster of one node whose answers the test gives. */
import { expect, it } from 'vitest'
import type { ClusterView } from '../../../src/membership/cluster-state.ts'
import { EmbeddedCoordinator } from '../../../src/coordinator/embedded.ts'
import { coordinatorKeys } from '../../../src/membership/cluster-state.ts'
import { NearstateError } from '../../../src/base/errors.ts'
import type { JobRecord } from '../../../src/node/job-record.ts'
import { JobRun, type JobRunNeeds } from '../../../src/node/job-run.ts'
import type { NodeControl } from '../../../src/node/node-control.ts'
import { encodeJson } from '../../../src/node/watched-table.ts'
import { newRun } from '../../../src/streaming/master/record.ts'

const shard = { id: 'a.0#1', address: 'a:1' }
const member = { name: 'a', id: 'a#1', status: 'alive', shards: [shard] }
const view = {
  version: 1,
  state: { members: [member], partitions: [{ primary: { node: 'a#1', shard: shard.id } }] },
} as unknown as ClusterView

it('starts another attempt when a shard has lost the one that stood ready there', async () => {
  const record: JobRecord = {
    name: 'j',
    id: 'r1',
    hash: 'h',
    argsJson: '',
    checkpointIntervalMs: 1000,
    warnings: [],
    submittedAtMs: 0,
    run: newRun('exactly-once'),
    nodes: [],
    primaries: '',
    stages: [],
  }
  const coordinator = new EmbeddedCoordinator({ clock: { nowMs: () => performance.now(), wallTimeMs: () => Date.now() } })
  const written = await coordinator.compareAndSet(coordinatorKeys.job('j'), 0, encodeJson(record))
  if (written.kind !== 'done') throw new Error('not written')
  const ran: number[] = []
  const control = {
    jobProgress: () => Promise.resolve({ json: '[]' }),
    openJob: () => Promise.resolve({ graphHashes: ['g'], splitsJson: [] }),
    startJob: () => Promise.resolve({}),
    stopJob: () => Promise.resolve({}),
    barrierJob: () => new Promise<never>(() => {}),
    runJob: ({ attempt }: { attempt: number }) => {
      ran.push(attempt)
      return attempt === 1 ? Promise.reject(new NearstateError('NOT_FOUND', 'not ready')) : Promise.resolve({})
    },
  } as unknown as NodeControl
  const run = new JobRun({
    coordinator,
    record,
    version: written.version,
    view: () => view,
    controlOf: () => control,
    describe: () => Promise.resolve({ name: 'j', graphJson: '', graphHash: 'g', graph: { name: 'j', stages: [], edges: [] } }),
    createId: () => 'm1',
    clock: { nowMs: () => performance.now(), wallTimeMs: () => Date.now() },
    log: { debug() {}, info() {}, warn() {}, error() {} },
    tell: () => {},
    onOver: () => {},
  } as unknown as JobRunNeeds & ConstructorParameters<typeof JobRun>[0])
  run.begin()
  await run.started
  run.abandon()
  expect(ran).toEqual([1, 2])
})
