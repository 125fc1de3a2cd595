/**
 * Drives one shard task: asks it for units, has them run as slices of user code, flushes its frames, wakes it for time.
 *
 *   idle --wake--> pumping --unit--> scheduled --finish/failed/stopped--> pumping --nothing to do--> idle
 *
 * 1. At most one unit is scheduled. Between units the shard's other work has its turn whenever the slice is over.
 * 2. A wake while it is not idle is remembered, never lost.
 * 3. While backups are slow to answer what was written nothing more is: a job that writes faster than its copies are made would have them
 *    taken for dead.
 * 4. Who waits for a barrier is told when it is done here, or that a later one has taken its place, or that the attempt has ended.
 */
import type { Clock } from '../../base/clock.ts'
import { NearstateError } from '../../base/errors.ts'
import type { Assignment, ShardProgress } from '../../streaming/assignment.ts'
import type { BarrierAnswer } from '../../streaming/checkpoint/task-checkpoint.ts'
import type { Frame } from '../../streaming/exchange/frame.ts'
import type { LetterEntry, LetterId, ReplayOutcome } from '../../streaming/execution/replays.ts'
import type { ShardTask, TaskFailure } from '../../streaming/execution/shard-task.ts'
import type { FailureDescription } from '../user-code/user-code.ts'
import type { Slices, SliceTask } from '../user-code/slice-task.ts'

/** Dead letters of rows of one partition. */
export interface ReplayLetters {
  readonly job: string
  readonly partition: number
  readonly letters: readonly LetterEntry[]
  readonly forgets: readonly LetterId[]
}

/** What the task calls. */
export interface TaskCalls {
  /** There may be something to do. */
  readonly wake: () => void
  readonly answer: (answer: BarrierAnswer) => void
}

export interface JobAttemptOptions {
  readonly job: string
  readonly attempt: number
  readonly assignment: Assignment
  /** Index of this shard in the assignment. */
  readonly self: number
  readonly slices: Slices
  readonly clock: Clock
  /** See ShardJobsNeeds. */
  readonly unansweredMs: () => number
  readonly describe: (thrown: unknown) => FailureDescription
  /** It has completed or failed. */
  readonly ended: (attempt: JobAttempt) => void
}

const timerMaxMs = 60_000
/** A backup that is silent for 1 s (`backupTimeout`) is taken out of the in-sync set. */
export const unansweredMaxMs = 100
const lookEveryMs = 25
const lookAgainMs = 5

export class JobAttempt implements SliceTask {
  readonly job: string
  readonly attempt: number
  readonly assignment: Assignment
  readonly self: number
  readonly liftedBy = 'submit the job again'
  readonly #options: JobAttemptOptions
  readonly #task: ShardTask
  #state: 'idle' | 'pumping' | 'scheduled' = 'idle'
  #woken = false
  #unitStartedMs = 0
  #timer: ReturnType<typeof setTimeout> | undefined
  #reported = false
  #isHeldBack = false
  #lookedAtMs = Number.NEGATIVE_INFINITY
  #failure: ShardProgress['failure']
  #barrier: { readonly n: number; readonly told: PromiseWithResolvers<BarrierAnswer> } | undefined
  #lastBarrier = 0
  #savepoint: PromiseWithResolvers<void> | undefined

  /** `make` builds the task around what it calls. */
  constructor(options: JobAttemptOptions, make: (calls: TaskCalls) => ShardTask) {
    this.#options = options
    this.job = options.job
    this.attempt = options.attempt
    this.assignment = options.assignment
    this.self = options.self
    this.#task = make({ wake: () => this.#wake(), answer: answer => this.#answered(answer) })
  }

  get label(): string {
    return `${this.job}/${this.#task.stageAtWork}`
  }

  get stopCounts(): boolean {
    return this.#task.unitRows <= 1
  }

  start(): void {
    this.#task.run(this.#options.clock.nowMs())
    this.#wake()
  }

