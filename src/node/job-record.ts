/** A job as the coordinator keeps it, and as people and other programs read it. */
import { createHash } from 'node:crypto'
import { invalidArgument } from '../base/errors.ts'
import type { NodeId } from '../base/ids.ts'
import type { ClusterState } from '../membership/cluster-state.ts'
import type { ShardProgress, StageProgress } from '../streaming/assignment.ts'

export type JobStatus = 'starting' | 'running' | 'completed' | 'failed' | 'cancelled'

export interface JobFailure {
  readonly message: string
  readonly stage?: string
  readonly functionStack?: string
}

export interface JobRecord {
  readonly name: string
  readonly id: string
  readonly status: JobStatus
  /** Grows with every run under this name; never used again. */
  readonly attempt: number
  /** Bundle in the system map. */
  readonly hash: string
  readonly argsJson: string
  readonly submittedAtMs: number
  readonly endedAtMs?: number
  readonly failure?: JobFailure
  /** The nodes that take part, by incarnation. */
  readonly nodes: readonly NodeId[]
  /** Digest of all primaries at its start: another one means that a task has lost its partition. */
  readonly primaries: string
  /** Figures at the end; while it runs the leader has fresher ones. */
  readonly stages: readonly StageProgress[]
}

export const isEnded = (record: JobRecord): boolean => record.status !== 'starting' && record.status !== 'running'

/** The JSON of `nearstate job show --json`. */
export interface JobDocumentJson {
  readonly name: string
  readonly id: string
  readonly status: JobStatus
  readonly guarantee: 'none'
  readonly submittedAt: number
  readonly endedAt?: number
  readonly restarts: number
  /** Why it failed. */
  readonly failure?: string
  readonly failedStage?: string
  readonly failureStack?: string
  readonly checkpoint: null
  readonly stages: readonly StageProgress[]
}

export function jobDocument(record: JobRecord, stages: readonly StageProgress[] = record.stages): JobDocumentJson {
  const { failure } = record
  return {
    name: record.name,
    id: record.id,
    status: record.status,
    guarantee: 'none',
    submittedAt: record.submittedAtMs,
    ...(record.endedAtMs === undefined ? {} : { endedAt: record.endedAtMs }),
    restarts: 0,
    ...(failure === undefined ? {} : { failure: failure.message }),
    ...(failure?.stage === undefined ? {} : { failedStage: failure.stage }),
    ...(failure?.functionStack === undefined ? {} : { failureStack: failure.functionStack }),
    checkpoint: null,
    stages,
  }
}

/** What a round of progress says of the whole: running, or how it ended. */
export type AttemptOutcome = { readonly kind: 'running' } | AttemptEnd
export type AttemptEnd = { readonly kind: 'completed' } | { readonly kind: 'failed'; readonly failure: JobFailure }

export function outcomeOf(shards: readonly ShardProgress[]): AttemptOutcome {
  const failed = shards.find(shard => shard.status === 'failed')
  if (failed !== undefined) return { kind: 'failed', failure: failed.failure ?? { message: 'a shard gave the job up without a reason' } }
  return { kind: shards.length > 0 && shards.every(shard => shard.status === 'completed') ? 'completed' : 'running' }
}

export function primariesDigest(state: ClusterState): string {
  const hash = createHash('sha256')
  for (const { primary } of state.partitions) hash.update(`${primary?.shard ?? ''},`)
  return hash.digest('base64url')
}

export function checkJobName(name: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(name)) {
    throw invalidArgument(
      `Cannot use job name ${JSON.stringify(name)}: 1 to 100 letters, digits, ".", "_" and "-" are wanted, beginning with a letter or digit`,
    )
  }
}
