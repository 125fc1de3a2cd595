/**
 * Shares the shard's thread between pipes and other divisible work, in slices of at most `sliceMaxMs`.
 *
 * Owns: who waits for a slice, in order. Does not: know what the work is.
 * A source that asks while nobody waits works at once, so a lone request is not delayed. Otherwise it waits its turn; a slice
 * goes round the sources until its time is over, and the rest goes on after the event loop has looked at everything else
 * (sockets, timers, user code's port). The queue holds each source once: its bound is the number of sources.
 */
import type { Clock } from '../base/clock.ts'

export interface WorkSource {
  /** Works until nothing is left or the clock has passed `deadlineMs`, at least one step. True: there is more to do. */
  work(deadlineMs: number): boolean
}

export interface TurnsOptions {
  readonly clock: Clock
  readonly sliceMaxMs: number
  /** Calls back after other events had their turn (setImmediate). */
  readonly later: (callback: () => void) => void
  /** Whether what comes now is to wait for the end of the loop's turn, as other things do. Default: it is not. */
  readonly mayWait?: () => boolean
}

export class Turns {
  readonly #options: TurnsOptions
  readonly #waiting = new Set<WorkSource>()
  #state: 'idle' | 'scheduled' | 'working' = 'idle'

  constructor(options: TurnsOptions) {
    this.#options = options
  }

  /** `source` has something to do. */
  request(source: WorkSource): void {
    if (this.#state !== 'idle') {
      this.#waiting.add(source)
      return
    }
    this.#waiting.add(source)
    if (this.#options.mayWait?.() === true) this.#schedule()
    else this.#slice()
  }

  /** `source` has something to do that need not start now. */
  requestLater(source: WorkSource): void {
    this.#waiting.add(source)
    if (this.#state === 'idle') this.#schedule()
  }

  forget(source: WorkSource): void {
    this.#waiting.delete(source)
  }

  #slice(): void {
    this.#state = 'working'
    const { clock, sliceMaxMs } = this.#options
    const deadlineMs = clock.nowMs() + sliceMaxMs
    // A source that asks again while the slice runs joins the end of the set and is reached by the same loop.
    for (const source of this.#waiting) {
      this.#waiting.delete(source)
      if (source.work(deadlineMs)) this.#waiting.add(source)
      if (clock.nowMs() >= deadlineMs) break
    }
    if (this.#waiting.size > 0) this.#schedule()
    else this.#state = 'idle'
  }

  #schedule(): void {
    this.#state = 'scheduled'
    this.#options.later(() => this.#slice())
  }
}
