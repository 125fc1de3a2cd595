/** A query as a job on a cluster of its own: real nodes, real sockets, the result read from its map. */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { NearstateError } from '../../src/base/errors.ts'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import type { JobHandle } from '../../src/client/jobs.ts'
import { type DevCluster, startDevCluster } from '../../src/node/dev.ts'
import { type NexmarkArgs, type Result, ResultKey, resultMap, sortedLines } from './job.ts'
import { SideKey } from './keys.ts'
import { sideKeys, sideMap } from './queries/q13.ts'

export interface RunOptions {
  readonly args: NexmarkArgs
  readonly nodes: number
  readonly shards: number
  /** A node is killed so long after the job has begun to run. */
  readonly killAfterMs?: number
}

const jobFile = fileURLToPath(new URL('job.ts', import.meta.url))
/** A run with a kill lasts so many times as long as it is to the kill, by pacing the source. */
const runsPerKill = 2.5

export interface RunResult {
  /** The result rows, sorted. */
  readonly csv: string
  /** Attempts after the first. */
  readonly restarts: number
}

/** Rejects when the job did not complete, or no kill happened that should have. */
export async function runQuery({ args, nodes, shards, killAfterMs }: RunOptions): Promise<RunResult> {
  const cluster = await startDevCluster({ nodes, shards, port: 0, logLevel: 'error' })
  try {
    const grid = await connect({ endpoints: cluster.endpoints, requestTimeout: '15s' })
    try {
      if (args.query === 'q13') await fillSide(grid)
      const restarts =
        killAfterMs === undefined ? await completed(await submit(grid, args)) : await completedWithKill(grid, cluster, args, killAfterMs)
      return { csv: await resultOf(grid), restarts }
    } finally {
      await grid.close()
    }
  } finally {
    await cluster.stop()
  }
}

/** What q13 joins with. */
export async function fillSide(grid: Grid): Promise<void> {
  const entries = Array.from({ length: sideKeys }, (_, key): [number, string] => [key, `v${key}`])
  await grid.map(sideMap, SideKey).setAll(entries)
}

const submit = (grid: Grid, args: NexmarkArgs): Promise<JobHandle> => grid.jobs.submit(jobFile, { args, timeout: '60s' })

async function completed(job: JobHandle): Promise<number> {
  const { status, failure, restarts } = await job.ended()
  if (status === 'completed') return restarts
  throw new NearstateError('FUNCTION_FAILED', `The job has ${status}: ${failure ?? 'no reason was given'}`)
}

async function completedWithKill(grid: Grid, cluster: DevCluster, args: NexmarkArgs, killAfterMs: number): Promise<number> {
  const pace = Math.max(1, Math.floor((args.events * 1000) / (killAfterMs * runsPerKill)))
  const job = await submit(grid, { ...args, pace })
  const ended = completed(job)
  // Somebody listens when it fails before the kill.
  ended.catch(() => undefined)
  await sleep(killAfterMs)
  const { status, failure } = await job.status()
  if (status !== 'running')
    throw new NearstateError('CONFLICT', `No node was killed: the job had ${status} before${failure === undefined ? '' : `: ${failure}`}`)
  const victim = cluster.nodes.at(-1)
  if (victim === undefined) throw new NearstateError('INTERNAL', 'There is no node to kill')
  process.kill(victim.pid, 'SIGKILL')
  return await ended
}

async function resultOf(grid: Grid): Promise<string> {
  const results: Result[] = []
  for await (const [, result] of grid.map<typeof ResultKey, Result>(resultMap, ResultKey).scan()) results.push(result)
  return sortedLines(results)
}
