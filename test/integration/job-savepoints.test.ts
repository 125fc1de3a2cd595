/** Savepoints on real processes: a job goes on as newer code, on other nodes, as if nothing had happened. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { present } from '../../src/base/assert.ts'
import { redundancy } from '../../src/cli/demo-fault.ts'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import type { JobHandle } from '../../src/client/jobs.ts'
import { defineKey, defineTupleKey } from '../../src/keys/key-space.ts'
import { type DevCluster, startDevCluster } from '../../src/node/dev.ts'
import { runCommand } from './command-line.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

const events = 40_000
const keys = 50
const head = `
import { count, defineJob, defineKey, defineTupleKey, generator, sum, tumbling } from 'nearstate/stream'
const Id = defineKey('id', 'int64')
const IdAt = defineTupleKey('id-at', Id, { at: 'int64' })
const jobOf = (more) => defineJob('shop', {}, flow => {
  const keyed = flow
    .source('events', generator({ events: n => ({ n, id: (n * 7) % ${keys}, at: n * 10 }), count: ${events}, splits: 3, ratePerSecond: 5000 }))
    .eventTime(row => row.at)
    .keyBy('by id', Id, row => row.id)
  keyed.window('per 10 s', tumbling('10s'), { n: count(), s: sum(row => row.n) }).sink('to windows', flow.map('windows', IdAt), row => [row.windowStart])
  more(flow, keyed)
})
`
/** Counts, as a number; and a stage that the next code has not. */
const v1 = `${head}
export default jobOf((flow, keyed) => {
  keyed
    .process('counts', { state: () => 0, onEvent(ctx) { ctx.state += 1; ctx.emit({ n: ctx.state, s: -1 }) } })
    .sink('to totals', flow.map('totals', Id))
  keyed.aggregate('old sums', { s: sum(row => row.n) }).sink('to old', flow.map('old', Id))
})`
/** Counts and how many of them came since the upgrade: another shape. And a source and a stage that are new. */
const v2 = (upgrade: string): string => `${head}
export default jobOf((flow, keyed) => {
  keyed
    .process('counts', {
      state: () => ({ n: 0, later: 0 }),
      ${upgrade}
      onEvent(ctx) { ctx.state.n += 1; ctx.state.later += 1; ctx.emit({ n: ctx.state.n, s: ctx.state.later }) },
    })
    .sink('to totals', flow.map('totals', Id))
  flow
    .source('more', generator({ events: n => ({ id: n % ${keys} }), count: 1000, splits: 2 }))
    .keyBy('more by id', Id, row => row.id)
    .aggregate('of more', { n: count() })
    .sink('to more', flow.map('more', Id))
})`

const Id = defineKey('id', 'int64')
const IdAt = defineTupleKey('id-at', Id, { at: 'int64' })
interface Sums {
  readonly n: number
  readonly s: number
}

let cluster: DevCluster
let grid: Grid
let folder: string

async function start(nodes: number): Promise<void> {
  const flags = ['--partitions', '60', '--backups', '1']
  cluster = await startDevCluster({ nodes, shards: 1, port: 0, replace: false, logLevel: 'error', flags })
  grid = await connect({ endpoints: cluster.endpoints, requestTimeout: '20s' })
  await redundancy(grid, new AbortController().signal)
}

function file(name: string, code: string): string {
  const path = join(folder, name)
  writeFileSync(path, code)
  return path
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nearstate-'))
})

