/**
 * A replica that is primary: what its followers hold, what is committed, who is counted, when it may serve.
 *
 * Owns: followers, the wait after a promotion, the hand-over under way. Does not: decide writes (partition-replica.ts), apply them,
 * know the table beyond its own record.
 *
 * 1. Counted set = the in-sync set known + every replica whose addition was asked for and is not decided. `committed` and promises
 *    need all of it; only acknowledgements of the current epoch count.
 * 2. A follower leaves the counted set only by a newer record.
 * 3. A learner is counted first, then its addition is asked for: when its store is whole and it has acknowledged `committed`.
 * 4. Who stopped for a hand-over stays stopped until a newer epoch.
 */
import type { NodeId } from '../base/ids.ts'
import { isSameReplica, type HandOverOrder, type PartitionRecord, type Replica } from '../partitioning/partition-table.ts'
import { readImage } from '../storage/image.ts'
import { scanEnd } from '../storage/map-store.ts'
import { type Follower, newFollower } from './follower.ts'
import {
  type AppendedMessage,
  type AppendMessage,
  type ChunkTakenMessage,
  type EntryName,
  type HelloMessage,
  nothingWhole,
} from './messages.ts'
import type { ReplicaState } from './replica-state.ts'

interface HandOver {
  readonly order: HandOverOrder
  lastAskedAtMs: number
}

/** Told without entries, so that backups apply what nothing follows. */
const tellCommittedMs = 20

export class Leading {
  readonly #state: ReplicaState
  readonly #onCommitted: () => void
  readonly #followers = new Map<string, Follower>()
  /** The same, for all that goes through them at every write and message. */
  #all: readonly Follower[] = []
  /** Every follower was left with something unanswered; where the log ended then, in bytes. */
  #isGathering = false
  #gathersAfterBytes = 0
  #hadFollowers = false
  /** Numbers are fresh also when this replica was primary before. */
  #snapshots: number
  #servesAtMs: number
  #handOver: HandOver | undefined
  #wasServing = false
  /** For the simulator: the right to read as it was before the turn. */
  #rightBefore = false

  constructor(state: ReplicaState, servesAtMs: number, onCommitted: () => void) {
    this.#state = state
    this.#servesAtMs = servesAtMs
    this.#onCommitted = onCommitted
    this.#snapshots = state.epoch * 2 ** 20
  }

  get servesAtMs(): number {
    return this.#servesAtMs
  }

  /** See PartitionReplica. */
  get gathers(): boolean {
    return this.#isGathering && this.#state.log.endBytes - this.#gathersAfterBytes < this.#state.options.gatherBytes
  }

  get isStopped(): boolean {
    return this.#handOver !== undefined && this.#state.rules.stopBeforeHandOver
  }

  isServing(nowMs: number): boolean {
    return nowMs >= this.#servesAtMs && !this.isStopped
  }

  /** False: it never had a follower since it leads, nor has it a mirror, so that nobody asks for entries. */
  get keepsLog(): boolean {
    return this.#hadFollowers || this.#state.options.mirror !== undefined
  }

