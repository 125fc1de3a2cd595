/** What jobs of a cluster reach outside of their shards: entries of other shards, services, the log. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import { defineKey } from '../../src/keys/key-space.ts'
import { type RunningCluster, startCluster } from '../../src/node/embed.ts'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const events = 400
let cluster: RunningCluster
let grid: Grid
let folder: string
let asked = 0
const posted: number[] = []
const service = createServer((request, response) => {
  if (request.method === 'POST') {
    let text = ''
    request.on('data', (part: Buffer) => (text += part.toString()))
    request.on('end', () => {
      posted.push(...(JSON.parse(text) as number[]))
      response.end()
    })
    return
  }
  asked += 1
  // Every tenth answer is a refusal, once.
  const n = Number(new URL(request.url ?? '', 'http://x').searchParams.get('n'))
  if (n < 1000 && n % 10 === 0 && !refused.has(n)) {
    refused.add(n)
    request.socket.destroy()
    return
  }
  setTimeout(() => response.end(JSON.stringify({ double: n * 2 })), n % 5)
})
const refused = new Set<number>()

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'nearstate-'))
  cluster = await startCluster({ nodes: 2, shards: 2, options: { partitions: 24 } })
  grid = await connect({ endpoints: cluster.endpoints, requestTimeout: '20s' })
  await new Promise<void>(resolve => void service.listen(0, '127.0.0.1', resolve))
})

afterAll(async () => {
  service.close()
  await grid?.close()
  await cluster?.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function run(name: string, text: string): Promise<unknown> {
  const file = join(folder, `${name}.ts`)
  writeFileSync(file, text)
  const job = await grid.jobs.submit(file)
  return job.ended()
}

it('looks entries up on other shards, and fetches from a service', async () => {
  const names = grid.map('names', defineKey('name', 'int64'))
  await names.setAll(Array.from({ length: 20 }, (_, n) => [n, `name ${n}`] as const))
  const { port } = service.address() as AddressInfo
  const status = await run(
    'outside',
    `import { defineJob, defineKey, generator } from 'nearstate/stream'
const Id = defineKey('id', 'int64')
const Name = defineKey('name', 'int64')
export default defineJob('outside', flow => {
  flow
    .source('events', generator({ events: n => ({ n }), count: ${events}, splits: 3 }))
    .keyBy('by id', Id, row => row.n)
    .lookup('named', flow.map('names', Name), row => row.n % 25, (row, name) => ({ ...row, name: name ?? null }))
    .mapAsync('doubled', async (row, call, key) => {
      const answer = await call.fetch('http://127.0.0.1:${port}/?n=' + key)
      return { name: row.name, double: answer.json().double }
    }, { inFlight: 20, ordered: false, retries: 3 })
    .log('some', { every: 100 })
    .sink('to doubled', flow.map('doubled', Id))
})`,
  )
  expect(status).toMatchObject({ status: 'completed' })
  const found = new Map<number, unknown>()
  for await (const [key, value] of grid.map('doubled', defineKey('id', 'int64')).scan()) found.set(key, value)
  const expected = Array.from({ length: events }, (_, n) => [n, { name: n % 25 < 20 ? `name ${n % 25}` : null, double: n * 2 }] as const)
  expect(found).toEqual(new Map(expected))
  expect(asked).toBe(events + events / 10)
})

it('reads a source of the author, and writes files and a sink of the author', async () => {
  const { port } = service.address() as AddressInfo
  const out = join(folder, 'out')
  const status = await run(
    'own-ends',
    `import { defineJob, defineSink, defineSource, filesSink } from 'nearstate/stream'
const pages = defineSource<number, number>({
  splits: ['even', 'odd'],
  pollEvery: '5ms',
  async read(position = 0, call, split) {
    if (position % 2 === 1 && Math.random() < 0.5) return { rows: [], next: position }
    const answer = await call.fetch('http://127.0.0.1:${port}/?n=' + (position + 1000))
    const first = (answer.json() as { double: number }).double - 2000
    const rows = [0, 2, 4].map(n => first * 3 + n + (split === 'odd' ? 1 : 0))
    return { rows, next: position === 9 ? undefined : position + 1 }
  },
})
const post = defineSink<number>({
  async write(rows, call) {
    await call.fetch('http://127.0.0.1:${port}/', { method: 'POST', body: JSON.stringify(rows) })
  },
})
export default defineJob('own-ends', flow => {
  const rows = flow.source('pages', pages)
  rows.sink('posted', post)
  rows.sink('to files', filesSink({ path: ${JSON.stringify(out)} }))
})`,
  )
  expect(status).toMatchObject({ status: 'completed' })
  const expected = Array.from({ length: 60 }, (_, n) => n)
  const sorted = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b)
  expect(sorted(posted)).toEqual(expected)
  const files = readdirSync(out).filter(name => name.endsWith('.jsonl'))
  expect(sorted(files.flatMap(name => readFileSync(join(out, name), 'utf8').trim().split('\n').map(Number)))).toEqual(expected)
})

it('fails a job whose service cannot be reached, naming the stage', async () => {
  const status = await run(
    'unreachable',
    `import { defineJob, generator } from 'nearstate/stream'
export default defineJob('unreachable', flow => {
  flow.source('events', generator({ events: n => n, count: 1 })).mapAsync('asked', (n, call) => call.fetch('http://127.0.0.1:1/'))
})`,
  )
  expect(status).toMatchObject({ status: 'failed', failedStage: 'asked', failure: expect.stringContaining('Cannot fetch') })
})