afterEach(async () => {
  await grid.close()
  await cluster.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function rowsRead(job: JobHandle, atLeast: number): Promise<void> {
  for (;;) {
    const { stages, failure } = await job.status()
    if (failure !== undefined) throw new Error(failure)
    if ((stages.find(({ name }) => name === 'events')?.rowsOut ?? 0) >= atLeast) return
    await sleep(50)
  }
}

describe('a savepoint', () => {
  it('is what newer code, with fewer nodes, goes on from as if it had run from the start', async () => {
    await start(3)
    const old = await grid.jobs.submit(file('v1.ts', v1), { checkpointInterval: '200ms' })
    await rowsRead(old, 8000)
    const savepoint = await old.savepoint('v1')
    expect(savepoint).toMatchObject({ name: 'shop/v1', job: 'shop', label: 'v1' })
    await expect(old.savepoint('v1')).rejects.toMatchObject({ code: 'ALREADY_EXISTS' })
    // What comes after it does not count.
    await rowsRead(old, 12_000)
    await old.cancel()
    await expect(old.savepoint('late')).rejects.toMatchObject({ code: 'CONFLICT' })
    const lost = present(cluster.nodes[2], 'a third node')
    process.kill(lost.pid, 'SIGKILL')
    await vi.waitUntil(() => grid.cluster.describe().members.every(({ name, status }) => name !== lost.name || status !== 'alive'), 20_000)
    await redundancy(grid, new AbortController().signal)
    const newer = file('v2.ts', v2('upgrade: old => typeof old === "number" ? { n: old, later: 0 } : old,'))
    await expect(grid.jobs.submit(newer, { from: savepoint })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('stage "old sums" is missing (it was aggregate)'),
    })
    await expect(grid.jobs.submit(newer, { from: 'shop/v0', allowStateLoss: true })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    const broken = file('broken.ts', v2('upgrade: old => { throw new Error("no way") },'))
    await expect(grid.jobs.submit(broken, { from: savepoint, allowStateLoss: true })).rejects.toMatchObject({
      message: expect.stringContaining('Cannot upgrade the state of stage "counts": no way'),
    })
    const job = await grid.jobs.submit(newer, { from: savepoint, allowStateLoss: true })
    const { from, warnings } = await job.status()
    expect(from).toBe('shop/v1')
    expect(warnings).toContainEqual(expect.stringContaining('stage "old sums" is missing'))
    expect(await job.ended()).toMatchObject({ status: 'completed', restarts: 0 })
    let later = 0
    let total = 0
    for await (const [, { n, s }] of grid.map<typeof Id, Sums>('totals', Id).scan()) {
      expect(n).toBe(events / keys)
      total += n
      later += s
    }
    expect(total).toBe(events)
    expect(later).toBeGreaterThan(0)
    expect(later).toBeLessThan(events - 4000)
    const windows = new Map<string, Sums>()
    for (let n = 0; n < events; n += 1) {
      const name = `${(n * 7) % keys} ${Math.floor((n * 10) / 10_000) * 10_000}`
      const { n: count, s } = windows.get(name) ?? { n: 0, s: 0 }
      windows.set(name, { n: count + 1, s: s + n })
    }
    const found = new Map<string, Sums>()
    for await (const [[id, at], { n, s }] of grid.map<typeof IdAt, Sums>('windows', IdAt).scan()) found.set(`${id} ${at}`, { n, s })
    expect(found).toEqual(windows)
    for await (const [, { n }] of grid.map<typeof Id, { n: number }>('more', Id).scan()) expect(n).toBe(1000 / keys)
    expect((await grid.jobs.savepoints()).map(({ name }) => name)).toEqual(['shop/v1'])
    await grid.jobs.deleteSavepoint('shop/v1')
    expect(await grid.jobs.savepoints()).toEqual([])
    await expect(grid.jobs.submit(newer, { from: savepoint, allowStateLoss: true })).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  it('is there whole or not at all when a node is killed meanwhile, and is made, listed and deleted at the command line', async () => {
    await start(3)
    const job = await grid.jobs.submit(file('v1.ts', v1), { name: 'killed', checkpointInterval: '5s' })
    await rowsRead(job, 4000)
    const { leader } = grid.cluster.describe()
    const making = job.savepoint('v1').then(
      () => 'made',
      (error: { code: string }) => error.code,
    )
    const victim = present(
      cluster.nodes.find(({ name }) => name !== leader),
      'a victim',
    )
    process.kill(victim.pid, 'SIGKILL')
    const outcome = await making
    expect(['made', 'UNAVAILABLE']).toContain(outcome)
    expect((await grid.jobs.savepoints()).length).toBe(outcome === 'made' ? 1 : 0)
    // Under the same name, as soon as nothing is left of the one that failed.
    if (outcome !== 'made') {
      for (let isMade = false; !isMade; await sleep(100)) {
        isMade = await job.savepoint('v1').then(
          () => true,
          () => false,
        )
      }
    }
    const [endpoint = ''] = grid.cluster
      .describe()
      .members.filter(({ name }) => name === leader)
      .map(member => member.address)
    expect(await runCommand(['job', 'savepoint', 'killed', 'v2', '--endpoint', endpoint])).toMatchObject({ code: 0 })
    const listed = await runCommand(['job', 'savepoints', '--json', '--endpoint', endpoint])
    expect(JSON.parse(listed.stdout)).toMatchObject([{ name: 'killed/v2' }, { name: 'killed/v1' }])
    expect(await runCommand(['job', 'delete-savepoint', 'killed/v1', '--endpoint', endpoint])).toMatchObject({ code: 0 })
    await job.cancel()
    const again = await runCommand(['job', 'submit', join(folder, 'v1.ts'), '--from', 'killed/v2', '--endpoint', endpoint])
    expect(again.stdout).toContain('Job "shop" runs')
    await grid.jobs.get('shop').cancel()
  })
})
