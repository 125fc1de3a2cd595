/**
 * Drives one shard task: asks it for units, has them run as slices of user code, flushes its frames, wakes it for time.
 *
 *   idle --wake--> pumping --unit--> scheduled --finish/failed/stopped--> pumping --nothing to do--> idle
 *
 * 1. At most one unit is scheduled. Between units the shard's other work has its turn whenever the slice is over.
 * 2. A wake while it is not idle is remembered, never lost.
 */
import type { Clock } from '../../base/clock.ts'
import { NearstateError } from '../../base/errors.ts'
import type { Assignment, ShardProgress } from '../../streaming/assignment.ts'
import type { Frame } from '../../streaming/exchange/frame.ts'
import type { ShardTask, TaskFailure } from '../../streaming/execution/shard-task.ts'
import type { FailureDescription } from '../user-code/user-code.ts'
import type { Slices, SliceTask } from '../user-code/slice-task.ts'

export interface JobAttemptOptions {
  readonly job: string
  readonly attempt: number
  readonly assignment: Assignment
  readonly slices: Slices
  readonly clock: Clock
  readonly describe: (thrown: unknown) => FailureDescription
  /** It has completed or failed. */
  readonly ended: (attempt: JobAttempt) => void
}

const timerMaxMs = 60_000

export class JobAttempt implements SliceTask {
  readonly job: string
  readonly attempt: number
  readonly assignment: Assignment
  readonly liftedBy = 'submit the job again'
  readonly #options: JobAttemptOptions
  readonly #task: ShardTask
  #state: 'idle' | 'pumping' | 'scheduled' = 'idle'
  #woken = false
  #unitStartedMs = 0
  #timer: ReturnType<typeof setTimeout> | undefined
  #reported = false
  #failure: ShardProgress['failure']

  /** `make` builds the task around this attempt's wake. */
  constructor(options: JobAttemptOptions, make: (wake: () => void) => ShardTask) {
    this.#options = options
    this.job = options.job
    this.attempt = options.attempt
    this.assignment = options.assignment
    this.#task = make(() => this.#wake())
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
    const { state } = this.#task
    const stages = this.#task.stages()
    if (state.kind !== 'failed') return { status: state.kind === 'closed' ? 'completed' : state.kind, stages }
    this.#failure ??= this.#describe(state.failure)
    return { status: 'failed', failure: this.#failure, stages }
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#reported = true
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
    this.#options.ended(this)
  }

  #describe({ stage, place, thrown }: TaskFailure): NonNullable<ShardProgress['failure']> {
    const at = place === undefined ? '' : ` at ${place.text}`
    const where = stage === undefined ? '' : `Stage "${stage}" failed${at}: `
    const named = stage === undefined ? {} : { stage }
    if (thrown instanceof NearstateError) return { message: `${where}${thrown.message}`, ...named }
    const { message, stack } = this.#options.describe(thrown)
    return { message: `${where}${message}`, ...named, functionStack: stack }
  }
}
