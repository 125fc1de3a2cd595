/**
 * The durable mirror beside a shard's replicas: where they write to, and what is read back after the whole cluster had ended.
 *
 * Owns: restores under way, one after the other; when copies found at the start are removed. Does not: choose what is restored (the table
 * says so), write (durability).
 *
 * 1. A record that names this replica as restored is not told to it before the copy has been read and is this incarnation's on the disk.
 * 2. Found copies of a partition stay until it is served by as many in-sync replicas as it should have.
 */
import { messageOf } from '../base/errors.ts'
import type { FoundCopy } from '../durability/found-copy.ts'
import type { PartitionMirror } from '../durability/partition-mirror.ts'
import type { ShardMirror } from '../durability/shard-mirror.ts'
import type { ClusterState } from '../membership/cluster-state.ts'
import { stayingMembers } from '../membership/replica-transitions.ts'
import { isSameReplica, type PartitionRecord, type Replica } from '../partitioning/partition-table.ts'
import { type Restored, restoredStart } from '../replication/replica-state.ts'
import type { PartitionStore } from '../storage/partition-store.ts'
import type { HeldPartition } from './held-partition.ts'

export interface MirroredPartitionsOptions {
  readonly mirror: ShardMirror
  readonly self: Replica
  /** That each partition should have, the primary included. */
  readonly copies: number
  makeStore(): PartitionStore
  /** What `record` names was read; the partition may have moved on since. */
  onRestored(held: HeldPartition, record: PartitionRecord, restored: Restored): void
  onFoundChanged(found: readonly FoundCopy[]): void
  /** A copy cannot be read: without it this shard must not go on. */
  onBroken(reason: string): void
  info(message: string, fields: Readonly<Record<string, string | number>>): void
}

export class MirroredPartitions {
  readonly #options: MirroredPartitionsOptions
  readonly #restoring = new Map<number, number>()
  #queue: Promise<void> = Promise.resolve()
  #isOver = false

  constructor(options: MirroredPartitionsOptions) {
    this.#options = options
  }

  mirrorOf(partition: number): PartitionMirror {
    return this.#options.mirror.partition(partition)
  }

  attach({ partition, replica }: HeldPartition): void {
    this.mirrorOf(partition).attach({
      get store() {
        return replica.store
      },
      logAfter: (position, maxBytes) => replica.logAfter(position, maxBytes),
    })
  }

  /** Invariant 1: whether the record waits until `onRestored`. */
  holdsBack(held: HeldPartition, record: PartitionRecord): boolean {
    const { givenUp = 0, restoredFrom } = record
    const { self } = this.#options
    if (restoredFrom === undefined || givenUp <= held.replica.givenUp) return false
    if (!isSameReplica(record.primary, self) || !isSameReplica(restoredFrom.by, self)) return false
    if (this.#restoring.get(held.partition) !== givenUp) {
      this.#restoring.set(held.partition, givenUp)
      this.#queue = this.#queue.then(() => this.#restore(held, record, givenUp))
    }
    return true
  }

  /** Invariant 2. */
  handleState({ partitions, ...state }: ClusterState): void {
    const { mirror, copies } = this.#options
    const { found } = mirror
    if (found.length === 0 || this.#isOver) return
    const wanted = Math.min(copies, stayingMembers({ ...state, partitions }).length)
    const served = new Set<number>()
    for (const { partition } of found) {
      const record = partitions[partition]
      if (record?.primary === undefined || this.#restoring.has(partition)) continue
      if (record.inSync.length >= Math.max(1, wanted) && record.inSync.length === record.backups.length + 1) served.add(partition)
    }
    if (served.size === 0) return
    void this.#discard([...served])
  }

  async stop(inOrder: boolean): Promise<void> {
    this.#isOver = true
    await this.#options.mirror.close(inOrder)
  }

  async #restore(held: HeldPartition, record: PartitionRecord, givenUp: number): Promise<void> {
    const { mirror, makeStore, onRestored, onBroken, onFoundChanged, info } = this.#options
    const { partition } = held
    const from = record.restoredFrom
    if (this.#isOver || from === undefined || this.#restoring.get(partition) !== givenUp) return
    const store = makeStore()
    const start = restoredStart(record)
    try {
      await mirror.restore(partition, from.of, store, { start, givenUp })
    } catch (error) {
      store.release()
      if (!this.#isOver) onBroken(`partition ${partition} cannot be restored: ${messageOf(error)}`)
      return
    }
    if (this.#isOver) return store.release()
    this.attach(held)
    if (this.#restoring.get(partition) === givenUp) this.#restoring.delete(partition)
    info('restored from the durable mirror', { partition, entries: store.entries, bytes: store.bytes, left: this.#restoring.size })
    onRestored(held, record, { store, givenUp, start })
    onFoundChanged(mirror.found)
  }

  async #discard(partitions: readonly number[]): Promise<void> {
    const { mirror, onFoundChanged } = this.#options
    for (const partition of partitions) await mirror.discard(partition)
    if (!this.#isOver) onFoundChanged(mirror.found)
  }
}
