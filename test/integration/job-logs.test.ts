/** The logs of jobs and their figures per second, from the SDK and the command line: 3 nodes of 2 shards, one of which is killed. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { present } from '../../src/base/assert.ts'
import { redundancy } from '../../src/cli/demo-fault.ts'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import type { JobLogEntry, JobLogOptions } from '../../src/client/job-logs.ts'
import type { JobHandle } from '../../src/client/jobs.ts'
import { type DevCluster, startDevCluster } from '../../src/node/dev.ts'
import { type CommandResult, runCommand } from './command-line.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

/** Every 100th row is logged, every 50th fails in one of two ways, the first of each key is told on the console. */
const job = `
import { defineJob, defineKey, generator } from 'nearstate/stream'
const Id = defineKey('id', 'int64')
export default defineJob('talks', { onError: 'skip' }, (flow, args) => {
  flow
    .source('events', generator({ events: n => ({ n, id: n % 7, at: n * 1000 }), count: args.count, splits: 4, ratePerSecond: args.rate }))
    .eventTime(event => event.at)
    .map('strict', event => {
      if (args.fails && event.n % 100 === 50) throw new RangeError('row ' + event.n + ' is not wanted')
      if (args.fails && event.n % 100 === 0) throw new Error('row ' + event.n + ' is round')
      return event
    })
    .log('seen', { every: 100, perSecond: 50, text: event => 'saw ' + event.n })
    .keyBy('by id', Id, event => event.id)
    .process('greet', {
      state: () => 0,
      onEvent(ctx) {
        if (ctx.state === 0) console.warn('hello', ctx.key)
        ctx.state += 1
      },
    })
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
  const flags = ['--partitions', '48', '--backups', '1']
  cluster = await startDevCluster({ nodes: 3, shards: 2, port: 0, replace: false, logLevel: 'silent', flags })
  grid = await connect({ endpoints: cluster.endpoints, requestTimeout: '20s' })
  await redundancy(grid, new AbortController().signal)
})

afterAll(async () => {
  await grid.close()
  await cluster.stop()
  rmSync(folder, { recursive: true, force: true })
})

const submit = (name: string, args: object): Promise<JobHandle> =>
  grid.jobs.submit(file, { name, args: { count: 1_000_000, rate: 2000, fails: true, ...args }, checkpointInterval: '200ms' })

const command = (...args: readonly string[]): Promise<CommandResult> =>
  runCommand([...args, '--endpoint', present(cluster.endpoints[0], 'an endpoint')])

async function logOf(handle: JobHandle, options?: JobLogOptions): Promise<JobLogEntry[]> {
  const entries: JobLogEntry[] = []
  for await (const entry of handle.logs(options)) entries.push(entry)
  return entries
}

const from = (entries: readonly JobLogEntry[], source: JobLogEntry['from']): JobLogEntry[] => entries.filter(entry => entry.from === source)

it('has what stages and the console wrote, rows that failed by kind with counts and stack, attempts and the end', async () => {
  const handle = await submit('talks', { count: 20_000, rate: 20_000 })
  const { restarts } = await handle.ended()
  // Shards tell of their ends by themselves.
  await sleep(300)
  const entries = await logOf(handle)
  expect(entries.map(({ time }) => time)).toEqual(entries.map(({ time }) => time).sort((a, b) => a - b))
  expect(new Set(entries.map(({ node }) => node)).size).toBeGreaterThanOrEqual(2)

  const logged = from(entries, 'log')
  expect(logged.length).toBeGreaterThan(20)
  for (const { stage, level, message, shard } of logged) {
    expect({ stage, level }).toEqual({ stage: 'seen', level: 'info' })
    expect(message).toMatch(/^saw \d+/)
    expect([0, 1]).toContain(shard)
  }
  const greetings = from(entries, 'console')
  const greeted = new Set(greetings.map(({ message, stage, level }) => `${level} ${stage} ${message}`))
  expect([...greeted].sort()).toEqual(Array.from({ length: 7 }, (_, id) => `warn greet hello ${id}`))

  // Partitions of a young cluster may move, and what is replayed after a restart fails again.
  const failed = from(entries, 'rows')
  const rowsOf = (pattern: RegExp): number =>
    failed.filter(({ message }) => pattern.test(message)).reduce((sum, { rows = 0 }) => sum + rows, 0)
  for (const rows of [rowsOf(/row \d+ is round/), rowsOf(/row \d+ is not wanted/)]) {
    expect(rows).toBeGreaterThanOrEqual(200)
    expect(rows).toBeLessThanOrEqual(200 * (restarts + 1))
  }
  // Two kinds on each shard that reads, each with a first line and one at the end.
  expect(failed.length).toBeLessThanOrEqual(6 * 2 * 2 * (restarts + 2))
  expect(failed.every(({ stage, level }) => stage === 'strict' && level === 'warn')).toBe(true)
  expect(failed.find(({ stack }) => stack !== undefined)?.stack).toMatch(/job\.ts:\d+:\d+/)

  const said = from(entries, 'engine').map(({ message }) => message)
  expect(said[0]).toBe('attempt 1 begins with nothing')
  expect(said.slice(-2)).toEqual([expect.stringMatching(/^attempt \d+ runs$/), 'the job is completed'])

  const latest = await logOf(handle, { limit: 5 })
  expect(latest).toEqual(entries.slice(-5))
  const { stdout, code } = await command('job', 'logs', 'talks', '--limit', '5', '--json')
  expect(code).toBe(0)
  expect(
    stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as unknown),
  ).toEqual(latest)
  const people = await command('job', 'logs', 'talks')
  expect(people.stdout).toMatch(/info {3}node-\d\/[01] {2}\[seen\] {2}saw \d+\n/)
  expect(people.stdout).toMatch(/rows? failed: row \d+ is round\n\s+at .*job\.ts:\d+/)
  expect(people.stdout).toContain('the job is completed\n')
})

it('follows until the end, and its own failure ends a job with stage and stack', async () => {
  const handle = await submit('fails', { rate: 4000, fails: false })
  const entries: JobLogEntry[] = []
  const following = (async () => {
    for await (const entry of handle.logs({ follow: true })) entries.push(entry)
  })()
  const cli = command('job', 'logs', 'fails', '--follow', '--json')
  const highest = (): number => Math.max(-1, ...from(entries, 'log').map(({ message }) => Number(message.split(' ')[1])))
  await vi.waitFor(() => expect(highest()).toBeGreaterThan(0), { timeout: 20_000 })
  const before = highest()
  await vi.waitFor(() => expect(highest()).toBeGreaterThan(before), { timeout: 20_000 })
  await sleep(1500)
  await handle.cancel()
  await following
  expect(from(entries, 'engine').at(-1)?.message).toBe('the job is cancelled')
  const { stdout, code } = await cli
  expect(code).toBe(0)
  expect(stdout).toContain('"message":"the job is cancelled"')

  const stern = join(folder, 'stern.ts')
  writeFileSync(stern, job.replace("{ onError: 'skip' }", "{ onError: 'fail' }"))
  const failing = await grid.jobs.submit(stern, { name: 'stern', args: { count: 100_000, rate: 1000, fails: true }, guarantee: 'none' })
  await failing.ended()
  const said = from(await logOf(failing), 'engine')
  expect(said.map(({ level }) => level)).toEqual(['info', 'info', 'error', 'error'])
  expect(said[2]).toMatchObject({
    stage: 'strict',
    message: expect.stringMatching(/^attempt 1 failed: Stage "strict" failed at .*row \d+ is/) as string,
  })
  expect(said[2]?.stack).toMatch(/stern\.ts:\d+:\d+/)
  expect(said[3]?.message).toMatch(/^the job has failed: Stage "strict"/)
})

it('says of jobs that there are none of that name, and refuses limits that make no sense', async () => {
  await expect(logOf(grid.jobs.get('nope'))).rejects.toMatchObject({ code: 'NOT_FOUND' })
  await expect(logOf(grid.jobs.get('nope'), { limit: -1 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  const { code, stderr } = await command('job', 'logs', 'nope')
  expect(code).toBe(1)
  expect(stderr).toContain('NOT_FOUND')
})

it('shows what stages do per second', async () => {
  await submit('busy', { rate: 4000 })
  await sleep(1000)
  const { stdout } = await command('job', 'top', '--json')
  const [top] = JSON.parse(stdout) as { name: string; stages: { name: string; rowsOutPerSecond: number; deadLetters: number }[] }[]
  expect(top?.name).toBe('busy')
  const source = present(
    top?.stages.find(({ name }) => name === 'events'),
    'the source',
  )
  expect(source.rowsOutPerSecond).toBeGreaterThan(200)
  expect(source.rowsOutPerSecond).toBeLessThan(12_000)
  expect(top?.stages.find(({ name }) => name === 'strict')?.deadLetters).toBeGreaterThan(0)
  const once = await command('job', 'top', 'busy', '--once')
  expect(once.stdout.split('\n')[0]).toBe('job\tstage\tkind\trows in/s\trows out/s\tbusy\tblocked\twatermark lag\tdead letters\tstate')
  expect(once.stdout).toMatch(/\nbusy\tgreet\tprocess\t\d+\t\d+\t\d+%\t\d+%\t[^\t]+\t0\t[^\t]+\n/)
  await grid.jobs.get('busy').cancel()
  expect((await command('job', 'top')).stdout).toBe('No job runs.\n')
})

it('says which checkpoint took too long, and for what it waited; has the console of asynchronous code', async () => {
  const stuck = join(folder, 'stuck.ts')
  writeFileSync(
    stuck,
    `import { defineJob, defineSink, generator } from 'nearstate/stream'
