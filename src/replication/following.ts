/**
 * A replica that follows a primary: as backup or learner.
 *
 * Owns: how far its log matched the primary's in this epoch; the snapshot that it is taking in.
 *
 *   applied <= min(committed, matched) <= log end           a cut never touches the store
 *
 * 1. It accepts entries only after one that it holds, and cuts off its first entry that differs and all after it.
 * 2. It acknowledges the last position of the message, not the end of its log.
 * 3. The store applies only what is committed and was matched in the current epoch.
 * 4. A snapshot holds values that are not committed yet: it counts for nothing until the log is committed and applied up to the
 *    position of its last chunk, and starts anew when the primary changes before.
 */
import type { ShardId } from '../base/ids.ts'
import { applyEffect } from '../storage/effect.ts'
import { applyImage, type ImageChunk } from '../storage/image.ts'
import { type AppendMessage, type ChunkMessage, type EntryName, type LogEntry, nothingWhole } from './messages.ts'
import type { ReplicaState, Restored } from './replica-state.ts'

interface Intake {
  readonly snapshot: number
  readonly from: ShardId
  nextIndex: number
  /** Position of the last chunk; undefined: it has not come yet. */
  end: number | undefined
}

type Owed = Pick<AppendMessage, 'from' | 'epoch' | 'sentAtMs'>

export class Following {
  readonly #state: ReplicaState
  #matched = 0
  #intake: Intake | undefined
  /** Of this primary no snapshot up to this number is taken in again. */
  #lastSnapshot: { readonly from: ShardId; readonly snapshot: number } | undefined
  /** The answer to a message whose entries are not durable yet. */
  #owed: (Owed & { readonly position: number }) | undefined

  constructor(state: ReplicaState) {
    this.#state = state
  }

  /** The store is whole: no snapshot is under way, or waits for its log. */
  get isWhole(): boolean {
    return this.#intake === undefined
  }

