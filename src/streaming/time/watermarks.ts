/**
 * Watermarks: w says that no event with time <= w will follow (protocols.md section 7).
 *
 * 1. A split: its greatest event time - outOfOrderness - 1 ms; infinite when it has ended.
 * 2. A split that is not open yet holds everything back. An open one without events for `idleAfter` is left out.
 * 3. A stage: the least of its inputs that are not idle; it never goes down. All idle: it stays, and is idle itself.
 */

export const noWatermark = Number.NEGATIVE_INFINITY
export const endOfInput = Number.POSITIVE_INFINITY

/** A mark with the word whether it holds others back. */
export interface Mark {
  watermark: number
  idle: boolean
}

/** The least of several inputs (splits, stages, senders), each set by its index. */
export class WatermarkMerge implements Mark {
  watermark = noWatermark
  idle = false
  readonly #watermarks: Float64Array
  readonly #idle: Uint8Array

  constructor(inputs: number) {
    this.#watermarks = new Float64Array(inputs).fill(noWatermark)
    this.#idle = new Uint8Array(inputs)
    if (inputs === 0) this.watermark = endOfInput
  }

  /** True: the outcome changed. A lower watermark than the input's last counts as its last. */
  set(input: number, watermark: number, idle: boolean): boolean {
    const last = this.#watermarks[input] as number
    const raised = Math.max(last, watermark)
    if (raised === last && (this.#idle[input] === 1) === idle) return false
    this.#watermarks[input] = raised
    this.#idle[input] = idle ? 1 : 0
    return this.#merge()
  }

  #merge(): boolean {
    let least = endOfInput
    let counted = 0
    let ended = 0
    for (let i = 0; i < this.#watermarks.length; i += 1) {
      const watermark = this.#watermarks[i] as number
      if (watermark === endOfInput) {
        ended += 1
      } else if (this.#idle[i] === 0) {
        counted += 1
        if (watermark < least) least = watermark
      }
    }
    const allEnded = ended === this.#watermarks.length
    const idle = counted === 0 && !allEnded
    const watermark = idle ? this.watermark : Math.max(this.watermark, least)
    if (watermark === this.watermark && idle === this.idle) return false
    this.watermark = watermark
    this.idle = idle
    return true
  }
}

/** One split's own time. */
export class SplitClock implements Mark {
  watermark = noWatermark
  idle = false
  readonly #outOfOrdernessMs: number
  readonly #idleAfterMs: number | undefined
  #greatest = noWatermark
  #lastEventAtMs = 0

  constructor(outOfOrdernessMs: number, idleAfterMs: number | undefined) {
    this.#outOfOrdernessMs = outOfOrdernessMs
    this.#idleAfterMs = idleAfterMs
  }

  opened(nowMs: number): void {
    this.#lastEventAtMs = nowMs
  }

  /** Events came, the latest of them at this time. */
  saw(greatestTime: number, nowMs: number): void {
    this.#lastEventAtMs = nowMs
    this.idle = false
    if (greatestTime <= this.#greatest) return
    this.#greatest = greatestTime
    this.watermark = Math.max(this.watermark, greatestTime - this.#outOfOrdernessMs - 1)
  }

  /** The reader itself says that no event with time <= this will follow. */
  said(watermark: number, nowMs: number): void {
    this.#lastEventAtMs = nowMs
    this.idle = false
    this.watermark = Math.max(this.watermark, watermark)
  }

  /** What a checkpoint knew. */
  restored(watermark: number): void {
    this.watermark = watermark
  }

  ended(): void {
    this.watermark = endOfInput
    this.idle = false
  }

  /** True: it has just become idle. */
  checkIdle(nowMs: number): boolean {
    if (this.idle || this.watermark === endOfInput || nowMs < this.idleAtMs) return false
    this.idle = true
    return true
  }

  /** When it becomes idle if no event comes. */
  get idleAtMs(): number {
    return this.#idleAfterMs === undefined || this.idle ? Number.POSITIVE_INFINITY : this.#lastEventAtMs + this.#idleAfterMs
  }
}
