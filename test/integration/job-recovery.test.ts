/** Jobs on real processes that die, join and stop: the output is that of a run in which nothing happened. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { present } from '../../src/base/assert.ts'
import { redundancy } from '../../src/cli/demo-fault.ts'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import type { JobHandle, JobStatus } from '../../src/client/jobs.ts'
import { defineKey, defineTupleKey } from '../../src/keys/key-space.ts'
import { type DevCluster, startDevCluster } from '../../src/node/dev.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

const events = 60_000
const pace = 6000
const keys = 50
/** Counts, windows, and a process stage with timers: state that a row read twice, or not at all, would show in. */
const job = `
import { count, defineJob, defineKey, defineTupleKey, generator, sum, tumbling } from 'nearstate/stream'
const Id = defineKey('id', 'int64')
const IdAt = defineTupleKey('id-at', Id, { at: 'int64' })
export default defineJob('recovery', {}, flow => {
  const keyed = flow
    .source('events', generator({ events: n => ({ n, id: (n * 7) % ${keys}, at: n * 10 }), count: ${events}, splits: 3, ratePerSecond: ${pace} }))
    .eventTime(row => row.at)
    .keyBy('by id', Id, row => row.id)
  keyed.window('per 10 s', tumbling('10s'), { n: count(), s: sum(row => row.n) }).sink('to windows', flow.map('windows', IdAt), row => [row.windowStart])
  keyed.aggregate('totals', { n: count(), s: sum(row => row.n) }).sink('to totals', flow.map('totals', Id))
})
`

const Id = defineKey('id', 'int64')
const IdAt = defineTupleKey('id-at', Id, { at: 'int64' })
interface Sums {
  readonly n: number
  readonly s: number
}

function expected(): { readonly totals: Map<number, Sums>; readonly windows: Map<string, Sums> } {
  const totals = new Map<number, Sums>()
  const windows = new Map<string, Sums>()
  const add = <K>(map: Map<K, Sums>, key: K, n: number): void => {
    const { n: count, s } = map.get(key) ?? { n: 0, s: 0 }
    map.set(key, { n: count + 1, s: s + n })
  }
  for (let n = 0; n < events; n += 1) {
    const id = (n * 7) % keys
    add(totals, id, n)
    add(windows, `${id} ${Math.floor((n * 10) / 10_000) * 10_000}`, n)
  }
  return { totals, windows }
}

let cluster: DevCluster
let grid: Grid
let folder: string
let file: string

async function start(nodes: number, backups = 1): Promise<void> {
  const flags = ['--partitions', '60', '--backups', String(backups)]
  cluster = await startDevCluster({ nodes, shards: 1, port: 0, replace: false, logLevel: 'error', flags })
  grid = await connect({ endpoints: cluster.endpoints, requestTimeout: '20s' })
  await redundancy(grid, new AbortController().signal)
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nearstate-'))
  file = join(folder, 'job.ts')
  writeFileSync(file, job)
})

afterEach(async () => {
  await grid.close()
  await cluster.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function until(submitted: JobHandle, wanted: (status: JobStatus) => boolean): Promise<JobStatus> {
  for (;;) {
    const status = await submitted.status()
    if (status.failure !== undefined && status.status === 'failed') throw new Error(status.failure)
    if (wanted(status)) return status
    await sleep(100)
  }
}

const kill = (name: string): void => {
  process.kill(
    present(
      cluster.nodes.find(node => node.name === name),
      name,
    ).pid,
    'SIGKILL',
  )
}

async function expectRightOutput(submitted: JobHandle): Promise<JobStatus> {
  const status = await submitted.ended()
  expect(status).toMatchObject({ status: 'completed', guarantee: 'exactly-once' })
  const { totals, windows } = expected()
  const foundTotals = new Map<number, Sums>()
  for await (const [id, { n, s }] of grid.map<typeof Id, Sums>('totals', Id).scan()) foundTotals.set(id as number, { n, s })
  expect(foundTotals).toEqual(totals)
  const foundWindows = new Map<string, Sums>()
  for await (const [[id, at], { n, s }] of grid.map<typeof IdAt, Sums>('windows', IdAt).scan()) foundWindows.set(`${id} ${at}`, { n, s })
  expect(foundWindows).toEqual(windows)
  const source = present(
    status.stages.find(({ name }) => name === 'events'),
    'the source',
  )
  expect(source.rowsOut).toBe(events)
  return status
}

describe('a job with checkpoints', () => {
  it('goes on from the last one when a node, and then the leader, are killed', async () => {
    await start(4, 2)
    const { leader } = grid.cluster.describe()
    const submitted = await grid.jobs.submit(file)
    await until(submitted, ({ checkpoints }) => checkpoints >= 2)
    const victim = present(
      cluster.nodes.find(({ name }) => name !== leader),
      'a victim',
    ).name
    kill(victim)
    const { checkpoints } = await until(submitted, ({ restarts, status }) => restarts >= 1 && status === 'running')
    await until(submitted, now => now.checkpoints > checkpoints)
    kill(present(leader, 'a leader'))
    const status = await expectRightOutput(submitted)
    expect(status.restarts).toBeGreaterThanOrEqual(2)
  })

  it('is suspended and resumed where it was, and cancelled for good', async () => {
    await start(2)
    const submitted = await grid.jobs.submit(file, { checkpointInterval: '10s' })
    await until(submitted, ({ stages }) => (stages.find(({ name }) => name === 'events')?.rowsOut ?? 0) > 10_000)
    expect(await submitted.suspend()).toMatchObject({ status: 'suspended' })
    expect(await submitted.suspend()).toMatchObject({ status: 'suspended' })
    await expect(grid.jobs.submit(file)).rejects.toMatchObject({ code: 'ALREADY_EXISTS' })
    expect(await submitted.resume()).toMatchObject({ status: 'running' })
    const { restarts } = await expectRightOutput(submitted)
    expect(restarts).toBe(0)
    await expect(submitted.resume()).rejects.toMatchObject({ code: 'CONFLICT' })
    const again = await grid.jobs.submit(file)
    expect(await again.suspend()).toMatchObject({ status: 'suspended' })
    expect(await again.cancel()).toMatchObject({ status: 'cancelled' })
  })

  it('replays nothing when a node leaves in order', async () => {
    await start(3)
    const submitted = await grid.jobs.submit(file)
    await until(submitted, ({ checkpoints }) => checkpoints >= 1)
    const { leader } = grid.cluster.describe()
    const name = present(
      cluster.nodes.find(node => node.name !== leader),
      'a node',
    ).name
    await grid.cluster.leaveNode(name)
    const { restarts } = await expectRightOutput(submitted)
    expect(restarts).toBe(0)
  })
})