  /** Commits what the restore point has prepared. */
  recover(): Promise<void> {
    return new Promise((resolve, reject) => this.#task.recover(error => (error === undefined ? resolve() : reject(error))))
  }

  /** Barrier n; resolves when it is done here. */
  barrier(n: number, committed: number): Promise<BarrierAnswer> {
    this.#giveUpBarrier(`barrier ${n} has taken its place`)
    const told = Promise.withResolvers<BarrierAnswer>()
    this.#barrier = { n, told }
    this.#lastBarrier = n
    this.#task.barrier(n, committed)
    this.#wake()
    return told.promise
  }

  /** Copies checkpoint n out; resolves when it is copied here. CONFLICT when the next one has begun: it may have changed state by now. */
  savepoint(name: string, n: number): Promise<void> {
    if (this.#lastBarrier > n || this.#reported)
      return Promise.reject(new NearstateError('CONFLICT', `the checkpoint after ${n} has begun, or the attempt has ended`))
    this.#savepoint?.reject(new NearstateError('CANCELLED', 'another savepoint has taken its place'))
    const told = Promise.withResolvers<void>()
    this.#savepoint = told
    this.#task.committed(n)
    this.#task.savepoint(name, n, error => (error === undefined ? told.resolve() : told.reject(error)))
    this.#wake()
    return told.promise
  }

  committed(n: number, isLast: boolean): void {
    this.#task.committed(n, isLast)
    this.#wake()
  }

  arrive(from: number, frame: Frame): void {
    this.#task.arrive(from, frame)
    this.#wake()
  }

  drained(shard: number): void {
    this.#task.drained(shard)
    this.#wake()
  }

  peerDown(shard: number): void {
    this.#task.peerDown(shard)
    this.#report()
  }

  progress(): ShardProgress {
    // Asked several times a second: those are told of when no more rows fail, too.
    this.#task.tellFailedRows(this.#options.clock.wallTimeMs(), false)
    const { state } = this.#task
    const stages = this.#task.stages()
    const skew = this.#task.skew(this.#options.clock.wallTimeMs())
    const waits = this.#task.barrierWaitsFor
    if (state.kind !== 'failed')
      return {
        status: state.kind === 'closed' ? 'completed' : state.kind,
        stages,
        skew,
        ...(waits === undefined ? {} : { waitsFor: waits }),
      }
    this.#failure ??= this.#describe(state.failure)
    return { status: 'failed', failure: this.#failure, stages, skew }
  }

  /** Dead letters; see ShardTask. */
  replay({ partition, letters, forgets }: ReplayLetters): readonly ReplayOutcome[] {
    const outcomes = this.#task.replay(partition, letters, forgets)
    this.#wake()
    return outcomes
  }

  /** In a slice; see ShardTask. */
  recordNow(stage: string, key: Uint8Array, partition: number): Uint8Array | undefined {
    return this.#task.recordNow(stage, key, partition)
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#task.tellFailedRows(this.#options.clock.wallTimeMs(), true)
    this.#reported = true
    this.#giveUpAll()
    this.#task.close()
  }

  run(): void {
    this.#unitStartedMs = this.#options.clock.nowMs()
    this.#task.execute()
  }

  finish(): void {
    this.#task.finish(this.#options.clock.nowMs() - this.#unitStartedMs)
    this.#pump()
  }

  failed(thrown: unknown): void {
    this.#task.failed(thrown)
    this.#pump()
  }

  stopped(message: string, quarantined: boolean): void {
    this.#task.stopped(message, quarantined)
    this.#pump()
  }

  #answered(answer: BarrierAnswer): void {
    if (this.#barrier?.n !== answer.n) return
    this.#barrier.told.resolve(answer)
    this.#barrier = undefined
  }

  #giveUpBarrier(why: string): void {
    this.#barrier?.told.reject(new NearstateError('CANCELLED', `Barrier ${this.#barrier.n} of job "${this.job}" is given up: ${why}`))
    this.#barrier = undefined
  }

  #giveUpAll(): void {
    this.#giveUpBarrier('the attempt has ended')
    this.#savepoint?.reject(new NearstateError('CANCELLED', 'the attempt has ended'))
  }

  #wake(): void {
    this.#woken = true
    if (this.#state === 'idle') this.#pump()
  }

  #pump(): void {
    const { clock, slices } = this.#options
    clearTimeout(this.#timer)
    this.#state = 'pumping'
    do {
      this.#woken = false
      const nowMs = clock.nowMs()
      if (this.#mustWait(nowMs)) return this.#waitForBackups(nowMs)
      const prepared = this.#task.prepare(nowMs, clock.wallTimeMs())
      this.#task.flush(nowMs, !prepared)
      if (prepared && this.#task.state.kind === 'running') {
        this.#state = 'scheduled'
        slices.schedule(this)
        return
      }
    } while (this.#woken && this.#task.state.kind === 'running')
    this.#state = 'idle'
    this.#report()
    this.#sleep()
  }

  #mustWait(nowMs: number): boolean {
    if (nowMs - this.#lookedAtMs < (this.#isHeldBack ? lookAgainMs : lookEveryMs)) return this.#isHeldBack
    this.#lookedAtMs = nowMs
    this.#isHeldBack = this.#options.unansweredMs() > unansweredMaxMs
    return this.#isHeldBack
  }

  #waitForBackups(nowMs: number): void {
    this.#task.flush(nowMs, true)
    this.#state = 'idle'
    this.#report()
    this.#timer = setTimeout(() => this.#wake(), lookAgainMs)
  }

  #sleep(): void {
    const { clock } = this.#options
    if (this.#task.state.kind !== 'running') return
    const waitMs = this.#task.idleAtMs - clock.nowMs()
    if (waitMs === Number.POSITIVE_INFINITY) return
    this.#timer = setTimeout(() => this.#wake(), Math.min(Math.max(1, Math.ceil(waitMs)), timerMaxMs))
  }

  #report(): void {
    const { kind } = this.#task.state
    if (this.#reported || (kind !== 'completed' && kind !== 'failed')) return
    this.#reported = true
    this.#task.tellFailedRows(this.#options.clock.wallTimeMs(), true)
    this.#giveUpAll()
    this.#options.ended(this)
  }

  #describe({ stage, place, thrown, isFinal }: TaskFailure): NonNullable<ShardProgress['failure']> {
    const at = place === undefined ? '' : ` at ${place.text}`
    const where = stage === undefined ? '' : `Stage "${stage}" failed${at}: `
    const named = { ...(stage === undefined ? {} : { stage }), ...(isFinal ? ({ isFinal } as const) : {}) }
    if (thrown instanceof NearstateError) return { message: `${where}${thrown.message}`, code: thrown.code, ...named }
    const { message, stack } = this.#options.describe(thrown)
    return { message: `${where}${message}`, ...named, functionStack: stack }
  }
}
