/** The engine's side of the benchmark: one round of a query on a fresh node with one shard. The client and what it asks are in this process. */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import type { JobStatus } from '../../src/client/jobs.ts'
import { startDevCluster } from '../../src/node/dev.ts'
import { serveSide } from '../rounds.ts'
import { countedStage, eventsStage, type NexmarkArgs } from './job.ts'
import { eventRate, keys, type Load, type RoundResult, seed, totalOf } from './load.ts'
import type { QueryName } from './queries/all.ts'
import { fillSide } from './run.ts'

const pollEveryMs = 5

/** Where an auction's life or its newness is part of the query, so many are open at once; else the bids go to so many for ever. */
const isByAge = (query: QueryName): boolean => ['q3', 'q4', 'q6', 'q8'].includes(query)

const argsOf = (load: Load): NexmarkArgs => ({
  query: load.query,
  events: totalOf(load),
  seed,
  rate: eventRate,
  light: load.light,
  ...(isByAge(load.query) ? { open: keys } : { keys }),
  splits: 1,
  output: 'count',
})

async function round(load: Load): Promise<RoundResult> {
  const cluster = await startDevCluster({ nodes: 1, shards: 1, port: 0, logLevel: 'error', replace: false })
  try {
    const grid = await connect({ endpoints: cluster.endpoints })
    try {
      if (load.query === 'q13') await fillSide(grid)
      return await timed(grid, load)
    } finally {
      await grid.close()
    }
  } finally {
    await cluster.stop()
  }
}

async function timed(grid: Grid, load: Load): Promise<RoundResult> {
  const job = await grid.jobs.submit(fileURLToPath(new URL('job.ts', import.meta.url)), {
    args: argsOf(load),
    guarantee: load.guarantee,
    timeout: '60s',
  })
  const reach = async (count: number): Promise<{ readonly rows: number; readonly atMs: number }> => {
    for (;;) {
      const status = await job.status()
      const rows = readIn(status)
      if (rows >= count) return { rows, atMs: performance.now() }
      if (status.status !== 'running') throw new Error(`The job has ${status.status}: ${status.failure ?? 'no reason was given'}`)
      await sleep(pollEveryMs)
    }
  }
  const from = await reach(load.warmup)
  const to = await reach(load.warmup + load.events)
  const status = await job.ended()
  if (status.status !== 'completed') throw new Error(`The job has ${status.status}: ${status.failure ?? 'no reason was given'}`)
  const counted = status.stages.find(({ name }) => name === countedStage)
  return {
    perSecond: ((to.rows - from.rows) / (to.atMs - from.atMs)) * 1000,
    rows: counted?.rowsIn ?? Number.NaN,
    checksum: counted?.rowsOut ?? Number.NaN,
  }
}

const readIn = ({ stages }: JobStatus): number => stages.find(({ name }) => name === eventsStage)?.rowsOut ?? 0

serveSide({ round })
