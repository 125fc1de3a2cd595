/**
 * `kill -9` of one of three nodes under load, each in turn and so the leader too, and a node that is stopped for 20 s: what
 * clients see of it, partition by partition, and whether a write that was acknowledged is ever missing.
 * `--kills N` (default 20); `--quick`: 3 kills and a pause of 5 s.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { present } from '../src/base/assert.ts'
import { redundancy } from '../src/cli/demo-fault.ts'
import type { LedgerReport } from '../src/cli/ledger.ts'
import { connect } from '../src/client/connect.ts'
import { type DevCluster, startDevCluster } from '../src/node/dev.ts'
import { type Benchmark, figure, spreadOf } from './report.ts'
import { type Side, startSide } from './rounds.ts'

const quietMs = 1500
const settleMs = 3000
const never = new AbortController().signal

export const benchmark: Benchmark = {
  name: 'failover',
  description: 'what clients see when one of three nodes is killed, or stands still, under load',
  run: async ({ args }) => {
    const quick = args.includes('--quick')
    const at = args.indexOf('--kills')
    const kills = at >= 0 ? Number(args[at + 1]) : quick ? 3 : 20
    const pauseMs = quick ? 5000 : 20_000
    const cluster = await startDevCluster({ nodes: 3, shards: 1, port: 0, logLevel: 'error' })
    const load = startSide('load', new URL('failover/load.ts', import.meta.url))
    const grid = await connect({ endpoints: cluster.endpoints })
    try {
      await redundancy(grid, never)
      await load.call('start', { endpoints: cluster.endpoints, clients: 4, pauseMs: 50 })
      const gaps: number[] = []
      const medians: number[] = []
      const leaderGaps: number[] = []
      const backMs: number[] = []
      for (let kill = 0; kill < kills; kill += 1) {
        const victim = present(cluster.nodes[kill % cluster.nodes.length], 'a node')
        const wasLeader = grid.cluster.describe().leader === victim.name
        await quietly(load)
        process.kill(victim.pid, 'SIGKILL')
        const killedAtMs = performance.now()
        await redundancy(grid, never, victim.pid)
        backMs.push(performance.now() - killedAtMs)
        await replaced(cluster, victim.pid)
        await redundancy(grid, never, victim.pid)
        const { longestMs, medianMs } = await load.call<{ longestMs: number; medianMs: number }>('takeGaps')
        gaps.push(longestMs)
        medians.push(medianMs)
        if (wasLeader) leaderGaps.push(longestMs)
        console.log(
          `kill ${kill + 1} of ${victim.name}${wasLeader ? ' (leader)' : ''}: longest gap ${longestMs.toFixed(0)} ms, of half of its partitions ${medianMs.toFixed(0)} ms`,
        )
        await sleep(settleMs)
      }
      const paused = present(cluster.nodes[1], 'a node')
      await quietly(load)
      process.kill(paused.pid, 'SIGSTOP')
      await sleep(pauseMs)
      const { longestMs: pauseGapMs } = await load.call<{ longestMs: number }>('takeGaps')
      process.kill(paused.pid, 'SIGCONT')
      await sleep(settleMs)
      const { longestMs: afterPauseMs } = await load.call<{ longestMs: number }>('takeGaps')
      const report = await load.call<LedgerReport>('stop')
      const spread = spreadOf(gaps)
      return {
        rows: [
          { name: 'calls', side: 'nearstate', value: report.operations, unit: '' },
          { name: 'failed calls', side: 'nearstate', value: Object.values(report.failures).reduce((sum, n) => sum + n, 0), unit: '' },
          { name: 'stale reads', side: 'nearstate', value: report.staleReads + report.inventedReads, unit: '' },
          {
            name: 'all copies back',
            side: 'nearstate',
            value: spreadOf(backMs).median,
            unit: 'ms',
            min: spreadOf(backMs).min,
            max: spreadOf(backMs).max,
          },
          {
            name: 'gap of half of the killed partitions',
            side: 'nearstate',
            value: spreadOf(medians).median,
            unit: 'ms',
            min: spreadOf(medians).min,
            max: spreadOf(medians).max,
          },
          {
            name: 'longest gap, kills of the leader',
            side: 'nearstate',
            value: spreadOf(leaderGaps).median,
            unit: 'ms',
            min: spreadOf(leaderGaps).min,
            max: spreadOf(leaderGaps).max,
          },
          { name: 'longest gap after SIGCONT', side: 'nearstate', value: afterPauseMs, unit: 'ms' },
        ],
        figures: [
          figure('acknowledged writes lost', report.acknowledgedWritesLost, '', { atMost: 0 }),
          figure(`longest gap of any partition, of ${kills} kills the longest`, spread.max, 'ms', { atMost: 1500 }),
          figure(`longest gap of any partition, p50 of ${kills} kills`, spread, 'ms', { atMost: 1000 }),
          figure(`longest gap, a node stopped for ${pauseMs / 1000} s`, pauseGapMs, 'ms', { atMost: 2500 }),
        ],
      }
    } finally {
      await load.stop()
      await grid.close()
      await cluster.stop()
    }
  },
}

async function quietly(load: Side): Promise<void> {
  await sleep(quietMs)
  await load.call('takeGaps')
}

async function replaced(cluster: DevCluster, pid: number): Promise<void> {
  while (cluster.nodes.some(node => node.pid === pid)) await sleep(50)
}
