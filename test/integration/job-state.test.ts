/** The state of jobs, read from outside while they run, stand still, fail over and have completed: 2 nodes of 2 shards. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { present } from '../../src/base/assert.ts'
import { redundancy } from '../../src/cli/demo-fault.ts'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import type { JobHandle, JobStatus, SubmitOptions } from '../../src/client/jobs.ts'
import { type CommandResult, runCommand } from './command-line.ts'
import { defineKey } from '../../src/keys/key-space.ts'
import { createGrpcClient } from '../../src/transport/grpc/client.ts'
import { AdminDefinition } from '../../src/wire/generated/nearstate/v1/admin.ts'
import { type DevCluster, startDevCluster } from '../../src/node/dev.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

const Id = defineKey('id', 'int64')
const keys = 40
const partitions = 48
/** Row n is of key n % 40, so that a state that is that of one checkpoint, over all keys, is that of a first part of the rows of each split. */
const job = `
import { avg, collect, count, countDistinct, defineAggregate, defineJob, defineKey, generator, max, row, session, sum, tumbling } from 'nearstate/stream'
const Id = defineKey('id', 'int64')
const joined = defineAggregate({ create: () => ({ text: '' }), add: (all, event) => ({ text: (all.text + event.n).slice(-4) }), combine: a => a, finish: all => all.text })
export default defineJob('reads', {}, (flow, args) => {
  const keyed = flow
    .source('events', generator({ events: n => ({ n, id: n % ${keys}, at: n * 10 }), count: args.count, splits: 4, ratePerSecond: args.rate }))
    .eventTime(event => event.at)
    .keyBy('by id', Id, event => event.id)
  keyed.process('seen', {
    emits: row(),
    state: () => ({ seen: new Map(), n: 0 }),
    onEvent(ctx, event) {
      ctx.state.n += 1
      ctx.state.seen.set(event.n % 3, ctx.state.n)
      if (event.n % 10 === 0) ctx.emit({ id: ctx.key, n: event.n })
    },
  }).sink('rows', collect())
  keyed.aggregate('sums', { n: count(), s: sum(e => e.n), mean: avg(e => e.n), top: max(e => e.n), kinds: countDistinct(e => e.n % 7), own: joined })
  keyed.reduce('latest', (a, b) => (b.n > a.n ? b : a))
  keyed.topN('best', 2, (a, b) => b.n - a.n)
  keyed.window('visits', session('1h'), { n: count() })
  keyed.window('hours', tumbling('1h'), { n: count() })
})
`

let cluster: DevCluster
let grid: Grid
let folder: string
let file: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'nearstate-'))
  file = join(folder, 'job.ts')
  writeFileSync(file, job)
  const flags = ['--partitions', String(partitions), '--backups', '1']
  cluster = await startDevCluster({ nodes: 2, shards: 2, port: 0, replace: true, logLevel: 'error', flags })
  grid = await connect({ endpoints: cluster.endpoints, requestTimeout: '20s' })
  await redundancy(grid, new AbortController().signal)
})

afterAll(async () => {
  await grid.close()
  await cluster.stop()
  rmSync(folder, { recursive: true, force: true })
})

afterEach(async () => {
  for (const { name } of await grid.jobs.list()) await grid.jobs.get(name).cancel()
})

/** A job without checkpoints fails when a partition moves away from its tasks. */
async function untilNothingMoves(): Promise<void> {
  for (let seen = -1, since = 0; seen !== grid.cluster.describe().version || performance.now() - since < 2000; ) {
    if (seen !== grid.cluster.describe().version) since = performance.now()
    seen = grid.cluster.describe().version
    await sleep(50)
  }
}

const submit = (name: string, count: number, rate: number, options: SubmitOptions = {}): Promise<JobHandle> =>
  grid.jobs.submit(file, { name, args: { count, rate }, checkpointInterval: '200ms', ...options })

