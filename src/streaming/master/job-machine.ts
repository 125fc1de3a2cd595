/**
 * One job as its master sees it: attempts, checkpoints, restarts, suspending, ending. Plain: messages and time go in, `takeActions`
 * gives what the driver is to do, `nextDeadlineMs` when it must be asked again (`tick`).
 *
 *   begin --CAS--> starting --all ready--> running --lost or failed--> stopping --> waiting (back-off) --CAS--> starting ...
 *                                             | barrier n -> answers -> CAS -> committed
 *                                             | suspend, hand-over: a last checkpoint, then stopping
 *                                             +--all completed--> CAS completed
 *
 * Owns: the order of all this. Does not: talk to shards or the coordinator, make assignments.
 *
 * 1. Every attempt begins with a CAS of the record, and a new master always begins one (a deposed master's CAS fails).
 * 2. All writes are against the version read. One whose outcome is unknown is sent again with the same version; a record that then says
 *    what it was to say, in this master's name, is its own. Until then no next barrier.
 * 3. Messages of other attempts are dropped.
 * 4. A barrier is given up after `timeoutMs`; the next one follows. Three in a row end the attempt.
 * 5. Sources of a job that begins with nothing read after its first checkpoint, which holds splits and start positions: it comes at once.
 */
import { unreachable } from '../../base/assert.ts'
import { type CheckpointRules, everyCheckpointRule } from '../checkpoint/rules.ts'
import type { BarrierAnswer } from '../checkpoint/task-checkpoint.ts'
import { Barrier } from './barrier.ts'
import {
  beginAttempt,
  commitCheckpoint,
  isEnded,
  type RestorePoint,
  type RunFailure,
  type RunRecord,
  type RunStatus,
  withStatus,
} from './record.ts'

export interface JobLimits {
  readonly intervalMs: number
  readonly timeoutMs: number
  /** Barriers given up one after the other that end the attempt. */
  readonly givenUpMax: number
  /** An attempt whose shards are not ready by then has failed. */
  readonly startTimeoutMs: number
  /** First wait before another attempt after a failure; doubled with each one that counts, see `failuresMax`. */
  readonly backoffMs: number
  readonly backoffMaxMs: number
  /** Failures that fail the job, without an attempt between that was sound. Attempts lost with a node or a primary do not count. */
  readonly failuresMax: number
  /** An attempt that commits a checkpoint so long after it began to run is sound: what failed before it is got over. */
  readonly soundAfterMs: number
  /** Wait before another attempt after the second loss without a checkpoint between, more after each further one; the first costs no time. */
  readonly lossBackoffMs: number
  /** Wait before a CAS of unknown outcome is sent again. */
  readonly casRetryMs: number
}

export const defaultJobLimits: JobLimits = {
  intervalMs: 1000,
  timeoutMs: 10_000,
  givenUpMax: 3,
  startTimeoutMs: 60_000,
  backoffMs: 100,
  backoffMaxMs: 30_000,
  failuresMax: 5,
  soundAfterMs: 60_000,
  lossBackoffMs: 100,
  casRetryMs: 200,
}

export type JobAction =
  /** Write the record if its version is still this one; undefined: whatever it is. Answered by `casAnswered`. */
  | { readonly kind: 'cas'; readonly expected: string | undefined; readonly record: RunRecord }
  /** Make an assignment, write the start into all partitions' logs, make all shards ready. Answered by `ready` or `lost`/`failed`. */
  | { readonly kind: 'start'; readonly attempt: number; readonly restore: RestorePoint }
  | { readonly kind: 'run'; readonly attempt: number }
  | { readonly kind: 'barrier'; readonly attempt: number; readonly n: number; readonly c: number }
  | { readonly kind: 'committed'; readonly attempt: number; readonly n: number; readonly isLast: boolean }
  /** Copy checkpoint n out under this name; answered by `savepointAnswered`. Goes out before barrier n + 1. */
  | { readonly kind: 'savepoint'; readonly attempt: number; readonly n: number; readonly name: string }
  /** It is whole, or failed. */
  | { readonly kind: 'savepointEnded'; readonly name: string; readonly point: RestorePoint; readonly failure: string | undefined }
  /** End the tasks of the attempt; answered by `stopped`. What is prepared stays. */
  | { readonly kind: 'stop'; readonly attempt: number }
  /** The attempt stands still with all its work in a checkpoint: partitions may move. `release` begins the next one. */
  | { readonly kind: 'held' }
  /** Another master has begun an attempt: this machine does nothing any more. */
  | { readonly kind: 'deposed' }
  | { readonly kind: 'ended'; readonly status: RunStatus }