  /** Followers that are not in-sync, and how much of the copy each holds, 0 to 1. */
  learners(): readonly { readonly shard: Replica['shard']; readonly progress: number }[] {
    const learners: { shard: Replica['shard']; progress: number }[] = []
    for (const { replica, isInSync, mode } of this.#all)
      if (!isInSync) learners.push({ shard: replica.shard, progress: mode.kind === 'log' ? 1 : this.#copied(mode) })
    return learners
  }

  countedSet(): readonly Replica[] {
    return [this.#state.self, ...this.#counted().map(({ replica }) => replica)]
  }

  /** The record of a new epoch or version of which this replica is (still) the primary. */
  handleRow(nowMs: number, row: PartitionRecord, isNewEpoch: boolean, waitUntilMs: number): void {
    this.#servesAtMs = Math.max(this.#servesAtMs, waitUntilMs)
    const { self, log, rules, floor, options } = this.#state
    const isRefusal = this.#all.filter(({ isInSync }) => isInSync).length + 1 === row.inSync.length
    const others = [...row.inSync, ...row.backups].filter(replica => !isSameReplica(replica, self))
    for (const [shard, { replica }] of this.#followers)
      if (!others.some(other => isSameReplica(other, replica))) this.#followers.delete(shard)
    for (const replica of others) {
      const isInSync = row.inSync.some(other => isSameReplica(other, replica))
      const known = this.#followers.get(replica.shard)
      // All in-sync replicas have applied up to the floor; of a learner nothing is known.
      if (known === undefined) {
        this.#hadFollowers = true
        this.#followers.set(
          replica.shard,
          newFollower(nowMs, replica, isInSync, isInSync ? Math.max(floor, log.start.position) : log.last.position),
        )
        continue
      }
      known.isInSync = isInSync
      if (isInSync && known.mode.kind === 'probe') known.mode = { kind: 'log' }
      if (!isNewEpoch) continue
      if (known.addAsked && !isInSync && isRefusal) known.addableAtMs = nowMs + options.backupTimeoutMs
      known.addAsked = false
      known.removeAsked = false
      // A chunk under way is sent again until it is taken, in whatever epoch.
      if (known.mode.kind !== 'snapshot') known.waitingSinceMs = undefined
      known.sent = Math.min(known.sent, known.reached)
      known.lastSentAtMs = Number.NEGATIVE_INFINITY
      if (rules.currentEpochAcknowledgements) known.acked = undefined
    }
    this.#all = [...this.#followers.values()]
    if (isNewEpoch) this.#handOver = undefined
    this.#commit()
  }

  handleAppended(nowMs: number, message: AppendedMessage): void {
    const { rules, epoch } = this.#state
    if (message.epoch !== epoch && rules.currentEpochAcknowledgements) return
    for (const follower of this.#all) {
      if (!this.#isMeant(follower, message.from)) continue
      if (message.sentAtMs >= follower.sinceMs || !rules.currentEpochAcknowledgements) this.#noteAcknowledged(nowMs, follower, message)
    }
    this.#commit()
  }

  #noteAcknowledged(nowMs: number, follower: Follower, message: AppendedMessage): void {
    const { rules, log } = this.#state
    if (this.#needsSnapshot(follower, message.applied)) return this.#startSnapshot(nowMs, follower)
    const position = Math.min(message.position, log.last.position)
    const isNews = follower.acked === undefined || position > follower.acked
    follower.acked = Math.max(follower.acked ?? 0, rules.acknowledgeOnlyMessage ? position : message.position)
    follower.reached = Math.max(follower.reached, position)
    follower.sent = Math.max(follower.sent, position)
    follower.applied = Math.max(follower.applied, message.applied)
    // A message from the end matches a probed learner too.
    if (follower.mode.kind === 'probe') follower.mode = { kind: 'log' }
    if (follower.acked >= follower.sent && follower.mode.kind === 'log') follower.waitingSinceMs = undefined
    else if (isNews) follower.waitingSinceMs = nowMs
  }

  handleHello(nowMs: number, message: HelloMessage): void {
    const { log, options, epoch, self, givenUp } = this.#state
    const follower = this.#followers.get(message.from)
    if (follower === undefined) {
      if (message.epoch > epoch || !this.isServing(nowMs)) return
      const served = { kind: 'served', partition: options.partition, epoch, from: self.shard, to: message.from } as const
      return this.#state.act({ kind: 'send', to: message.from, message: served })
    }
    if (message.epoch !== epoch || follower.mode.kind === 'snapshot') return
    if (!message.follows) {
      // It waits for somebody to serve: the next message tells it.
      follower.lastSentAtMs = Number.NEGATIVE_INFINITY
      return
    }
    const { holds } = message
    const isKnown = holds !== undefined && message.givenUp === givenUp && log.has(holds)
    if (isKnown && !this.#needsSnapshot(follower, holds.position)) {
      follower.mode = { kind: 'log' }
      follower.sent = Math.max(holds.position, follower.acked ?? Number.NEGATIVE_INFINITY)
      follower.reached = follower.sent
      return
    }
    if (!follower.isInSync && !follower.addAsked) this.#startSnapshot(nowMs, follower)
    // Who is counted and has acknowledged in this epoch holds what it needs: this hello is from before.
    else if (follower.acked === undefined) follower.removeAsked = true
  }

  handleChunkTaken(nowMs: number, message: ChunkTakenMessage): void {
    const follower = this.#followers.get(message.from)
    if (message.epoch !== this.#state.epoch || follower?.mode.kind !== 'snapshot') return
    const { mode } = follower
    if (mode.snapshot !== message.snapshot || mode.unanswered?.index !== message.index) return
    const { chunk } = mode.unanswered
    mode.unanswered = undefined
    follower.waitingSinceMs = nowMs
    if (chunk.cursor === undefined) {
      follower.mode = { kind: 'log' }
      follower.wholeAt = chunk.position
      if (!this.#state.rules.logFromFirstChunk) follower.sent = Math.max(follower.sent, message.index >= 0 ? mode.start.position : 0)
    } else mode.cursor = chunk.cursor
  }

  handleReset(shard: string): void {
    const follower = this.#followers.get(shard)
    if (follower === undefined) return
    if (follower.isInSync || follower.addAsked) follower.removeAsked = true
    else follower.mode = { kind: 'probe' }
  }

  handleOrder(nowMs: number, order: HandOverOrder): void {
    const { rules, epoch, self, row } = this.#state
    if (this.#handOver !== undefined || order.epoch !== epoch || !isSameReplica(order.from, self)) return
    if (rules.onlyServingHandsOver && !this.isServing(nowMs)) return
    if (!row?.inSync.some(replica => isSameReplica(replica, order.to))) return
    this.#handOver = { order, lastAskedAtMs: Number.NEGATIVE_INFINITY }
  }

  /** Whether reads may be answered: at this moment, which is after their receipt. */
  mayRead(nowMs: number): boolean {
    if (!this.#state.rules.readCheckAfterReceipt && this.#rightBefore) return true
    return this.hasRight(nowMs)
  }

  /** Unexpired promises of all others in the counted set, about the table version that this shard has applied. */
  hasRight(nowMs: number): boolean {
    const { rules } = this.#state
    if (!this.isServing(nowMs)) return false
    if (this.#all.length === 0 || !rules.readNeedsPromises) return true
    let isAsked = false
    for (const follower of this.#all) {
      if (!this.#isCounted(follower) || (!follower.isInSync && !rules.countedLearnerPromises)) continue
      isAsked = true
      if (this.#holdsPromise(follower.replica.node, nowMs) !== rules.promisesOfAll) return !rules.promisesOfAll
    }
    return !isAsked || rules.promisesOfAll
  }

  /** None is needed of the own node: between its shards a primary changes by hand-over alone. */
  #holdsPromise(node: NodeId, nowMs: number): boolean {
    const { rules, options, version, self } = this.#state
    if (node === self.node) return true
    const held = options.heldPromise(node)
    return held !== undefined && held.untilMs > nowMs && (held.version === version || !rules.promiseOfAppliedVersion)
  }

  handleTick(nowMs: number): void {
    this.#rightBefore = this.hasRight(nowMs)
    const { options } = this.#state
    for (const follower of this.#all) {
      const { waitingSinceMs } = follower
      if (waitingSinceMs === undefined) continue
      if (nowMs - waitingSinceMs >= options.backupTimeoutMs) {
        if (follower.isInSync || follower.addAsked) follower.removeAsked = true
        else {
          follower.mode = { kind: 'probe' }
          follower.waitingSinceMs = undefined
        }
      }
    }
  }

  /** Since when an in-sync replica has left something unanswered; infinite: none has. */
  get unansweredSinceMs(): number {
    let since = Number.POSITIVE_INFINITY
    for (const { isInSync, waitingSinceMs } of this.#all) {
      if (isInSync && waitingSinceMs !== undefined && waitingSinceMs < since) since = waitingSinceMs
    }
    return since
  }

  /** What there is to send and to ask now. */
  flush(nowMs: number): void {
    const isServing = this.isServing(nowMs)
    if (isServing !== this.#wasServing) {
      this.#wasServing = isServing
      this.#state.act({ kind: 'serving', serving: isServing })
    }
    this.#limitLog()
    for (const follower of this.#all) {
      this.#considerAdding(nowMs, follower)
      this.#resend(nowMs, follower)
      if (follower.mode.kind === 'snapshot') this.#sendChunk(nowMs, follower)
      if (this.#followsLog(follower)) this.#sendLog(nowMs, follower)
      this.#sendEmpty(nowMs, follower)
      this.#ask(nowMs, follower)
    }
    this.#askHandOver(nowMs)
    this.#isGathering = this.#all.length > 0 && this.#all.every(isGathering)
    this.#gathersAfterBytes = this.#state.log.endBytes
  }

  nextDeadlineMs(nowMs: number): number | undefined {
    const { resendMs } = this.#state.options
    let next = Number.POSITIVE_INFINITY
    if (this.#servesAtMs > nowMs) next = this.#servesAtMs
    if (this.#handOver !== undefined) next = Math.min(next, Math.max(this.#handOver.lastAskedAtMs, nowMs) + resendMs)
    for (const follower of this.#all) {
      const { waitingSinceMs, mode, lastSentAtMs } = follower
      if (waitingSinceMs !== undefined) next = Math.min(next, Math.max(lastSentAtMs, waitingSinceMs) + resendMs)
      if (mode.kind === 'snapshot') {
        if (mode.unanswered === undefined) next = Math.min(next, mode.nextAtMs)
      } else {
        if (follower.acked === undefined || mode.kind === 'probe') next = Math.min(next, lastSentAtMs + resendMs)
        if (follower.told < this.#state.committed) next = Math.min(next, lastSentAtMs + tellCommittedMs)
      }
      if (follower.addableAtMs > nowMs) next = Math.min(next, follower.addableAtMs)
      if (follower.addAsked || follower.removeAsked) next = Math.min(next, follower.lastAskedAtMs + resendMs)
    }
    return next === Number.POSITIVE_INFINITY ? undefined : Math.max(next, nowMs)
  }

  /** The mirror has come further. */
  handleDurable(): void {
    this.#commit()
  }

  /** After an entry was written here. */
  handleAppend(): void {
    if (this.#isAlone()) this.#commit()
  }

  #isAlone(): boolean {
    for (const follower of this.#all) if (this.#isCounted(follower)) return false
    return true
  }

  #isMeant({ replica }: Follower, shard: string): boolean {
    if (this.#state.rules.acknowledgementsBoundToIncarnation) return replica.shard === shard
    // Only in the simulator, whose ids are "name#incarnation".
    const stem = (id: string): string => id.slice(0, id.indexOf('#'))
    return stem(replica.shard) === stem(shard)
  }

  #counted(): readonly Follower[] {
    return this.#all.filter(follower => this.#isCounted(follower))
  }

  #isCounted({ isInSync, addAsked, removeAsked }: Follower): boolean {
    const { rules } = this.#state
    return (isInSync && (rules.removalLearnedFirst || !removeAsked)) || (addAsked && rules.countBeforeAsking)
  }

  #commit(): void {
    const { log, rules } = this.#state
    // Not further than this replica itself would acknowledge.
    const end = Math.min(log.last.position, this.#state.durable)
    let reached = end
    let isFirst = true
    for (const follower of this.#all) {
      if (!this.#isCounted(follower)) continue
      const acked = follower.acked ?? Number.NEGATIVE_INFINITY
      if (rules.acknowledgementsOfAll) reached = Math.min(reached, acked)
      else reached = isFirst ? acked : Math.max(reached, acked)
      isFirst = false
    }
    if (reached > this.#state.committed) this.#state.committed = reached
    // Also when it stays: an in-sync set that grew may let writes go.
    this.#onCommitted()
  }

  /** A snapshot was begun for it, by this primary or another, and is not under way any more. */
  #needsSnapshot({ isInSync, addAsked, mode, wholeAt }: Follower, applied: number): boolean {
    if (isInSync || addAsked || mode.kind === 'snapshot') return false
    return wholeAt === Number.POSITIVE_INFINITY || (wholeAt === 0 && applied === nothingWhole)
  }

  #considerAdding(nowMs: number, follower: Follower): void {
    const { rules, committed } = this.#state
    if (follower.isInSync || follower.addAsked || follower.removeAsked || this.#handOver !== undefined) return
    if (nowMs < follower.addableAtMs) return
    const isWhole = follower.mode.kind === 'log' && (follower.applied >= follower.wholeAt || !rules.learnerAppliedLastChunk)
    const isEarly = follower.mode.kind === 'snapshot' && !rules.learnerAppliedLastChunk && follower.mode.nextIndex > 0
    const holdsCommitted = follower.acked !== undefined && (follower.acked >= committed || !rules.learnerAcknowledgedCommitted)
    if ((isWhole || isEarly) && holdsCommitted) follower.addAsked = true
  }

  /** In a snapshot the log flows behind the first chunk. */
  #followsLog({ mode }: Follower): boolean {
    return mode.kind === 'log' || (mode.kind === 'snapshot' && mode.nextIndex > 1)
  }

  #resend(nowMs: number, follower: Follower): void {
    const { waitingSinceMs, mode } = follower
    const { resendMs } = this.#state.options
    if (waitingSinceMs === undefined || nowMs - Math.max(waitingSinceMs, follower.lastSentAtMs) < resendMs) return
    follower.sent = Math.min(follower.sent, Math.max(follower.reached, this.#state.log.start.position))
    if (mode.kind === 'snapshot' && mode.unanswered !== undefined) {
      follower.lastSentAtMs = nowMs
      this.#state.act({ kind: 'send', to: follower.replica.shard, message: { ...mode.unanswered, epoch: this.#state.epoch } })
    }
    if (follower.acked !== undefined && follower.sent >= this.#state.log.last.position && mode.kind === 'log')
      this.#send(nowMs, follower, [])
  }

  #sendLog(nowMs: number, follower: Follower): void {
    const { log, options } = this.#state
    if (follower.sent < log.start.position) return this.#lostTrack(nowMs, follower)
    // As Nagle's algorithm has it: little waits for the answer to what is under way, and leaves with what has come by then.
    if (follower.sent > follower.reached && log.bytesBetween(follower.sent, log.last.position) < options.gatherBytes) return
    while (follower.sent < log.last.position && log.bytesBetween(follower.reached, follower.sent) < options.windowBytes) {
      const entries = log.entriesAfter(follower.sent, options.messageMaxBytes)
      this.#send(nowMs, follower, entries)
      follower.sent = entries.at(-1)?.position ?? follower.sent
      follower.waitingSinceMs ??= nowMs
    }
  }

  /** Its place in the log is gone from here: it needs a snapshot, for which it must be out of the in-sync set. */
  #lostTrack(nowMs: number, follower: Follower): void {
    if (follower.isInSync || follower.addAsked) follower.removeAsked = true
    else this.#startSnapshot(nowMs, follower)
  }

  #sendEmpty(nowMs: number, follower: Follower): void {
    const { options, committed } = this.#state
    const sinceMs = nowMs - follower.lastSentAtMs
    const isUnknown = follower.acked === undefined || follower.mode.kind === 'probe'
    const isDue = (isUnknown && sinceMs >= options.resendMs) || (follower.told < committed && sinceMs >= tellCommittedMs)
    if (!isDue || follower.mode.kind === 'snapshot') return
    if (follower.isInSync || follower.mode.kind === 'log') follower.waitingSinceMs ??= nowMs
    this.#send(nowMs, follower, [])
  }

  #send(nowMs: number, follower: Follower, entries: AppendMessage['entries']): void {
    const { log, options, epoch, self, row, rowVersion, committed, floor } = this.#state
    const previous = follower.mode.kind === 'probe' ? log.last : log.nameAt(follower.sent)
    if (previous === undefined) return this.#lostTrack(nowMs, follower)
    follower.lastSentAtMs = nowMs
    follower.told = committed
    const message: AppendMessage = {
      kind: 'append',
      partition: options.partition,
      epoch,
      from: self.shard,
      to: follower.replica.shard,
      previous: nameOf(previous),
      entries,
      committed,
      floor,
      serving: this.#wasServing,
      sentAtMs: nowMs,
    }
    const isFirst = follower.acked === undefined && row !== undefined
    this.#state.act({
      kind: 'send',
      to: follower.replica.shard,
      message: isFirst ? { ...message, record: { version: rowVersion, row } } : message,
    })
  }

  #startSnapshot(nowMs: number, follower: Follower): void {
    this.#snapshots += 1
    const start = nameOf(this.#state.log.last)
    follower.mode = {
      kind: 'snapshot',
      snapshot: this.#snapshots,
      start,
      cursor: undefined,
      unanswered: undefined,
      nextIndex: 0,
      nextAtMs: nowMs,
    }
    follower.sinceMs = nowMs
    follower.acked = undefined
    follower.reached = start.position
    follower.sent = start.position
    follower.applied = nothingWhole
    follower.wholeAt = Number.POSITIVE_INFINITY
    follower.waitingSinceMs = nowMs
  }

  #sendChunk(nowMs: number, follower: Follower): void {
    const { mode } = follower
    if (mode.kind !== 'snapshot' || mode.unanswered !== undefined || nowMs < mode.nextAtMs) return
    const { store, options, epoch, self, rules, log } = this.#state
    const read = readImage(store, mode.cursor, options.chunkMaxBytes)
    const effects = rules.snapshotHoldsDeduplication ? read.effects : read.effects.filter(({ kind }) => kind !== 'restoreSession')
    const start = rules.logFromFirstChunk ? mode.start : nameOf(log.last)
    if (!rules.logFromFirstChunk) {
      follower.sent = start.position
      follower.reached = start.position
      follower.mode = { ...mode, start }
    }
    const target = follower.mode.kind === 'snapshot' ? follower.mode : mode
    target.unanswered = {
      kind: 'chunk',
      partition: options.partition,
      epoch,
      from: self.shard,
      to: follower.replica.shard,
      snapshot: mode.snapshot,
      index: mode.nextIndex,
      chunk: { ...read, effects },
      start,
    }
    target.nextIndex += 1
    target.nextAtMs = nowMs + (options.chunkMaxBytes / options.copyBytesPerSecond) * 1000
    follower.lastSentAtMs = nowMs
    follower.waitingSinceMs = nowMs
    this.#state.act({ kind: 'send', to: follower.replica.shard, message: target.unanswered })
  }

  #ask(nowMs: number, follower: Follower): void {
    const { options, epoch, self } = this.#state
    if ((!follower.addAsked && !follower.removeAsked) || nowMs - follower.lastAskedAtMs < options.resendMs) return
    follower.lastAskedAtMs = nowMs
    const kind = follower.removeAsked ? 'remove' : 'add'
    this.#state.act({ kind: 'request', request: { kind, partition: options.partition, epoch, from: self, replica: follower.replica } })
    if (follower.removeAsked && !this.#state.rules.removalLearnedFirst) this.#commit()
  }

  #askHandOver(nowMs: number): void {
    const handOver = this.#handOver
    const { options, rules, committed, log, self } = this.#state
    if (handOver === undefined || nowMs - handOver.lastAskedAtMs < options.resendMs) return
    if (rules.drainBeforeHandOver && committed < log.last.position) return
    handOver.lastAskedAtMs = nowMs
    const { partition, epoch, to } = handOver.order
    this.#state.act({ kind: 'request', request: { kind: 'handOver', partition, epoch, from: self, replica: to } })
  }

  /** Nobody needs the log before what all counted replicas have applied, and what learners still have to get. */
  #trim(): void {
    const { log, options, applied } = this.#state
    let floor = Math.min(this.#state.committed, applied)
    let needed = Number.POSITIVE_INFINITY
    for (const follower of this.#all) {
      if (this.#isCounted(follower)) floor = Math.min(floor, follower.applied)
      if (follower.mode.kind !== 'probe') needed = Math.min(needed, follower.reached)
    }
    if (floor > this.#state.floor) this.#state.floor = floor
    log.trimTo(Math.min(this.#state.floor, needed), options.logRetainBytes)
  }

  /** Roughly: maps are taken for equally large, records and sessions for the end. */
  #copied(mode: Follower['mode']): number {
    if (mode.kind !== 'snapshot' || mode.cursor === undefined) return 0
    const { cursor } = mode
    if (cursor.kind !== 'entries') return 0.99
    const maps = [...this.#state.store.maps()].map(({ id }) => id)
    const before = maps.filter(id => id < cursor.map).length
    return Math.min(0.99, (before + cursor.place / scanEnd) / Math.max(1, maps.length))
  }

  /** A learner that is too slow for the log starts again. */
  #limitLog(): void {
    const { log, options } = this.#state
    this.#trim()
    if (log.bytes <= options.logMaxBytes) return
    for (const follower of this.#all) if (!follower.isInSync && !follower.addAsked) follower.mode = { kind: 'probe' }
  }
}

const isGathering = ({ mode, acked, sent, reached, removeAsked }: Follower): boolean =>
  mode.kind === 'log' && acked !== undefined && sent > reached && !removeAsked

const nameOf = ({ epoch, position }: EntryName): EntryName => ({ epoch, position })
