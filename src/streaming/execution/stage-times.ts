/**
 * Where a shard's time goes in an attempt, by the stage at which work begins: stages that run together as one chain are counted at the
 * first of them.
 */
import { batchBoundsMs } from '../assignment.ts'

export class StageTimes {
  readonly #busyMs: Float64Array
  readonly #blockedMs: Float64Array
  /** Since when the stage has had to wait; NaN: it need not. */
  readonly #blockedSinceMs: Float64Array
  /** By stage, then by bound. */
  readonly #batches: Float64Array

  constructor(stages: number) {
    this.#busyMs = new Float64Array(stages)
    this.#blockedMs = new Float64Array(stages)
    this.#blockedSinceMs = new Float64Array(stages).fill(Number.NaN)
    this.#batches = new Float64Array(stages * (batchBoundsMs.length + 1))
  }

  worked(stage: number, elapsedMs: number): void {
    this.#busyMs[stage] = (this.#busyMs[stage] ?? 0) + elapsedMs
    let bound = 0
    while (bound < batchBoundsMs.length && elapsedMs > (batchBoundsMs[bound] as number)) bound += 1
    const at = stage * (batchBoundsMs.length + 1) + bound
    this.#batches[at] = (this.#batches[at] ?? 0) + 1
  }

  /** Whether what is behind the stage is full now. Answers `isFull`. */
  looked(stage: number, isFull: boolean, nowMs: number): boolean {
    const sinceMs = this.#blockedSinceMs[stage] as number
    if (Number.isNaN(sinceMs) === !isFull) return isFull
    if (!isFull) this.#blockedMs[stage] = (this.#blockedMs[stage] ?? 0) + nowMs - sinceMs
    this.#blockedSinceMs[stage] = isFull ? nowMs : Number.NaN
    return isFull
  }

  of(stage: number, nowMs: number): { readonly busyMs: number; readonly blockedMs: number; readonly batches: readonly number[] } {
    const sinceMs = this.#blockedSinceMs[stage] as number
    const width = batchBoundsMs.length + 1
    return {
      busyMs: Math.round(this.#busyMs[stage] ?? 0),
      blockedMs: Math.round((this.#blockedMs[stage] ?? 0) + (Number.isNaN(sinceMs) ? 0 : Math.max(0, nowMs - sinceMs))),
      batches: [...this.#batches.subarray(stage * width, (stage + 1) * width)],
    }
  }
}
