/**
 * A steady load of reads and writes on three nodes, the heap and memory of every process watched: `--minutes N` (default 30).
 * Memory must not grow after the first third; no call may fail.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { startDevCluster } from '../src/node/dev.ts'
import { residentMb } from './memory.ts'
import { type Benchmark, type BenchRow, figure } from './report.ts'
import { startSide } from './rounds.ts'
import type { PacedResult } from './scaling/load.ts'

const keys = 100_000
const valueBytes = 200
const perSecond = 5000
const sampleMs = 5000

export const benchmark: Benchmark = {
  name: 'soak',
  description: 'a steady load for a long time: memory does not grow, no call fails',
  run: async ({ args }) => {
    const at = args.indexOf('--minutes')
    const minutes = at >= 0 ? Number(args[at + 1]) : 30
    const cluster = await startDevCluster({ nodes: 3, shards: 1, port: 0, logLevel: 'error' })
    const load = startSide('load', new URL('scaling/load.ts', import.meta.url))
    try {
      await load.call('connect', { endpoints: cluster.endpoints, keys, valueBytes })
      await load.call('pace', { perSecond })
      const samples: number[][] = []
      const untilMs = performance.now() + minutes * 60_000
      while (performance.now() < untilMs) {
        await sleep(Math.min(sampleMs, untilMs - performance.now()))
        samples.push([...cluster.nodes.map(({ pid }) => residentMb(pid)), residentMb(load.pid)])
      }
      const paced = await load.call<PacedResult>('take')
      const { failures } = await load.call<{ failures: number }>('stop')
      const third = Math.floor(samples.length / 3)
      const most = (from: number, to: number, process: number): number =>
        Math.max(...samples.slice(from, to).map(sample => sample[process] ?? 0))
      const names = [...cluster.nodes.map(({ name }) => name), 'client']
      const rows = names.map((name, process): BenchRow => {
        return { name: 'resident memory, most in the last third', side: name, value: most(2 * third, samples.length, process), unit: 'MB' }
      })
      const growth = Math.max(...names.map((_, process) => most(2 * third, samples.length, process) / most(third, 2 * third, process)))
      return {
        rows: [{ name: 'calls', side: 'client', value: paced.perSecond, unit: '/s', p50Ms: paced.p50Ms, p99Ms: paced.p99Ms }, ...rows],
        figures: [
          figure('failed operations', failures, '', { atMost: 0 }),
          figure('most memory, last third / second third, the worst process', growth, 'x', { atMost: 1.1 }),
        ],
      }
    } finally {
      await load.stop()
      await cluster.stop()
    }
  },
}
