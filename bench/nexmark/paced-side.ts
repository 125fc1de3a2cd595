/**
 * Latencies at a steady rate: q5 on a fresh node with one shard, its windows' rows at a map sink, and where asked eight clients that read
 * entries of another map of that shard. Clients and coordinator are in this process.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Histogram } from '../../src/base/histogram.ts'
import { seededRandom } from '../../src/base/random.ts'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import { startDevCluster } from '../../src/node/dev.ts'
import { serveSide } from '../rounds.ts'
import type { NexmarkArgs } from './job.ts'
import { WindowEnd } from './keys.ts'
import { keys, type Load, seed } from './load.ts'
import { type Latency, latencyMap } from './stamped.ts'

export interface PacedLoad extends Pick<Load, 'guarantee'> {
  /** Events per second. */
  readonly pace: number
  readonly seconds: number
  /** Over all clients; 0: none. */
  readonly getsPerSecond: number
}

export interface Latencies {
  readonly count: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

export interface PacedRound {
  readonly windows: Latencies
  readonly gets: Latencies
}

/** Between two windows, by the wall clock: as in what is known of Hazelcast Jet. */
const windowMs = 500
/** Of q5. */
const slideMs = 2000
/** The end of the input closes as many that are not due yet. */
const windowsPerEvent = 5
const warmUpSeconds = 6
const clients = 8
const entries = 10_000
const tickMs = 5
const jobFile = fileURLToPath(new URL('job.ts', import.meta.url))

async function round({ guarantee, pace, seconds, getsPerSecond }: PacedLoad): Promise<PacedRound> {
  const cluster = await startDevCluster({ nodes: 1, shards: 1, port: 0, logLevel: 'error', replace: false })
  try {
    const grid = await connect({ endpoints: cluster.endpoints })
    const readers =
      getsPerSecond === 0 ? [] : await Promise.all(Array.from({ length: clients }, () => connect({ endpoints: cluster.endpoints })))
    try {
      if (readers.length > 0)
        await grid.map('read').setAll(Array.from({ length: entries }, (_, i): [string, Buffer] => [`key:${i}`, Buffer.alloc(100, i)]))
      const args: NexmarkArgs = {
        query: 'q5',
        events: Math.ceil(pace * (warmUpSeconds + seconds)),
        seed,
        light: true,
        keys,
        rate: Math.round((pace * windowMs) / slideMs),
        pace,
        splits: 1,
        output: 'latency',
      }
      const job = await grid.jobs.submit(jobFile, { args, guarantee, timeout: '60s' })
      const ended = job.ended()
      await sleep(warmUpSeconds * 1000)
      const gets = await readFor(readers, getsPerSecond, seconds * 1000 - 500)
      const { status, failure } = await ended
      if (status !== 'completed') throw new Error(`The job has ${status}: ${failure ?? 'no reason was given'}`)
      return { windows: await windowsOf(grid), gets }
    } finally {
      await Promise.all(readers.map(reader => reader.close()))
      await grid.close()
    }
  } finally {
    await cluster.stop()
  }
}

/** All but those of the warm-up, and the last ones, which the end of the input closes early. */
async function windowsOf(grid: Grid): Promise<Latencies> {
  const rows: Latency[] = []
  for await (const [, row] of grid.map<typeof WindowEnd, Latency>(latencyMap, WindowEnd).scan()) rows.push(row)
  rows.sort((a, b) => a.windowEnd - b.windowEnd)
  const measured = rows.slice((warmUpSeconds * 1000) / windowMs, -windowsPerEvent)
  const sorted = measured.map(({ ms }) => ms).sort((a, b) => a - b)
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
  return { count: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) }
}

/** Each call counts from the tick of this process in which it was due. */
async function readFor(readers: readonly Grid[], perSecond: number, durationMs: number): Promise<Latencies> {
  const histogram = new Histogram()
  const random = seededRandom(3)
  const maps = readers.map(reader => reader.map('read'))
  const calls: Promise<void>[] = []
  const startMs = performance.now()
  let due = 0
  while (maps.length > 0 && performance.now() - startMs < durationMs) {
    const nowMs = performance.now()
    for (; startMs + (due * 1000) / perSecond <= nowMs; due += 1) {
      const map = maps[due % maps.length]
      if (map === undefined) continue
      calls.push(map.get(`key:${(random.next() * entries) | 0}`).then(() => histogram.record(performance.now() - nowMs)))
    }
    await sleep(tickMs)
  }
  await Promise.all(calls)
  return { count: histogram.count, p50Ms: histogram.percentile(0.5), p99Ms: histogram.percentile(0.99), maxMs: histogram.max }
}

serveSide({ round })
