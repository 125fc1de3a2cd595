/** Three real node processes with durable mirrors, stopped or killed as a whole, and started again. The coordinator is this process's. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { present } from '../../src/base/assert.ts'
import { redundancy } from '../../src/cli/demo-fault.ts'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import { EmbeddedCoordinator } from '../../src/coordinator/embedded.ts'
import { serveCoordinator } from '../../src/coordinator/served.ts'
import { startNode } from '../../src/node/embed.ts'
import { eventually } from '../contract/eventually.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const signal = new AbortController().signal
const all = ['node-1', 'node-2', 'node-3']

class Fleet {
  readonly folder = mkdtempSync(join(tmpdir(), 'nearstate-persistence-'))
  readonly #coordinator = new EmbeddedCoordinator()
  #server: Awaited<ReturnType<typeof serveCoordinator>> | undefined
  readonly #processes = new Map<string, ChildProcess>()
  readonly #logs = new Map<string, string>()
  readonly #grids: Grid[] = []
  readonly #flags: readonly string[]

  constructor(flags: readonly string[]) {
    this.#flags = flags
  }

  /** Resolves with a client when all of them serve. */
  async start(nodes: readonly string[] = all, more: readonly string[] = []): Promise<Grid> {
    this.#server ??= await serveCoordinator(this.#coordinator, { host: '127.0.0.1', port: 0 })
    const endpoints = await Promise.all(nodes.map(node => this.#start(node, more)))
    const grid = await connect({ endpoints, requestTimeout: '30s' })
    this.#grids.push(grid)
    return grid
  }

  logOf(node: string): string {
    return this.#logs.get(node) ?? ''
  }

  async end(how: 'SIGTERM' | 'SIGKILL', nodes: readonly string[] = all): Promise<void> {
    await Promise.all(
      nodes.map(async node => {
        const child = this.#processes.get(node)
        if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
        const exited = once(child, 'exit')
        child.kill(how)
        await exited
      }),
    )
  }

  async stop(): Promise<void> {
    await Promise.all(this.#grids.map(grid => grid.close()))
    await this.end('SIGKILL')
    await this.#server?.stop(100)
    await this.#coordinator.close()
    rmSync(this.folder, { recursive: true, force: true })
  }

  #start(node: string, more: readonly string[]): Promise<string> {
    const address = `embedded://127.0.0.1:${present(this.#server, 'a coordinator').port}`
    const flags = {
      '--name': node,
      '--port': '0',
      '--http-port': '0',
      '--expected-nodes': '3',
      '--partitions': '24',
      '--coordinator-session-ttl': '1s',
      '--memory-max': '64mb',
      '--value-max': '1mb',
      '--persistence-dir': this.folder,
      '--coordinator': address,
    }
    const child = spawn(process.execPath, [main, 'start', ...Object.entries(flags).flat(), ...this.#flags, ...more], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.#processes.set(node, child)
    const serving = Promise.withResolvers<string>()
    let text = ''
    child.once('exit', code => serving.reject(new Error(`${node} ended with code ${code}: ${text.slice(-2000)}`)))
    serving.promise.catch(() => {})
    child.stderr.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      this.#logs.set(node, text)
      const line = text.split('\n').find(complete => complete.includes('"msg":"serving"'))
      if (line !== undefined) serving.resolve((JSON.parse(line) as { readonly address: string }).address)
    })
    return serving.promise
  }
}

let fleet: Fleet | undefined
const fleetOf = (...flags: readonly string[]): Fleet => {
  fleet = new Fleet(flags)
  return fleet
}
beforeEach(() => {
  fleet = undefined
})
afterEach(() => fleet?.stop())

interface Order {
  readonly n: number
}
const ordersOf = (grid: Grid) => grid.map<Order>('orders')
const key = (i: number): string => `order-${i}`

async function fill(grid: Grid, count: number): Promise<void> {
  const orders = ordersOf(grid)
  await Promise.all(Array.from({ length: count }, (_, i) => orders.set(key(i), { n: i })))
  // An expiry that comes after the write, and what is gone stays gone.
  await orders.expire(key(1), { ttl: '1h' })
  await orders.delete(key(0))
}

/** The node that the client follows may learn of the restore a moment after the last node has said that it serves. */
async function restored(grid: Grid): Promise<Grid> {
  while (grid.cluster.describe().partitions.some(({ primary }) => primary === undefined)) await sleep(20)
  return grid
}

async function check(grid: Grid, count: number): Promise<void> {
  const orders = ordersOf(await restored(grid))
  const values = await Promise.all(Array.from({ length: count }, (_, i) => orders.get(key(i))))
  const wrong = values.flatMap((value, i) => ((i === 0 ? value === undefined : value?.n === i) ? [] : [i]))
  expect(wrong).toEqual([])
}

test('all nodes are stopped in order, and all is there when they are back', async () => {
  const cluster = fleetOf()
  const grid = await cluster.start()
  await redundancy(grid, signal)
  await fill(grid, 2000)
  await cluster.end('SIGTERM')
  const again = await cluster.start()
  await check(again, 2000)
  await redundancy(again, signal)
  await check(again, 2000)
  // And once more, from what was written under the new incarnations.
  await ordersOf(again).set(key(2000), { n: 2000 })
  await cluster.end('SIGTERM')
  await check(await cluster.start(), 2001)
})

test('with fsync always all nodes are killed under writes, and no acknowledged one is lost', async () => {
  const cluster = fleetOf('--persistence-fsync', 'always')
  const grid = await cluster.start()
  await redundancy(grid, signal)
  const orders = ordersOf(grid)
  const acknowledged: number[] = []
  const over = new AbortController()
  const writer = async (from: number): Promise<void> => {
    for (let i = from; !over.signal.aborted; i += 8) {
      try {
        await orders.set(key(i), { n: i }, { timeout: '5s' })
        acknowledged.push(i)
      } catch {
        // Its outcome is not known: it may be there or not.
      }
    }
  }
  const writers = Array.from({ length: 8 }, (_, i) => writer(i))
  await eventually(() => acknowledged.length).toBeGreaterThan(100)
  await cluster.end('SIGKILL')
  over.abort()
  await Promise.all(writers)
  const again = ordersOf(await restored(await cluster.start()))
  const values = await Promise.all(acknowledged.map(i => again.get(key(i))))
  expect(acknowledged.filter((i, at) => values[at]?.n !== i)).toEqual([])
})

test('a node that returns while the others live is filled by them, and what it had on disk goes', async () => {
  const cluster = fleetOf()
  const grid = await cluster.start()
  await redundancy(grid, signal)
  await fill(grid, 500)
  await cluster.end('SIGKILL', ['node-2'])
  await ordersOf(grid).set(key(3), { n: 3 })
  const again = await cluster.start(['node-2'])
  await redundancy(again, signal)
  await check(again, 500)
  expect(cluster.logOf('node-2')).not.toContain('restored from the durable mirror')
})

test('what nobody can say the end of stays lost until an operator accepts that; then the furthest copy is taken', async () => {
  const cluster = fleetOf('--persistence-interval', '50ms', '--backups', '2')
  const grid = await cluster.start()
  await redundancy(grid, signal)
  await fill(grid, 500)
  // Long after the interval: everything is on every disk, though nobody can know.
  await sleep(1500)
  await cluster.end('SIGKILL')
  const two = await cluster.start(['node-1', 'node-2'])
  const missing = (): number =>
    two.cluster.describe().partitions.filter(({ primary }) => primary === undefined || primary.node === 'node-3').length
  expect(missing()).toBeGreaterThan(0)
  // Again, until the last node is known to be away.
  await expect
    .poll(async () => (await two.cluster.recoverPartitions({ acceptLoss: true }), missing()), { timeout: 30_000, interval: 500 })
    .toBe(0)
  await check(two, 500)
})

test('a node alone, with the coordinator in it, is stopped and comes back with its data; without its table it does not start', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'nearstate-persistence-'))
  const options = {
    name: 'alone',
    persistenceDir: folder,
    persistenceFsync: 'always',
    partitions: 12,
    backups: 0,
    port: 0,
    httpPort: 0,
    logLevel: 'error',
  }
  const first = await startNode(options)
  await first.ready
  const grid = await connect({ endpoints: [first.address] })
  await fill(grid, 300)
  await grid.close()
  await first.stop({ quietly: true })
  const second = await startNode(options)
  await second.ready
  const again = await connect({ endpoints: [second.address], requestTimeout: '30s' })
  await check(again, 300)
  await again.close()
  await second.stop()
  rmSync(join(folder, 'alone', 'coordinator.json'))
  await expect(startNode(options)).rejects.toThrow(/holds 12 partitions of an earlier cluster/)
  rmSync(folder, { recursive: true, force: true })
})
