/** Three real node processes on a real etcd of three members: data is served without etcd, and membership heals when it is back. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { present } from '../../src/base/assert.ts'
import { redundancy } from '../../src/cli/demo-fault.ts'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import { EtcdServers, hasEtcd } from '../contract/etcd-servers.ts'
import { eventually } from '../contract/eventually.ts'
import { unharmed } from './unharmed.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const signal = new AbortController().signal
const name = 'a cluster on etcd'

class NodeFleet {
  readonly #folder = mkdtempSync(join(tmpdir(), 'nearstate-on-etcd-'))
  readonly #coordinator: string
  readonly #processes = new Map<string, ChildProcess>()

  constructor(coordinator: string) {
    this.#coordinator = coordinator
  }

  /** As an operator starts it, from a file; resolves with its endpoint when it serves. */
  async start(node: string): Promise<string> {
    const file = join(this.#folder, `${node}.yaml`)
    const lines = [
      'cluster: shop',
      `name: ${node}`,
      'port: 0',
      'httpPort: 0',
      'expectedNodes: 3',
      'partitions: 24',
      'coordinatorSessionTtl: 2s',
      'memoryMax: 64mb',
      'valueMax: 1mb',
    ]
    writeFileSync(file, [...lines, `coordinator: ${this.#coordinator}`, ''].join('\n'))
    const child = spawn(process.execPath, [main, 'start', '--config', file], { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#processes.set(node, child)
    const serving = Promise.withResolvers<string>()
    child.once('exit', code => serving.reject(new Error(`node ${node} ended with code ${code}: ${text.slice(-2000)}`)))
    serving.promise.catch(() => {})
    let text = ''
    child.stderr.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      const line = text.split('\n').find(complete => complete.includes('"msg":"serving"'))
      if (line !== undefined) serving.resolve((JSON.parse(line) as { readonly address: string }).address)
    })
    return serving.promise
  }

  pidOf(node: string): number {
    return present(this.#processes.get(node)?.pid, `process of ${node}`)
  }

  async kill(node: string): Promise<void> {
    const child = this.#processes.get(node)
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#processes.keys()].map(node => this.kill(node)))
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

describe.skipIf(!hasEtcd)(hasEtcd ? name : `${name} (skipped: there is no etcd on this machine)`, () => {
  let servers: EtcdServers
  let fleet: NodeFleet
  let grids: readonly Grid[] = []

  beforeAll(async () => {
    servers = await EtcdServers.start(3)
    await servers.killAll()
    fleet = new NodeFleet(servers.coordinator)
    // Nodes wait for a coordinator that is not there yet.
    const starting = Promise.all(['node-1', 'node-2', 'node-3'].map(node => fleet.start(node)))
    await sleep(2000)
    servers.startAll()
    const endpoints = await starting
    grids = await Promise.all([1, 2, 3].map(() => connect({ endpoints, requestTimeout: '30s' })))
    await redundancy(world().grid, signal)
  })

  afterAll(async () => {
    await Promise.all(grids.map(grid => grid.close()))
    await fleet?.stop()
    await servers?.stop()
  })

  const world = (): { readonly grids: readonly Grid[]; readonly grid: Grid } => ({ grids, grid: present(grids[0], 'a client') })
  const statusOf = (node: string): string | undefined =>
    world()
      .grid.cluster.describe()
      .members.find(member => member.name === node)?.status

  it('serves on while all members of etcd are away, longer than every session, and no fail-over follows', async () => {
    const before = world().grid.cluster.describe()
    await unharmed(world(), async () => {
      await servers.killAll()
      await sleep(3500)
      servers.startAll()
      await servers.untilAnswers()
      await sleep(2500)
    })
    const after = world().grid.cluster.describe()
    expect(after.leader).toBe(before.leader)
    expect(after.partitions.map(({ primary }) => primary)).toEqual(before.partitions.map(({ primary }) => primary))
  })

  it('a node dies together with the leader of etcd: its partitions pass on; a new process takes its name', async () => {
    await unharmed(world(), async () => {
      const pid = fleet.pidOf('node-3')
      await Promise.all([fleet.kill('node-3'), servers.killMember(await servers.leader())])
      await redundancy(world().grid, signal, pid)
      servers.startAll()
      await fleet.start('node-3')
    })
    expect(statusOf('node-3')).toBe('alive')
  })

  it('a node dies while etcd is away: its partitions wait, pass on when etcd is back, and nothing is lost', async () => {
    await unharmed(world(), async () => {
      await servers.killAll()
      const pid = fleet.pidOf('node-2')
      await fleet.kill('node-2')
      await sleep(2500)
      expect(statusOf('node-2')).toBe('alive')
      servers.startAll()
      await redundancy(world().grid, signal, pid)
    })
    await eventually(() => statusOf('node-2')).not.toBe('alive')
    await fleet.start('node-2')
    await eventually(() => statusOf('node-2')).toBe('alive')
  })
})
