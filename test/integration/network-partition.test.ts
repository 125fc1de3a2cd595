/** Nodes in network namespaces of their own, cut off from each other with nft. Needs Linux, root, iproute2 and nftables. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, it, vi } from 'vitest'
import { redundancy } from '../../src/cli/demo-fault.ts'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import { EmbeddedCoordinator } from '../../src/coordinator/embedded.ts'
import { serveCoordinator } from '../../src/coordinator/served.ts'
import { unharmed } from './unharmed.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

const isUsable = (): boolean =>
  process.platform === 'linux' &&
  process.getuid?.() === 0 &&
  spawnSync('nft', ['--version']).status === 0 &&
  spawnSync('ip', ['netns', 'list']).status === 0

const signal = new AbortController().signal
const prefix = `10.${100 + (process.pid % 100)}.${process.pid % 250}`
const bridge = `nsb${process.pid % 100_000}`
const space = (index: number): string => `nearstate-${process.pid}-${index}`
const addressOf = (index: number): string => `${prefix}.${index + 1}`
const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] })

/** In node `index`'s namespace. */
const drop = (index: number, rules: readonly string[]): void => {
  const table =
    'add table inet cut; add chain inet cut in { type filter hook input priority 0; }; add chain inet cut out { type filter hook output priority 0; };'
  execFileSync('ip', ['netns', 'exec', space(index), 'nft', '-f', '-'], {
    input: `${table} ${rules.map(rule => `add rule inet cut ${rule} drop;`).join(' ')}\n`,
  })
}
const heal = (index: number): void => void execFileSync('ip', ['netns', 'exec', space(index), 'nft', 'flush', 'ruleset'])
const from = (others: readonly number[]): string => `in ip saddr { ${others.map(addressOf).join(', ')} }`
const to = (others: readonly number[]): string => `out ip daddr { ${others.map(addressOf).join(', ')} }`

describe.skipIf(!isUsable())('nodes cut off from each other (Linux, root, ip and nft)', () => {
  const nodes: ChildProcess[] = []
  const grids: Grid[] = []
  const stops: (() => Promise<unknown>)[] = []

  beforeAll(async () => {
    ip('link', 'add', bridge, 'type', 'bridge')
    ip('addr', 'add', `${addressOf(0)}/24`, 'dev', bridge)
    ip('link', 'set', bridge, 'up')
    for (const index of [1, 2, 3]) {
      ip('netns', 'add', space(index))
      ip('link', 'add', `${bridge}${index}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space(index))
      ip('link', 'set', `${bridge}${index}`, 'master', bridge, 'up')
      ip('-n', space(index), 'addr', 'add', `${addressOf(index)}/24`, 'dev', 'eth0')
      ip('-n', space(index), 'link', 'set', 'eth0', 'up')
      ip('-n', space(index), 'link', 'set', 'lo', 'up')
    }
    const coordinator = new EmbeddedCoordinator()
    const server = await serveCoordinator(coordinator, { host: addressOf(0), port: 0 })
    stops.push(async () => {
      await server.stop(0)
      await coordinator.close()
    })
    const cli = new URL('../../src/cli/main.ts', import.meta.url).pathname
    for (const index of [1, 2, 3]) {
      const flags = [
        '--name',
        `node-${index}`,
        '--host',
        addressOf(index),
        '--insecure',
        '--expected-nodes',
        '3',
        '--backups',
        '1',
        '--partitions',
        '60',
      ]
      const command = [
        process.execPath,
        cli,
        'start',
        ...flags,
        '--coordinator',
        `embedded://${addressOf(0)}:${server.port}`,
        '--log-level',
        'error',
      ]
      nodes.push(spawn('ip', ['netns', 'exec', space(index), ...command], { stdio: ['ignore', 'ignore', 'inherit'] }))
    }
    const endpoints = [1, 2, 3].map(index => `${addressOf(index)}:7400`)
    await Promise.all(endpoints.map(serves))
    for (let i = 0; i < 3; i += 1) grids.push(await connect({ endpoints, requestTimeout: '30s' }))
    await redundancy(world().grid, signal)
  })

  afterAll(async () => {
    await Promise.all(grids.map(grid => grid.close()))
    for (const node of nodes) node.kill('SIGKILL')
    for (const node of nodes) if (node.exitCode === null && node.signalCode === null) await once(node, 'exit')
    for (const stop of stops) await stop()
    for (const index of [1, 2, 3]) spawnSync('ip', ['netns', 'del', space(index)])
    spawnSync('ip', ['link', 'del', bridge])
  })

  const world = (): { readonly grids: readonly Grid[]; readonly grid: Grid } => ({ grids, grid: grids[0] as Grid })

  const cut = (index: number, rules: readonly string[], ms: number) => async (): Promise<void> => {
    drop(index, rules)
    await sleep(ms)
    heal(index)
    await sleep(1500)
  }

  it('a node that clients and the coordinator reach and other nodes do not: it answers nothing that is not true', async () => {
    await unharmed(world(), cut(3, [from([1, 2]), to([1, 2])], 5000))
  })

  it('a node that nobody reaches', async () => {
    await unharmed(world(), cut(2, [from([0, 1, 3]), to([0, 1, 3])], 6000))
  })

  it('one way only: a node is heard by others and does not hear them', async () => {
    await unharmed(world(), cut(1, [from([2, 3])], 5000))
  })

  it('one way only: a node hears others and is not heard', async () => {
    await unharmed(world(), cut(3, [to([1, 2])], 5000))
  })

  it('two nodes that do not hear each other, with a third between them', async () => {
    await unharmed(world(), cut(1, [from([2]), to([2])], 5000))
  })
})

async function serves(endpoint: string): Promise<void> {
  for (;;) {
    try {
      const grid = await connect({ endpoints: [endpoint], requestTimeout: '2s' })
      return await grid.close()
    } catch {
      await sleep(200)
    }
  }
}
