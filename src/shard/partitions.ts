/**
 * The partitions that this shard has a replica of, and the parts of each map on them.
 *
 * Owns: replicas, from the first view that names this shard in them; what views, peers and orders bring to them; expiry sweeps; the data of
 * destroyed maps. Does not: decide who is primary (the table), answer operations (operations.ts), send (settling.ts).
 *
 * 1. The right to serve is the replica's word, asked for each operation; `ownership.ts` only routes.
 * 2. Handles on a store (`MapHandle.parts`) are void when the replica replaces it.
 * 3. Only a serving primary expires entries and drops maps, by effects. What a backup is told is carried out whatever its memory limit:
 *    the primary's limit refuses.
 */
import { formatByteSize } from '../base/byte-size.ts'
import type { Clock } from '../base/clock.ts'
import type { MapId, NodeId, PartitionId, ShardId } from '../base/ids.ts'
import { PartitionMap } from '../grid/partition-map.ts'
import type { FoundCopy } from '../durability/found-copy.ts'
import type { ShardMirror } from '../durability/shard-mirror.ts'
import type { ClusterView } from '../membership/cluster-state.ts'
import {
  type HandOverOrder,
  isSameReplica,
  type PartitionRecord,
  type Replica,
  type ReplicaRequest,
} from '../partitioning/partition-table.ts'
import type { ReplicationMessage } from '../replication/messages.ts'
import { PartitionReplica } from '../replication/partition-replica.ts'
import { type HeldPromise, replicaDefaults } from '../replication/replica-port.ts'
import type { Restored } from '../replication/replica-state.ts'
import type { MemoryBudget } from '../storage/memory-budget.ts'
import { PartitionStore } from '../storage/partition-store.ts'
import { HeldPartition, type Waiter } from './held-partition.ts'
import type { MapCatalog, MapHandle } from './map-catalog.ts'
import type { MapStatsReport, ReplicaReport, ReplicationSettings, ShardLimits } from './protocol.ts'
import { MirroredPartitions } from './mirrored-partitions.ts'
import { ReplicationFrames } from './replication-frames.ts'
import { Settling } from './settling.ts'

export interface PartitionsOptions {
  readonly self: Replica
  readonly limits: ShardLimits
  readonly replication: ReplicationSettings
  readonly budget: MemoryBudget
  readonly clock: Clock
  readonly catalog: MapCatalog
  /** Absent: nothing is kept on disk. */
  readonly durable?: { readonly mirror: ShardMirror; readonly copies: number }
  random(): number
  heldPromise(node: NodeId): HeldPromise | undefined
  send(to: ShardId, bytes: Uint8Array): void
  later(callback: () => void): void
  after(ms: number, callback: () => void): () => void
  onRequest(request: ReplicaRequest): void
  /** Of copies that earlier incarnations left on the disk some were restored or removed. */
  onFoundChanged?(found: readonly FoundCopy[]): void
  info?(message: string, fields: Readonly<Record<string, string | number>>): void
  /** I6 is broken: nothing here must be used any more. */
  onBroken(reason: string): void
  warn(message: string, fields: Readonly<Record<string, string | number>>): void
}

interface KnownTable {
  readonly version: number
  readonly records: readonly PartitionRecord[]
  readonly promisedUntilMs: Float64Array
}

/** Units of expiry work between two looks at the clock. */
const sweepStep = 64
/** So long after it began to serve, a map that the store has and the catalog has not is one that the catalog will soon hear of. */
const catalogLagMs = 5000
const destroyedMax = 65_536

export class Partitions {
  readonly #options: PartitionsOptions
  readonly #frames: ReplicationFrames
  readonly #settling: Settling
  readonly #mirrored: MirroredPartitions | undefined
  #held: (HeldPartition | undefined)[] = []
  #table: KnownTable = { version: 0, records: [], promisedUntilMs: new Float64Array(0) }
  #sweepNext = 0
  /** Destroyed while this shard looked on: who begins to serve drops them. */
  readonly #destroyed = new Set<MapId>()
  /** Peers whose link broke, and that have said nothing since. */
  readonly #lostLinks = new Set<ShardId>()
  #isOverLimit = false
  #isOver = false