export type CasAnswer =
  | { readonly kind: 'written'; readonly version: string }
  | { readonly kind: 'conflict'; readonly record: RunRecord | undefined; readonly version: string | undefined }
  | { readonly kind: 'unknown' }

/** Why the next checkpoint is the last of the attempt. */
type Goal = 'suspended' | 'held'

type Writing = {
  readonly record: RunRecord
  readonly next: 'start' | 'commit' | 'running' | 'end'
  readonly isLast: boolean
  /** Sent, and its answer awaited; else when to send it again. */
  retryAtMs: number | undefined
}

/** What follows when the tasks have stopped; `released`: the next attempt, as planned. */
type Next = 'wait' | 'held' | 'released' | RunStatus

type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'beginning' }
  | { readonly kind: 'starting'; readonly deadlineMs: number }
  | { readonly kind: 'running' }
  | {
      readonly kind: 'stopping'
      readonly next: Next
      readonly failure: RunFailure | undefined
      readonly delayMs: number
    }
  | { readonly kind: 'waiting'; readonly untilMs: number }
  | { readonly kind: 'held' }
  | { readonly kind: 'done' }

export class JobMachine {
  readonly #master: string
  readonly #limits: JobLimits
  readonly #rules: CheckpointRules
  #record: RunRecord
  #version: string
  #state: State = { kind: 'idle' }
  #actions: JobAction[] = []
  #writing: Writing | undefined
  #shards = 0
  #completed = new Set<number>()
  #barrier: Barrier | undefined
  #n = 0
  #nextBarrierMs = Number.POSITIVE_INFINITY
  #givenUp = 0
  #waitsFor = ''
  #failures = 0
  #runsSinceMs = 0
  #losses = 0
  #goal: Goal | undefined
  /** The tasks have stopped, but the outcome of a write is not known yet. */
  #isStopped = false
  /** The job is to end as soon as the start that is being written is known. */
  #pendingEnd: { readonly status: RunStatus; readonly failure: RunFailure | undefined } | undefined
  #savepoint: { readonly name: string; readonly after: number; n: number; readonly missing: Set<number> } | undefined
  #isLastCommitted = false

  /**
   * `version` is that of the record, as the coordinator gave it. `master` is a name that no other machine of the job ever has, not even
   * an earlier one of the same node: a random id will do.
   */
  constructor(
    record: RunRecord,
    version: string,
    master: string,
    limits: Partial<JobLimits> = {},
    rules: CheckpointRules = everyCheckpointRule,
  ) {
    this.#record = record
    this.#version = version
    this.#master = master
    this.#limits = { ...defaultJobLimits, ...limits }
    this.#rules = rules
  }

  // ---- readers

  get record(): RunRecord {
    return this.#record
  }

  get state(): State['kind'] {
    return this.#state.kind
  }

  /** The barrier under way, for people: its number, since when, and the shards that have not answered. */
  get barrier(): { readonly n: number; readonly startedMs: number; readonly missing: readonly number[] } | undefined {
    return this.#barrier
  }

  takeActions(): readonly JobAction[] {
    return this.#actions.splice(0)
  }

