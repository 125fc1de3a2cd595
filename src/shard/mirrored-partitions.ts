/**
 * The durable mirror beside a shard's replicas: where they write to, and what is read back after the whole cluster had ended.
 *
 * Owns: restores under way, one after the other; when copies found at the start are removed. Does not: choose what is restored (the table
 * says so), write (durability).
 *
 * 1. A record that names this replica as restored is not told to it before the copy has been read and is this incarnation's on the disk.
 * 2. Found copies of a partition stay until as many replicas are in sync as there should be, and all of them are known to live: what the
 *    table says of members may be from before the stop, so only a promise that one has given to this very process counts.
 */
import { messageOf } from '../base/errors.ts'
import type { NodeId } from '../base/ids.ts'
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
  /** That node's process lives, and knows this one. */
  isAlive(node: NodeId): boolean
  after(ms: number, callback: () => void): () => void
  makeStore(): PartitionStore
  /** What `record` names was read; the partition may have moved on since. */
  onRestored(held: HeldPartition, record: PartitionRecord, restored: Restored): void
  onFoundChanged(found: readonly FoundCopy[]): void
  /** A copy cannot be read: without it this shard must not go on. */
  onBroken(reason: string): void
  info(message: string, fields: Readonly<Record<string, string | number>>): void
}

const lookMs = 1000

export class MirroredPartitions {
  readonly #options: MirroredPartitionsOptions
  readonly #restoring = new Map<number, number>()
  #queue: Promise<void> = Promise.resolve()
  #state: ClusterState | undefined
  #cancelLook: (() => void) | undefined
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

  handleState(state: ClusterState): void {
    this.#state = state
    if (this.#options.mirror.found.length > 0) this.#cancelLook ??= this.#options.after(lookMs, () => this.#look())
  }

  /** Invariant 2. */
  #look(): void {
    this.#cancelLook = undefined
    const { mirror, copies, self, isAlive, after } = this.#options
    const { found } = mirror
    if (found.length === 0 || this.#isOver || this.#state === undefined) return
    this.#cancelLook = after(lookMs, () => this.#look())
    const { partitions } = this.#state
    const wanted = Math.max(1, Math.min(copies, stayingMembers(this.#state).length))
    const isHeld = ({ primary, backups, inSync }: PartitionRecord): boolean =>
      primary !== undefined &&
      inSync.length >= wanted &&
      inSync.length === backups.length + 1 &&
      inSync.every(({ node }) => node === self.node || isAlive(node))
    const held = new Set(found.map(({ partition }) => partition))
    for (const partition of held) {
      const record = partitions[partition]
      if (record === undefined || this.#restoring.has(partition) || !isHeld(record)) held.delete(partition)
    }
    if (held.size > 0) void this.#discard([...held])
  }

  async stop(inOrder: boolean): Promise<void> {
    this.#isOver = true
    this.#cancelLook?.()
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
      if (this.#isOver) return
      this.#isOver = true
      return onBroken(`partition ${partition} cannot be restored: ${messageOf(error)}`)
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
