/** What the stream engine needs of the shard that it runs on. */
import type { NearstateError } from '../base/errors.ts'
import type { KeyCodec } from '../keys/key-codec.ts'
import type { SinkConnector } from './sink.ts'
import type { FetchAnswer, FetchOptions } from './graph/async-options.ts'

/** One map, on the partitions that this shard owns. Values read are shared and read-only. */
export interface LocalMap {
  get(partition: number, key: unknown): unknown
  /**
   * A local write of a value that was encoded where user code may run; throws NearstateError RESOURCE_EXHAUSTED when memory is full.
   */
  setEncoded(partition: number, key: unknown, value: Uint8Array): void
}

export interface LocalMaps {
  /** The map of this name, created when it is not there; rejects when its key space is another one. */
  open(name: string, keySpace: string, keyCodec: KeyCodec): Promise<LocalMap>
}

/** What the stages of a job reach beyond the data of their shard. Called between units; what is answered comes later, between units. */
export interface Outside {
  /** The task should be asked for work again. */
  wake(): void
  /** A line for the job's log. */
  log(stage: string, text: string): void
  /** Reads the entry of a map, whichever shard has it; the value is shared and read-only, undefined when there is none. */
  lookup(map: string, key: Uint8Array, done: (error: NearstateError | undefined, value: unknown) => void): void
  /**
   * Runs asynchronous user code of a stage outside of its units, watched like them. `done` comes later, with what it threw or gave.
   */
  run(stage: string, act: () => Promise<unknown>, done: (error: unknown, value: unknown) => void): void
  /** What writes for sinks of this kind; throws INVALID_ARGUMENT when there is nothing that does. */
  sinkConnector(kind: string): SinkConnector
  /**
   * An HTTP request of a stage's user code, which may be cut off: it leaves when the present turn has ended. `done` is called where what user code does next is watched. Returns how to give it up,
   * after which `done` is not called.
   */
  fetch(stage: string, url: string, options: FetchOptions, done: (error: unknown, answer: FetchAnswer | undefined) => void): () => void
}

/** A record of a stage's state. Keys order by their bytes. */
export interface StateRecord {
  readonly key: Uint8Array
  readonly value: Uint8Array
}

/** What a record becomes; without a value a tombstone. */
export interface StateChange {
  readonly key: Uint8Array
  readonly value: Uint8Array | undefined
}

/**
 * The state records of one attempt, on the partitions that this shard owns: opened for (job, attempt b, restore point (a, ca)) after
 * the attempt's start was written into each partition's log. What is written here replicates with the partition.
 *
 * A record has two slots, each a value or a tombstone marked (attempt, n).
 * 1. A slot (x, n) is valid if x = b and n <= c, or x = a and n <= ca, or x < a; once c > 0, also if x < b. c is what `committed` said.
 * 2. A write takes the slot that is not the newest valid one (by attempt, then n). A record whose newest valid slot is a tombstone goes,
 *    unless its other slot is of the barrier under way.
 * 3. What is read here is the newest slot that is valid or of this attempt itself: a task reads its own writes, committed or not.
 *    (Queries of state and a next attempt read valid ones only.)
 * 4. A replica that has learned of a newer attempt refuses: every call throws NearstateError CONFLICT.
 * 5. So does a shard that was not the partition's primary all the time since the store was opened, with UNAVAILABLE, even when it is
 *    again: what it had written may be lost. (LocalMaps of an attempt likewise.)
 * 6. Calls happen between units of user code, except `read` and `scan`, which change nothing and may be cut off.
 */
export interface StateStore {
  /** No record of an older attempt counts (a = 0): nothing can be read that was not written here. */
  readonly isFresh: boolean
  read(partition: number, stage: string, key: Uint8Array): Uint8Array | undefined
  /**
   * In this order, and as few groups as their size allows: a group costs much the same whether it is one record or hundreds. Throws
   * RESOURCE_EXHAUSTED when memory is full: those before are written then. The bytes are copied.
   */
  write(partition: number, stage: string, changes: readonly StateChange[], n: number): void
  /** Records with from <= key < to that hold a value, in order, at most `limit`. */
  scan(partition: number, stage: string, from: Uint8Array, to: Uint8Array, limit: number): readonly StateRecord[]
  /**
   * Ends barrier n in this partition: writes its barrier record, and calls `done` (later, between units) when that record, and so
   * all writes before it, are committed in the primary's epoch (with a durable mirror: synced on every in-sync replica) and, the
   * first time in an attempt, all dead slots of older attempts in the partition are freed. It is not called after an epoch ended.
   */
  endBarrier(partition: number, n: number, value: Uint8Array, done: (error?: NearstateError) => void): void
  /** The barrier record at the restore point; undefined only when the store is fresh (a start without it was refused before). */
  restored(partition: number): Uint8Array | undefined
  /** The master has committed n: c = n, for rules 1 and 2. Comes before the next barrier's first write. */
  committed(n: number): void
  /**
   * Copies what checkpoint n holds on this shard's partitions out under a name, in the background; called when n has been committed
   * and before anything is written for n + 1. A slot that n needs is copied before a write or a removal takes it. `done` comes later.
   * Absent: this store makes none.
   */
  savepoint?(name: string, n: number, done: (error?: NearstateError) => void): void
}
