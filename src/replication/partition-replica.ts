import type { PartitionRecord, Replica } from '../partitioning/partition-table.ts'
import type { HandOverOrder } from '../partitioning/partition-table.ts'
import type { Effect } from '../storage/effect.ts'
import type { PartitionStore } from '../storage/partition-store.ts'
import type { ReplicationMessage } from './messages.ts'
import type {
  Answered,
  ReadAdmission,
  ReplicaAction,
  ReplicaOptions,
  ReplicaRole,
  RequestId,
  Ticket,
  WaitKind,
  WriteAdmission,
} from './replica-port.ts'
import { everyRule, type ReplicationRules } from './rules.ts'

/** SIGNATURES ONLY in this commit; the body follows. */
export declare class PartitionReplica<Waiter> {
  constructor(options: ReplicaOptions, rules?: ReplicationRules)

  // ---- readers
  readonly store: PartitionStore
  readonly role: ReplicaRole
  readonly epoch: number
  /** Table version last learned. */
  readonly version: number
  readonly committed: number
  /** Of the store; at a primary everything written. */
  readonly applied: number
  /** Entries held: for checkers and reports. */
  readonly isServing: boolean
  readonly countedSet: readonly Replica[]

  // ---- handle
  /**
   * The record of this partition as of table `version`, from the control thread: to every replica at every new version (also when
   * the record is unchanged: promises count by version). `promisedUntilMs`: when the last promise that this node's control thread gave to any
   * earlier primary of the partition runs out (Promises.promisedUntilMs).
   */
  handleRecord(nowMs: number, version: number, record: PartitionRecord, promisedUntilMs: number): void
  handleMessage(nowMs: number, message: ReplicationMessage): void
  handleOrder(nowMs: number, order: HandOverOrder): void
  /** The transport knows that the link to that shard is broken and could not be re-made: asks for removal at once. */
  handleReset(nowMs: number, shard: string): void
  /** At nextDeadlineMs, or at any time. */
  handleTick(nowMs: number): void
  nextDeadlineMs(nowMs: number): number | undefined
  takeActions(nowMs: number): readonly ReplicaAction[]
  takeAnswered(): readonly Answered<Waiter>[]

  // ---- commands of a primary; call takeActions afterwards (once per turn: one frame)
  /** `nowMs` is read after the request was received. Then read the store, then `wait('read', replica.applied, waiter)`. */
  beginRead(nowMs: number): ReadAdmission
  /** `id` undefined: not de-duplicated. `lowestUnanswered`: the client needs no result below it. */
  beginWrite(nowMs: number, id?: RequestId, lowestUnanswered?: number): WriteAdmission
  /** Applies the effect and adds it to the open group (bytes are copied). Also for expiry found by a read, outside of a write. */
  append(effect: Effect): void
  /** Closes the group with its de-duplication record; answers the position to wait for. */
  finishWrite(nowMs: number, id: RequestId | undefined, result: Uint8Array): number
  /** Opens a session: answers its ticket, valid once `position` is committed. Refused like a write. */
  openSession(nowMs: number): { readonly kind: 'opened'; readonly ticket: Ticket; readonly position: number } | WriteAdmission
  /** `waiter` comes out of takeAnswered once `position` is committed (at once if it is). */
  wait(kind: WaitKind, position: number, waiter: Waiter): void
}
export const rulesOfProduction = everyRule
