/**
 * A job that is exactly-once on three nodes at half of what it can do, for a long time, and every minute a node is killed with SIGKILL,
 * each in turn and so the leader too: `--minutes N` (default 30). In the end every auction's count and sum are what a plain loop over
 * the same events says, and the memory of no process has grown after the first third.
 *
 * What it can do is measured on the same cluster before; `--rate R` takes this many events per second instead of the half of it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { present } from '../src/base/assert.ts'
import { redundancy } from '../src/cli/demo-fault.ts'
import { connect } from '../src/client/connect.ts'
import type { Grid } from '../src/client/grid.ts'
import type { JobHandle, JobStatus } from '../src/client/jobs.ts'
import { type DevCluster, startDevCluster } from '../src/node/dev.ts'
import { residentMb } from './memory.ts'
import { eventsOf } from './nexmark/generator.ts'
import { type Benchmark, type BenchRow, figure } from './report.ts'
import { Auction, eventsStage, type SoakArgs, type Total, totalsMap } from './stream-soak/job.ts'

const keys = 10_000
const killEveryMs = 60_000
const sampleMs = 2000
/** Of the measurement of what it can do. */
const warmUpMs = 8000
const measuredMs = 10_000
const endsWithinMs = 120_000
const never = new AbortController().signal
const jobFile = fileURLToPath(new URL('stream-soak/job.ts', import.meta.url))

export const benchmark: Benchmark = {
  name: 'stream-soak',
  description: 'a job for a long time with a node killed every minute: right to the event, and memory does not grow',
  run: async ({ args }) => {
    const numberOf = (option: string): number | undefined => {
      const at = args.indexOf(option)
      return at >= 0 ? Number(args[at + 1]) : undefined
    }
    const minutes = numberOf('--minutes') ?? 30
    const cluster = await startDevCluster({ nodes: 3, shards: 1, port: 0, logLevel: 'error' })
    const grid = await connect({ endpoints: cluster.endpoints, requestTimeout: '30s' })
    try {
      await redundancy(grid, never)
      const pace = Math.floor(numberOf('--rate') ?? (await mostOf(grid)) / 2)
      console.log(`${pace} events/s for ${minutes} minutes`)
      const soak: SoakArgs = { ...argsOf(pace), pace, events: Math.floor(pace * minutes * 60) }
      const startedMs = performance.now()
      const job = await grid.jobs.submit(jobFile, { args: soak, timeout: '60s' })
      const memory = new Memory(cluster)
      const faults = { kills: 0, stop: false }
      const killing = killEveryMinute(grid, cluster, faults, startedMs + minutes * 60_000)
      const status = await endOf(job, memory, startedMs + minutes * 60_000 + endsWithinMs)
      faults.stop = true
      await killing
      const seconds = (performance.now() - startedMs) / 1000
      const wrong = await wrongTotals(grid, soak)
      const growth = memory.growth()
      const rows: BenchRow[] = [
        { name: 'events', side: 'nearstate', value: soak.events / seconds, unit: '/s' },
        { name: 'nodes killed', side: 'nearstate', value: faults.kills, unit: '' },
        { name: 'restarts', side: 'nearstate', value: status.restarts, unit: '' },
        { name: 'checkpoints', side: 'nearstate', value: status.checkpoints, unit: '' },
        ...memory.rows(),
      ]
      return {
        rows,
        figures: [
          figure('auctions with a wrong count or sum', wrong, '', { atMost: 0 }),
          figure('most memory, last third / second third, the worst process', growth, 'x', { atMost: 1.1 }),
        ],
      }
    } finally {
      await grid.close()
      await cluster.stop()
    }
  },
}

const argsOf = (perSecond: number): SoakArgs => ({ events: Number.MAX_SAFE_INTEGER, seed: 1, keys, rate: perSecond, splits: 3 })