  get nextDeadlineMs(): number {
    const state = this.#state
    const retryMs = this.#writing?.retryAtMs ?? Number.POSITIVE_INFINITY
    if (state.kind === 'starting') return Math.min(state.deadlineMs, retryMs)
    if (state.kind === 'waiting') return Math.min(state.untilMs, retryMs)
    if (state.kind !== 'running') return retryMs
    return Math.min(retryMs, this.#barrier?.deadlineMs ?? (this.#mayBegin ? this.#nextBarrierMs : Number.POSITIVE_INFINITY))
  }

  // ---- commands

  /** A master takes the job over, or starts it: a new attempt. A suspended or ended job stays as it is. */
  begin(): void {
    if (this.#state.kind !== 'idle' || isEnded(this.#record) || this.#record.status === 'suspended') return
    this.#beginAttempt()
  }

  /** A job without checkpoints runs on under another master: so many shards, no new attempt. */
  follow(shards: number): void {
    if (this.#state.kind !== 'idle' || this.#record.guarantee !== 'none' || this.#record.status !== 'running') return
    this.#shards = shards
    this.#state = { kind: 'running' }
  }

  /** After a last checkpoint, where there is something to keep. */
  suspend(nowMs: number): void {
    this.#stopAt('suspended', nowMs)
  }

  resume(): void {
    if (this.#record.status !== 'suspended' || this.#writing !== undefined) return
    if (this.#state.kind !== 'idle' && this.#state.kind !== 'done') return
    this.#failures = 0
    this.#losses = 0
    this.#beginAttempt()
  }

  /** Before a planned move of partitions: nothing is replayed after it. */
  holdForMove(nowMs: number): void {
    this.#stopAt('held', nowMs)
  }

  release(): void {
    if (this.#goal === 'held') this.#goal = undefined
    if (this.#state.kind === 'held') this.#beginAttempt(true)
    // It comes to stand still after the partitions have moved: nobody would release it again.
    else if (this.#state.kind === 'stopping' && this.#state.next === 'held') this.#state = { ...this.#state, next: 'released' }
  }

  cancel(nowMs: number): void {
    this.#end('cancelled', undefined, nowMs)
  }

  /** Of the next checkpoint that begins, so that it has all rows read so far; false: one is being made, or the job has no checkpoints. */
  savepoint(name: string, nowMs: number): boolean {
    if (this.#savepoint !== undefined || this.#record.guarantee === 'none' || this.#state.kind !== 'running') return false
    this.#savepoint = { name, after: this.#n, n: 0, missing: new Set(Array.from({ length: this.#shards }, (_, shard) => shard)) }
    this.#nextBarrierMs = nowMs
    this.tick(nowMs)
    return true
  }

  // ---- messages

  casAnswered(answer: CasAnswer, nowMs: number): void {
    const writing = this.#writing
    if (writing === undefined) return
    if (answer.kind === 'unknown') {
      writing.retryAtMs = nowMs + this.#limits.casRetryMs
      if (!this.#rules.outcomeKnownBeforeNext) this.#writing = undefined
      return
    }
    if (answer.kind === 'conflict') {
      if (answer.record === undefined || answer.version === undefined || !this.#isOwn(answer.record, writing.record)) {
        this.#depose()
        return
      }
      // Its own, sent before: the answer was lost.
      this.#version = answer.version
    } else {
      this.#version = answer.version
    }
    this.#writing = undefined
    this.#record = writing.record
    this.#written(writing, nowMs)
  }

  /** All shards of the attempt stand ready; so many take part. */
  ready(attempt: number, shards: number, nowMs: number): void {
    if (!this.#isCurrent(attempt) || this.#state.kind !== 'starting') return
    this.#shards = shards
    this.#state = { kind: 'running' }
    this.#runsSinceMs = nowMs
    this.#n = 0
    this.#givenUp = 0
    this.#completed = new Set()
    this.#isLastCommitted = false
    this.#actions.push({ kind: 'run', attempt })
    const isFresh = this.#record.restore.attempt === 0
    this.#nextBarrierMs = this.#record.guarantee === 'none' ? Number.POSITIVE_INFINITY : nowMs + (isFresh ? 0 : this.#limits.intervalMs)
    this.#write(withStatus(this.#record, 'running'), 'running')
  }

  answered(attempt: number, shard: number, answer: BarrierAnswer, nowMs: number): void {
    if (this.#rules.answersBoundToAttempt && !this.#isCurrent(attempt)) return
    const barrier = this.#barrier
    if (this.#state.kind !== 'running' || barrier?.n !== answer.n) return
    barrier.answer(shard, answer)
    this.#commitAnswered(nowMs)
  }

  savepointAnswered(attempt: number, shard: number, name: string, failure: string | undefined): void {
    const savepoint = this.#savepoint
    if (!this.#isCurrent(attempt) || savepoint?.name !== name || savepoint.n === 0) return
    savepoint.missing.delete(shard)
    if (failure !== undefined) this.#endSavepoint(failure)
    else if (savepoint.missing.size === 0) this.#endSavepoint(undefined)
  }

  /** What shards said last that the barrier under way waits for; for people. */
  waits(what: string): void {
    if (what !== '') this.#waitsFor = what
  }

  /** A shard has nothing left to do, and its sinks have committed. */
  completed(attempt: number, shard: number, nowMs: number): void {
    if (!this.#isCurrent(attempt) || this.#state.kind !== 'running') return
    if (this.#record.guarantee !== 'none' && !this.#isLastCommitted) return
    this.#completed.add(shard)
    if (this.#completed.size === this.#shards) this.#end('completed', undefined, nowMs)
  }

  /** Something that the attempt needs is gone: a node, a link, a primary. */
  lost(attempt: number, reason: string, nowMs: number): void {
    if (!this.#isCurrent(attempt) || !this.#isAlive) return
    // Before it runs, nothing has been read yet.
    if (this.#record.guarantee === 'none' && this.#state.kind === 'running') {
      this.#end('failed', { message: reason }, nowMs)
      return
    }
    const { lossBackoffMs, backoffMaxMs } = this.#limits
    this.#stop('wait', { message: reason }, Math.min(backoffMaxMs, lossBackoffMs * this.#losses))
    this.#losses += 1
  }

  /** The attempt failed for a reason that may come again: user code, a map that is full, a start that was refused for now. */
  failed(attempt: number, failure: RunFailure, nowMs: number): void {
    if (!this.#isCurrent(attempt) || !this.#isAlive) return
    this.#failures += 1
    if (this.#record.guarantee === 'none' || this.#failures >= this.#limits.failuresMax) {
      this.#end('failed', failure, nowMs)
      return
    }
    const { backoffMs, backoffMaxMs } = this.#limits
    this.#stop('wait', failure, Math.min(backoffMaxMs, backoffMs * 2 ** (this.#failures - 1)))
  }

  /** It can never run: no restore point, other state than the code says. Fails the job by name. */
  refused(attempt: number, failure: RunFailure, nowMs: number): void {
    if (this.#isCurrent(attempt) && this.#isAlive) this.#end('failed', failure, nowMs)
  }

  /** The tasks of the attempt have ended, as far as they can be reached. */
  stopped(attempt: number, nowMs: number): void {
    const state = this.#state
    if (!this.#isCurrent(attempt) || state.kind !== 'stopping') return
    this.#finishStop(state, nowMs)
  }

  tick(nowMs: number): void {
    const writing = this.#writing
    if (writing?.retryAtMs !== undefined && writing.retryAtMs <= nowMs) this.#sendCas(writing)
    const state = this.#state
    if (state.kind === 'starting' && state.deadlineMs <= nowMs) {
      this.failed(this.#record.attempt, { message: `not all shards were ready within ${this.#limits.startTimeoutMs} ms` }, nowMs)
    } else if (state.kind === 'waiting' && state.untilMs <= nowMs && this.#writing === undefined) {
      this.#beginAttempt()
    } else if (state.kind === 'running') {
      this.#tickBarrier(nowMs)
    }
  }

  // ---- inside

  get #isAlive(): boolean {
    return this.#state.kind === 'starting' || this.#state.kind === 'running'
  }

  get #mayBegin(): boolean {
    return this.#writing === undefined && !this.#isLastCommitted
  }

  #isCurrent(attempt: number): boolean {
    return attempt === this.#record.attempt
  }

  #beginAttempt(isPlanned = false): void {
    this.#state = { kind: 'beginning' }
    this.#barrier = undefined
    this.#write(beginAttempt(this.#record, this.#rules, isPlanned), 'start')
  }

  #tickBarrier(nowMs: number): void {
    const barrier = this.#barrier
    if (barrier === undefined) {
      if (this.#mayBegin && this.#nextBarrierMs <= nowMs) this.#beginBarrier(nowMs)
      return
    }
    if (barrier.isAnswered) {
      this.#commitAnswered(nowMs)
      return
    }
    if (barrier.deadlineMs > nowMs) return
    this.#barrier = undefined
    this.#givenUp += 1
    if (this.#givenUp >= this.#limits.givenUpMax) {
      const why = this.#waitsFor === '' ? '' : `; the last one waited for ${this.#waitsFor}`
      const message = `${this.#givenUp} checkpoints in a row took longer than ${this.#limits.timeoutMs} ms${why}`
      this.failed(this.#record.attempt, { message }, nowMs)
      return
    }
    this.#beginBarrier(nowMs)
  }

  #beginBarrier(nowMs: number): void {
    this.#n += 1
    this.#barrier = new Barrier(this.#n, this.#shards, nowMs, this.#limits.timeoutMs)
    this.#waitsFor = ''
    this.#nextBarrierMs = nowMs + this.#limits.intervalMs
    const { attempt, checkpoint } = this.#record
    this.#actions.push({ kind: 'barrier', attempt, n: this.#n, c: checkpoint })
  }

  #commitAnswered(nowMs: number): void {
    const barrier = this.#barrier
    // The record of a start that is just being written comes first.
    if (barrier?.isAnswered !== true || this.#writing !== undefined) return
    this.#barrier = undefined
    const figures = { n: barrier.n, atMs: nowMs, durationMs: nowMs - barrier.startedMs, bytes: barrier.bytes }
    this.#write(commitCheckpoint(this.#record, figures, barrier.counts), 'commit', barrier.isLast)
  }

  #write(record: RunRecord, next: Writing['next'], isLast = false): void {
    this.#writing = { record: { ...record, master: this.#master }, next, isLast, retryAtMs: undefined }
    this.#sendCas(this.#writing)
  }

  #sendCas(writing: Writing): void {
    writing.retryAtMs = undefined
    const expected = this.#rules.casAgainstVersionRead ? this.#version : undefined
    this.#actions.push({ kind: 'cas', expected, record: writing.record })
  }

  #written({ next, isLast }: Writing, nowMs: number): void {
    switch (next) {
      case 'start':
        this.#begun(nowMs)
        break
      case 'commit':
        if (this.#state.kind === 'running') this.#committed(isLast, nowMs)
        break
      case 'running':
        break
      case 'end':
        // Cancelled while the record said suspended was on its way.
        if (this.#state.kind === 'stopping' && this.#state.next === 'cancelled' && !isEnded(this.#record)) {
          this.#finishStop(this.#state, nowMs)
          return
        }
        this.#state = { kind: 'done' }
        this.#actions.push({ kind: 'ended', status: this.#record.status })
        return
      default:
        unreachable(next)
    }
    if (this.#state.kind === 'stopping' && this.#isStopped) this.#finishStop(this.#state, nowMs)
    else this.tick(nowMs)
  }

  /** The record of a new attempt is written. */
  #begun(nowMs: number): void {
    const next = this.#pendingEnd?.status ?? this.#goal
    if (next !== undefined) {
      const failure = this.#pendingEnd?.failure
      this.#pendingEnd = undefined
      this.#goal = undefined
      this.#finishStop({ kind: 'stopping', next, failure, delayMs: 0 }, nowMs)
      return
    }
    const { attempt, restore } = this.#record
    this.#state = { kind: 'starting', deadlineMs: nowMs + this.#limits.startTimeoutMs }
    this.#actions.push({ kind: 'start', attempt, restore })
  }

  #committed(isLast: boolean, nowMs: number): void {
    const { attempt, checkpoint } = this.#record
    this.#givenUp = 0
    if (nowMs - this.#runsSinceMs >= this.#limits.soundAfterMs) this.#failures = 0
    this.#losses = 0
    this.#isLastCommitted ||= isLast
    this.#actions.push({ kind: 'committed', attempt, n: checkpoint, isLast })
    const savepoint = this.#savepoint
    if (savepoint?.n === 0 && (checkpoint > savepoint.after || isLast)) {
      savepoint.n = checkpoint
      this.#actions.push({ kind: 'savepoint', attempt, n: checkpoint, name: savepoint.name })
    }
    if (!isLast) this.#stopAtGoal()
  }

  #endSavepoint(failure: string | undefined): void {
    const savepoint = this.#savepoint
    if (savepoint === undefined) return
    this.#savepoint = undefined
    const point = { attempt: this.#record.attempt, n: savepoint.n }
    this.#actions.push({ kind: 'savepointEnded', name: savepoint.name, point, failure })
  }

  #stopAt(goal: Goal, nowMs: number): void {
    if (isEnded(this.#record) || this.#record.status === 'suspended') return
    // A move that comes later does not undo what a user wants.
    if (this.#goal !== 'suspended') this.#goal = goal
    switch (this.#state.kind) {
      case 'running':
        if (this.#record.guarantee === 'none') this.#stopAtGoal()
        else this.#nextBarrierMs = nowMs
        this.tick(nowMs)
        break
      case 'waiting':
        this.#goal = undefined
        this.#finishStop({ kind: 'stopping', next: goal, failure: undefined, delayMs: 0 }, nowMs)
        break
      case 'starting':
        this.#stopAtGoal()
        break
      case 'held':
        this.#goal = undefined
        this.#finishStop({ kind: 'stopping', next: goal, failure: undefined, delayMs: 0 }, nowMs)
        break
      case 'idle':
      case 'beginning':
      case 'stopping':
      case 'done':
        break
    }
  }

  #stopAtGoal(): void {
    if (this.#goal === undefined) return
    const goal = this.#goal
    this.#goal = undefined
    this.#stop(goal, undefined, 0)
  }

  /** Every way out of an attempt. */
  #stop(next: Next, failure: RunFailure | undefined, delayMs: number): void {
    const { attempt } = this.#record
    this.#state = { kind: 'stopping', next, failure, delayMs }
    this.#isStopped = false
    this.#barrier = undefined
    this.#endSavepoint(`attempt ${attempt} ended before the savepoint was whole`)
    this.#actions.push({ kind: 'stop', attempt })
  }

  #end(status: RunStatus, failure: RunFailure | undefined, nowMs: number): void {
    if (isEnded(this.#record)) return
    const { state } = this
    if (this.#isAlive) this.#stop(status, failure, 0)
    else if (this.#state.kind === 'stopping') this.#state = { ...this.#state, next: status, failure: failure ?? this.#state.failure }
    else if (state === 'idle' || state === 'waiting' || state === 'held' || state === 'done') {
      this.#finishStop({ kind: 'stopping', next: status, failure, delayMs: 0 }, nowMs)
    } else {
      // The CAS of a start is under way: the tasks are not there yet, or are stopped with the next attempt's fence.
      this.#pendingEnd = { status, failure }
    }
  }

  #finishStop({ next, failure, delayMs }: Extract<State, { kind: 'stopping' }>, nowMs: number): void {
    if (this.#writing !== undefined) {
      // A checkpoint whose outcome is not known: what follows waits for it, and takes its record over.
      this.#isStopped = true
      this.#state = { kind: 'stopping', next, failure, delayMs }
      return
    }
    if (failure !== undefined) this.#record = { ...this.#record, failure }
    const goal = this.#goal
    if (goal !== undefined && (next === 'wait' || next === 'held' || next === 'released')) {
      this.#goal = undefined
      this.#finishStop({ kind: 'stopping', next: goal, failure: undefined, delayMs: 0 }, nowMs)
    } else if (next === 'wait') {
      this.#state = { kind: 'waiting', untilMs: nowMs + delayMs }
      this.tick(nowMs)
    } else if (next === 'released') {
      this.#beginAttempt(true)
    } else if (next === 'held') {
      this.#state = { kind: 'held' }
      this.#actions.push({ kind: 'held' })
    } else {
      this.#state = { kind: 'stopping', next, failure, delayMs }
      this.#write(withStatus(this.#record, next, failure), 'end')
    }
  }

  /** The record found is the one that was to be written. */
  #isOwn(found: RunRecord, written: RunRecord): boolean {
    return (found.master === this.#master || !this.#rules.recordNamesMaster) && isSame(found, written)
  }

  #depose(): void {
    this.#state = { kind: 'done' }
    this.#writing = undefined
    this.#barrier = undefined
    this.#actions.push({ kind: 'deposed' })
  }
}

/** Same attempt, checkpoint and status. */
const isSame = (a: RunRecord, b: RunRecord): boolean =>
  a.attempt === b.attempt && a.checkpoint === b.checkpoint && a.status === b.status && a.restarts === b.restarts
