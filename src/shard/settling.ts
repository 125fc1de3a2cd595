/**
 * The end of each turn for the replicas that it touched: answers and messages leave, and one timer is set.
 *
 * Owns: who was touched, when each replica wants to be called again, the frames of the turn. Does not: know partitions or maps.
 *
 * 1. Whatever touches a replica is followed by `settle`: at the end of the command or timer that did it, for operations and frames
 *    after everything else that came in the same turn of the event loop. Small frames cost more than they gain: settled one by one,
 *    two nodes took a third of the writes.
 * 2. A turn walks over what it touched, never over all partitions; only the timer looks through the deadlines.
 * 3. What a replica answers to a message is taken at once (`heard`), while the processor has its memory at hand; it leaves with the turn.
 */
import { unreachable } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import type { ReplicaRequest } from '../partitioning/partition-table.ts'
import { writeAnswer } from './answers.ts'
import type { Answered, AnswerWaiter, HeldPartition } from './held-partition.ts'
import { outcomeUnknown } from './refusals.ts'
import type { ReplicationFrames } from './replication-frames.ts'

export interface SettlingOptions {
  readonly clock: Clock
  readonly frames: ReplicationFrames
  later(callback: () => void): void
  /** Calls back once after so many milliseconds; answers how to give that up. */
  after(ms: number, callback: () => void): () => void
  onRequest(request: ReplicaRequest): void
  onStoreReplaced(held: HeldPartition): void
  onServing(held: HeldPartition, serving: boolean, nowMs: number): void
  onBroken(reason: string): void
}

export class Settling {
  readonly #options: SettlingOptions
  #touched: HeldPartition[] = []
  readonly #answered = new Set<Answered>()
  #held: (HeldPartition | undefined)[] = []
  #deadlines = new Float64Array(0)
  /** Of those that were looked at since the timer was set. */
  #soonestMs = Number.POSITIVE_INFINITY
  #wakeAtMs = Number.POSITIVE_INFINITY
  #cancelTimer: (() => void) | undefined
  #isAsked = false
  #hasHeard = false
  #isSettling = false
  #isOver = false

  constructor(options: SettlingOptions) {
    this.#options = options
  }

  /** It changed: `settle` has to look at it. */
  readonly touch = (held: HeldPartition): void => {
    if (held.isTouched) return
    held.isTouched = true
    this.#touched.push(held)
    this.#ask()
  }

  /** A message came for it, as the last thing that happened to it. */
  heard(held: HeldPartition, nowMs: number): void {
    if (this.#isSettling || this.#isOver) return this.touch(held)
    this.#settleOne(held, nowMs)
    this.#hasHeard = true
    this.#ask()
  }

  settle(): void {
    if ((this.#touched.length === 0 && !this.#hasHeard) || this.#isSettling || this.#isOver) return
    this.#isSettling = true
    const nowMs = this.#options.clock.nowMs()
    while ((this.#touched.length > 0 || this.#hasHeard) && !this.#isOver) {
      this.#hasHeard = false
      const touched = this.#touched
      this.#touched = []
      for (const held of touched) {
        held.isTouched = false
        this.#settleOne(held, nowMs)
      }
      this.#options.frames.flush()
      for (const pipe of this.#answered) pipe.touched()
      this.#answered.clear()
    }
    this.#isSettling = false
    const soonestMs = this.#soonestMs
    this.#soonestMs = Number.POSITIVE_INFINITY
    this.#setTimer(soonestMs, nowMs)
  }

  /** Nothing leaves any more. */
  stop(): void {
    this.#isOver = true
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  #ask(): void {
    if (this.#isAsked || this.#isSettling) return
    this.#isAsked = true
    this.#options.later(this.#later)
  }

  readonly #later = (): void => {
    this.#isAsked = false
    this.settle()
  }

  #settleOne(held: HeldPartition, nowMs: number): void {
    const { replica, partition } = held
    this.#answer(held)
    for (const action of replica.takeActions(nowMs)) {
      switch (action.kind) {
        case 'send':
          this.#options.frames.add(action.to, action.message)
          break
        case 'request':
          this.#options.onRequest(action.request)
          break
        case 'storeReplaced':
          this.#options.onStoreReplaced(held)
          break
        case 'serving':
          held.isServing = action.serving
          if (action.serving) held.servesSinceMs = nowMs
          this.#options.onServing(held, action.serving, nowMs)
          break
        case 'stop':
          this.stop()
          held.isServing = false
          held.isFree = false
          return this.#options.onBroken(`partition ${partition}: ${action.reason}`)
        default:
          unreachable(action)
      }
    }
    held.isFree = replica.isFree(nowMs)
    // Taking actions may commit, so there may be more to answer.
    this.#answer(held)
    this.#note(held, replica.nextDeadlineMs(nowMs) ?? Number.POSITIVE_INFINITY)
  }

  #answer({ replica }: HeldPartition): void {
    for (const { waiter, outcome } of replica.takeAnswered()) {
      if (waiter.pipe === undefined) {
        if (outcome === 'committed') waiter.committed()
        continue
      }
      const { pipe } = waiter
      if (pipe.isClosed) continue
      if (outcome === 'committed') writeAnswer(pipe.writer, waiter.id, waiter.answer)
      else this.#writeUnknown(waiter)
      this.#answered.add(pipe)
    }
  }

  #writeUnknown({ pipe, id, isWrite }: AnswerWaiter): void {
    if (isWrite) pipe.writer.error(id, outcomeUnknown('another shard serves the partition since, and may hold it or not'))
    else pipe.writer.notNow(id)
  }

  #note(held: HeldPartition, deadlineMs: number): void {
    const { partition } = held
    if (partition >= this.#deadlines.length) {
      const deadlines = new Float64Array(Math.max(256, 2 * partition)).fill(Number.POSITIVE_INFINITY)
      deadlines.set(this.#deadlines)
      this.#deadlines = deadlines
    }
    while (this.#held.length <= partition) this.#held.push(undefined)
    this.#held[partition] = held
    this.#deadlines[partition] = deadlineMs
    if (deadlineMs < this.#soonestMs) this.#soonestMs = deadlineMs
  }

  /** A timer that comes too early, as its deadline went away, looks for the next one. */
  #setTimer(next: number, nowMs: number): void {
    if (this.#isOver || next >= this.#wakeAtMs) return
    this.#cancelTimer?.()
    this.#wakeAtMs = next
    this.#cancelTimer = this.#options.after(Math.max(1, Math.ceil(next - nowMs)), () => this.#wake())
  }

  #wake(): void {
    this.#cancelTimer = undefined
    this.#wakeAtMs = Number.POSITIVE_INFINITY
    if (this.#isOver) return
    const nowMs = this.#options.clock.nowMs()
    let next = Number.POSITIVE_INFINITY
    for (let partition = 0; partition < this.#held.length; partition += 1) {
      const deadlineMs = this.#deadlines[partition] as number
      if (deadlineMs > nowMs) {
        if (deadlineMs < next) next = deadlineMs
        continue
      }
      const held = this.#held[partition] as HeldPartition
      held.replica.handleTick(nowMs)
      this.touch(held)
    }
    this.settle()
    this.#setTimer(next, nowMs)
  }
}
