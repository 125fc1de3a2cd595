/**
 * A thread: it takes one thing at a time, reads a clock of its own that runs a little fast or slow, can be paused and killed.
 *
 * While it is paused what happens to it waits (messages in sockets, timers overdue); when it goes on, it finds all of that at once,
 * timers before or after messages, as the event loop likes.
 */
import type { Random } from '../../../src/base/random.ts'
import type { Scheduler } from './scheduler.ts'

export interface ActorClock {
  /** 1 +- 0.01. */
  readonly rate: number
  readonly offsetMs: number
}

type Happening = { readonly kind: 'message' | 'timer'; readonly run: () => void }

export class Actor {
  readonly name: string
  /** Machine that it runs on: network partitions are between hosts. */
  readonly host: string
  /** Called after each thing that happened to it: where a driver takes actions and sets the next wake. */
  afterTurn: () => void = () => {}
  /** What a clock read once per loop turn, before anything is received, says: after a pause it is still the time from before. */
  loopTurnAtMs = 0
  readonly #scheduler: Scheduler
  readonly #random: Random
  readonly #clock: ActorClock
  #pausedCount = 0
  #isDead = false
  #waiting: Happening[] = []
  #wakeAtMs: number | undefined
  #wakeSequence = 0
  #onWake: () => void = () => {}

  constructor(scheduler: Scheduler, random: Random, name: string, host: string, clock: ActorClock) {
    this.#scheduler = scheduler
    this.#random = random
    this.name = name
    this.host = host
    this.#clock = clock
  }

  get isDead(): boolean {
    return this.#isDead
  }

  get isPaused(): boolean {
    return this.#pausedCount > 0
  }

  /** Its own monotonic clock. */
  nowMs(): number {
    return this.#scheduler.nowMs * this.#clock.rate + this.#clock.offsetMs
  }

  toTrueMs(localMs: number): number {
    return (localMs - this.#clock.offsetMs) / this.#clock.rate
  }

  kill(): void {
    this.#isDead = true
    this.#waiting = []
  }

  pause(): void {
    if (this.#pausedCount === 0) this.loopTurnAtMs = this.nowMs()
    this.#pausedCount += 1
  }

  resume(): void {
    this.#pausedCount -= 1
    if (this.#pausedCount > 0 || this.#isDead) return
    const waiting = this.#waiting
    this.#waiting = []
    const first = this.#random.next() < 0.5 ? 'timer' : 'message'
    for (const happening of [...waiting.filter(({ kind }) => kind === first), ...waiting.filter(({ kind }) => kind !== first)]) {
      this.#run(happening)
    }
  }

  /** Something comes in from outside. */
  deliver(run: () => void): void {
    this.#happen({ kind: 'message', run })
  }

  /** Runs `run` at this local time, unless it is dead by then. */
  at(localMs: number, run: () => void): void {
    this.#scheduler.at(this.toTrueMs(localMs), () => this.#happen({ kind: 'timer', run }))
  }

  after(ms: number, run: () => void): void {
    this.at(this.nowMs() + ms, run)
  }

  onWake(run: () => void): void {
    this.#onWake = run
  }

  /** One timer that replaces the one before; undefined: none. A timer is never early and up to 2 ms late. */
  wakeAt(localMs: number | undefined): void {
    if (localMs === this.#wakeAtMs) return
    this.#wakeAtMs = localMs
    this.#wakeSequence += 1
    if (localMs === undefined) return
    const sequence = this.#wakeSequence
    const dueMs = Math.max(localMs, this.nowMs() + 0.05)
    this.at(dueMs + this.#random.next() * 2, () => {
      if (sequence !== this.#wakeSequence) return
      this.#wakeAtMs = undefined
      this.#onWake()
    })
  }

  #happen(happening: Happening): void {
    if (this.#isDead) return
    if (this.#pausedCount > 0) {
      this.#waiting.push(happening)
      return
    }
    this.loopTurnAtMs = this.nowMs()
    this.#run(happening)
  }

  #run(happening: Happening): void {
    if (this.#isDead) return
    happening.run()
    if (!this.#isDead) this.afterTurn()
  }
}