async function until(submitted: JobHandle, wanted: (status: JobStatus) => boolean): Promise<JobStatus> {
  for (;;) {
    const status = await submitted.status()
    if (status.status === 'failed') throw new Error(status.failure)
    if (wanted(status)) return status
    await sleep(50)
  }
}

interface Sums {
  readonly n: number
  readonly s: number
  readonly mean: number
  readonly top: number
  readonly kinds: number
  readonly own: { readonly text: string }
}
interface Seen {
  readonly n: number
  readonly seen: Map<number, number>
}
interface Event {
  readonly n: number
  readonly id: number
  readonly at: number
}

async function all<T>(found: AsyncGenerator<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of found) items.push(item)
  return items
}

/** Reads that come back with an error name its code. */
const codeOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => 'done',
    (thrown: { code?: string }) => thrown.code,
  )

const command = (...args: readonly string[]): Promise<CommandResult> =>
  runCommand([...args, '--json', '--endpoint', present(cluster.endpoints[0], 'an endpoint')])

/** The rows that a stage has counted: rows of a key are ids, ids + 40, ... */
const sumOf = (id: number, n: number): number => n * id + (keys * n * (n - 1)) / 2

it('reads the state of the last checkpoint of a job that is suspended, whatever the stage keeps', async () => {
  const submitted = await submit('still', 1_000_000, 4000)
  await until(submitted, ({ checkpoints }) => checkpoints >= 3)
  const { checkpoint, checkpoints } = await submitted.suspend()
  const sums = submitted.state<typeof Id, Sums>('sums', Id)
  const found = new Map(await all(sums.scan()))
  expect(found.size).toBe(keys)
  expect(await sums.size()).toBe(keys)
  for (const [id, { n, s, mean, kinds, own }] of found) {
    // A split has every fourth row, so all of a key's: a first part of them, none twice.
    expect(s).toBe(sumOf(id, n))
    expect(mean).toBeCloseTo(s / n, 6)
    expect(kinds).toBe(Math.min(7, n))
    expect(own.text).toMatch(/^\d{1,4}$/)
    expect(await sums.getEntry(id)).toEqual({ value: found.get(id), checkpoint: checkpoint?.id })
  }
  const seen = new Map(await all(submitted.state<typeof Id, Seen>('seen', Id).scan()))
  expect([...seen].map(([id, { n }]) => [id, n]).sort()).toEqual([...found].map(([id, { n }]) => [id, n]).sort())
  expect(seen.get(7)?.seen).toBeInstanceOf(Map)
  const latest = present(await submitted.state<typeof Id, Event>('latest', Id).get(7), 'the latest')
  expect(latest.n).toBe(found.get(7)?.top)
  const best = present(await submitted.state<typeof Id, readonly Event[]>('best', Id).get(7), 'the best')
  expect(best.map(({ n }) => n)[0]).toBe(found.get(7)?.top)
  expect(best).toHaveLength(2)
  const [visit] = present(await submitted.state<typeof Id, readonly { n: number; windowEnd: number }[]>('visits', Id).get(7), 'a visit')
  expect(visit).toMatchObject({ n: found.get(7)?.n, windowEnd: latest.at + 3_600_000 })
  expect((await submitted.state('sums').getAll([1, 2, 999])).size).toBe(2)
  expect(await all(submitted.state('sums').scan({ limit: 5 }))).toHaveLength(5)

  expect(await codeOf(sums.get(7, { read: 'live' }))).toBe('CONFLICT')
  expect(await codeOf(submitted.state('nope').get('7'))).toBe('NOT_FOUND')
  expect(await codeOf(grid.jobs.get('nope').state('sums').get('7'))).toBe('NOT_FOUND')
  await expect(submitted.state('by id').get(7)).rejects.toThrow('keeps no state per key')
  await expect(submitted.state('hours').get(7)).rejects.toThrow('a tumbling window keeps columns')
  await expect(submitted.state('sums', defineKey('other', 'int64')).get(7)).rejects.toThrow('its keys are of space "id"')
  await expect(submitted.state('rows').get(7)).rejects.toThrow('use rows')
  await expect(all(submitted.rows('sums'))).rejects.toThrow('is no collect() sink')

  const told = await command('job', 'state', 'still', 'sums', '7')
  expect(JSON.parse(told.stdout)).toMatchObject({ key: 7, value: found.get(7), checkpoint: checkpoint?.id })
  const lines = (await command('job', 'state', 'still', 'seen')).stdout.trim().split('\n')
  expect(lines).toHaveLength(keys)
  expect(lines.map(line => JSON.parse(line) as unknown)).toContainEqual({
    key: 7,
    value: { n: found.get(7)?.n, seen: [...(seen.get(7)?.seen ?? [])] },
  })
  expect((await command('job', 'state', 'still', 'sums', '7', '--live')).stderr).toContain('CONFLICT')
  expect((await command('job', 'state', 'still', 'sums', '999')).stderr).toContain('NOT_FOUND')
  expect((await command('job', 'state', 'still', 'sums', '--live')).code).toBe(2)
  expect((await command('job', 'rows', 'still', 'rows', '--limit', '2')).stdout.trim().split('\n')).toHaveLength(2)

  await submitted.resume()
  const after = await until(submitted, now => now.checkpoints > checkpoints + 2)
  expect(after.status).toBe('running')
  expect(present(await sums.get(7), 'a later state').n).toBeGreaterThan(found.get(7)?.n ?? 0)
  await submitted.cancel()
  expect(await codeOf(sums.get(7))).toBe('CONFLICT')
})

