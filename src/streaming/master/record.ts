/**
 * What the job record says of attempts and checkpoints, and its transitions. Changed only by compare-and-set of the version read; it
 * does not grow.
 *
 * 1. An attempt number is never used again.
 * 2. Whoever finds a record knows whether it wrote it itself: by the master's name, not by what it says.
 * 3. The restore point (a, ca) of a new attempt is (b, c) if c > 0; an attempt that committed nothing leaves the point of the last one.
 */
import type { StageCounts } from '../assignment.ts'
import type { Guarantee } from '../checkpoint/barrier-flow.ts'
import { type CheckpointRules, everyCheckpointRule } from '../checkpoint/rules.ts'
import { withCounts } from '../execution/progress.ts'

export type RunStatus = 'starting' | 'running' | 'restarting' | 'suspended' | 'completed' | 'failed' | 'cancelled'

/** Attempt and number of the checkpoint that an attempt goes on from; (0, 0): none. */
export interface RestorePoint {
  readonly attempt: number
  readonly n: number
}

/** Of the last checkpoint committed, for people. */
export interface CheckpointFigures {
  readonly n: number
  readonly atMs: number
  readonly durationMs: number
  readonly bytes: number
}

export interface RunFailure {
  readonly message: string
  readonly stage?: string
  readonly functionStack?: string
}

export interface RunRecord {
  readonly status: RunStatus
  readonly guarantee: Guarantee
  /** Current attempt b; 0: none yet. */
  readonly attempt: number
  /** Its last committed checkpoint c; 0: none yet. */
  readonly checkpoint: number
  /** (a, ca) of the current attempt; attempt 0: it began with nothing. */
  readonly restore: RestorePoint
  /** The master that wrote this last: two of them that follow the same record would write the same, but for their restore points. */
  readonly master?: string
  /** Attempts that followed one that was lost or failed. */
  readonly restarts: number
  /** Committed in all attempts. */
  readonly checkpoints: number
  readonly figures?: CheckpointFigures
  /** What each stage had counted at the last checkpoint committed, and at the restore point: the tasks count from there. */
  readonly counts?: readonly StageCounts[]
  readonly countsBefore?: readonly StageCounts[]
  /** What ended the job, or the attempt before this one. */
  readonly failure?: RunFailure
}

export const isEnded = ({ status }: RunRecord): boolean => status === 'completed' || status === 'failed' || status === 'cancelled'

export const newRun = (guarantee: Guarantee, restore: RestorePoint = { attempt: 0, n: 0 }): RunRecord => ({
  status: 'starting',
  guarantee,
  attempt: restore.attempt,
  checkpoint: 0,
  restore,
  restarts: 0,
  checkpoints: 0,
})

/** The next attempt begins; `isPlanned`: nothing was lost or has failed. */
export function beginAttempt(record: RunRecord, rules: CheckpointRules = everyCheckpointRule, isPlanned = false): RunRecord {
  const takesOver = record.checkpoint > 0 || !rules.restorePointNeedsCommit
  const restore = takesOver ? { attempt: record.attempt, n: record.checkpoint } : record.restore
  const status = record.status === 'running' || record.status === 'restarting' ? 'restarting' : 'starting'
  const restarts = record.restarts + (status === 'restarting' && !isPlanned ? 1 : 0)
  const before = takesOver && record.counts !== undefined ? { countsBefore: record.counts } : {}
  return { ...record, ...before, status, restarts, attempt: record.attempt + 1, checkpoint: 0, restore }
}

/** A completed job shows no failure that it has got over. */
export function withStatus({ failure: before, ...record }: RunRecord, status: RunStatus, failure = before): RunRecord {
  return failure === undefined || status === 'completed' ? { ...record, status } : { ...record, status, failure }
}

export const commitCheckpoint = (record: RunRecord, figures: CheckpointFigures, counts: readonly StageCounts[]): RunRecord => ({
  ...record,
  counts: withCounts(counts, record.countsBefore ?? []),
  checkpoint: figures.n,
  checkpoints: record.checkpoints + 1,
  figures,
})
