/**
 * One partition's replica on one shard: the protocol of section 3, as a function of (state, input, now).
 *
 *                 promoted                     table names another, this one in-sync (handed over)
 *   backup  ------------------------> primary ----------------------------------------------------> backup
 *     |  ^                               |
 *     |  | added (asked by the primary)  | out of the set: deposed  (another serves: starts empty) --> learner | absent
 *     |  +--- learner <------------------+
 *     +--- out of the set: retired (another serves: goes on from its log) --> learner | absent
 *
 * Owns: log, store, sessions' records, who waits. Does not: send, keep time, know keys or maps, decide who is primary (the table does).
 * In: `handle...` and commands. Out: `takeActions`, `takeAnswered`; on the hot path the shard calls `beginRead`, `beginWrite`,
 * `append`, `finishWrite`, `wait` and takes the actions once per turn, unless it `gathers`, which makes one frame per replica.
 *
 * 1. (I6) Nothing of an older epoch is accepted; a newer one is learned first; what is applied at a backup is never cut: a shard that
 *    would have to asks to be stopped.
 * 2. Nothing is answered before `committed` has reached what it saw or wrote.
 * 3. A deposed primary's store may hold what was never committed: it is never served again, and starts empty.
 */
import { assert, unreachable } from '../base/assert.ts'
import { isSameReplica, type HandOverOrder, type PartitionRecord, type Replica } from '../partitioning/partition-table.ts'
import { applyEffect, applyResult, copyEffect, type Effect } from '../storage/effect.ts'
import { KeptBytes } from '../storage/kept-bytes.ts'
import type { PartitionStore } from '../storage/partition-store.ts'
import type { Session } from '../storage/session-table.ts'
import type { ShardId } from '../base/ids.ts'
import { Following } from './following.ts'
import { Leading } from './leading.ts'
import type { AppendMessage, LogEntry, ReplicationMessage } from './messages.ts'
import type {
  Answered,
  ReadAdmission,
  RefusalReason,
  ReplicaAction,
  ReplicaOptions,
  ReplicaRole,
  RequestId,
  Ticket,
  WaitKind,
  WriteAdmission,
} from './replica-port.ts'
import { ReplicaState, type Restored } from './replica-state.ts'
import { everyRule, type ReplicationRules } from './rules.ts'
import { SessionClock } from './session-clock.ts'
import { Waiters } from './waiters.ts'

type Role =
  | { readonly kind: 'primary'; readonly leading: Leading }
  /** Backups and learners take what the primary sends; retired and deposed ones wait until another replica serves. */
  | { readonly kind: Exclude<ReplicaRole, 'primary'> }

const execute: WriteAdmission = { kind: 'execute' }
const read: ReadAdmission = { kind: 'read' }
const helloMs = 500

export class PartitionReplica<Waiter> {
  readonly #state: ReplicaState
  readonly #following: Following
  readonly #waiters = new Waiters<Waiter>()
  readonly #sessions: SessionClock
  #role: Role = { kind: 'absent' }
  /** Of the write under way, where entries are kept. */
  #group: Effect[] = []
  /** Bytes of the log's own entries. */
  readonly #kept = new KeptBytes()
  /** How often it became primary. */
  #terms = 0
  #isWriting = false
  #beganAt = 0
  #trimTo = 0
  #nextHelloMs = Number.NEGATIVE_INFINITY

  /** `rules`: for the simulator alone. */
  constructor(options: ReplicaOptions, rules: ReplicationRules = everyRule) {
    this.#state = new ReplicaState(options, rules)
    this.#following = new Following(this.#state)
    this.#sessions = new SessionClock(options.sessionTtlMs)
  }

  /** Another object after a `storeReplaced`. */
  get store(): PartitionStore {
    return this.#state.store
  }

  get role(): ReplicaRole {
    return this.#role.kind
  }

  get epoch(): number {
    return this.#state.epoch
  }

  /** Grows whenever it becomes primary, and only then: who finds the same number again finds what it wrote itself. */
  get term(): number {
    return this.#terms
  }

