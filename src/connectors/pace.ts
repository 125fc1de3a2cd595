/**
 * How many records a split may give by the clock. One that is behind catches up by one second's worth at most: a job that was slow does
 * not get a flood.
 */
import type { SplitListener } from '../streaming/source.ts'

/** How often a split that waits for the clock looks again. */
const tickMs = 10

export class Pace {
  readonly #perSecond: number
  readonly #listener: SplitListener
  #allowed: number
  #lookedAtMs = performance.now()
  #timer: NodeJS.Timeout | undefined

  /** `perSecond` infinite: as fast as they are taken. A split that is opened again where it was has been away, and is behind. */
  constructor(perSecond: number, listener: SplitListener, isBehind = false) {
    this.#perSecond = perSecond
    this.#listener = listener
    this.#allowed = isBehind || perSecond === Number.POSITIVE_INFINITY ? perSecond : 0
  }

  /** How many may be given now; when none, the listener is told soon. */
  due(): number {
    if (this.#allowed === Number.POSITIVE_INFINITY) return this.#allowed
    const nowMs = performance.now()
    const more = ((nowMs - this.#lookedAtMs) * this.#perSecond) / 1000
    this.#allowed = Math.min(this.#allowed + more, Math.max(1, this.#perSecond))
    this.#lookedAtMs = nowMs
    if (this.#allowed >= 1) return Math.floor(this.#allowed)
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#listener.onReady()
    }, tickMs)
    return 0
  }

  given(count: number): void {
    this.#allowed -= count
  }

  close(): void {
    clearTimeout(this.#timer)
  }
}