const never = defineSink({
  async write() {
    console.log('at once')
    await Promise.resolve()
    console.log('behind an await')
    await new Promise(() => undefined)
  },
})
export default defineJob('stuck', flow => {
  flow.source('events', generator({ events: n => n, splits: 1 })).sink('to nowhere', never)
})`,
  )
  const handle = await grid.jobs.submit(stuck, { checkpointInterval: '200ms' })
  const find = async (pattern: RegExp): Promise<JobLogEntry | undefined> =>
    (await logOf(handle)).find(({ message }) => pattern.test(message))
  await vi.waitFor(async () => expect(await find(/took too long/)).toBeDefined(), { timeout: 30_000, interval: 500 })
  const late = await find(/took too long/)
  expect(late).toMatchObject({ level: 'warn', from: 'engine' })
  expect(late?.message).toMatch(/^checkpoint \d+ of attempt 1 took too long and is given up; it waited for stage "to nowhere"/)
  expect(await find(/^at once$/)).toMatchObject({ from: 'console', stage: 'to nowhere' })
  const behind = await find(/^behind an await$/)
  expect(behind).toMatchObject({ from: 'console' })
  expect(behind?.stage).toBeUndefined()
  await handle.cancel()
})

it('says in one line which node cannot be asked, and has what the others say of the loss', async () => {
  const handle = await submit('survives', { rate: 4000, fails: false })
  const entries: JobLogEntry[] = []
  const following = (async () => {
    for await (const entry of handle.logs({ follow: true })) entries.push(entry)
  })()
  await vi.waitFor(() => expect(from(entries, 'log').length).toBeGreaterThan(0), { timeout: 20_000 })
  const { leader, members } = grid.cluster.describe()
  const victim = present(
    members.find(({ name }) => name !== leader && name !== 'node-1'),
    'a node that does not lead',
  )
  process.kill(victim.pid, 'SIGKILL')
  await vi.waitFor(
    () => expect(from(entries, 'engine').map(({ message }) => message)).toContainEqual(expect.stringMatching(/^attempt [2-9] runs$/)),
    { timeout: 30_000 },
  )
  const said = from(entries, 'engine').map(({ message }) => message)
  expect(said.some(message => /^attempt \d is lost: /.test(message))).toBe(true)
  expect(said.some(message => /^attempt [2-9] begins where checkpoint \d+ of attempt \d was$/.test(message))).toBe(true)
  await sleep(2000)
  await handle.cancel()
  await following
  const missing = from(entries, 'reader').filter(({ node }) => node === victim.name)
  expect(missing).toHaveLength(1)
  expect(missing[0]?.message).toContain(`node ${victim.name} cannot be asked, what it has logged is missing`)
})
