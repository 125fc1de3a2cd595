/** What a partition's replica needs and what it asks to be done: the closed words between the core and its driver. */
import type { PartitionId, ShardId } from '../base/ids.ts'
import type { NodeId } from '../base/ids.ts'
import type { Replica, ReplicaRequest } from '../partitioning/partition-table.ts'
import type { PartitionStore } from '../storage/partition-store.ts'
import type { ImageChunk } from '../storage/image.ts'
import type { EntryName, LogEntry, ReplicationMessage } from './messages.ts'

/** A promise that a node's control thread has given to this node's. */
export interface HeldPromise {
  readonly version: number
  readonly untilMs: number
}

/** A client's session at a partition: the name of the log entry that opened it, and a number per write. */
export interface Ticket {
  readonly epoch: number
  readonly position: number
}

export interface RequestId {
  readonly ticket: Ticket
  /** 1, 2, 3 ... per ticket. */
  readonly number: number
}

export interface ReplicaOptions {
  readonly partition: PartitionId
  readonly self: Replica
  /** A fresh, empty store; its position is set by the replica. The one before was released. */
  readonly makeStore: () => PartitionStore
  /** The promises that this node holds, as its control thread keeps them (in shared memory). undefined: none from that node. */
  readonly heldPromise: (node: NodeId) => HeldPromise | undefined
  /** Writes need so many in-sync replicas. */
  readonly minInSync: number
  /** What operators giving up data wait for: the longest promise anybody may have given. */
  readonly leaseMs: number
  /** A backup with something unanswered for so long is asked to be taken out. */
  readonly backupTimeoutMs: number
  /** What is unanswered for so long is sent again; also the pace of requests to the leader. */
  readonly resendMs: number
  /** At most about so many bytes of effects in one message. */
  readonly messageMaxBytes: number
  /** While something is unanswered, entries are not sent before so many bytes of them wait. */
  readonly gatherBytes: number
  /** At most about so many messages' worth of unanswered bytes per replica; more waits in the log. */
  readonly windowBytes: number
  /** A log longer than this gives up the learners that hold it; writes are refused while in-sync replicas hold it. */
  readonly logMaxBytes: number
  /** Of the log before what all need, so much is kept for returning backups. */
  readonly logRetainBytes: number
  readonly chunkMaxBytes: number
  /** Of a snapshot to one learner. */
  readonly copyBytesPerSecond: number
  /** A session is forgotten so long after the last contact. */
  readonly sessionTtlMs: number
  /** Results kept per ticket. */
  readonly sessionWindow: number
  /** Where this replica's store and log are kept besides memory. Absent: nowhere. */
  readonly mirror?: ReplicaMirror
}

/** What a durable mirror is told, in the order in which it happens. Entries do not change and own their bytes. */
export interface ReplicaMirror {
  /** What is acknowledged, and at a primary committed, reaches no further; an entry's end. Infinity: no bound. */
  durablePosition(): number
  /** The store begins anew, empty, after `start`. */
  handleReset(start: EntryName, givenUp: number): void
  /** This replica is in sync: what it holds is kept, also when it is nothing. */
  handleHeld(): void
  /** The store took a piece of a snapshot; until `handleWhole` it counts for nothing. */
  handleImage(effects: ImageChunk['effects']): void
  handleWhole(): void
  /** The store has applied the entry just now. */
  handleApplied(entry: LogEntry): void
  /** The log holds entries that the store has not applied. */
  handleAccepted(): void
  /** What the log held after that position is gone from it. */
  handleCut(position: number): void
}

export const replicaDefaults = {
  minInSync: 1,
  leaseMs: 600,
  backupTimeoutMs: 1000,
  resendMs: 200,
  messageMaxBytes: 256 * 1024,
  gatherBytes: 16 * 1024,
  windowBytes: 4 * 1024 * 1024,
  logMaxBytes: 64 * 1024 * 1024,
  // Per partition. What is kept for long costs the collector more than it saves: under load 32 KiB are half a second of writes, and took
  // a sixth of the throughput.
  logRetainBytes: 4 * 1024,
  chunkMaxBytes: 256 * 1024,
  copyBytesPerSecond: 64 * 1024 * 1024,
  sessionTtlMs: 60_000,
  sessionWindow: 1024,
} as const

export type RefusalReason =
  /** Not this replica; its table names another, or none yet. */
  | 'notPrimary'
  /** Promoted, and waiting out its promises; or stopped for a hand-over. Try again soon. */
  | 'notServing'
  /** A promise is missing now. Try again soon. */
  | 'noPromise'
  | 'notEnoughReplicas'
  | 'logFull'
  | 'sessionUnknown'
  | 'outcomeUnknown'
  /** More than `sessionWindow` writes in flight under one ticket. */
  | 'windowExceeded'

export type WriteAdmission =
  /** Decide, `append` the effects, then `finishWrite`. */
  | { readonly kind: 'execute' }
  /** It was executed before: its answer is `result`, once `position` is committed (`wait` for it). */
  | { readonly kind: 'recorded'; readonly result: Uint8Array; readonly position: number }
  | { readonly kind: 'refused'; readonly reason: RefusalReason }

export type ReadAdmission = { readonly kind: 'read' } | { readonly kind: 'refused'; readonly reason: RefusalReason }

export type WaitKind = 'read' | 'write'

export interface Answered<Waiter> {
  readonly waiter: Waiter
  /** `unknown`: the replica ceased to be primary; a read may be tried again, a write's outcome is unknown. */
  readonly outcome: 'committed' | 'unknown'
}

export type ReplicaAction =
  | { readonly kind: 'send'; readonly to: ShardId; readonly message: ReplicationMessage }
  /** To the leader, through this node's control thread. */
  | { readonly kind: 'request'; readonly request: ReplicaRequest }
  /** The store was replaced: `replica.store` is another object; handles on the old one are void. */
  | { readonly kind: 'storeReplaced' }
  /** Began or ceased to serve. */
  | { readonly kind: 'serving'; readonly serving: boolean }
  /** A promise of the protocol is broken (I6): the shard must stop, keeping nothing. */
  | { readonly kind: 'stop'; readonly reason: string }

export type ReplicaRole = 'absent' | 'primary' | 'backup' | 'learner' | 'retired' | 'deposed' | 'stopped'
