/** Dead letters of jobs on a real cluster of 2 nodes of 2 shards: listed, cleared and replayed; and which keys take most rows. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { present } from '../../src/base/assert.ts'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import type { JobHandle } from '../../src/client/jobs.ts'
import { defineKey } from '../../src/keys/key-space.ts'
import { type RunningCluster, startCluster } from '../../src/node/embed.ts'
import { type CommandResult, runCommand } from './command-line.ts'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

/** Rows 0, 100, 200, ... are refused by `strict`, rows 50, 150, ... by `tidy`. */
const job = `
import { count, defineJob, defineKey, generator } from 'nearstate/stream'
const Id = defineKey('id', 'int64')
export default defineJob('letters', { onError: 'deadLetter' }, (flow, args) => {
  flow
    .source('events', generator({ events: n => ({ n }), count: args.count, splits: 2, ratePerSecond: args.rate }))
    .map('tidy', row => { if (row.n % 100 === 50) throw new Error('untidy'); return row })
    .keyBy('by id', Id, row => row.n % 10)
    .map('strict', row => { if (row.n % 100 === 0) throw new Error('refused'); return row })
    .aggregate('counts', { n: count() })
    .sink('to counts', flow.map('letters-counts', Id))
})
`

let cluster: RunningCluster
let grid: Grid
let folder: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'nearstate-'))
  cluster = await startCluster({ nodes: 2, shards: 2 })
  grid = await connect({ endpoints: cluster.endpoints, requestTimeout: '20s' })
})

afterAll(async () => {
  await grid?.close()
  await cluster?.stop()
  rmSync(folder, { recursive: true, force: true })
})

function submit(text: string, name: string, args: object): Promise<JobHandle> {
  const file = join(folder, `${name}.ts`)
  writeFileSync(file, text)
  return grid.jobs.submit(file, { name, args, checkpointInterval: '100ms' })
}

async function all<T>(found: AsyncGenerator<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of found) items.push(item)
  return items
}

const command = (...args: readonly string[]): Promise<CommandResult> =>
  runCommand([...args, '--json', '--endpoint', present(cluster.endpoints[0], 'an endpoint')])

const linesOf = ({ stdout }: CommandResult): unknown[] =>
  stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as unknown)

it('lists the dead letters of a job, by stage too, and clears them, also when the job has completed', async () => {
  const submitted = await submit(job, 'listed', { count: 1000 })
  expect((await submitted.ended()).status).toBe('completed')
  const letters = await all(submitted.deadLetters())
  expect(letters).toHaveLength(20)
  const strict = await all(submitted.deadLetters({ stage: 'strict' }))
  expect(strict.map(({ row }) => (row as { n: number }).n).sort((a, b) => a - b)).toEqual(Array.from({ length: 10 }, (_, i) => i * 100))
  expect(strict[0]).toMatchObject({ stage: 'strict', reason: 'refused' })
  await expect(all(submitted.deadLetters({ stage: 'nope' }))).rejects.toThrow(
    'there is no such stage; its stages are events, tidy, by id, strict, counts, to counts, dead-letters',
  )
  await expect(grid.jobs.get('nope').clearDeadLetters()).rejects.toMatchObject({ code: 'NOT_FOUND' })

  expect(linesOf(await command('job', 'dead-letters', 'listed', '--limit', '3'))).toHaveLength(3)
  expect(linesOf(await command('job', 'dead-letters', 'listed', '--stage', 'tidy'))).toContainEqual(
    expect.objectContaining({ stage: 'tidy', reason: 'untidy', row: { n: 50 } }),
  )
  expect((await command('job', 'dead-letters', 'listed', '--stage', 'nope')).stderr).toContain('NOT_FOUND')
  expect(linesOf(await command('job', 'clear-dead-letters', 'listed', '--stage', 'tidy'))).toEqual([{ job: 'listed', cleared: 10 }])
  expect(await submitted.clearDeadLetters()).toBe(10)
  expect(await all(submitted.deadLetters())).toEqual([])
})

/** Every hundredth row is refused twice over, by two stages, until the map of its key says otherwise; and 50 and 51 whatever happens. */
const mended = `
import { count, defineJob, defineKey, generator, max, sum } from 'nearstate/stream'
const Id = defineKey('id', 'int64')
export default defineJob('mended', { onError: 'deadLetter' }, (flow, args) => {
  const keyed = flow
    .source('events', generator({ events: n => ({ n, on: new Date(n) }), splits: 2, ratePerSecond: 400 }))
    .eventTime(row => (row.n === 51 ? Number.NaN : row.n))
    .map('tidy', row => { if (row.n === 50) throw new Error('untidy'); return row })
    .keyBy('by id', Id, row => row.n % 10)
    .enrich('with switch', flow.map('switch', Id), (row, isOn) => ({ ...row, isOn }))
  const strict = keyed.map('strict', row => { if (row.n % 100 === 0 && row.isOn === undefined) throw new Error('is off'); return row })
  strict.aggregate('counts', { n: count(), top: max(row => row.n) }).sink('to counts', flow.map('mended-counts', Id))
  keyed.enrich('again', flow.map('switch', Id), (row, isOn) => { if (row.n % 100 === 1 && isOn === undefined) throw new Error('is off'); return row })
    .aggregate('dates', { n: count(), top: max(row => row.n), dates: sum(row => (row.on instanceof Date && row.on.getTime() === row.n ? 1 : 0)) })
    .sink('to dates', flow.map('mended-dates', Id))
})
`

