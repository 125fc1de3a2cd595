/**
 * What replicas of a partition say to each other (shard to shard), and what two control threads say about promises (node to node).
 *
 * Messages may be lost, repeated, late or out of order; every one names the incarnations that it means, and a receiver of another
 * incarnation drops it. Effects in messages own their bytes.
 */
import type { Epoch, NodeId, PartitionId, ShardId } from '../base/ids.ts'
import type { PartitionRecord } from '../partitioning/partition-table.ts'
import type { Effect } from '../storage/effect.ts'
import type { ImageChunk } from '../storage/image.ts'

/** The epoch that an entry was written in, and its position: that of its last effect. */
export interface EntryName {
  readonly epoch: Epoch
  readonly position: number
}

/** One group of effects that happen together. It fills the positions `position - effects.length + 1 .. position`. */
export interface LogEntry extends EntryName {
  readonly effects: readonly Effect[]
}

/** Below every position. */
export const nothingWhole = -1

interface Header<Kind extends string> {
  readonly kind: Kind
  readonly partition: PartitionId
  /** The sender's epoch of the partition. */
  readonly epoch: Epoch
  readonly from: ShardId
  readonly to: ShardId
}

/** Primary to backup or learner: entries, possibly none. */
export interface AppendMessage extends Header<'append'> {
  /** The record of `epoch` with the table version it was read at, until the receiver has answered in this epoch. */
  readonly record?: { readonly version: number; readonly row: PartitionRecord }
  /** Name of the entry before the first one of this message. */
  readonly previous: EntryName
  readonly entries: readonly LogEntry[]
  readonly committed: number
  /** All counted replicas have applied up to here: nobody needs the log before it. */
  readonly floor: number
  /** The primary serves (again: after its wait). */
  readonly serving: boolean
  readonly sentAtMs: number
}

/** The answer to an append that matched. */
export interface AppendedMessage extends Header<'appended'> {
  /** The last position of that message, not the end of the log. */
  readonly position: number
  /** How far the store has applied; `nothingWhole` while a snapshot is not whole. */
  readonly applied: number
  readonly sentAtMs: number
}

/** To the primary: where this replica stands. Sent when an append does not fit, and by a replica that waits for another to serve. */
export interface HelloMessage extends Header<'hello'> {
  /** The last entry that its store has applied; undefined: it holds nothing. */
  readonly holds: EntryName | undefined
  readonly givenUp: number
  /** False: it asks only whether another replica serves, and follows nothing yet. */
  readonly follows: boolean
}

/** Primary to a replica that said hello, and has no part in the partition any more: another one serves. */
export type ServedMessage = Header<'served'>

/** Primary to learner: a piece of the snapshot. */
export interface ChunkMessage extends Header<'chunk'> {
  /** Number of the snapshot, fresh for each try of this primary. */
  readonly snapshot: number
  readonly index: number
  readonly chunk: ImageChunk
  /** Where the log starts that makes the snapshot whole: the entry at the position of the first chunk. */
  readonly start: EntryName
}

export interface ChunkTakenMessage extends Header<'chunkTaken'> {
  readonly snapshot: number
  readonly index: number
}

export type ReplicationMessage = AppendMessage | AppendedMessage | HelloMessage | ServedMessage | ChunkMessage | ChunkTakenMessage

/**
 * Control thread to control thread, every 250 ms and at once after a change of the table. The driver adds the view when the other
 * side is known to be behind, and feeds a view that came with a message before the message itself.
 */
export interface HeartbeatMessage {
  readonly kind: 'heartbeat'
  readonly from: NodeId
  readonly to: NodeId
  /** The sender's table version. */
  readonly version: number
  readonly sentAtMs: number
}

export interface HeartbeatAnswer {
  readonly kind: 'heartbeatAnswer'
  readonly from: NodeId
  readonly to: NodeId
  /** The version of the table that the promise is about; the answerer's. */
  readonly version: number
  /** As in the heartbeat. */
  readonly sentAtMs: number
  /** "For the lease from now I shall not act as primary for a partition that you lead." */
  readonly promised: boolean
}

export type PromiseMessage = HeartbeatMessage | HeartbeatAnswer
