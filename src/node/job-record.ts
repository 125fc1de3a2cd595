/** A job as the coordinator keeps it, and as people and other programs read it. */
import { createHash } from 'node:crypto'
import { invalidArgument } from '../base/errors.ts'
import type { NodeId } from '../base/ids.ts'
import type { ClusterState } from '../membership/cluster-state.ts'
import type { StageProgress } from '../streaming/assignment.ts'
import type { Guarantee } from '../streaming/checkpoint/barrier-flow.ts'
import type { RunRecord, RunStatus } from '../streaming/master/record.ts'

/** The savepoint that a run began with. */
export interface JobOrigin {
  /** JOB/LABEL. */
  readonly name: string
  readonly id: string
  /** Its state is checkpoint 1 of this attempt, which no tasks have. */
  readonly attempt: number
  /** Stages whose state it left out, and sources that it had no positions of. */
  readonly without: readonly string[]
  readonly newSources: readonly string[]
}

/** What is to go of runs under this name; see job-remains.ts. */
export interface Remains {
  /** State of attempts up to this one. */
  readonly attempt: number
  /** Stages whose rows stay. */
  readonly keep: readonly string[]
}

export interface JobRecord {
  readonly name: string
  /** Of this run: another one under the same name has another. */
  readonly id: string
  /** Bundle in the system map. */
  readonly hash: string
  readonly argsJson: string
  readonly checkpointIntervalMs: number
  /** What was doubtful when it was submitted. */
  readonly warnings: readonly string[]
  /** Stages whose rows stay when it has completed; absent: none. */
  readonly collects?: readonly string[]
  readonly submittedAtMs: number
  readonly endedAtMs?: number
  /** Absent: nothing is left to remove. */
  readonly remains?: Remains
  readonly from?: JobOrigin
  /** Attempts and checkpoints; attempt numbers grow with every run under this name. */
  readonly run: RunRecord
  /** The nodes that take part in the attempt, by incarnation. */
  readonly nodes: readonly NodeId[]
  /** Digest of the primaries that it was assigned by: another one means that a task has lost its partition. */
  readonly primaries: string
  /** Figures of the last change; while it runs the leader has fresher ones. */
  readonly stages: readonly StageProgress[]
}

/** What an ended run has left; the rows that a job has collected stay when it has completed. */
export const remainsOf = ({ attempt, status }: RunRecord, collects: readonly string[] = []): Remains => ({
  attempt,
  keep: status === 'completed' ? collects : [],
})

/** The JSON of `nearstate job show --json`. */
export interface JobDocumentJson {
  readonly name: string
  readonly id: string
  readonly status: RunStatus
  readonly guarantee: Guarantee
  readonly submittedAt: number
  readonly endedAt?: number
  /** The savepoint that it began with: JOB/LABEL. */
  readonly from?: string
  readonly restarts: number
  /** Why it failed, or why it was restarted last. */
  readonly failure?: string
  readonly failedStage?: string
  readonly failureStack?: string
  /** The last one committed. */
  readonly checkpoint: { readonly id: number; readonly at: number; readonly durationMs: number; readonly bytes: number } | null
  /** Committed so far, in all attempts. */
  readonly checkpoints: number
  /** What was doubtful when it was submitted, each with its stage. */
  readonly warnings: readonly string[]
  readonly stages: readonly StageProgress[]
}

export function jobDocument(record: JobRecord, stages: readonly StageProgress[] = record.stages): JobDocumentJson {
  const { name, id, submittedAtMs, endedAtMs, run } = record
  const { failure, figures } = run
  return {
    name,
    id,
    status: run.status,
    guarantee: run.guarantee,
    submittedAt: submittedAtMs,
    ...(endedAtMs === undefined ? {} : { endedAt: endedAtMs }),
    ...(record.from === undefined ? {} : { from: record.from.name }),
    restarts: run.restarts,
    ...(failure === undefined ? {} : { failure: failure.message }),
    ...(failure?.stage === undefined ? {} : { failedStage: failure.stage }),
    ...(failure?.functionStack === undefined ? {} : { failureStack: failure.functionStack }),
    checkpoint: figures === undefined ? null : { id: figures.n, at: figures.atMs, durationMs: figures.durationMs, bytes: figures.bytes },
    checkpoints: run.checkpoints,
    warnings: record.warnings,
    stages,
  }
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
