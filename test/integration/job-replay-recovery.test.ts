/** Dead letters that are replayed while a node is killed: 2 nodes of 2 shards, each row counts once. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { present } from '../../src/base/assert.ts'
import { redundancy } from '../../src/cli/demo-fault.ts'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import type { JobHandle, JobStatus } from '../../src/client/jobs.ts'
import { defineKey } from '../../src/keys/key-space.ts'
import { type DevCluster, startDevCluster } from '../../src/node/dev.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

const Id = defineKey('id', 'int64')
const keys = 20
const count = 8000
/** Of the first 800 rows every tenth is refused until the map of its key says otherwise. */
const job = `
import { count, defineJob, defineKey, generator } from 'nearstate/stream'
const Id = defineKey('id', 'int64')
export default defineJob('again', { onError: 'deadLetter' }, flow => {
  flow
    .source('events', generator({ events: n => ({ n }), count: ${count}, splits: 4, ratePerSecond: 400 }))
    .keyBy('by id', Id, row => Math.floor(row.n / 10) % ${keys})
    .enrich('checked', flow.map('switch', Id), (row, isOn) => {
      if (row.n < 800 && row.n % 10 === 3 && isOn === undefined) throw new Error('is off')
      return row
    })
    .aggregate('counts', { n: count() })
    .sink('to counts', flow.map('counts', Id))
})
`

let cluster: DevCluster
let grid: Grid
let folder: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'nearstate-'))
  const flags = ['--partitions', '48', '--backups', '1']
  cluster = await startDevCluster({ nodes: 2, shards: 2, port: 0, replace: true, logLevel: 'error', flags })
  grid = await connect({ endpoints: cluster.endpoints, requestTimeout: '20s' })
  await redundancy(grid, new AbortController().signal)
})

afterAll(async () => {
  await grid?.close()
  await cluster?.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function until(submitted: JobHandle, wanted: (status: JobStatus) => boolean): Promise<JobStatus> {
  for (;;) {
    const status = await submitted.status()
    if (status.status === 'failed') throw new Error(status.failure)
    if (wanted(status)) return status
    await sleep(50)
  }
}

it('a node that is killed while letters are replayed makes none count twice, and none be lost', async () => {
  const file = join(folder, 'again.ts')
  writeFileSync(file, job)
  const submitted = await grid.jobs.submit(file, { checkpointInterval: '300ms' })
  const { checkpoints } = await until(submitted, ({ stages }) => (stages.find(({ name }) => name === 'checked')?.deadLetters ?? 0) === 80)
  // No crash takes these rows back.
  await until(submitted, status => status.checkpoints >= checkpoints + 2)
  for (let id = 0; id < keys; id += 1) await grid.map('switch', Id).set(id, true)
  const { leader } = grid.cluster.describe()
  const victim = present(
    cluster.nodes.find(({ name }) => name !== leader),
    'a victim',
  )
  const replaying = submitted.replayDeadLetters()
  await sleep(150)
  process.kill(victim.pid, 'SIGKILL')
  const first = await replaying
  await until(submitted, ({ restarts, status }) => restarts >= 1 && status === 'running')
  const second = await submitted.replayDeadLetters()
  expect({ replayed: first.replayed + second.replayed, failedAgain: first.failedAgain + second.failedAgain }).toEqual({
    replayed: 80,
    failedAgain: 0,
  })
  expect((await submitted.ended()).status).toBe('completed')
  for (let id = 0; id < keys; id += 1) expect(await grid.map('counts', Id).get(id)).toEqual({ key: id, n: count / keys })
  for await (const letter of submitted.deadLetters()) expect(letter).toBe(undefined)
})
