/** What the master tells every shard about an attempt, and what a shard tells back. Plain data (JSON). */
import type { ShardId } from '../base/ids.ts'
import type { SplitState } from './checkpoint/split-state.ts'
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

export interface Assignment {
  /** Version of the cluster state that it was made from. */
  readonly tableVersion: number
  /** The shards that take part, in one order for all. */
  readonly shards: readonly ShardId[]
  /** Index into `shards` of each partition's primary. */
  readonly owners: readonly number[]
  /** Per source stage (by name) and shard (by index): the splits it reads. */
  readonly splits: Readonly<Record<string, readonly (readonly Split[])[]>>
}

export interface StageProgress {
  readonly name: string
  readonly kind: string
  readonly tasks: number
  readonly rowsIn: number
  readonly rowsOut: number
  readonly deadLetters: number
  readonly late: number
  /** Milliseconds since the epoch; null: none yet, or beyond the end of the input. */
  readonly watermark: number | null
  readonly stateBytes: number
}

export interface ShardProgress {
  readonly status: 'ready' | 'running' | 'completed' | 'failed'
  readonly failure?: { readonly message: string; readonly stage?: string; readonly functionStack?: string }
  readonly stages: readonly StageProgress[]
}
