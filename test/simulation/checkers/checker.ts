/** What a checker sees: the truth, at every change of the table and after every step. A checker never changes anything. */
import type { PartitionId, ShardId } from '../../../src/base/ids.ts'
import type { ClusterView, Replica } from '../../../src/membership/cluster-state.ts'
import type { Violation } from '../history.ts'

/** Name of a log entry: the epoch it was written in and its position. */
export interface EntryName {
  readonly epoch: number
  readonly position: number
}

export interface World {
  readonly nowMs: number
  readonly view: ClusterView | undefined
  readonly partitionCount: number
  readonly backups: number
  readonly minInSync: number
  /** Whether the incarnation still runs (paused ones do). */
  isAlive(shard: ShardId): boolean
  /** Whether the incarnation's copy has this entry: in its log, its store or the image it was built from. */
  holds(replica: Replica, partition: PartitionId, name: EntryName): boolean
  /** Incarnations, dead ones too, whose copy has it. */
  holdersOf(partition: PartitionId, name: EntryName): number
  /** Shards that would answer a read of the partition if one came in now. */
  readersOf(partition: PartitionId): readonly ShardId[]
}

export type Report = (violation: Violation) => void