  /** Of the data that it holds, or is to hold. */
  get givenUp(): number {
    return this.#state.givenUp
  }

  /** Table version last told by the control thread. */
  get version(): number {
    return this.#state.version
  }

  get committed(): number {
    return this.#state.committed
  }

  /** Position of the store; at a primary everything written. */
  get applied(): number {
    return this.#state.applied
  }

  get logBytes(): number {
    return this.#state.log.bytes
  }

  get countedSet(): readonly Replica[] {
    return this.#role.kind === 'primary' ? this.#role.leading.countedSet() : []
  }

  /** Entries appended have to be sent: `takeActions` follows each write. False: a primary that never had another replica. */
  get keepsLog(): boolean {
    return this.#role.kind === 'primary' && this.#role.leading.keepsLog
  }

  /**
   * What was appended since `takeActions` is little and waits for answers to what is under way: until something else happens there is
   * nothing to take.
   */
  get gathers(): boolean {
    return this.#role.kind === 'primary' && this.#role.leading.gathers
  }

  /** Of a primary: since when an in-sync replica has left something unanswered; infinite: none has. */
  get unansweredSinceMs(): number {
    return this.#role.kind === 'primary' ? this.#role.leading.unansweredSinceMs : Number.POSITIVE_INFINITY
  }

  /** Of a primary: the replicas not in-sync, and how much of the copy each holds, 0 to 1. */
  get learners(): readonly { readonly shard: ShardId; readonly progress: number }[] {
    return this.#role.kind === 'primary' ? this.#role.leading.learners() : []
  }

  /** Admits reads (with promises) and writes now. */
  isServing(nowMs: number): boolean {
    return this.#role.kind === 'primary' && this.#role.leading.isServing(nowMs)
  }

  /** It serves alone and keeps no log: until the next record or order each read and write may be answered at once, without asking. */
  isFree(nowMs: number): boolean {
    return this.#role.kind === 'primary' && !this.#role.leading.keepsLog && this.isServing(nowMs) && this.#hasEnoughReplicas()
  }

  /** I2: whether a read that came just now would be answered. */
  hasRight(nowMs: number): boolean {
    return this.#role.kind === 'primary' && this.#role.leading.hasRight(nowMs)
  }

