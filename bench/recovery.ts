/**
 * `kill -9` of one of three nodes, each in turn and so the leader too, while NEXMark's q5 runs exactly-once: how long its map sink then has
 * no new row. The event time runs so that a window ends every 250 ms; a client reads the newest row over and over.
 *
 * The time to the first new row counts from the kill to the end of the longest gap that begins within 600 ms of it: rows that
 * were under way when the node was killed are no recovery. `--kills N` (default 10); `--quick`: 3.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { present } from '../src/base/assert.ts'
import { redundancy } from '../src/cli/demo-fault.ts'
import { connect } from '../src/client/connect.ts'
import type { Grid } from '../src/client/grid.ts'
import { startDevCluster } from '../src/node/dev.ts'
import type { NexmarkArgs } from './nexmark/job.ts'
import { newestKey, NewestKey, newestMap } from './nexmark/stamped.ts'
import { type Benchmark, type BenchRow, figure, spreadOf } from './report.ts'

const perSecond = 100_000
const windowMs = 250
/** Of q5. */
const slideMs = 2000
/** Rows that are under way when a node is killed still come. */
const feltWithinMs = 600
const pollMs = 5
const settleMs = 3000
const never = new AbortController().signal

const args: NexmarkArgs = {
  query: 'q5',
  events: perSecond * 3600,
  seed: 1,
  light: true,
  keys: 10_000,
  rate: (perSecond * windowMs) / slideMs,
  pace: perSecond,
  splits: 3,
  output: 'newest',
}

export const benchmark: Benchmark = {
  name: 'recovery',
  description: 'how long a job that is exactly-once gives no new row when one of three nodes is killed',
  run: async ({ args: given }) => {
    const at = given.indexOf('--kills')
    const kills = at >= 0 ? Number(given[at + 1]) : given.includes('--quick') ? 3 : 10
    const cluster = await startDevCluster({ nodes: 3, shards: 1, port: 0, logLevel: 'error' })
    const grid = await connect({ endpoints: cluster.endpoints, requestTimeout: '30s' })
    const reader = new Reader(grid)
    try {
      await redundancy(grid, never)
      const job = await grid.jobs.submit(fileURLToPath(new URL('nexmark/job.ts', import.meta.url)), { args, timeout: '60s' })
      reader.start()
      await sleep(2 * settleMs)
      const backMs: number[] = []
      const leaderMs: number[] = []
      const longestMs: number[] = []
      for (let kill = 0; kill < kills; kill += 1) {
        const victim = present(cluster.nodes[kill % cluster.nodes.length], 'a node')
        const wasLeader = grid.cluster.describe().leader === victim.name
        reader.clear()
        const killedAtMs = performance.now()
        process.kill(victim.pid, 'SIGKILL')
        await redundancy(grid, never, victim.pid)
        while (cluster.nodes.some(node => node.pid === victim.pid)) await sleep(50)
        await redundancy(grid, never, victim.pid)
        await sleep(settleMs)
        const gaps = reader.gaps()
        const underWay = gaps.filter(({ fromMs, toMs }) => toMs > killedAtMs && fromMs < killedAtMs + feltWithinMs)
        const back = longestOf(underWay).toMs - killedAtMs
        const { fromMs, toMs } = longestOf(gaps)
        const longest = toMs - fromMs
        backMs.push(back)
        longestMs.push(longest)
        if (wasLeader) leaderMs.push(back)
        const { restarts, status, failure } = await job.status()
        if (status !== 'running' && status !== 'restarting') throw new Error(`The job has ${status}: ${failure ?? 'no reason was given'}`)
        console.log(
          `kill ${kill + 1} of ${victim.name}${wasLeader ? ' (leader)' : ''}: new rows after ${back.toFixed(0)} ms, longest gap until all copies were back ${longest.toFixed(0)} ms, ${restarts} restarts`,
        )
      }
      await job.cancel()
      const row = (name: string, values: readonly number[]): BenchRow => {
        const { median, min, max } = spreadOf(values)
        return { name, side: 'nearstate', value: median, unit: 'ms', min, max }
      }
      return {
        rows: [
          row('kill to the first new row', backMs),
          ...(leaderMs.length > 0 ? [row('the same, kills of the leader', leaderMs)] : []),
          row('longest gap from the kill until the node that replaces it serves', longestMs),
        ],
        figures: [figure(`kill to the first new row, of ${kills} kills the longest`, spreadOf(backMs).max, 'ms', { atMost: 2000 })],
      }
    } finally {
      await reader.stop()
      await grid.close()
      await cluster.stop()
    }
  },
}

interface Gap {
  readonly fromMs: number
  readonly toMs: number
}

const longestOf = (gaps: readonly Gap[]): Gap =>
  gaps.reduce((longest, gap) => (gap.toMs - gap.fromMs > longest.toMs - longest.fromMs ? gap : longest), { fromMs: 0, toMs: 0 })

/** Reads the newest row, over and over, and keeps when a newer one was seen. */
class Reader {
  readonly #grid: Grid
  #seenAtMs: number[] = []
  #newest = Number.NEGATIVE_INFINITY
  #isOn = false
  #reading = Promise.resolve()

  constructor(grid: Grid) {
    this.#grid = grid
  }

  start(): void {
    this.#isOn = true
    this.#reading = this.#read()
  }

  /** Forgets all but the last time. */
  clear(): void {
    this.#seenAtMs = this.#seenAtMs.slice(-1)
  }

  /** Between two newer rows, and after the last one. */
  gaps(): Gap[] {
    const times = [...this.#seenAtMs, performance.now()]
    return times.slice(1).map((toMs, i) => ({ fromMs: times[i] ?? toMs, toMs }))
  }

  async stop(): Promise<void> {
    this.#isOn = false
    await this.#reading
  }

  async #read(): Promise<void> {
    const rows = this.#grid.map<typeof NewestKey, { readonly windowEnd: number }>(newestMap, NewestKey)
    while (this.#isOn) {
      const row = await rows.get(newestKey).catch(() => undefined)
      if (row !== undefined && row.windowEnd > this.#newest) {
        this.#newest = row.windowEnd
        this.#seenAtMs.push(performance.now())
      }
      await sleep(pollMs)
    }
  }
}