it('reads a running job live, which is ahead of its last checkpoint, and without checkpoints only live', async () => {
  const submitted = await submit('ahead', 1_000_000, 4000, { checkpointInterval: '1h' })
  const sums = submitted.state<typeof Id, Sums>('sums', Id)
  await until(submitted, ({ stages }) => (stages.find(({ name }) => name === 'events')?.rowsOut ?? 0) > 4000)
  expect(await sums.get(7)).toBe(undefined)
  const live = present(await sums.getEntry(7, { read: 'live' }), 'live state')
  expect(live.checkpoint).toBe(undefined)
  expect(live.value.n).toBeGreaterThan(10)
  expect(present(await submitted.state<typeof Id, Seen>('seen', Id).get(7, { read: 'live' }), 'live').seen.size).toBe(3)
  await submitted.cancel()

  const light = `
import { count, defineJob, defineKey, generator } from 'nearstate/stream'
const Id = defineKey('id', 'int64')
export default defineJob('light', {}, flow => {
  flow.source('events', generator({ events: n => ({ id: n % ${keys} }), ratePerSecond: 4000 })).keyBy('by id', Id, e => e.id).aggregate('sums', { n: count() })
})
`
  const lightFile = join(folder, 'light.ts')
  writeFileSync(lightFile, light)
  const without = await grid.jobs.submit(lightFile, { guarantee: 'none' })
  const counts = without.state<typeof Id, { n: number }>('sums', Id)
  await vi.waitUntil(async () => (await counts.get(7, { read: 'live' })) !== undefined, { timeout: 20_000, interval: 50 })
  await expect(counts.get(7)).rejects.toThrow('read it live')
})

/** Reads one key after the other until the job has ended: each is that of a checkpoint, and none goes back. Resolves to how many reads there were. */
async function watch(submitted: JobHandle): Promise<number> {
  const sums = submitted.state<typeof Id, Sums>('sums', Id)
  const before = new Map<number, number>()
  for (let reads = 0; ; reads += 1) {
    const id = reads % keys
    const found = await sums.get(id).catch((thrown: { code?: string }) => thrown.code)
    if (found === 'CONFLICT') return reads
    const { n, s } = found as Sums
    expect(s).toBe(sumOf(id, n))
    expect(n).toBeGreaterThanOrEqual(before.get(id) ?? 0)
    before.set(id, n)
  }
}

