/** retail-streams on a cluster of its own: real nodes, real sockets, a node killed where that is wanted, the results read from the maps. */
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { pipeline } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createGunzip } from 'node:zlib'
import type { RetailStreamsArgs } from '../../examples/retail-streams/job.ts'
import { NearstateError } from '../../src/base/errors.ts'
import { connect } from '../../src/client/connect.ts'
import type { JobHandle, JobStatus } from '../../src/client/jobs.ts'
import { type DevCluster, startDevCluster } from '../../src/node/dev.ts'
import { type RetailStreamsResults, resultsOf } from './results.ts'

export interface RunOptions {
  readonly files: readonly string[]
  readonly nodes: number
  readonly shards: number
  readonly disorderMs: number
  /** A node is killed so long after the job has begun to run. */
  readonly killAfterMs?: number
  /** What is going on, for people. */
  readonly onPhase: (text: string) => void
  readonly onStatus: (status: JobStatus, ranMs: number) => void
  readonly signal: AbortSignal
}

export interface RunReport {
  readonly lines: number
  readonly ranMs: number
  readonly killed: string | null
  readonly restarts: number
  readonly checkpoints: number
  readonly results: RetailStreamsResults
}

const jobFile = fileURLToPath(new URL('../../examples/retail-streams/job.ts', import.meta.url))
/** A run with a kill lasts so many times as long as it is to the kill, by pacing the source. */
const runsPerKill = 2.5

/** Rejects when the job did not complete, a line came too late, or no kill happened that should have. */
export async function runRetailStreams(options: RunOptions): Promise<RunReport> {
  const { files, nodes, shards, disorderMs, killAfterMs, onPhase, signal } = options
  const args: RetailStreamsArgs = { data: files, disorderMs }
  const pace = killAfterMs === undefined ? {} : { ratePerSecond: await rateFor(files, killAfterMs * runsPerKill) }
  onPhase(`Starting ${nodes} node${nodes === 1 ? '' : 's'} with ${shards} shard${shards === 1 ? '' : 's'} each ...`)
  // Nodes that stop one after the other warn of each other: true, and of no use here.
  const cluster = await startDevCluster({ nodes, shards, port: 0, logLevel: 'error' })
  try {
    signal.throwIfAborted()
    const grid = await connect({ endpoints: cluster.endpoints, requestTimeout: '15s' })
    try {
      const job = await grid.jobs.submit(jobFile, { args: { ...args, ...pace }, guarantee: 'exactly-once', timeout: '60s', signal })
      const startedAt = performance.now()
      onPhase(`Job "${job.name}" runs on every shard.`)
      const ended = job.ended({ signal, onStatus: status => options.onStatus(status, performance.now() - startedAt) })
      // Somebody listens when it fails before the kill.
      ended.catch(() => undefined)
      const killed = killAfterMs === undefined ? null : await killOne(cluster, job, killAfterMs, signal)
      if (killed !== null) onPhase(`Killed ${killed}.`)
      const status = completed(await ended, killed)
      const ranMs = performance.now() - startedAt
      onPhase('All of it is processed; now the results are read from the maps.')
      const results = await resultsOf(grid)
      return { lines: linesIn(status), ranMs, killed, restarts: status.restarts, checkpoints: status.checkpoints, results }
    } finally {
      await grid.close()
    }
  } finally {
    await cluster.stop()
  }
}

export const linesIn = (status: JobStatus): number => status.stages.find(stage => stage.kind === 'source')?.rowsOut ?? 0

/** The status when all of the input is in the results. */
function completed(status: JobStatus, killed: string | null): JobStatus {
  if (status.status !== 'completed')
    throw new NearstateError('FUNCTION_FAILED', `The job has ${status.status}: ${status.failure ?? 'no reason was given'}`)
  const late = status.stages.find(stage => stage.late > 0)
  if (late !== undefined)
    throw new NearstateError(
      'CONFLICT',
      `The results are not exact: ${late.late} lines came too late for stage "${late.name}"; their files are more out of order than --disorder allows`,
    )
  if (killed !== null && status.restarts === 0)
    throw new NearstateError('CONFLICT', `${killed} was killed, but the job did not restart: it had ended before`)
  return status
}

async function killOne(cluster: DevCluster, job: JobHandle, killAfterMs: number, signal: AbortSignal): Promise<string> {
  await sleep(killAfterMs, undefined, { signal })
  const { status, failure } = await job.status({ signal })
  if (status !== 'running')
    throw new NearstateError('CONFLICT', `No node was killed: the job had ${status} before${failure === undefined ? '' : `: ${failure}`}`)
  const victim = cluster.nodes.at(-1)
  if (victim === undefined) throw new NearstateError('INTERNAL', 'There is no node to kill')
  process.kill(victim.pid, 'SIGKILL')
  return victim.name
}

/** Lines a second, so that reading all files takes so long. */
async function rateFor(files: readonly string[], lastsMs: number): Promise<number> {
  let lines = 0
  for (const file of files) lines += await lineFeedsIn(file)
  return Math.max(1, Math.floor((lines * 1000) / lastsMs))
}

async function lineFeedsIn(path: string): Promise<number> {
  const file = await open(path)
  const { buffer } = await file.read(Buffer.alloc(2), 0, 2, 0)
  await file.close()
  const bytes = createReadStream(path)
  const isPacked = buffer[0] === 0x1f && buffer[1] === 0x8b
  let count = 0
  for await (const chunk of isPacked ? pipeline(bytes, createGunzip(), () => undefined) : bytes) {
    const text = chunk as Buffer
    for (let at = text.indexOf(10); at !== -1; at = text.indexOf(10, at + 1)) count += 1
  }
  return count
}
