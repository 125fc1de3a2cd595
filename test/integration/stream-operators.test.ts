/** Windows, joins and other keyed stages as a user reaches them: submitted from a file, run by several shards, read from maps; against plain loops. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import { defineKey, defineTupleKey } from '../../src/keys/key-space.ts'
import { type RunningCluster, startCluster } from '../../src/node/embed.ts'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const events = 6000
const job = `
import { count, defineAggregate, defineJob, defineKey, defineTupleKey, generator, session, sliding, sum } from 'nearstate/stream'
const Id = defineKey('id', 'int64')
const IdAt = defineTupleKey('id-at', Id, { at: 'int64' })
const product = defineAggregate({ create: () => 1, add: (state, row) => (state * (row.n % 5 + 1)) % 9973, combine: (a, b) => (a * b) % 9973, finish: state => state })
export default defineJob('operators', {}, flow => {
  const keyed = flow
    .source('events', generator({ events: n => ({ n, id: n % 7, at: n * 10 + (n % 700 < 100 ? 0 : 5) }), count: ${events}, splits: 3 }))
    .eventTime(row => row.at)
    .keyBy('by id', Id, row => row.id)
  keyed.window('sliding', sliding('10s', '5s'), { n: count(), s: sum(row => row.n), p: product }).sink('to sliding', flow.map('sliding', IdAt), row => [row.windowStart])
  keyed
    .filter('in bursts', row => row.n % 700 < 100)
    .window('bursts', session('1s'), { n: count() })
    .sink('to bursts', flow.map('bursts', IdAt), row => [row.windowStart])
  keyed.topN('largest', 3, (a, b) => (b.n * 7919) % 6007 - (a.n * 7919) % 6007).sink('to largest', flow.map('largest', IdAt), row => [row.rank])
  keyed.dedupe('first of its third', { of: row => row.n % 3 }).sink('to first', flow.map('first', IdAt), row => [row.n % 3])
  keyed.reduce('latest', (value, row) => (row.n > value.n ? row : value)).sink('to latest', flow.map('latest', Id))
  const asked = keyed.filter('asked', row => row.n % 50 === 0)
  const answered = keyed.filter('answered', row => row.n % 50 === 21)
  asked
    .joinInterval('answers', answered, { before: '0s', after: '1s', type: 'left' }, (left, right) => ({ n: left.n, answer: right?.n ?? -1 }))
    .sink('to answers', flow.map('answers', IdAt), row => [row.n])
})
`

interface Row {
  readonly n: number
  readonly id: number
  readonly at: number
}
const rows: readonly Row[] = Array.from({ length: events }, (_, n) => ({ n, id: n % 7, at: n * 10 + (n % 700 < 100 ? 0 : 5) }))

let cluster: RunningCluster
let grid: Grid
let folder: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'nearstate-'))
  cluster = await startCluster({ nodes: 2, shards: 2 })
  grid = await connect({ endpoints: cluster.endpoints, requestTimeout: '20s' })
  const file = join(folder, 'job.ts')
  writeFileSync(file, job)
  const submitted = await grid.jobs.submit(file)
  await vi.waitFor(async () => expect(await submitted.status()).toMatchObject({ status: 'completed' }), { timeout: 40_000, interval: 200 })
})

afterAll(async () => {
  await grid?.close()
  await cluster?.stop()
  rmSync(folder, { recursive: true, force: true })
})

const Id = defineKey('id', 'int64')
const IdAt = defineTupleKey('id-at', Id, { at: 'int64' })

async function entriesOf(name: string): Promise<Map<string, Record<string, unknown>>> {
  const found = new Map<string, Record<string, unknown>>()
  for await (const [key, value] of grid.map(name, name === 'latest' ? Id : IdAt).scan())
    found.set(JSON.stringify(key), value as Record<string, unknown>)
  return found
}

const sorted = <T>(map: ReadonlyMap<string, T>): [string, T][] => [...map].toSorted(([a], [b]) => (a < b ? -1 : 1))

it('sliding windows with aggregates, one of them the job’s own', async () => {
  const expected = new Map<string, unknown>()
  for (let start = -5000; start <= events * 10; start += 5000) {
    for (let id = 0; id < 7; id += 1) {
      const own = rows.filter(row => row.id === id && row.at >= start && row.at < start + 10_000)
      if (own.length === 0) continue
      const s = own.reduce((all, { n }) => all + n, 0)
      const p = own.reduce((all, { n }) => (all * ((n % 5) + 1)) % 9973, 1)
      expected.set(JSON.stringify([id, start]), { key: id, windowStart: start, windowEnd: start + 10_000, n: own.length, s, p })
    }
  }
  expect(sorted(await entriesOf('sliding'))).toEqual(sorted(expected))
})

it('sessions', async () => {
  const expected = new Map<string, number>()
  for (let id = 0; id < 7; id += 1) {
    const own = rows.filter(row => row.id === id && row.n % 700 < 100)
    let start = 0
    for (const [i, row] of own.entries()) {
      if (i === 0 || row.at - (own[i - 1] as Row).at >= 1000) start = row.at
      const key = JSON.stringify([id, start])
      expected.set(key, (expected.get(key) ?? 0) + 1)
    }
  }
  const found = await entriesOf('bursts')
  expect(sorted(new Map([...found].map(([key, { n }]) => [key, n])))).toEqual(sorted(expected))
})

it('the first of a kind, the latest value, and a rolling top three', async () => {
  const first = new Map<string, unknown>()
  for (const row of rows) if (!first.has(JSON.stringify([row.id, row.n % 3]))) first.set(JSON.stringify([row.id, row.n % 3]), row.n % 3)
  const found = await entriesOf('first')
  expect(sorted(new Map([...found].map(([key, { n }]) => [key, (n as number) % 3])))).toEqual(sorted(first))
  const latest = new Map(rows.map(row => [JSON.stringify(row.id), row]))
  expect(sorted(await entriesOf('latest'))).toEqual(sorted(latest))
  const largest = new Map<string, unknown>()
  for (let id = 0; id < 7; id += 1) {
    const own = rows.filter(row => row.id === id).toSorted((a, b) => ((b.n * 7919) % 6007) - ((a.n * 7919) % 6007))
    for (const [i, row] of own.slice(0, 3).entries()) largest.set(JSON.stringify([id, i + 1]), row)
  }
  const ranked = await entriesOf('largest')
  expect(sorted(new Map([...ranked].map(([key, { row }]) => [key, row])))).toEqual(sorted(largest))
})

it('an interval join with its left side whole', async () => {
  const expected = new Map<string, number>()
  for (const left of rows.filter(({ n }) => n % 50 === 0)) {
    const right = rows.filter(({ n, id, at }) => n % 50 === 21 && id === left.id && at >= left.at && at <= left.at + 1000)
    expect(right.length).toBeLessThan(2)
    expected.set(JSON.stringify([left.id, left.n]), right[0]?.n ?? -1)
  }
  expect([...expected.values()].filter(n => n >= 0).length).toBeGreaterThan(10)
  const found = await entriesOf('answers')
  expect(sorted(new Map([...found].map(([key, { answer }]) => [key, answer])))).toEqual(sorted(expected))
})