it('gives collected rows once and in order, also after a node was killed, until the job is cancelled', async () => {
  const count = 24_000
  const submitted = await submit('kept', count, 4000)
  await until(submitted, ({ checkpoints }) => checkpoints >= 4)
  const early = await all(submitted.rows<{ id: number; n: number }>('rows'))
  const sums = submitted.state<typeof Id, Sums>('sums', Id)
  const watching = watch(submitted)
  const { leader } = grid.cluster.describe()
  const victim = present(
    cluster.nodes.find(({ name }) => name !== leader),
    'a victim',
  )
  process.kill(victim.pid, 'SIGKILL')
  await until(submitted, ({ restarts, status }) => restarts >= 1 && status === 'running')
  expect(present(await sums.get(3), 'a state after the kill').n).toBeGreaterThan(0)
  const status = await submitted.ended()
  expect(status.status).toBe('completed')
  expect(await watching).toBeGreaterThan(100)
  const rows = await all(submitted.rows<{ id: number; n: number }>('rows'))
  expect(rows.map(({ n }) => n).sort((a, b) => a - b)).toEqual(Array.from({ length: count / 10 }, (_, i) => i * 10))
  // What was committed before comes first, as it was.
  expect(rows.slice(0, early.length)).toEqual(early)
  // Those of a key come from one split, in its order.
  const last = new Map<number, number>()
  for (const { id, n } of rows) {
    expect(n).toBeGreaterThan(last.get(id) ?? -1)
    last.set(id, n)
  }
  expect(await all(submitted.rows('rows', { limit: 3 }))).toEqual(rows.slice(0, 3))
  expect(await codeOf(sums.get(3))).toBe('CONFLICT')
  await submitted.cancel()
  expect(await codeOf(all(submitted.rows('rows')))).toBe('CONFLICT')
})

it('drops rows that a job has collected when one without checkpoints runs under its name', async () => {
  const collecting = `
import { collect, defineJob, generator } from 'nearstate/stream'
export default defineJob('few', {}, flow => flow.source('events', generator({ events: n => ({ n }), count: 1000 })).sink('rows', collect()))
`
  const plain = `
import { defineJob, generator } from 'nearstate/stream'
export default defineJob('few', {}, flow => void flow.source('events', generator({ events: n => ({ n }), ratePerSecond: 10 })).log('seen'))
`
  const few = join(folder, 'few.ts')
  writeFileSync(few, collecting)
  const first = await grid.jobs.submit(few)
  expect((await first.ended()).status).toBe('completed')
  const rows = await all(first.rows<{ n: number }>('rows'))
  expect(rows.map(({ n }) => n).sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, n) => n))
  const admin = createGrpcClient(AdminDefinition, present(cluster.endpoints[0], 'an endpoint'))
  /** Partitions that know anything of a job of the name. */
  const held = async (): Promise<number> => {
    const settled = { attempt: 1, n: 1 }
    const common = { job: 'few', stage: 'rows', key: undefined, cursor: Buffer.alloc(0), limit: 0, keysOnly: false, live: false }
    const ask = (partition: number) =>
      admin.readJobState({ ...common, partition, settled, lastAttempt: 99, upTo: undefined, forwarded: undefined })
    // A partition on its way to another node answers UNAVAILABLE for a moment.
    const asks = Array.from({ length: partitions }, (_, partition) => vi.waitFor(() => ask(partition), { timeout: 20_000, interval: 50 }))
    return (await Promise.all(asks)).filter(({ known }) => known).length
  }
  expect(await held()).toBe(partitions)
  // Submitted again, and run to its end again: the rows are those of the second run alone.
  await (await grid.jobs.submit(few)).ended()
  expect(await all(first.rows('rows'))).toHaveLength(1000)
  writeFileSync(few, plain)
  await untilNothingMoves()
  const second = await grid.jobs.submit(few, { guarantee: 'none' })
  await vi.waitUntil(async () => (await held()) === 0, { timeout: 20_000, interval: 50 })
  admin.close()
  await second.cancel()
  expect(await codeOf(all(second.rows('rows')))).toBe('CONFLICT')
})
