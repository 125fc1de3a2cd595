/** Faults of real processes under load: every history is checked, and every acknowledged write looked for. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { present } from '../../src/base/assert.ts'
import { redundancy } from '../../src/cli/demo-fault.ts'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import { type DevCluster, type DevEvent, startDevCluster } from '../../src/node/dev.ts'
import { defineKey } from '../../src/keys/key-space.ts'
import { unharmed } from './unharmed.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

/** Each is called all the time. */
const fewPartitions = ['--partitions', '60']
const Kept = defineKey('kept', 'string')
const signal = new AbortController().signal
const stops: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop()
})

interface World {
  readonly cluster: DevCluster
  readonly grids: readonly Grid[]
  readonly grid: Grid
  readonly events: DevEvent[]
}

async function startWorld(
  options: { readonly nodes?: number; readonly replace?: boolean; readonly flags?: readonly string[] } = {},
): Promise<World> {
  const events: DevEvent[] = []
  const { nodes = 3, replace = true, flags = [] } = options
  const cluster = await startDevCluster({
    nodes,
    shards: 1,
    port: 0,
    replace,
    logLevel: 'error',
    flags: [...fewPartitions, ...flags],
    onEvent: event => events.push(event),
  })
  stops.push(() => cluster.stop())
  const grids = await Promise.all(Array.from({ length: 3 }, () => connect({ endpoints: cluster.endpoints, requestTimeout: '20s' })))
  stops.push(() => Promise.all(grids.map(grid => grid.close())))
  await redundancy(present(grids[0], 'a client'), signal)
  return { cluster, grids, grid: present(grids[0], 'a client'), events }
}

const nodeOf = ({ cluster }: World, name: string | undefined) =>
  present(
    cluster.nodes.find(node => node.name === name),
    `node ${name}`,
  )

describe('three real nodes under load', () => {
  it('kill -9 of a node: its backups take over, a fresh process takes its place, nothing is lost or stale, no call fails', async () => {
    const world = await startWorld()
    const victim = nodeOf(world, world.cluster.nodes.find(({ name }) => name !== world.grid.cluster.describe().leader)?.name)
    await unharmed(world, async () => {
      process.kill(victim.pid, 'SIGKILL')
      await redundancy(world.grid, signal, victim.pid)
      while (!world.events.some(({ event }) => event === 'nodeStarted')) await sleep(50)
    })
    expect(world.events.map(({ event }) => event)).toEqual(expect.arrayContaining(['nodeExited', 'failover', 'nodeStarted']))
  })

  it('kill -9 of the leader: another one takes the lead', async () => {
    const world = await startWorld()
    const victim = nodeOf(world, world.grid.cluster.describe().leader)
    await unharmed(world, async () => {
      process.kill(victim.pid, 'SIGKILL')
      await redundancy(world.grid, signal, victim.pid)
    })
    expect(world.events.map(({ event }) => event)).toContain('leaderChanged')
  })

  it('SIGSTOP of a node for longer than its leases, then SIGCONT: what it wakes up with is not believed', async () => {
    const world = await startWorld()
    const victim = nodeOf(world, world.grid.cluster.describe().leader)
    await unharmed(world, async () => {
      process.kill(victim.pid, 'SIGSTOP')
      await sleep(4000)
      process.kill(victim.pid, 'SIGCONT')
      await sleep(1500)
    })
  })

  it('a rolling restart of all nodes, one after the other', async () => {
    const world = await startWorld()
    await unharmed(world, async () => {
      for (const { name, pid } of world.cluster.nodes) {
        process.kill(pid, 'SIGTERM')
        while (nodeOf(world, name).pid === pid) await sleep(50)
        await redundancy(world.grid, signal, pid)
      }
    })
  })

  it('a node joins and leaves again: partitions move to it and back, no call fails', async () => {
    const world = await startWorld()
    await unharmed(world, async () => {
      const joiner = startNode(world.cluster.coordinator, 'node-4')
      stops.push(async () => joiner.kill('SIGKILL'))
      const holds = (name: string): number =>
        world.grid.cluster.describe().partitions.filter(({ primary }) => primary?.node === name).length
      while (holds('node-4') < 15) await sleep(50)
      await redundancy(world.grid, signal)
      joiner.kill('SIGTERM')
      await once(joiner, 'exit')
      expect(holds('node-4')).toBe(0)
    })
  })
})

describe('when all copies are gone', () => {
  it('two of three nodes killed at once: partitions without a copy say PARTITION_LOST once the dead are known to be dead, the others serve', async () => {
    const world = await startWorld({ replace: true })
    const map = world.grid.map<typeof Kept, number>('kept', Kept)
    const keys = Array.from({ length: 500 }, (_, i) => `k${i}`)
    await map.setAll(keys.map((key, i) => [key, i]))
    for (const { pid } of world.cluster.nodes.slice(1)) process.kill(pid, 'SIGKILL')
    const lost = (): number => world.grid.cluster.describe().partitions.filter(({ primary }) => primary === undefined).length
    while (lost() === 0) await sleep(50)
    await redundancyOfTheRest(world)
    const outcomes = await Promise.allSettled(keys.map(key => map.get(key)))
    const failed = outcomes.filter(outcome => outcome.status === 'rejected')
    expect(failed.length).toBeGreaterThan(0)
    for (const { reason } of failed) expect(reason).toMatchObject({ code: 'PARTITION_LOST' })
    for (const [i, outcome] of outcomes.entries()) if (outcome.status === 'fulfilled') expect(outcome.value).toBe(i)
    expect(failed.length).toBeLessThan(keys.length)
  })
})

/** Nothing is unavailable any more: each partition is lost or serves. */
async function redundancyOfTheRest({ grid, cluster }: World): Promise<void> {
  const isLive = (node: string | undefined): boolean => {
    const member = grid.cluster.describe().members.find(({ name }) => name === node)
    return member !== undefined && cluster.nodes.some(({ pid }) => pid === member.pid) && member.status === 'alive'
  }
  while (!grid.cluster.describe().partitions.every(({ primary }) => primary === undefined || isLive(primary.node))) await sleep(50)
}

function startNode(coordinator: string, name: string): ChildProcess {
  const cli = new URL('../../src/cli/main.ts', import.meta.url).pathname
  const flags = [
    '--name',
    name,
    '--port',
    '0',
    '--http-port',
    '0',
    '--coordinator',
    coordinator,
    '--backups',
    '1',
    '--log-level',
    'error',
    ...fewPartitions,
  ]
  return spawn(process.execPath, [cli, 'start', ...flags], { stdio: ['ignore', 'ignore', 'inherit'] })
}