it('replays dead letters into the stages that refused them, once each, while the job runs', async () => {
  const submitted = await submit(mended, 'mended', {})
  const strict = await vi.waitUntil(
    async () => {
      const letters = await all(submitted.deadLetters({ stage: 'strict' }))
      return letters.length >= 3 && letters
    },
    { timeout: 20_000, interval: 50 },
  )
  expect(strict[0]?.replay).toMatchObject({ key: 0 })
  // The map that they miss says nothing yet: the row as the stage got it is refused again, and is a letter still.
  const off = await submitted.replayDeadLetters({ stage: 'again' })
  expect(off).toMatchObject({ replayed: 0, refused: 0 })
  expect(off.failedAgain).toBeGreaterThan(0)
  const Id = defineKey('id', 'int64')
  for (let id = 0; id < 10; id += 1) await grid.map('switch', Id).set(id, true)
  const on = await submitted.replayDeadLetters({ stage: 'again' })
  expect(on.replayed).toBeGreaterThanOrEqual(off.failedAgain)
  expect(await all(submitted.deadLetters({ stage: 'again' }))).toEqual([])
  expect(await submitted.replayDeadLetters({ stage: 'again' })).toEqual({ replayed: 0, failedAgain: 0, refused: 0, reasons: [] })
  // These rows say themselves that the map had nothing: they fail for ever.
  expect((await submitted.replayDeadLetters({ stage: 'strict' })).replayed).toBe(0)
  const rest = JSON.parse((await command('job', 'replay-dead-letters', 'mended')).stdout) as { failedAgain: number; replayed: number }
  expect(rest).toMatchObject({ job: 'mended', replayed: 0 })
  await expect(submitted.replayDeadLetters({ stage: 'nope' })).rejects.toMatchObject({ code: 'NOT_FOUND' })
  await submitted.suspend()
  // A key's rows come in order: all up to the greatest, but for 51, whose time is none. Each is whole, the replayed ones too, though a date is no JSON.
  const dates = present(await submitted.state<typeof Id, { n: number; top: number; dates: number }>('dates', Id).get(1), 'the dates')
  expect(dates).toEqual({ n: (dates.top - 1) / 10, top: dates.top, dates: dates.n })
  const left = await all(submitted.deadLetters({ stage: 'strict' }))
  const counts = present(await submitted.state<typeof Id, { n: number; top: number }>('counts', Id).get(0), 'the counts')
  // Likewise, but for 50, which is untidy.
  expect(counts.n).toBe(counts.top / 10 - left.length)
  await expect(submitted.replayDeadLetters()).rejects.toMatchObject({ code: 'CONFLICT' })
  await submitted.cancel()
})

it('tells which keys take most rows while the job runs, over the tasks of all shards', async () => {
  const uneven = `
import { count, defineJob, defineKey, generator } from 'nearstate/stream'
const Name = defineKey('name', 'string')
export default defineJob('uneven', {}, flow => {
  flow
    .source('events', generator({ events: n => ({ n }), splits: 2, ratePerSecond: 30_000 }))
    .keyBy('by name', Name, row => row.n % 5 < 2 ? 'hot' : 'k' + row.n % 1000)
    .aggregate('counts', { n: count() })
})
`
  const submitted = await submit(uneven, 'uneven', {})
  const skew = await vi.waitUntil(async () => (await submitted.skew()).find(({ sampled }) => sampled > 500), {
    timeout: 30_000,
    interval: 100,
  })
  expect(skew).toMatchObject({ stage: 'by name', feeds: ['counts'] })
  expect(skew.keys).toHaveLength(10)
  const [first, second] = skew.keys
  expect(first?.key).toBe('hot')
  expect(first?.share).toBeGreaterThan(0.3)
  expect(first?.atMost).toBeLessThan(0.5)
  expect(second?.share).toBeLessThan(0.05)
  const [told] = JSON.parse((await command('job', 'skew', 'uneven')).stdout) as { stage: string; keys: { key: unknown }[] }[]
  expect(told).toMatchObject({ stage: 'by name' })
  expect(told?.keys[0]?.key).toBe('hot')
  await submitted.cancel()
  await expect(submitted.skew()).rejects.toMatchObject({ code: 'CONFLICT' })
  await expect(grid.jobs.get('nope').skew()).rejects.toMatchObject({ code: 'NOT_FOUND' })
})
