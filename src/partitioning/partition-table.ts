/**
 * The partition table's words, and what a primary asks of the leader: what replication and membership both speak about.
 *
 * A replica is one shard incarnation. In a record, a backup outside of `inSync` is a learner.
 *
 * 1. The epoch grows with every change of primary or in-sync set; nothing else changes it.
 * 2. `inSync` is empty only where the partition is lost; else the primary is in it.
 */
import type { Epoch, NodeId, PartitionId, ShardId } from '../base/ids.ts'

/** One shard of one node, by incarnation. */
export interface Replica {
  readonly node: NodeId
  readonly shard: ShardId
}

export interface PartitionRecord {
  readonly epoch: Epoch
  /** undefined: lost, no replica is left; refuses to serve until its data is given up. */
  readonly primary: Replica | undefined
  readonly backups: readonly Replica[]
  readonly inSync: readonly Replica[]
  /** This very record made the primary by hand-over: it serves without waiting. Absent: no. */
  readonly handedOver?: boolean
  /** How often the partition's data was given up, or taken from a durable mirror. Who holds data of a lower number starts empty. Absent: 0. */
  readonly givenUp?: number
  /** Of a lost partition: who was in sync at last; their mirrors hold what there is. */
  readonly lastInSync?: readonly Replica[]
  /** The primary was made from what a mirror held, and stays the same since; of a lost one: was so at last. */
  readonly restoredFrom?: RestoredFrom
}

/** A copy on a disk, written by the incarnation `of` under that `givenUp`; `by`: the replica that takes it over. */
export interface RestoredFrom {
  readonly of: Replica
  readonly givenUp: number
  readonly by: Replica
}

interface ReplicaRequestOf<Kind extends string> {
  readonly kind: Kind
  readonly partition: PartitionId
  /** The leader drops the request if the partition's epoch is another one. */
  readonly epoch: Epoch
  /** The primary that asks. */
  readonly from: Replica
  /** The replica to add, to remove or to become primary. */
  readonly replica: Replica
}

/** Repeated until the asker learns a newer epoch; each is idempotent. */
export type ReplicaRequest =
  /** Into the in-sync set: the learner holds everything committed, and is counted already. */
  | ReplicaRequestOf<'add'>
  /** Out of the in-sync set (a backup that is silent); also ends an `add` whose outcome is unknown. */
  | ReplicaRequestOf<'remove'>
  /** `from` has stopped and drained. A refusal is a new epoch with all else as it was. */
  | ReplicaRequestOf<'handOver'>

/** From the leader to a primary: hand over to that in-sync replica, if the epoch is still this one. Repeated; idempotent. */
export interface HandOverOrder {
  readonly kind: 'handOver'
  readonly partition: PartitionId
  readonly epoch: Epoch
  readonly from: Replica
  readonly to: Replica
}

export const isSameReplica = (a: Replica | undefined, b: Replica | undefined): boolean => a?.node === b?.node && a?.shard === b?.shard