/** Events per second without a pace. */
async function mostOf(grid: Grid): Promise<number> {
  // Event time goes as fast as when it is paced, about: windows are as large.
  const job = await grid.jobs.submit(jobFile, { name: 'stream-soak-most', args: argsOf(500_000), timeout: '60s' })
  await sleep(warmUpMs)
  const from = { rows: readIn(await job.status()), atMs: performance.now() }
  await sleep(measuredMs)
  const perSecond = ((readIn(await job.status()) - from.rows) / (performance.now() - from.atMs)) * 1000
  await job.cancel()
  await grid.map(totalsMap, Auction).clear()
  return perSecond
}

const readIn = ({ stages }: JobStatus): number => stages.find(({ name }) => name === eventsStage)?.rowsOut ?? 0

/** None is killed before all copies are back, so no data is lost; nor in the last half minute. */
async function killEveryMinute(grid: Grid, cluster: DevCluster, faults: { kills: number; stop: boolean }, untilMs: number): Promise<void> {
  for (let dueMs = performance.now() + killEveryMs / 2; dueMs < untilMs - killEveryMs / 2; dueMs += killEveryMs) {
    await sleep(Math.max(0, dueMs - performance.now()))
    if (faults.stop) return
    const victim = present(cluster.nodes[faults.kills % cluster.nodes.length], 'a node')
    process.kill(victim.pid, 'SIGKILL')
    faults.kills += 1
    const killedAtMs = performance.now()
    while (!faults.stop && cluster.nodes.some(({ pid }) => pid === victim.pid)) await sleep(50)
    await redundancy(grid, never, victim.pid)
    console.log(`kill ${faults.kills} of ${victim.name}: all copies back after ${((performance.now() - killedAtMs) / 1000).toFixed(1)} s`)
  }
}

async function endOf(job: JobHandle, memory: Memory, untilMs: number): Promise<JobStatus> {
  for (;;) {
    const status = await job.status()
    if (status.status === 'completed') return status
    if (status.status === 'failed' || status.status === 'cancelled')
      throw new Error(`The job has ${status.status}: ${status.failure ?? 'no reason was given'}`)
    if (performance.now() > untilMs) throw new Error(`The job is still ${status.status}: ${readIn(status)} events were read`)
    memory.sample()
    await sleep(sampleMs)
  }
}

/** How many auctions have other totals than a plain loop finds. */
async function wrongTotals(grid: Grid, { events, ...options }: SoakArgs): Promise<number> {
  const eventAt = eventsOf({ ...options, light: true })
  const expected = new Map<number, { bids: number; prices: number }>()
  for (let n = 0; n < events; n += 1) {
    const event = eventAt(n)
    if (event.kind !== 'bid') continue
    const total = expected.get(event.auction)
    if (total === undefined) expected.set(event.auction, { bids: 1, prices: event.price })
    else {
      total.bids += 1
      total.prices += event.price
    }
  }
  let wrong = 0
  for await (const [auction, { bids, prices }] of grid.map<typeof Auction, Total>(totalsMap, Auction).scan()) {
    const total = expected.get(auction)
    if (total?.bids !== bids || total.prices !== prices) wrong += 1
    expected.delete(auction)
  }
  return wrong + expected.size
}

/** Resident memory of every node, by name whichever process has it, and of this one, which has the coordinator. */
class Memory {
  readonly #cluster: DevCluster
  readonly #samples: Map<string, number>[] = []

  constructor(cluster: DevCluster) {
    this.#cluster = cluster
  }

  sample(): void {
    const sample = new Map([['client and coordinator', residentMb(process.pid)]])
    for (const { name, pid } of this.#cluster.nodes) sample.set(name, residentMb(pid))
    this.#samples.push(sample)
  }

  rows(): BenchRow[] {
    return this.#names.map(name => {
      const value = this.#most(name, 2)
      return { name: 'resident memory, most in the last third', side: name, value, unit: 'MB' }
    })
  }

  growth(): number {
    return Math.max(...this.#names.map(name => this.#most(name, 2) / this.#most(name, 1)))
  }

  get #names(): readonly string[] {
    return [...(this.#samples[0]?.keys() ?? [])]
  }

  #most(name: string, third: number): number {
    const size = Math.floor(this.#samples.length / 3)
    return Math.max(...this.#samples.slice(third * size, (third + 1) * size).map(sample => sample.get(name) ?? 0))
  }
}
