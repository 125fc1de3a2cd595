/** What the master tells every shard about an attempt, and what a shard tells back. Plain data (JSON). */
import type { ErrorCode } from '../base/errors.ts'
import type { ShardId } from '../base/ids.ts'
import type { SplitState } from './checkpoint/split-state.ts'
import type { KeyCount } from './operators/hot-keys.ts'
import type { SplitPosition } from './source.ts'

/** Part of a source that one task reads: a file, a generator's slice. Only its connector looks inside. */
export interface Split {
  readonly id: string
  readonly descriptor: Readonly<Record<string, string | number | boolean>>
  /** Where its first reading begins; undefined: where the connector begins without a position. */
  readonly position?: SplitPosition
  /** How far it was read at the restore point. */
  readonly restored?: SplitState
}

/** Where an attempt runs. */
export interface Layout {
  /** Version of the cluster state that it was made from. */
  readonly tableVersion: number
  /** The shards that take part, in one order for all. */
  readonly shards: readonly ShardId[]
  /** Index into `shards` of each partition's primary. */
  readonly owners: readonly number[]
}

export interface Assignment extends Layout {
  /** Of the run: another one of the same name has another. */
  readonly jobId?: string
  /** Per source stage (by name) and shard (by index): the splits it reads. */
  readonly splits: Readonly<Record<string, readonly (readonly Split[])[]>>
}

/** Rows since the job began. With checkpoints they are those of its output: what is done again is not counted again. */
export interface StageCounts {
  readonly name: string
  readonly rowsIn: number
  readonly rowsOut: number
  readonly deadLetters: number
  readonly late: number
}

export interface StageProgress extends StageCounts {
  readonly kind: string
  readonly tasks: number
  /** Milliseconds since the epoch; null: none yet, or beyond the end of the input. */
  readonly watermark: number | null
  readonly stateBytes: number
  /** Of the attempt, all tasks together: milliseconds of work that began at this stage. */
  readonly busyMs: number
  /** The same for the time in which the stage had to wait because what is behind it was full: back-pressure. */
  readonly blockedMs: number
  /** Batches of rows that began here, by how long they took: up to each of `batchBoundsMs`, and longer. */
  readonly batches: readonly number[]
}

/** What one task has counted of the rows of an exchange. Keys as JSON shows them: bytes as hex, tuples as lists. */
export interface TaskSkew {
  /** The stage that chose the key: a keyBy or rekey. */
  readonly stage: string
  /** The stages that take its rows. */
  readonly feeds: readonly string[]
  readonly sampled: number
  readonly keys: readonly KeyCount[]
}

/** Milliseconds. */
export const batchBoundsMs: readonly number[] = [0.25, 0.5, 1, 2, 5, 10, 25, 100]

export interface ShardProgress {
  readonly status: 'ready' | 'running' | 'completed' | 'failed'
  /** `code`: of a NearstateError; `isFinal`: no other attempt would get further. */
  readonly failure?: {
    readonly message: string
    readonly code?: ErrorCode
    readonly isFinal?: true
    readonly stage?: string
    readonly functionStack?: string
  }
  readonly stages: readonly StageProgress[]
  readonly skew?: readonly TaskSkew[]
  /** What the checkpoint under way waits for here. */
  readonly waitsFor?: { readonly stage: string; readonly what: string }
}