  /** Whether that very entry is in the log or, where the log does not reach back to it, in the store. */
  holds(name: { readonly epoch: number; readonly position: number }): boolean {
    const { log } = this.#state
    if (this.#role.kind === 'stopped' || !this.#following.isWhole) return false
    return name.position < log.start.position || log.has(name)
  }

  /**
   * The record of this partition as of table `version`, from the control thread: to every replica at every new version, also when
   * the record is the same (promises count by version). `promisedUntilMs`: see Promises.
   */
  handleRecord(nowMs: number, version: number, record: PartitionRecord, promisedUntilMs: number): void {
    this.#state.version = Math.max(this.#state.version, version)
    this.#learn(nowMs, version, record, promisedUntilMs)
  }

  /**
   * A record that names this replica as primary with what a mirror held (`restoredFrom`), and that: it is this incarnation's on disk. Like one whose data was given up it waits before it serves.
   */
  handleRestored(nowMs: number, version: number, record: PartitionRecord, promisedUntilMs: number, restored: Restored): void {
    const { options, givenUp } = this.#state
    assert(isSameReplica(record.primary, options.self), 'the restored replica is the primary')
    assert(restored.givenUp > givenUp && restored.givenUp === record.givenUp, 'a restore comes before anything of its epoch')
    if (this.#role.kind === 'primary') this.#stepDown(record)
    this.#following.takeRestored(restored)
    this.handleRecord(nowMs, version, record, Math.max(promisedUntilMs, nowMs + options.leaseMs))
  }

  /** The mirror's `durablePosition` has moved. */
  handleDurable(): void {
    if (this.#role.kind === 'primary') this.#role.leading.handleDurable()
    else if (this.#role.kind !== 'stopped') this.#following.handleDurable()
  }

  /** Entries after `position`, of about `maxBytes`, for the mirror. */
  logAfter(position: number, maxBytes: number): readonly LogEntry[] {
    return this.#state.log.entriesAfter(position, maxBytes)
  }

  handleMessage(nowMs: number, message: ReplicationMessage): void {
    if (this.#role.kind === 'stopped') return
    const { self, rules, epoch } = this.#state
    if (message.to !== self.shard) return
    if (message.epoch < epoch && rules.refuseOlderEpoch && message.kind !== 'appended') return
    switch (message.kind) {
      case 'append':
        return this.#handleAppend(nowMs, message)
      case 'chunk':
        if (this.#followsSender(message) && (this.#role.kind === 'learner' || !this.#following.isWhole))
          this.#following.handleChunk(message)
        return
      case 'served':
        if (this.#waitsForAnother() && !this.#isListed()) this.#free()
        return
      case 'appended':
        if (this.#role.kind === 'primary') this.#role.leading.handleAppended(nowMs, message)
        return
      case 'hello':
        if (this.#role.kind === 'primary') this.#role.leading.handleHello(nowMs, message)
        return
      case 'chunkTaken':
        if (this.#role.kind === 'primary') this.#role.leading.handleChunkTaken(nowMs, message)
        return
      default:
        return unreachable(message)
    }
  }

  handleOrder(nowMs: number, order: HandOverOrder): void {
    if (this.#role.kind === 'primary') this.#role.leading.handleOrder(nowMs, order)
  }

  /** The link to that shard broke and could not be made again at once. */
  handleReset(_nowMs: number, shard: string): void {
    if (this.#role.kind === 'primary') this.#role.leading.handleReset(shard)
  }

  handleTick(nowMs: number): void {
    if (this.#role.kind === 'primary') {
      this.#role.leading.handleTick(nowMs)
      if (!this.#role.leading.isServing(nowMs)) return
      for (const { epoch, position } of this.#sessions.takeExpired(nowMs, this.store.sessions)) {
        this.append({ kind: 'closeSession', ticketEpoch: epoch, ticketPosition: position })
      }
    } else if (this.#waitsForAnother()) this.#askWhoServes(nowMs)
  }

  /** When `handleTick` and `takeActions` have something to do without any input. */
  nextDeadlineMs(nowMs: number): number | undefined {
    if (this.#role.kind === 'primary') {
      const next = this.#role.leading.nextDeadlineMs(nowMs)
      const sessions = this.#role.leading.isServing(nowMs) ? this.#sessions.nextDeadlineMs(this.store.sessions) : undefined
      if (next === undefined || sessions === undefined) return next ?? sessions
      return Math.min(next, sessions)
    }
    return this.#waitsForAnother() ? Math.max(this.#nextHelloMs, nowMs) : undefined
  }

  takeActions(nowMs: number): readonly ReplicaAction[] {
    assert(!this.#isWriting, 'a write is finished in the turn in which it began')
    if (this.#role.kind === 'primary') this.#role.leading.flush(nowMs)
    const actions = this.#state.takeActions()
    if (actions.length === 0) return actions
    const stop = actions.find(({ kind }) => kind === 'stop')
    if (stop === undefined) return actions
    this.#waiters.abandon()
    this.#role = { kind: 'stopped' }
    return [stop]
  }

  takeAnswered(): readonly Answered<Waiter>[] {
    return this.#waiters.take()
  }

  /**
   * Whether a read may be answered: `nowMs` is read from the clock after the request was received. Then read the store, then
   * `wait('read', replica.applied, ...)`.
   */
  beginRead(nowMs: number): ReadAdmission {
    if (this.#role.kind !== 'primary') return refused('notPrimary')
    const { leading } = this.#role
    if (leading.mayRead(nowMs)) return read
    return refused(leading.isServing(nowMs) ? 'noPromise' : 'notServing')
  }

  /**
   * Whether a write may be decided. With `id` it is executed once: a retry answers what is recorded. `lowestUnanswered`: the client
   * needs no result below that number.
   */
  beginWrite(nowMs: number, id?: RequestId, lowestUnanswered = 0): WriteAdmission {
    const refusal = this.#writeRefusal(nowMs)
    if (refusal !== undefined) return refused(refusal)
    assert(!this.#isWriting, 'one write at a time')
    this.#trimTo = 0
    if (id !== undefined && this.#state.rules.deduplicate) {
      const known = this.#findRecorded(nowMs, id, lowestUnanswered)
      if (known !== undefined) return known
    }
    this.#isWriting = true
    this.#beganAt = this.applied
    return execute
  }

  /** Applies an effect: of the write under way, or by itself (expiry, streams). Only while this replica serves. Bytes are copied. */
  append(effect: Effect): void {
    assert(this.#role.kind === 'primary' && !this.#role.leading.isStopped, 'only a primary that has not stopped writes')
    if (!this.#role.leading.keepsLog) {
      applyEffect(this.#state.store, effect)
      if (!this.#isWriting) this.#skip()
      return
    }
    const copy = copyEffect(effect, this.#kept)
    applyEffect(this.#state.store, copy)
    this.#group.push(copy)
    if (!this.#isWriting) this.#close()
  }

  /** Ends the write: one entry with its de-duplication record. Answers the position to wait for. */
  finishWrite(nowMs: number, id: RequestId | undefined, result: Uint8Array): number {
    assert(this.#isWriting, 'finishWrite follows beginWrite')
    if (id !== undefined) {
      const { epoch, position } = id.ticket
      this.append({ kind: 'recordResult', ticketEpoch: epoch, ticketPosition: position, number: id.number, trimTo: this.#trimTo, result })
      this.#sessions.touch(nowMs, position)
    } else if (this.applied === this.#beganAt) {
      // An answer that saw something and changed nothing: the mark proves that this was the primary.
      this.append({ kind: 'mark' })
    }
    this.#isWriting = false
    this.#close()
    return this.applied
  }

  /**
   * Of a free replica (`isFree`): the session in which a write of that number may be done, which `finishFree` ends; undefined: ask `beginWrite`.
   */
  beginFree(nowMs: number, { epoch, position }: Ticket, number: number, lowestUnanswered: number): Session | undefined {
    const { store, options } = this.#state
    const session = store.sessions.find(epoch, position)
    if (session === undefined || session.results.has(number)) return undefined
    const trimTo = Math.max(session.trimmedTo, lowestUnanswered - 1)
    if (number <= trimTo || number > trimTo + options.sessionWindow) return undefined
    this.#sessions.touch(nowMs, position)
    return session
  }

  /** Reads what `beginFree` and `finishFree` will touch, see MapStore.warmIndex. */
  warm(number: number): number {
    const { store, log } = this.#state
    return store.sessions.warm(number) + log.start.position + this.#sessions.lastTouchMs
  }

  /** As `append` of a free replica. */
  appendFree(effect: Effect): void {
    applyEffect(this.#state.store, effect)
    this.#skip()
  }

  finishFree(session: Session, number: number, result: Uint8Array, lowestUnanswered: number): void {
    applyResult(this.#state.store, session, number, result, lowestUnanswered - 1)
    this.#skip()
  }

  /** Gives up a write whose decision threw before its first effect. */
  cancelWrite(): void {
    assert(this.#isWriting && this.applied === this.#beganAt, 'effects are not taken back')
    this.#isWriting = false
  }

  /** A client's session here; its ticket is valid once `position` is committed. */
  openSession(
    nowMs: number,
  ):
    | { readonly kind: 'opened'; readonly ticket: Ticket; readonly position: number }
    | { readonly kind: 'refused'; readonly reason: RefusalReason } {
    const refusal = this.#writeRefusal(nowMs)
    if (refusal !== undefined) return refused(refusal)
    const { epoch } = this.#state
    this.append({ kind: 'openSession', epoch })
    const position = this.applied
    this.#sessions.touch(nowMs, position)
    return { kind: 'opened', ticket: { epoch, position }, position }
  }

  /** `waiter` comes out of `takeAnswered` when `position` is committed, or as `unknown` when this replica ceases to be primary. */
  wait(kind: WaitKind, position: number, waiter: Waiter): void {
    if ((kind === 'read' && !this.#state.rules.readWaitsForCommit) || this.#isAnswerable(kind, position))
      return this.#waiters.answer(waiter)
    this.#waiters.add(kind, position, waiter)
  }

  #isAnswerable(kind: WaitKind, position: number): boolean {
    return this.#state.committed >= position && (kind === 'read' || this.#hasEnoughReplicas())
  }

  #hasEnoughReplicas(): boolean {
    const { row, options, rules } = this.#state
    return !rules.minInSyncAtAnswer || (row?.inSync.length ?? 0) >= options.minInSync
  }

  #writeRefusal(nowMs: number): RefusalReason | undefined {
    if (this.#role.kind !== 'primary') return 'notPrimary'
    if (!this.#role.leading.isServing(nowMs)) return 'notServing'
    if (!this.#hasEnoughReplicas()) return 'notEnoughReplicas'
    return this.logBytes > this.#state.options.logMaxBytes ? 'logFull' : undefined
  }

  #findRecorded(nowMs: number, { ticket, number }: RequestId, lowestUnanswered: number): WriteAdmission | undefined {
    const { rules, options } = this.#state
    const session = this.store.sessions.find(ticket.epoch, ticket.position)
    if (session === undefined) {
      if (!rules.unknownTicketRefused) return undefined
      // One that was replaced may have closed the session by itself, or not have seen it opened.
      return refused(this.hasRight(nowMs) ? 'sessionUnknown' : 'noPromise')
    }
    this.#sessions.touch(nowMs, ticket.position)
    const recorded = session.results.get(number)
    if (recorded !== undefined) {
      return { kind: 'recorded', result: recorded.result, position: rules.recordedAnswerWaits ? recorded.position : 0 }
    }
    if (number <= session.trimmedTo) return refused('outcomeUnknown')
    const trimTo = Math.max(session.trimmedTo, lowestUnanswered - 1)
    if (number <= trimTo) return refused('outcomeUnknown')
    if (number > trimTo + options.sessionWindow) return refused('windowExceeded')
    this.#trimTo = trimTo
    return undefined
  }

  #close(): void {
    const { log, epoch } = this.#state
    if (this.#role.kind !== 'primary') return
    if (!this.#role.leading.keepsLog) return this.#skip()
    const entry = { epoch, position: this.applied, effects: this.#group }
    log.append(entry)
    this.#group = []
    this.#state.options.mirror?.handleApplied(entry)
    this.#role.leading.handleAppend()
  }

  /** Committed as soon as it is applied, so that nobody waits either. */
  #skip(): void {
    const { log, epoch, store } = this.#state
    log.skipTo(epoch, store.position)
    this.#state.committed = store.position
  }

  #handleAppend(nowMs: number, message: AppendMessage): void {
    const { rules } = this.#state
    const { record } = message
    if (rules.learnNewerEpochFirst) {
      if (record !== undefined && record.row.epoch === message.epoch)
        this.#learn(nowMs, record.version, record.row, Number.NEGATIVE_INFINITY)
      if (message.epoch > this.#state.epoch) return
    }
    if (!this.#followsSender(message)) return
    if (this.#waitsForAnother()) {
      if (!message.serving || !this.#isListed()) return
      this.#followOn(this.#role.kind === 'deposed')
    }
    this.#following.handleAppend(message)
  }

  /** Somebody else serves: a former backup goes on from its log, a former primary starts empty. */
  #followOn(wasPrimary: boolean): void {
    if (wasPrimary && this.#state.rules.deposedStartsEmpty) this.#following.drop()
    else if (wasPrimary) this.#following.keepStore()
    this.#role = { kind: 'learner' }
  }

  #followsSender(message: ReplicationMessage): boolean {
    const { row, rules } = this.#state
    if (this.#role.kind === 'primary' || this.#role.kind === 'absent') return false
    if (message.epoch !== this.#state.epoch) return !rules.refuseOlderEpoch || !rules.learnNewerEpochFirst
    return row?.primary?.shard === message.from
  }

  /** The table's word about this partition, from whoever brings it. */
  #learn(nowMs: number, version: number, row: PartitionRecord, promisedUntilMs: number): void {
    if (this.#role.kind === 'stopped' || version < this.#state.rowVersion || row.epoch < this.#state.epoch) return
    const isNewEpoch = row.epoch > this.#state.epoch
    const isGivenUp = (row.givenUp ?? 0) > this.#state.givenUp
    const before = this.#state.row?.primary
    const wasPrimary = this.#role.kind === 'primary'
    this.#state.row = row
    this.#state.rowVersion = version
    this.#state.epoch = row.epoch
    const self = this.#state.self
    const isPrimary = isSameReplica(row.primary, self)
    if (wasPrimary && !isPrimary) this.#stepDown(row)
    if (isGivenUp) this.#dropGivenUp(row)
    if (isPrimary) return this.#lead(nowMs, row, isNewEpoch, isGivenUp, promisedUntilMs)
    if (isNewEpoch || !isSameReplica(before, row.primary)) this.#following.handleEpoch(row.primary?.shard)
    if (!wasPrimary || isGivenUp) this.#role = { kind: this.#followingRole(row) }
    if (this.#role.kind === 'backup') this.#state.options.mirror?.handleHeld()
  }

  #lead(nowMs: number, row: PartitionRecord, isNewEpoch: boolean, isGivenUp: boolean, promisedUntilMs: number): void {
    const { rules, options } = this.#state
    const wait = row.handedOver === true || !rules.waitAfterPromotion ? Number.NEGATIVE_INFINITY : promisedUntilMs
    options.mirror?.handleHeld()
    const waitUntilMs = isGivenUp && rules.waitAfterGivingUp ? Math.max(wait, nowMs + options.leaseMs) : wait
    if (this.#role.kind !== 'primary') {
      this.#following.applyAll()
      this.#sessions.forgetAll(nowMs)
      this.#terms += 1
      this.#role = { kind: 'primary', leading: new Leading(this.#state, waitUntilMs, () => this.#release()) }
    }
    this.#role.leading.handleRow(nowMs, row, isNewEpoch, waitUntilMs)
  }

  #stepDown(row: PartitionRecord): void {
    this.#waiters.abandon()
    this.#state.act({ kind: 'serving', serving: false })
    const isInSync = row.inSync.some(replica => isSameReplica(replica, this.#state.self))
    this.#role = { kind: isInSync ? 'backup' : 'deposed' }
  }

  #dropGivenUp(row: PartitionRecord): void {
    this.#state.givenUp = row.givenUp ?? 0
    this.#following.drop()
    if (this.#role.kind !== 'primary') this.#role = { kind: 'absent' }
  }

  #followingRole(row: PartitionRecord): Exclude<ReplicaRole, 'primary'> {
    const { self } = this.#state
    const was = this.#role.kind
    assert(was !== 'primary', 'it stepped down before')
    if (row.inSync.some(replica => isSameReplica(replica, self))) return 'backup'
    if (was === 'backup') return 'retired'
    if (was === 'retired' || was === 'deposed') return was
    if (this.#isListed()) return 'learner'
    if (was === 'learner') this.#following.drop()
    return 'absent'
  }

  #waitsForAnother(): boolean {
    return this.#role.kind === 'retired' || this.#role.kind === 'deposed'
  }

  #isListed(): boolean {
    const { row, self } = this.#state
    return row?.backups.some(replica => isSameReplica(replica, self)) ?? false
  }

  #free(): void {
    this.#following.drop()
    this.#role = { kind: 'absent' }
  }

  #askWhoServes(nowMs: number): void {
    if (nowMs < this.#nextHelloMs) return
    // Also where nobody can be asked: of a lost partition there is no primary.
    this.#nextHelloMs = nowMs + helloMs
    const primary = this.#state.row?.primary
    if (primary !== undefined) this.#following.sayHello(primary.shard, false)
  }

  #release(): void {
    this.#waiters.release('read', this.#state.committed)
    if (this.#hasEnoughReplicas()) this.#waiters.release('write', this.#state.committed)
  }
}

const refused = (reason: RefusalReason): { readonly kind: 'refused'; readonly reason: RefusalReason } => ({ kind: 'refused', reason })
