import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import { defineKey } from '../../src/keys/key-space.ts'
import { type RunningCluster, startCluster } from '../../src/node/embed.ts'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const functionsFile = (text: string): string => `
import { defineFunctions, entryFunction } from 'nearstate/functions'
export default defineFunctions({ ${text} })
`

const spendJob = `
import { count, defineJob, defineKey, files, sum } from 'nearstate/stream'
const Customer = defineKey('customer', 'string')
export default defineJob('spend', { onError: 'deadLetter' }, flow => {
  flow
    .source('orders', files({ path: process.env.ORDERS_OF_TEST ?? ORDERS, format: 'csv' }))
    .keyBy('by customer', Customer, order => order.customer)
    .aggregate('total', { spend: sum(order => Number(order.amount)), orders: count() })
    .sink('to spend', flow.map('spend', Customer))
})
`

const endlessJob = `
import { defineJob, defineKey, generator } from 'nearstate/stream'
const Id = defineKey('id', 'string')
export default defineJob('endless', { onError: 'fail' }, flow => {
  flow
    .source('numbers', generator({ events: n => ({ id: String(n % 100), n }), ratePerSecond: 2000 }))
    .keyBy('by id', Id, row => row.id)
    .sink('to latest', flow.map('latest', Id))
})
`

describe('a cluster in one process', () => {
  let cluster: RunningCluster
  let grid: Grid
  let folder: string
  const file = (name: string, text: string): string => {
    const path = join(folder, name)
    writeFileSync(path, text)
    return path
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'nearstate-'))
    cluster = await startCluster({ nodes: 2, shards: 2 })
    grid = await connect({ endpoints: cluster.endpoints, requestTimeout: '20s' })
  })

  it('serves a client that asks for its map anew for every call, thousands of times', async () => {
    for (let call = 0; call < 5000; call += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, i) => grid.map('asked-for-anew').set('a', call + i)))
    }
    expect(await grid.map('asked-for-anew').size()).toBe(1)
  })

  afterAll(async () => {
    await grid?.close()
    await cluster?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  it('spreads its partitions evenly over all shards', () => {
    const { partitions, members } = grid.cluster.describe()
    const perShard = new Map<string, number>()
    for (const { primary } of partitions)
      perShard.set(`${primary?.node}/${primary?.shard}`, (perShard.get(`${primary?.node}/${primary?.shard}`) ?? 0) + 1)
    expect([...perShard.values()]).toEqual([60, 60, 60, 60])
    expect(members.every(member => member.shards.length === 2)).toBe(true)
  })

  it('gives a map of a known name back as it was defined, and refuses another definition', async () => {
    const key = defineKey('number', 'int64')
    const info = await grid.maps.create('numbers', { key, ttl: '1h' })
    expect(info).toMatchObject({ name: 'numbers', keySpace: 'number', keyCodec: 'int64', ttlMs: 3_600_000 })
    expect(await grid.maps.create('numbers', { key, ttl: '1h' })).toEqual(info)
    await expect(grid.maps.create('numbers', { key })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' })
    await expect(grid.map('numbers').set('one', 1)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(grid.maps.create('__mine')).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
  })

  it('has nothing of a destroyed map when destroy answers, and begins anew under the name', async () => {
    const map = grid.map<number>('short-lived')
    await map.setAll(Array.from({ length: 500 }, (_, i) => [`k${i}`, i] as const))
    expect(await map.size()).toBe(500)
    await grid.maps.destroy('short-lived')
    expect(await map.get('k1')).toBeUndefined()
    await map.set('k1', 1)
    expect(await map.size()).toBe(1)
    await expect(grid.maps.destroy('no-such')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  it('runs deployed functions at the data, replaces them at once, and keeps the old ones when a deploy is refused', async () => {
    const path = file(
      'counters.ts',
      functionsFile('add: entryFunction()((entry, n) => { entry.set((entry.get() ?? 0) + n); return entry.get() })'),
    )
    expect((await grid.functions.deploy(path)).names).toEqual(['add'])
    const counters = grid.map<number>('counters')
    const keys = Array.from({ length: 20 }, (_, i) => `c${i}`)
    await Promise.all(keys.map(key => counters.invoke(key, 'add', 2)))
    expect(await counters.getAll(keys)).toEqual(new Map(keys.map(key => [key, 2])))

    writeFileSync(path, functionsFile('add: 5'))
    await expect(grid.functions.deploy(path)).rejects.toMatchObject({ code: expect.stringMatching(/INVALID_ARGUMENT|FUNCTION_FAILED/) })
    await counters.invoke('c0', 'add', 1)
    expect(await counters.get('c0')).toBe(3)

    writeFileSync(path, functionsFile('subtract: entryFunction()((entry, n) => { entry.set((entry.get() ?? 0) - n) })'))
    expect((await grid.functions.deploy(path)).names).toEqual(['subtract'])
    await Promise.all(keys.map(key => counters.invoke(key, 'subtract', 1)))
    await expect(counters.invoke('c0', 'add', 1)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  it('runs a job over a file to its end, with the document that programs read', async () => {
    const lines = Array.from({ length: 1000 }, (_, i) => `customer-${i % 50},${i}`)
    const orders = file('orders.csv', `customer,amount\n${lines.join('\n')}\n`)
    const path = file('spend.ts', spendJob.replace('process.env.ORDERS_OF_TEST ?? ORDERS', JSON.stringify(orders)))
    const job = await grid.jobs.submit(path)
    const status = await job.ended()
    expect(status).toMatchObject({
      name: 'spend',
      id: expect.any(String),
      status: 'completed',
      guarantee: 'exactly-once',
      submittedAt: expect.any(Number),
      restarts: 0,
      checkpoint: { id: expect.any(Number), at: expect.any(Number), durationMs: expect.any(Number), bytes: expect.any(Number) },
    })
    expect(status.failure).toBeUndefined()
    expect(status.stages.find(stage => stage.name === 'orders')).toMatchObject({ kind: 'source', rowsOut: 1000, deadLetters: 0 })
    const spend = grid.map('spend', defineKey('customer', 'string'))
    expect(await spend.size()).toBe(50)
    expect(await spend.get('customer-7')).toMatchObject({
      orders: 20,
      spend: Array.from({ length: 20 }, (_, i) => i * 50 + 7).reduce((a, b) => a + b),
    })
    expect((await grid.jobs.list()).map(({ name }) => name)).toContain('spend')
    // An ended job's name may be used again.
    expect((await (await grid.jobs.submit(path)).ended()).status).toBe('completed')
  })

  it("refuses a job of a running job's name, and stops a job that is cancelled", async () => {
    const path = file('endless.ts', endlessJob)
    const job = await grid.jobs.submit(path)
    expect((await job.status()).status).toBe('running')
    await expect(grid.jobs.submit(path)).rejects.toMatchObject({ code: 'ALREADY_EXISTS' })
    await expect.poll(() => grid.map('latest', defineKey('id', 'string')).size(), { timeout: 20_000 }).toBe(100)
    expect((await job.cancel()).status).toBe('cancelled')
    expect((await job.cancel()).status).toBe('cancelled')
    await expect(grid.jobs.get('no-such').status()).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  it('refuses settings of a job that mean nothing, by what is wrong with them', async () => {
    const path = file('endless.ts', endlessJob)
    const refused = (options: object, message: string): Promise<void> =>
      expect(grid.jobs.submit(path, options)).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
        message: expect.stringContaining(message),
      })
    await refused({ guarantee: 'twice' }, 'guarantee "twice"')
    await refused({ checkpointInterval: '1ms' }, 'checkpointInterval 1 ms')
    await refused({ checkpointInterval: '60d' }, 'checkpointInterval')
    await refused({ checkpointInterval: '5 parsecs' }, '5 parsecs')
    await refused({ from: 'v1' }, 'JOB/LABEL')
    await refused({ allowStateLoss: true }, 'from names none')
    const without = await grid.jobs.submit(path, { name: 'without', guarantee: 'none' })
    await expect(without.suspend()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect((await without.status()).checkpoint).toBeNull()
    await without.cancel()
  })

  it('runs a job at least once, and warns of state that grows without end', async () => {
    const path = file('loose.ts', endlessJob.replace("'endless'", "'loose'").replace('.sink(', ".reduce('last', (_, row) => row).sink("))
    const job = await grid.jobs.submit(path, { guarantee: 'at-least-once', checkpointInterval: '50ms' })
    await expect.poll(async () => (await job.status()).checkpoints, { timeout: 20_000 }).toBeGreaterThan(3)
    expect(await job.status()).toMatchObject({
      guarantee: 'at-least-once',
      restarts: 0,
      warnings: [expect.stringContaining('stage "last": it keeps state for every key')],
    })
    await job.cancel()
  })

  it('refuses a job whose keys are not those of a map, and names the stage', async () => {
    await grid.map('taken', defineKey('other', 'string')).set('a', 1)
    const path = file('clash.ts', endlessJob.replace("'endless'", "'clash'").replace("flow.map('latest'", "flow.map('taken'"))
    await expect(grid.jobs.submit(path)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('stage "to latest": map "taken" has keys of "other"'),
    })
  })

  it('checks a job without starting it, and tells all that is wrong with it', async () => {
    const path = file('doubtful.ts', endlessJob.replace("'endless'", "'doubtful'").replace("flow.map('latest'", "flow.map('taken'"))
    const found = await grid.jobs.check(path)
    expect(found).toMatchObject({ name: 'doubtful', splits: { numbers: 4 } })
    expect(found.findings).toEqual([
      { level: 'error', stage: 'to latest', message: expect.stringContaining('map "taken" has keys of "other"') },
    ])
    expect(found.text).toContain('to latest')
    await expect(grid.jobs.get('doubtful').status()).rejects.toMatchObject({ code: 'NOT_FOUND' })
    const gone = file('gone.ts', spendJob.replace('process.env.ORDERS_OF_TEST ?? ORDERS', '"/no/such/orders.csv"'))
    const { findings } = await grid.jobs.check(gone, { name: 'gone' })
    expect(findings.filter(({ level }) => level === 'error')).toMatchObject([{ message: expect.stringContaining('/no/such/orders.csv') }])
  })

  it('says in a check that a job of the name runs, and shows the graph of that', async () => {
    const path = file('taken-name.ts', endlessJob.replace("'endless'", "'taken-name'"))
    const job = await grid.jobs.submit(path)
    expect((await grid.jobs.check(path)).findings).toEqual([{ level: 'error', message: expect.stringContaining('"taken-name"') }])
    const graph = await job.graph()
    expect(graph.findings).toEqual([])
    expect(graph.stages.map(({ name }) => name)).toContain('to latest')
    await job.cancel()
    await expect(grid.jobs.get('nobody').graph()).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  it('refuses a job whose file is missing, at submit', async () => {
    const path = file('missing.ts', spendJob.replace('process.env.ORDERS_OF_TEST ?? ORDERS', '"/no/such/orders.csv"'))
    await expect(grid.jobs.submit(path)).rejects.toMatchObject({ message: expect.stringContaining('/no/such/orders.csv') })
  })

  it('keeps what it knows of the last run of a job when another submit under its name is refused', async () => {
    const numbers = (space: string): string =>
      file(
        `numbers-${space}.ts`,
        endlessJob
          .replace("'endless'", "'numbers'")
          .replace('ratePerSecond: 2000', 'count: 10')
          .replace("'latest'", "'ten'")
          .replace("'id'", `'${space}'`),
      )
    const ended = await (await grid.jobs.submit(numbers('id'))).ended()
    await expect(grid.jobs.submit(numbers('other'))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(/has keys of "id".*use the map's key space, or another map/),
    })
    expect(await grid.jobs.get('numbers').status()).toEqual(ended)
    const again = await (await grid.jobs.submit(numbers('id'))).ended()
    expect(again.status).toBe('completed')
    expect(again.id).not.toBe(ended.id)
  })

  it('refuses to recover without consent', async () => {
    await expect(grid.cluster.recoverPartitions({ acceptLoss: false as true })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(await grid.cluster.recoverPartitions({ acceptLoss: true })).toBe(0)
  })
})

describe('nodes that come and go', () => {
  it('fail the jobs without checkpoints that ran on them, let the others go on, and hand over what they hold', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nearstate-'))
    const path = join(folder, 'endless.ts')
    writeFileSync(path, endlessJob)
    await using cluster = await startCluster({ nodes: 3 })
    await using grid = await connect({ endpoints: cluster.endpoints, requestTimeout: '20s' })
    const keys = Array.from({ length: 300 }, (_, i) => `k${i}`)
    await grid.map<number>('kept').setAll(keys.map((key, i) => [key, i] as const))
    const job = await grid.jobs.submit(path, { name: 'without', guarantee: 'none' })
    const safe = await grid.jobs.submit(path, { name: 'with' })
    const { leader } = grid.cluster.describe()
    const leaving = cluster.nodes.find(node => node.name === leader)
    await leaving?.stop()
    // The endpoint asked may be the one that has gone: the client finds another in a moment.
    await expect
      .poll(
        () =>
          job.status().then(
            ({ status }) => status,
            () => undefined,
          ),
        { timeout: 20_000 },
      )
      .toBe('failed')
    expect(await job.status()).toMatchObject({ status: 'failed', failure: expect.any(String) })
    const { checkpoints } = await safe.status()
    await expect.poll(async () => (await safe.status()).checkpoints, { timeout: 20_000 }).toBeGreaterThan(checkpoints + 1)
    expect(await safe.cancel()).toMatchObject({ status: 'cancelled' })
    await expect.poll(() => grid.cluster.describe().members.map(({ name }) => name)).not.toContain(leader)
    const { partitions, leader: next } = grid.cluster.describe()
    expect(next).not.toBe(leader)
    expect(partitions.every(({ primary, backups }) => primary !== undefined && backups.some(({ isInSync }) => isInSync))).toBe(true)
    expect(await grid.map<number>('kept').getAll(keys)).toEqual(new Map(keys.map((key, i) => [key, i])))
    expect(await grid.cluster.recoverPartitions({ acceptLoss: true })).toBe(0)
    rmSync(folder, { recursive: true, force: true })
  })
})