  constructor(options: PartitionsOptions) {
    this.#options = options
    const { limits, clock, later, after, onRequest, onBroken } = options
    this.#frames = new ReplicationFrames({
      messageMaxBytes: limits.messageMaxBytes,
      // A group of effects holds a value and the result of a function, a chunk of a copy a session's results.
      frameMaxBytes: 64 * 1024 * 1024 + 8 * limits.valueMaxBytes,
      send: options.send,
    })
    this.#settling = new Settling({
      clock,
      frames: this.#frames,
      later,
      after,
      onRequest,
      onBroken: reason => {
        this.#isOver = true
        onBroken(reason)
      },
      onStoreReplaced: held => this.#voidParts(held.partition),
      onServing: (held, isServing, nowMs) => {
        if (isServing) this.#dropDestroyed(held, nowMs)
      },
    })
    this.#mirrored = options.durable === undefined ? undefined : this.#mirroredOn(options.durable)
  }

  #mirroredOn({ mirror, copies }: { readonly mirror: ShardMirror; readonly copies: number }): MirroredPartitions {
    const { self, clock, heldPromise, after, onBroken, onFoundChanged, info } = this.#options
    return new MirroredPartitions({
      mirror,
      self,
      copies,
      isAlive: node => (heldPromise(node)?.untilMs ?? Number.NEGATIVE_INFINITY) > clock.nowMs(),
      after,
      makeStore: () => this.#makeStore(),
      onRestored: (held, record, restored) => this.#handleRestored(held, record, restored),
      onFoundChanged: found => onFoundChanged?.(found),
      onBroken: reason => {
        this.#isOver = true
        this.#settling.stop()
        onBroken(reason)
      },
      info: (message, fields) => info?.(message, fields),
    })
  }

  /** After whatever changed replicas in this turn. */
  settle(): void {
    this.#settling.settle()
  }

  touch(held: HeldPartition): void {
    this.#settling.touch(held)
  }

  get budget(): MemoryBudget {
    return this.#options.budget
  }

  /** Those that it serves now. */
  get serving(): readonly HeldPartition[] {
    return this.#held.flatMap(held => (held?.isServing === true ? [held] : []))
  }

  /** For how long some in-sync replica of what is served here has left something unanswered. */
  unansweredMs(nowMs: number): number {
    let since = nowMs
    for (const held of this.#held) if (held?.isServing === true) since = Math.min(since, held.replica.unansweredSinceMs)
    return nowMs - since
  }

  find(partition: number): HeldPartition | undefined {
    return this.#held[partition]
  }

  /** Takes a newer table; `promisedUntilMs`: see protocol.ts. */
  handleView(view: ClusterView, promisedUntilMs: Float64Array): void {
    if (this.#isOver || (view.version <= this.#table.version && this.#table.records.length > 0)) return
    this.#table = { version: view.version, records: view.state.partitions, promisedUntilMs }
    const { self } = this.#options
    for (const [partition, record] of view.state.partitions.entries()) {
      const held = this.#held[partition]
      if (held !== undefined) this.#tell(held, record)
      else if (names(record, self.shard)) this.#open(partition, record)
    }
    this.settle()
    this.#mirrored?.handleState(view.state)
  }

  /** Their mirrors have come further. */
  handleDurable(partitions: readonly number[]): void {
    if (this.#isOver) return
    for (const partition of partitions) {
      const held = this.#held[partition]
      if (held === undefined) continue
      held.replica.handleDurable()
      this.touch(held)
    }
    this.settle()
  }

  handleOrder(order: HandOverOrder): void {
    const held = this.#held[order.partition]
    if (held === undefined || this.#isOver) return
    held.replica.handleOrder(this.#options.clock.nowMs(), order)
    this.touch(held)
    this.settle()
  }

  /** Settled later, with what else comes in this turn of the loop. Throws INVALID_ARGUMENT for bytes that are no frame. */
  handleReplication(from: ShardId, bytes: Uint8Array): void {
    if (this.#isOver) return
    this.#lostLinks.delete(from)
    const messages = this.#frames.accept(from, bytes)
    const nowMs = this.#options.clock.nowMs()
    for (const message of messages) {
      if (message.from === from) this.#handleMessage(nowMs, message)
    }
    this.#watchLimit()
  }

  /** The link broke: what was under way is lost. A peer that cannot be reached anew at once is taken for gone. */
  peerDown(peer: ShardId): void {
    this.#frames.forget(peer)
    if (this.#isOver || !this.#isReplicatedOn(peer)) return
    if (!this.#lostLinks.has(peer)) {
      this.#lostLinks.add(peer)
      this.#frames.probe(peer)
      return
    }
    const nowMs = this.#options.clock.nowMs()
    for (const held of this.#held) {
      if (held?.replica.role !== 'primary') continue
      held.replica.handleReset(nowMs, peer)
      this.touch(held)
    }
    this.settle()
  }

  /** The map's part on the partition, if anything of it is there. */
  findPart(handle: MapHandle, held: HeldPartition): PartitionMap | undefined {
    const known = handle.parts[held.partition]
    if (known !== undefined) return known
    return held.replica.store.findMap(handle.definition.id) === undefined ? undefined : this.openPart(handle, held)
  }

  /** The map's part on a partition, made if it is not there: then within a write or with the right to one. */
  openPart(handle: MapHandle, held: HeldPartition): PartitionMap {
    const { partition, replica, append } = held
    const known = handle.parts[partition]
    if (known !== undefined) return known
    const part = new PartitionMap({
      definition: handle.definition,
      partitionCount: this.#table.records.length,
      store: replica.store,
      append,
      valueMaxBytes: this.#options.limits.valueMaxBytes,
    })
    while (handle.parts.length < partition) handle.parts.push(undefined)
    handle.parts[partition] = part
    return part
  }

  /**
   * Whether this replica began to serve a moment ago and holds a map that its node has not heard of yet: nothing must be said then of maps
   * that are not known.
   */
  mayServeUnknownMaps(held: HeldPartition, nowMs: number): boolean {
    return nowMs - held.servesSinceMs < catalogLagMs && this.holdsUnknownMaps(held)
  }

  holdsUnknownMaps({ replica }: HeldPartition): boolean {
    for (const { id } of replica.store.maps()) if (!this.#options.catalog.knows(id) && !this.#destroyed.has(id)) return true
    return false
  }

  /** Removes a destroyed map's data, where this shard serves; elsewhere the one that serves does, or will. */
  dropMap(handle: MapHandle): void {
    const nowMs = this.#options.clock.nowMs()
    handle.parts.length = 0
    this.#destroyed.add(handle.definition.id)
    if (this.#destroyed.size > destroyedMax) for (const oldest of this.#destroyed) if (this.#destroyed.delete(oldest)) break
    for (const held of this.#held) if (held?.isServing === true) this.#dropDestroyed(held, nowMs)
    this.settle()
  }

  /** Removes entries past their time, from where the last call stopped, until done or `isOver`. True: there may be more. */
  sweep(wallTimeMs: number, isOver: () => boolean): boolean {
    const count = this.#held.length
    const nowMs = this.#options.clock.nowMs()
    for (let swept = 0; swept < count; ) {
      const held = this.#held[this.#sweepNext % count]
      const isServing = held !== undefined && held.isServing && held.replica.isServing(nowMs)
      const done = isServing ? held.replica.store.advanceExpiry(wallTimeMs, sweepStep, held.append) : 0
      if (done < sweepStep) {
        swept += 1
        this.#sweepNext = (this.#sweepNext + 1) % count
      }
      if ((done > 0 || swept % 16 === 0) && isOver()) return swept < count
    }
    return false
  }

  /** Of partitions whose primary is here. */
  get entries(): number {
    return this.#sumOfPrimaries(store => store.entries)
  }

  /** Of entries with their headers, of partitions whose primary is here. */
  get bytes(): number {
    return this.#sumOfPrimaries(store => store.bytes)
  }

  /** Of each map what this shard is the primary of. */
  mapStats(): MapStatsReport[] {
    const reports = new Map(
      Array.from(this.#options.catalog.handles(), ({ definition: { id, name } }) => [
        id,
        { name, entries: 0, bytes: 0, evicted: 0, expired: 0 },
      ]),
    )
    for (const held of this.#held) {
      if (held?.replica.role !== 'primary') continue
      for (const map of held.replica.store.maps()) {
        const report = reports.get(map.id)
        if (report === undefined) continue
        report.entries += map.entries
        report.bytes += map.bytes
        report.evicted += map.evicted
        report.expired += map.expired
      }
    }
    return [...reports.values()]
  }

  replicaReports(): ReplicaReport[] {
    const nowMs = this.#options.clock.nowMs()
    const reports: ReplicaReport[] = []
    for (const held of this.#held) {
      if (held === undefined || held.replica.role === 'absent') continue
      const { replica, partition } = held
      const { store, role, learners } = replica
      const report = { partition, role, isServing: replica.isServing(nowMs), entries: store.entries, bytes: store.bytes, learners }
      const uncommitted = role === 'primary' ? replica.applied - replica.committed : 0
      reports.push(uncommitted > 0 ? { ...report, uncommitted } : report)
    }
    return reports
  }

  /** Nothing is acknowledged any more; what is held goes to the disk. */
  async closeMirror(inOrder: boolean): Promise<void> {
    this.#isOver = true
    this.#settling.stop()
    await this.#mirrored?.stop(inOrder)
  }

  release(): void {
    this.#isOver = true
    this.#settling.stop()
    for (const held of this.#held) held?.replica.store.release()
    this.#held = []
  }

  #tell(held: HeldPartition, record: PartitionRecord): void {
    if (this.#mirrored?.holdsBack(held, record) === true) return
    const { version, promisedUntilMs } = this.#table
    const until = promisedUntilMs[held.partition] ?? Number.NEGATIVE_INFINITY
    held.replica.handleRecord(this.#options.clock.nowMs(), version, record, until)
    this.touch(held)
  }

  #open(partition: number, record: PartitionRecord): HeldPartition {
    const { self, replication, heldPromise } = this.#options
    const { minInSync, leaseMs, backupTimeoutMs, logMaxBytes, copyBytesPerSecond, sessionTtlMs } = replication
    const replica = new PartitionReplica<Waiter>({
      ...replicaDefaults,
      partition: partition as PartitionId,
      self,
      makeStore: () => this.#makeStore(),
      heldPromise,
      minInSync,
      leaseMs,
      backupTimeoutMs,
      logMaxBytes,
      copyBytesPerSecond,
      sessionTtlMs,
      ...(this.#mirrored === undefined ? {} : { mirror: this.#mirrored.mirrorOf(partition) }),
    })
    const held = new HeldPartition(partition, replica, this.#settling.touch)
    this.#mirrored?.attach(held)
    while (this.#held.length < partition) this.#held.push(undefined)
    this.#held[partition] = held
    this.#tell(held, record)
    return held
  }

  #makeStore(): PartitionStore {
    const { budget, random } = this.#options
    return new PartitionStore(budget, Math.floor(random() * 2 ** 32))
  }

  #handleRestored(held: HeldPartition, restoredBy: PartitionRecord, restored: Restored): void {
    const { version, records, promisedUntilMs } = this.#table
    const record = records[held.partition]
    if (this.#isOver || record === undefined) return restored.store.release()
    if (record.givenUp !== restored.givenUp || !isSameReplica(record.primary, restoredBy.primary)) {
      // The table has gone on meanwhile; what was read belongs to nobody now.
      restored.store.release()
      this.#tell(held, record)
    } else {
      const until = promisedUntilMs[held.partition] ?? Number.NEGATIVE_INFINITY
      held.replica.handleRestored(this.#options.clock.nowMs(), version, record, until, restored)
      this.touch(held)
    }
    this.settle()
  }

  #handleMessage(nowMs: number, message: ReplicationMessage): void {
    const { partition } = message
    let held = this.#held[partition]
    if (held === undefined) {
      // A primary that knows a newer table than this shard; where no table is known yet, it will say so again.
      const record = this.#table.records[partition]
      if (record === undefined || message.kind !== 'append') return
      held = this.#open(partition, record)
    }
    held.replica.handleMessage(nowMs, message)
    this.#settling.heard(held, nowMs)
  }

  #isReplicatedOn(peer: ShardId): boolean {
    for (const held of this.#held) {
      if (held?.replica.role !== 'primary') continue
      const record = this.#table.records[held.partition]
      if (record !== undefined && names(record, peer)) return true
    }
    return false
  }

  #voidParts(partition: number): void {
    for (const { parts } of this.#options.catalog.handles()) if (partition < parts.length) parts[partition] = undefined
  }

  #dropDestroyed(held: HeldPartition, nowMs: number): void {
    if (!held.replica.isServing(nowMs)) return
    for (const { id } of held.replica.store.maps()) if (this.#destroyed.has(id)) held.append({ kind: 'dropMap', map: id })
  }

  #sumOfPrimaries(measure: (store: PartitionStore) => number): number {
    let sum = 0
    for (const held of this.#held) if (held?.replica.role === 'primary') sum += measure(held.replica.store)
    return sum
  }

  #watchLimit(): void {
    const { usedBytes, limitBytes } = this.#options.budget
    if (usedBytes <= limitBytes) {
      if (usedBytes < limitBytes * 0.9) this.#isOverLimit = false
      return
    }
    if (this.#isOverLimit) return
    this.#isOverLimit = true
    this.#options.warn(
      `copies of other shards' data hold ${formatByteSize(usedBytes)}, above this shard's limit; they go on to be kept, own writes that need room are refused`,
      { limitBytes, usedBytes },
    )
  }
}

function names({ primary, backups, inSync }: PartitionRecord, shard: ShardId): boolean {
  return primary?.shard === shard || backups.some(replica => replica.shard === shard) || inSync.some(replica => replica.shard === shard)
}
