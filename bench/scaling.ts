/**
 * 3 -> 4 -> 3 nodes with 2 GB of data, at 30 % of the measured maximum load: failed operations, the client's p99 while partitions
 * move against the quiet p99, and how many partitions move. `--gb N` (default 2); `--quick`: 0.2.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../src/client/connect.ts'
import type { ClusterDescription } from '../src/client/cluster-description.ts'
import type { Grid } from '../src/client/grid.ts'
import { startDevCluster } from '../src/node/dev.ts'
import { type Benchmark, type BenchRow, figure } from './report.ts'
import { startSide } from './rounds.ts'
import type { PacedResult } from './scaling/load.ts'

const valueBytes = 1000
const quietMs = 10_000
const withinMs = 300_000
const loadShare = 0.3

export const benchmark: Benchmark = {
  name: 'scaling',
  description: 'a node joins and leaves under load: failed operations, p99, what moves',
  run: async ({ args }) => {
    const at = args.indexOf('--gb')
    const gigabytes = at >= 0 ? Number(args[at + 1]) : args.includes('--quick') ? 0.2 : 2
    const keys = Math.round((gigabytes * 1e9) / valueBytes)
    const cluster = await startDevCluster({ nodes: 3, shards: 1, port: 0, logLevel: 'error', flags: ['--memory-max', '4gb'] })
    const load = startSide('load', new URL('scaling/load.ts', import.meta.url))
    const grid = await connect({ endpoints: cluster.endpoints })
    let joiner: ChildProcess | undefined
    try {
      await load.call('connect', { endpoints: cluster.endpoints, keys, valueBytes })
      console.log(`${keys.toLocaleString('en-US')} entries of ${valueBytes} bytes are loaded, with one backup each`)
      const { perSecond: most } = await load.call<{ perSecond: number }>('most', { durationMs: 5000 })
      const perSecond = Math.round(most * loadShare)
      console.log(`at most ${Math.round(most)} calls a second; from now on ${perSecond}`)
      await load.call('pace', { perSecond })
      await sleep(2000)
      await load.call<PacedResult>('take')
      await sleep(quietMs)
      const quiet = await load.call<PacedResult>('take')
      const before = grid.cluster.describe()
      joiner = await join(cluster.coordinator)
      await load.call<PacedResult>('take')
      const joinAtMs = performance.now()
      await settled(grid, 4)
      const joinMs = performance.now() - joinAtMs
      const joining = await load.call<PacedResult>('take')
      const joined = grid.cluster.describe()
      const leaveAtMs = performance.now()
      joiner.kill('SIGTERM')
      await once(joiner, 'exit')
      await settled(grid, 3)
      const leaveMs = performance.now() - leaveAtMs
      const leaving = await load.call<PacedResult>('take')
      const { failures } = await load.call<{ failures: number }>('stop')
      const row = (name: string, one: PacedResult): BenchRow => ({
        name,
        side: 'nearstate',
        value: one.perSecond,
        unit: '/s',
        p50Ms: one.p50Ms,
        p99Ms: one.p99Ms,
      })
      const { moved, needless } = movesBetween(before, joined)
      return {
        rows: [
          row('quiet', quiet),
          row('while a node joins', joining),
          row('while it leaves', leaving),
          { name: 'join, until all has moved', side: 'nearstate', value: joinMs / 1000, unit: 's' },
          { name: 'leave, until all has moved', side: 'nearstate', value: leaveMs / 1000, unit: 's' },
          { name: 'copies that moved to the new node', side: 'nearstate', value: moved, unit: '' },
        ],
        figures: [
          figure('failed operations', failures, '', { atMost: 0 }),
          figure('p99 while a node joins / quiet', joining.p99Ms / quiet.p99Ms, 'x', { atMost: 2 }),
          figure('p99 while it leaves / quiet', leaving.p99Ms / quiet.p99Ms, 'x', { atMost: 2 }),
          figure('copies that moved between old nodes', needless, '', { atMost: 0 }),
        ],
      }
    } finally {
      joiner?.kill('SIGKILL')
      await load.stop()
      await grid.close()
      await cluster.stop()
    }
  },
}

/** A fourth node, as a user would start it; resolves when it serves. */
async function join(coordinator: string): Promise<ChildProcess> {
  const cli = new URL('../src/cli/main.ts', import.meta.url).pathname
  const flags = [
    '--name',
    'node-4',
    '--port',
    '0',
    '--http-port',
    '0',
    '--coordinator',
    coordinator,
    '--backups',
    '1',
    '--shards',
    '1',
    '--memory-max',
    '4gb',
  ]
  const child = spawn(process.execPath, [cli, 'start', ...flags, '--log-level', 'info'], { stdio: ['ignore', 'pipe', 'pipe'] })
  await new Promise<void>((resolve, reject) => {
    let log = ''
    const read = (text: Buffer): void => {
      if (log.length < 64_000) log += text.toString()
      if (log.includes('"msg":"serving"')) resolve()
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    child.once('exit', code => reject(new Error(`node-4 ended with code ${code}: ${log.slice(-1000)}`)))
  })
  return child
}

/** Resolves when so many nodes live and every one has its share, with no copy under way. */
async function settled(grid: Grid, nodes: number): Promise<void> {
  const deadlineMs = performance.now() + withinMs
  let sinceMs = performance.now()
  for (let version = -1; performance.now() - sinceMs < 2000; ) {
    const description = grid.cluster.describe()
    const live = description.members.filter(member => member.status === 'alive').length
    if (description.version !== version || live !== nodes || !isWhole(description)) sinceMs = performance.now()
    version = description.version
    if (performance.now() > deadlineMs) throw new Error(`the partitions have not settled on ${nodes} nodes within ${withinMs / 1000} s`)
    await sleep(20)
  }
}

const isWhole = ({ partitions, backups }: ClusterDescription): boolean =>
  partitions.every(partition => partition.backups.length === backups && partition.backups.every(backup => backup.isInSync))

/** Copies that came to node-4, and copies that came to any other node. */
function movesBetween(before: ClusterDescription, after: ClusterDescription): { readonly moved: number; readonly needless: number } {
  const holders = (description: ClusterDescription, partition: number): Set<string> => {
    const record = description.partitions[partition]
    return new Set([record?.primary?.node ?? '', ...(record?.backups ?? []).map(({ node }) => node)])
  }
  let moved = 0
  let needless = 0
  for (let partition = 0; partition < after.partitionCount; partition += 1) {
    const held = holders(before, partition)
    for (const node of holders(after, partition)) {
      if (held.has(node)) continue
      if (node === 'node-4') moved += 1
      else needless += 1
    }
  }
  return { moved, needless }
}