  /** A new epoch: what matched before counts no more. */
  handleEpoch(primary: ShardId | undefined): void {
    this.#owed = undefined
    this.#matched = this.#state.applied
    if (this.#intake !== undefined && this.#intake.from !== primary) this.#startAnew()
  }

  handleAppend(message: AppendMessage): void {
    const { log, rules } = this.#state
    const { previous, entries } = message
    if (!this.#holds(previous)) return this.sayHello(message.from, true)
    let at = previous.position
    for (const entry of entries) {
      if (!this.#accept(at, entry)) return
      at = entry.position
    }
    this.#matched = Math.max(this.#matched, at)
    this.#state.committed = Math.max(this.#state.committed, message.committed)
    this.applyCommitted()
    this.#state.floor = Math.max(this.#state.floor, message.floor)
    if (this.isWhole) log.trimTo(Math.min(message.floor, this.#state.applied), this.#state.options.logRetainBytes)
    if (entries.length > 0) this.#state.options.mirror?.handleAccepted()
    this.#acknowledge(message, rules.acknowledgeOnlyMessage ? at : log.last.position)
  }

  /** At once, or when it is durable: then as far as it is, and later the rest. */
  #acknowledge(message: AppendMessage, position: number): void {
    if (position <= this.#state.durable) return this.#answerAppend(message, position)
    if (position < (this.#owed?.position ?? 0)) return
    const { from, epoch, sentAtMs } = message
    this.#owed = { from, epoch, sentAtMs, position }
  }

  #answerAppend({ from, epoch, sentAtMs }: Owed, position: number): void {
    const { partition } = this.#state.options
    const applied = this.#appliedWhole()
    const message = { kind: 'appended', partition, epoch, from: this.#state.self.shard, to: from, position, applied, sentAtMs } as const
    this.#state.act({ kind: 'send', to: from, message })
  }

  handleChunk(message: ChunkMessage): void {
    const { from, snapshot, index, chunk, start } = message
    if (this.#intake?.from !== from || this.#intake.snapshot !== snapshot) {
      const last = this.#lastSnapshot
      const isOld = last?.from === from && last.snapshot >= snapshot
      // It is whole by now, and only the answer to the last chunk was lost.
      if (isOld && last.snapshot === snapshot && this.#intake === undefined) this.#answerChunk(message)
      if (index !== 0 || isOld) return
      this.#state.startAt(start)
      // What the snapshot shows may not be committed yet: only its primary knows.
      this.#state.committed = 0
      this.#matched = start.position
      this.#intake = { snapshot, from, nextIndex: 0, end: undefined }
      this.#lastSnapshot = { from, snapshot }
    }
    const intake = this.#intake
    if (intake === undefined || index > intake.nextIndex) return
    if (index === intake.nextIndex) this.#take(intake, chunk, start)
    this.#answerChunk(message)
  }

  /** Where this replica stands; `follows` false: it only asks whether another one serves. */
  sayHello(to: ShardId, follows: boolean): void {
    const { options, epoch, givenUp, self } = this.#state
    const holds = this.isWhole ? this.#state.appliedName : undefined
    const name = holds === undefined ? undefined : { epoch: holds.epoch, position: holds.position }
    this.#state.act({
      kind: 'send',
      to,
      message: { kind: 'hello', partition: options.partition, epoch, from: self.shard, to, holds: name, givenUp, follows },
    })
  }

  /** The mirror has come further. */
  handleDurable(): void {
    const owed = this.#owed
    const { durable } = this.#state
    if (owed === undefined || durable < 0) return
    if (durable >= owed.position) this.#owed = undefined
    this.#answerAppend(owed, Math.min(owed.position, durable))
  }

  /** Promoted: the whole log counts. */
  applyAll(): void {
    this.#applyTo(this.#state.log.last.position)
  }

  applyCommitted(): void {
    const { committed, rules, log } = this.#state
    this.#applyTo(rules.committedCappedAtMatched ? Math.min(committed, this.#matched) : Math.min(committed, log.last.position))
  }

  /** For the simulator: a deposed primary that keeps its store, as if all in it had been committed. */
  keepStore(): void {
    const { log, store, committed } = this.#state
    log.cutAfter(committed)
    store.position = log.last.position
    this.#matched = store.position
  }

  /** Everything is given up: nothing is held, no snapshot goes on. */
  drop(): void {
    this.#owed = undefined
    this.#intake = undefined
    this.#lastSnapshot = undefined
    this.#state.startEmpty()
    this.#matched = this.#state.applied
  }

  /** Whatever it held: from here on it is what was read from a mirror. */
  takeRestored(restored: Restored): void {
    this.#owed = undefined
    this.#intake = undefined
    this.#lastSnapshot = undefined
    this.#state.startRestored(restored)
    this.#matched = this.#state.applied
  }

  #holds(previous: EntryName): boolean {
    const { log } = this.#state
    // Before the start all is committed, and the same everywhere.
    return previous.position < log.start.position || log.has(previous)
  }

  /** Whether the entry after `previous` is in the log now. */
  #accept(previous: number, entry: LogEntry): boolean {
    const { log, rules, applied } = this.#state
    if (entry.position <= log.start.position) return true
    const from = Math.max(previous, log.start.position)
    const own = log.next(from)
    if (own?.position === entry.position && own.epoch === entry.epoch) return true
    if (own !== undefined) {
      if (!rules.cutDifferingTail) return true
      if (from < applied) {
        this.#state.act({ kind: 'stop', reason: `would cut an entry after ${from} that is applied up to ${applied} (I6)` })
        return false
      }
      log.cutAfter(from)
      this.#state.options.mirror?.handleCut(from)
    }
    if (entry.position - entry.effects.length !== log.last.position) {
      this.#state.act({
        kind: 'stop',
        reason: `entry ${entry.epoch}/${entry.position} does not follow ${log.last.epoch}/${log.last.position}`,
      })
      return false
    }
    log.append(entry)
    return true
  }

  #applyTo(position: number): void {
    const intake = this.#intake
    if (intake !== undefined && intake.end === undefined) return
    const { log, store, options } = this.#state
    const { mirror } = options
    for (let entry = log.next(store.position); entry !== undefined && entry.position <= position; entry = log.next(store.position)) {
      for (const effect of entry.effects) applyEffect(store, effect)
      mirror?.handleApplied(entry)
    }
    if (intake?.end === undefined || Math.min(store.position, this.#state.committed) < intake.end) return
    this.#intake = undefined
    mirror?.handleWhole()
  }

  #take(intake: Intake, chunk: ImageChunk, start: EntryName): void {
    const { store, log, rules } = this.#state
    // Position and log are those of the first chunk already.
    applyImage(store, { ...chunk, first: false })
    this.#state.options.mirror?.handleImage(chunk.effects)
    intake.nextIndex += 1
    if (chunk.cursor !== undefined) return
    if (!rules.logFromFirstChunk) {
      log.reset(start)
      store.position = start.position
    }
    intake.end = chunk.position
    this.applyCommitted()
  }

  /** As the primary hears it: nothing counts while a snapshot is not whole. */
  #appliedWhole(): number {
    return this.isWhole ? this.#state.applied : nothingWhole
  }

  #answerChunk({ partition, epoch, from, snapshot, index }: ChunkMessage): void {
    const message = { kind: 'chunkTaken', partition, epoch, from: this.#state.self.shard, to: from, snapshot, index } as const
    this.#state.act({ kind: 'send', to: from, message })
  }

  #startAnew(): void {
    this.#intake = undefined
    this.#lastSnapshot = undefined
    this.#state.startEmpty()
    this.#matched = this.#state.applied
  }
}
