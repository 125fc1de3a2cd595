/**
 * The splits of one source stage on one shard: opens them, takes batches in turn, keeps their event time.
 *
 * At most `openSplitsMax` are read side by side; the others wait, and hold the watermark back meanwhile. Of each open split at
 * most one batch is taken and not yet processed; the reader bounds what it reads ahead.
 */
import type { Split } from '../assignment.ts'
import type { SourceBatch, SplitReader } from '../source.ts'
import { SplitClock, WatermarkMerge } from '../time/watermarks.ts'

export const openSplitsMax = 64

export type OpenSplit = (split: Split) => SplitReader

export interface Reading {
  readonly index: number
  readonly reader: SplitReader
  batch: SourceBatch | undefined
  cursor: number
}

export class SplitQueue {
  /** Of all splits; infinite when all have ended. */
  readonly mark: WatermarkMerge
  readonly #splits: readonly Split[]
  readonly #clocks: readonly SplitClock[]
  readonly #open: OpenSplit
  /** In the order of their turns. */
  readonly #reading: Reading[] = []
  #next = 0

  constructor(splits: readonly Split[], open: OpenSplit, outOfOrdernessMs: number, idleAfterMs: number | undefined) {
    this.#splits = splits
    this.#open = open
    this.#clocks = splits.map(() => new SplitClock(outOfOrdernessMs, idleAfterMs))
    this.mark = new WatermarkMerge(splits.length)
  }

  get tasks(): number {
    return this.#splits.length
  }

  /** The first split, in turn, that has rows to process. Throws NearstateError when a split cannot be read. */
  next(nowMs: number): Reading | undefined {
    this.#openMore(nowMs)
    let waiting = 0
    while (waiting < this.#reading.length) {
      const reading = this.#reading[0] as Reading
      if (reading.batch !== undefined) return reading
      const taken = reading.reader.take()
      if (taken === 'end') {
        this.#reading.shift()
        this.#end(reading)
        this.#openMore(nowMs)
      } else if (taken === undefined) {
        this.#rotate()
        waiting += 1
      } else if (taken.records.length + taken.rejected.length > 0) {
        reading.batch = taken
        reading.cursor = 0
        return reading
      } else if (taken.watermark !== undefined) {
        this.#said(reading, taken.watermark, nowMs)
      }
      // An empty batch says that there may be more: asked again.
    }
    return undefined
  }

  /** So many records of the split's batch are done, the latest of them at this time. */
  advance(reading: Reading, records: number, greatestTime: number, nowMs: number): void {
    reading.cursor += records
    const clock = this.#clocks[reading.index] as SplitClock
    clock.saw(greatestTime, nowMs)
    this.mark.set(reading.index, clock.watermark, clock.idle)
    if (reading.batch !== undefined && reading.cursor >= reading.batch.records.length) {
      reading.batch = undefined
      this.#rotate()
    }
  }

  /** Leaves out splits without events for too long. */
  checkIdle(nowMs: number): void {
    for (const { index, batch } of this.#reading) {
      const clock = this.#clocks[index] as SplitClock
      if (batch === undefined && clock.checkIdle(nowMs)) this.mark.set(index, clock.watermark, true)
    }
  }

  /** When checkIdle may find something. */
  get idleAtMs(): number {
    let earliest = Number.POSITIVE_INFINITY
    for (const { index } of this.#reading) earliest = Math.min(earliest, (this.#clocks[index] as SplitClock).idleAtMs)
    return earliest
  }

  close(): void {
    for (const { reader } of this.#reading) reader.close()
    this.#reading.length = 0
    this.#next = this.#splits.length
  }

  #openMore(nowMs: number): void {
    while (this.#reading.length < openSplitsMax && this.#next < this.#splits.length) {
      const index = this.#next
      this.#next += 1
      this.#clocks[index]?.opened(nowMs)
      this.#reading.push({ index, reader: this.#open(this.#splits[index] as Split), batch: undefined, cursor: 0 })
    }
  }

  #said(reading: Reading, watermark: number, nowMs: number): void {
    const clock = this.#clocks[reading.index] as SplitClock
    clock.said(watermark, nowMs)
    this.mark.set(reading.index, clock.watermark, clock.idle)
  }

  #end(reading: Reading): void {
    reading.reader.close()
    const clock = this.#clocks[reading.index] as SplitClock
    clock.ended()
    this.mark.set(reading.index, clock.watermark, false)
  }

  #rotate(): void {
    const first = this.#reading.shift()
    if (first !== undefined) this.#reading.push(first)
  }
}
