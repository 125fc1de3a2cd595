/**
 * Runs user code in slices, so that it can be cut off at any point (protocols.md section 8).
 *
 * Owns: the order of tasks, the call number, what happens to a task that threw, was cut off, or is quarantined.
 * Does not: judge how long a call runs (node/watchdog.ts), know what a task does.
 *
 *   schedule -> [queue] -> wake() -> message -> slice: { run, finish | failed }*  until 1 ms has passed or nothing is left
 *                                       |         \- cut off: every frame is gone, without catch or finally
 *                                       `-> afterTurn -> settle: stopped(), if a task was cut off; wake() again if tasks are left
 *
 * 1. A termination unwinds every frame to the message that began the slice, so nothing else is on the stack beneath a task.
 * 2. `settle` is booked before the first task runs: it comes whatever happens to the slice.
 * 3. User code runs only between `enterCall` and `leaveCall`. What it threw is read there too: a getter of an error can loop.
 * 4. The next slice is asked for in `settle`, not in the slice: a port hands over up to 1000 messages in one go, and the
 *    event loop must come round between slices.
 *
 * The queue has no bound of its own: those who schedule have (queuedOperationsMax for operations, one batch a task for jobs).
 */
import { beginTurn, awaitTermination, type CallCell, clearCall, endTurn, enterCall, leaveCall, nextCallNumber } from './call-cell.ts'
import type { Quarantine } from './quarantine.ts'
import type { SliceTask, Slices } from './slice-task.ts'
import { snapshotOf } from './thrown.ts'

export interface SliceRunnerOptions {
  readonly cell: CallCell
  readonly quarantine: Quarantine
  readonly nowMs: () => number
  readonly sliceMaxMs: number
  /** For the message of a stop. */
  readonly timeLimitMs: number
  /** Has `slice()` called from a message of the shard's own port, with no other frame beneath. */
  readonly wake: () => void
  /** Has `callback` called once the event loop has left the message and its microtasks; a termination must not undo it. */
  readonly afterTurn: (callback: () => void) => void
  /** User code was cut off: state of the shard's own that it was in the middle of, such as the value codec's, is to be made anew. */
  readonly onCutOff: () => void
  /** A termination that was announced has not come: the shard cannot go on. Must not return. */
  readonly lost: (message: string) => never
}

export interface JobAtWork {
  readonly job: string
  readonly stage?: string
}

const terminationTimeoutMs = 30_000

export class SliceRunner implements Slices {
  readonly #options: SliceRunnerOptions
  readonly #settle: () => void
  #queue: SliceTask[] = []
  #head = 0
  #call = 0
  #running: SliceTask | undefined
  #state: 'idle' | 'woken' | 'turning' = 'idle'
  #jobOfTurn: string | undefined
  /** Tasks that were cut off since the start. */
  stopCount = 0

  constructor(options: SliceRunnerOptions) {
    this.#options = options
    this.#settle = () => this.settle()
  }

  get backlog(): number {
    return this.#queue.length - this.#head + (this.#running === undefined ? 0 : 1)
  }

  /** User code has run in this turn of the event loop: what comes out of its microtasks now is the user's. */
  get inTurn(): boolean {
    return this.#state === 'turning'
  }

  /**
   * The job whose code runs now, and its stage; undefined: no job's, or not known. In the microtasks behind a slice it is known while the
   * slice ran code of one job only, and the stage is not.
   */
  get jobAtWork(): JobAtWork | undefined {
    const task = this.#running
    if (task === undefined) return this.inTurn && this.#jobOfTurn !== undefined ? { job: this.#jobOfTurn } : undefined
    return task.job === undefined ? undefined : { job: task.job, stage: task.label.slice(task.job.length + 1) }
  }

  schedule(task: SliceTask): void {
    this.#queue.push(task)
    if (this.#state === 'idle') this.#wake()
  }

  slice(): void {
    const { cell, nowMs, sliceMaxMs } = this.#options
    if (this.#state !== 'woken') return
    this.#state = 'turning'
    this.#options.afterTurn(this.#settle)
    beginTurn(cell, nextCallNumber(this.#call))
    const endMs = nowMs() + sliceMaxMs
    this.#jobOfTurn = this.#queue[this.#head]?.job
    do this.#runOne(this.#take())
    while (this.#head < this.#queue.length && nowMs() < endMs)
  }

  settle(): void {
    this.#state = 'idle'
    const cutOff = this.#running
    if (cutOff !== undefined) {
      this.#running = undefined
      clearCall(this.#options.cell)
      this.#options.onCutOff()
    }
    endTurn(this.#options.cell)
    if (this.#head < this.#queue.length) this.#wake()
    if (cutOff !== undefined) this.#stopped(cutOff)
  }

  #runOne(task: SliceTask): void {
    const { cell, quarantine } = this.#options
    if (quarantine.holds(task.label)) {
      task.stopped(
        `${task.label} is quarantined on this shard: it was stopped three times for running too long. To lift this, ${liftedBy(task)}`,
        true,
      )
      return
    }
    const call = nextCallNumber(this.#call)
    this.#call = call
    this.#running = task
    if (task.job !== this.#jobOfTurn) this.#jobOfTurn = undefined
    let thrown: unknown
    let threw = false
    enterCall(cell, call)
    try {
      task.run()
    } catch (error) {
      threw = true
      thrown = snapshotOf(error)
    }
    if (!leaveCall(cell, call)) this.#awaitTermination(call)
    this.#running = undefined
    if (threw) task.failed(thrown)
    else task.finish()
  }

  #take(): SliceTask {
    const task = this.#queue[this.#head] as SliceTask
    this.#head += 1
    if (this.#head === this.#queue.length || (this.#head >= 1024 && this.#head * 2 > this.#queue.length)) {
      this.#queue = this.#queue.slice(this.#head)
      this.#head = 0
    }
    return task
  }

  #stopped(task: SliceTask): void {
    const { quarantine, timeLimitMs } = this.#options
    this.stopCount += 1
    const { label } = task
    if (task.stopCounts !== false) quarantine.recordStop(label)
    const quarantined = quarantine.holds(label)
    const outcome = quarantined ? ` It is now quarantined, for this was the third time: to lift this, ${liftedBy(task)}` : ''
    task.stopped(`${label} was stopped: it ran for longer than userCodeTimeLimit, ${timeLimitMs} ms.${outcome}`, quarantined)
  }

  #awaitTermination(call: number): never {
    awaitTermination(this.#options.cell, call, terminationTimeoutMs)
    return this.#options.lost(`the termination of call ${call} was announced and did not come within ${terminationTimeoutMs} ms`)
  }

  #wake(): void {
    this.#state = 'woken'
    this.#options.wake()
  }
}

const liftedBy = ({ liftedBy = 'deploy it again' }: SliceTask): string => liftedBy
