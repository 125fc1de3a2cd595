/**
 * The splits of one source stage on one shard: opens them, takes batches in turn, keeps their event time.
 *
 * At most `openSplitsMax` are read side by side; the others wait, and hold the watermark back meanwhile. Of each open split at
 * most one batch is taken and not yet processed; the reader bounds what it reads ahead.
 */
import type { Split } from '../assignment.ts'
import { type SplitRecord, type SplitState, unread } from '../checkpoint/split-state.ts'
import type { SourceBatch, SplitPosition, SplitReader } from '../source.ts'
import { SplitClock, WatermarkMerge } from '../time/watermarks.ts'

export const openSplitsMax = 64

export type OpenSplit = (split: Split, position: SplitPosition | undefined) => SplitReader

export interface Reading {
  readonly index: number
  readonly reader: SplitReader
  batch: SourceBatch | undefined
  cursor: number
  /** Where the batch taken last begins; undefined: none was taken, or the reader says none. */
  position: SplitPosition | undefined
  /** Before the batch at hand, from `position` on, or from where the reader was opened. */
  done: { records: number; rejected: number }
  /** Records and rejected records that were done before the restore, and come again. */
  skip: { records: number; rejected: number }
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
  /** Splits of which a checkpoint does not know how far they are. */
  readonly #changed = new Set<number>()
  readonly #ended = new Set<number>()
  /** What readers are told when the barrier is committed. */
  #reached: { readonly n: number; readonly reading: Reading; readonly position: SplitPosition }[] = []

  constructor(splits: readonly Split[], open: OpenSplit, outOfOrdernessMs: number, idleAfterMs: number | undefined) {
    this.#splits = splits
    this.#open = open
    this.#clocks = splits.map(() => new SplitClock(outOfOrdernessMs, idleAfterMs))
    this.mark = new WatermarkMerge(splits.length)
    for (const [index, { restored }] of splits.entries()) this.#restore(index, restored)
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
      const taken = passOver(reading, reading.reader.take())
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
    this.#changed.add(reading.index)
    reading.cursor += records
    const clock = this.#clocks[reading.index] as SplitClock
    clock.saw(greatestTime, nowMs)
    this.mark.set(reading.index, clock.watermark, clock.idle)
    if (reading.batch !== undefined && reading.cursor >= reading.batch.records.length) {
      reading.done.records += reading.batch.records.length
      reading.done.rejected += reading.batch.rejected.length
      reading.batch = undefined
      this.#rotate()
    }
  }

  /** How far the splits are that have moved since the last snapshot that was taken. */
  snapshot(n: number): readonly SplitRecord[] {
    const records: SplitRecord[] = []
    for (const index of this.#changed) records.push({ split: bare(this.#splits[index] as Split), state: this.#stateOf(index, n) })
    this.#changed.clear()
    return records
  }

  /** Barrier n is committed. */
  committed(n: number): void {
    for (const { n: at, reading, position } of this.#reached) if (at === n) reading.reader.committed?.(position)
    this.#reached = this.#reached.filter(({ n: at }) => at > n)
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
      if (this.#ended.has(index)) continue
      this.#clocks[index]?.opened(nowMs)
      const { position, restored } = this.#splits[index] as Split
      const from = restored?.position ?? position
      const { records, rejected } = restored ?? unread
      const reader = this.#open(this.#splits[index] as Split, from ?? undefined)
      const done = { records: 0, rejected: 0 }
      this.#reading.push({ index, reader, batch: undefined, cursor: 0, position: undefined, done, skip: { records, rejected } })
    }
  }

  #said(reading: Reading, watermark: number, nowMs: number): void {
    const clock = this.#clocks[reading.index] as SplitClock
    clock.said(watermark, nowMs)
    this.#changed.add(reading.index)
    this.mark.set(reading.index, clock.watermark, clock.idle)
  }

  #end(reading: Reading): void {
    reading.reader.close()
    this.#reached = this.#reached.filter(({ reading: of }) => of !== reading)
    this.#ended.add(reading.index)
    this.#changed.add(reading.index)
    const clock = this.#clocks[reading.index] as SplitClock
    clock.ended()
    this.mark.set(reading.index, clock.watermark, false)
  }

  #restore(index: number, restored: SplitState | undefined): void {
    if (restored === undefined) {
      this.#changed.add(index)
      return
    }
    const clock = this.#clocks[index] as SplitClock
    if (restored.ended) {
      this.#ended.add(index)
      clock.ended()
    } else if (restored.watermark !== null) {
      clock.restored(restored.watermark)
    }
    this.mark.set(index, clock.watermark, false)
  }

  #stateOf(index: number, n: number): SplitState {
    const { watermark } = this.#clocks[index] as SplitClock
    const known = this.#splits[index] as Split
    const before = known.restored ?? { ...unread, position: known.position ?? null }
    const ended = this.#ended.has(index)
    const finite = Number.isFinite(watermark) ? watermark : null
    const reading = this.#reading.find(one => one.index === index)
    if (reading === undefined) return { ...before, watermark: finite, ended }
    const { batch, cursor, done, skip, position } = reading
    const isBegun = batch !== undefined && cursor > 0
    if (position !== undefined && position !== null) this.#reached.push({ n, reading, position })
    return {
      position: position ?? before.position,
      // What is still to be passed over was done before the restore.
      records: done.records + skip.records + (isBegun ? cursor : 0),
      rejected: done.rejected + skip.rejected + (isBegun ? batch.rejected.length : 0),
      watermark: finite,
      ended,
    }
  }

  #rotate(): void {
    const first = this.#reading.shift()
    if (first !== undefined) this.#reading.push(first)
  }
}

/** The split without what changes. */
const bare = ({ id, descriptor }: Split): Split => ({ id, descriptor })

/** Leaves out what was done before the restore, and notes where the batch begins. */
function passOver(reading: Reading, taken: SourceBatch | 'end' | undefined): SourceBatch | 'end' | undefined {
  if (taken === undefined || taken === 'end') return taken
  if (taken.position !== undefined) {
    reading.position = taken.position
    reading.done = { records: 0, rejected: 0 }
  }
  const { skip, done } = reading
  if (skip.records === 0 && skip.rejected === 0) return taken
  const records = Math.min(skip.records, taken.records.length)
  const rejected = Math.min(skip.rejected, taken.rejected.length)
  skip.records -= records
  skip.rejected -= rejected
  done.records += records
  done.rejected += rejected
  return { ...taken, records: taken.records.slice(records), lines: taken.lines.slice(records), rejected: taken.rejected.slice(rejected) }
}
