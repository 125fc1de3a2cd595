/**
 * Tumbling and sliding windows on event time, by panes: a row is added once, to its pane; a window combines its panes when it closes.
 *
 *   [k * every, k * every + size) closes when the watermark is at or past its last millisecond
 *
 * 1. What a window holds depends on the rows' times alone. A row is late, and only counted and handed aside, when the last window that
 *    holds it closed longer than the allowed lateness ago; a window that is past that does not change any more, one that closed
 *    within it gives a new result for the key at once. After a restart the watermark of a partition is never lower than before.
 * 2. Work that a watermark makes due is done in pieces, in the order of the windows' ends: results of at most so many keys, a stored
 *    pane read, a pane emptied. The stage's own watermark moves on when it is done, so no result of it comes after.
 * 3. Early results, where wanted, come each time the watermark has passed another multiple of `earlyMs`: a row, marked early, for each
 *    open window of each key that had rows since. Which of them come depends on the progress of the watermark; the last ones do not.
 * 4. A pane goes, and its keys with it, when its last window is past the allowed lateness.
 * 5. Windows that share most of their panes hand on what those hold (carried.ts), where all aggregates can be deducted.
 */
import type { KeyCodec } from '../../../keys/key-codec.ts'
import type { Aggregates } from '../../graph/aggregate.ts'
import type { StageState, Stateful } from '../../state/stage-state.ts'
import { Batch } from '../batch.ts'
import { checkEmitted, type Due, Operator } from '../operator.ts'
import { noOrigin } from '../origin.ts'
import { type Unit, UnitSignal } from '../unit.ts'
import { Aggregation } from './aggregation.ts'
import { Carried } from './carried.ts'
import { ColumnPanes, type Pane } from './column-panes.ts'
import { Columns } from './columns.ts'
import { endAfter, firstEndOf, lastEndOf, paneStartOf, type WindowTimes, windowTimes } from './window-times.ts'

export interface PaneWindowOptions {
  readonly sizeMs: number
  /** The same as `sizeMs`: tumbling. */
  readonly everyMs: number
  readonly latenessMs?: number
  readonly earlyMs?: number | undefined
  readonly aggregates: Aggregates<never>
  readonly keyCodec: KeyCodec
}

/** Results of one window being given: how far the keys of its panes are gathered. */
interface Task {
  readonly end: number
  readonly isEarly: boolean
  readonly panes: readonly Pane[]
  pane: number
  position: number
  /** Rows have come meanwhile, for panes of it. */
  isDisturbed: boolean
}

const never = Number.NEGATIVE_INFINITY
const chunkMax = 1024
/** Positions given up, and stored records read, in one piece. */
const pieceMax = 8192

export class PaneWindowOperator extends Operator implements Due, Stateful {
  readonly state: StageState
  readonly #times: WindowTimes
  readonly #latenessMs: number
  readonly #earlyMs: number
  readonly #aggregation: Aggregation
  readonly #table: ColumnPanes
  readonly #keysAreIds: boolean
  readonly #out = new Batch()
  readonly #late = new Batch()
  #watermark = never
  /** Some partition's restored watermark is above the stage's. */
  #hasFloors = true
  /** End of the last window whose results were given. */
  #firedEnd = never
  /** undefined: each window combines all of its panes. */
  readonly #carried: Carried | undefined

  #task: Task | undefined
  #emptying: { readonly pane: Pane; from: number } | undefined
  #isClosing = false
  /** Keys laid out. */
  readonly #chunk = new Int32Array(chunkMax)
  #chunkFrom = 0
  #chunkEnd = 0
  #firing = 0
  readonly #combined: Columns
  /** By slot: number of the last task that has gathered it, where a window has several panes. */
  #gathered = new Int32Array(256)
  #taskNumber = 0

  #earlyNext = never
  #earlyEnds: number[] = []
  /** By slot: the early round in which it last had rows. */
  #changedIn = new Int32Array(256)
  #round = 1
  /** Results to be given again: slots by end of the window. */
  readonly #updates = new Map<number, Set<number>>()

  constructor(stage: number, unit: Unit, state: StageState, options: PaneWindowOptions) {
    super(stage, unit)
    const { sizeMs, everyMs, latenessMs = 0, earlyMs = 0, aggregates, keyCodec } = options
    this.state = state
    this.#times = windowTimes(sizeMs, everyMs)
    this.#latenessMs = latenessMs
    this.#earlyMs = earlyMs
    this.#aggregation = new Aggregation(aggregates)
    this.#table = new ColumnPanes(state, 1, unit, keyCodec, this.#aggregation)
    this.#keysAreIds = keyCodec === 'string' || keyCodec === 'int64'
    const { paneMs } = this.#times
    if (sizeMs > 2 * everyMs && this.#aggregation.deducts) this.#carried = new Carried(this.#aggregation, sizeMs, everyMs, paneMs, chunkMax)
    this.#combined = new Columns(this.#aggregation.numberCount, this.#aggregation.objectCount, chunkMax)
  }

  protected process(batch: Batch): void {
    this.#aggregation.makeRoom(batch.times.length)
    const { times, size } = batch
    const { paneMs } = this.#times
    let from = 0
    while (from < size) {
      const start = paneStartOf(this.#times, times[from] as number)
      const end = start + paneMs
      let to = from + 1
      while (to < size && (times[to] as number) >= start && (times[to] as number) < end) to += 1
      this.#addRun(batch, from, to, start)
      from = to
    }
    if (this.#updates.size > 0) this.#giveUpdates()
    const late = this.#late
    if (late.size > 0) {
      const counted = this.unit.counters.late
      counted[this.stage] = (counted[this.stage] as number) + late.size
      this.emitAside(late)
      late.clear()
    }
  }

  #addRun(batch: Batch, from: number, to: number, start: number): void {
    const lastEnd = lastEndOf(this.#times, start)
    // Between windows that do not meet.
    if (lastEnd <= start) return
    const { taken } = this.#aggregation
    taken.fill(1, from, to)
    const openUntil = lastEnd - 1 + this.#latenessMs
    if (openUntil <= this.#watermark) {
      for (let i = from; i < to; i += 1) this.#late.pushFrom(batch, i, batch.rows[i])
      return
    }
    if (this.#hasFloors) this.#takeOutLate(batch, from, to, openUntil)
    const failed = (index: number, thrown: unknown): void => this.rowFailed(batch, index, thrown)
    this.#aggregation.read(batch, from, to, failed)
    const table = this.#table
    const pane = table.pane(start)
    table.place(pane, batch.keys, batch.partitions, from, to, this.#keysAreIds)
    if (this.#carried !== undefined) this.#forgetCarried(this.#carried, pane, from, to)
    const undo = this.unit.undo ? table : undefined
    if (undo !== undefined) table.save(pane, from, to)
    this.#aggregation.add(pane.cells.columns, batch, from, to, undo, failed)
    if (this.#earlyMs > 0) this.#markChanged(pane, from, to)
    if (this.#latenessMs > 0 && (this.#hasFloors || firstEndOf(this.#times, start) - 1 <= this.#watermark))
      this.#markUpdates(batch, pane, from, to)
  }

  /** The pane of these rows is part of a window that was given, or is being given. */
  #forgetCarried(carried: Carried, { start, cells }: Pane, from: number, to: number): void {
    const task = this.#task
    const isInTask = task !== undefined && !task.isEarly && start < task.end
    if (start >= this.#firedEnd && !isInTask) return
    if (isInTask) task.isDisturbed = true
    const { taken, positions } = this.#aggregation
    for (let i = from; i < to; i += 1) if (taken[i] === 1) carried.forget(cells.slotAt(positions[i] as number))
  }

  #takeOutLate(batch: Batch, from: number, to: number, openUntil: number): void {
    const { taken } = this.#aggregation
    for (let i = from; i < to; i += 1) {
      if (openUntil > this.state.watermarkOf(batch.partitions[i] as number, this.#watermark)) continue
      taken[i] = 0
      this.#late.pushFrom(batch, i, batch.rows[i])
    }
  }

  // ---- results again, of windows that closed within the allowed lateness

  #markUpdates(batch: Batch, pane: Pane, from: number, to: number): void {
    const { taken, positions } = this.#aggregation
    const { everyMs } = this.#times
    const first = firstEndOf(this.#times, pane.start)
    const last = lastEndOf(this.#times, pane.start)
    for (let i = from; i < to; i += 1) {
      if (taken[i] === 0) continue
      const watermark = this.state.watermarkOf(batch.partitions[i] as number, this.#watermark)
      for (let end = first; end <= last && end - 1 <= watermark; end += everyMs) {
        if (end - 1 + this.#latenessMs <= watermark) continue
        let slots = this.#updates.get(end)
        if (slots === undefined) {
          slots = new Set()
          this.#updates.set(end, slots)
        }
        slots.add(pane.cells.slotAt(positions[i] as number))
      }
    }
  }

  #giveUpdates(): void {
    const updates = [...this.#updates].sort(([a], [b]) => a - b)
    this.#updates.clear()
    const chunk = new Int32Array(chunkMax)
    for (const [end, slots] of updates) {
      this.#bringStored(end, slots)
      const panes = this.#panesOf(end)
      let count = 0
      for (const slot of slots) {
        chunk[count] = slot
        count += 1
        if (count < chunkMax) continue
        this.#give(chunk, count, panes, end, false)
        count = 0
      }
      this.#give(chunk, count, panes, end, false)
    }
  }

  /** Of the window's panes, what only the store has of these keys. */
  #bringStored(end: number, slots: ReadonlySet<number>): void {
    const { sizeMs, paneMs } = this.#times
    const table = this.#table
    if (table.storedStart >= end) return
    for (let start = end - sizeMs; start < end; start += paneMs) {
      const pane = table.pane(start)
      for (const slot of slots) table.bring(pane, table.slots.sections[slot] as number)
    }
  }

  #panesOf(end: number): readonly Pane[] {
    const { sizeMs } = this.#times
    return this.#table.panes.filter(({ start, isGone }) => start >= end - sizeMs && start < end && !isGone)
  }

  #give(slots: Int32Array, count: number, panes: readonly Pane[], end: number, isEarly: boolean, isCarried = false): void {
    const out = this.#out
    out.size = 0
    try {
      this.#results(slots, count, panes, end, isEarly, isCarried)
    } catch (thrown) {
      if (thrown instanceof UnitSignal) throw thrown
      out.size = 0
      this.#resultsOneByOne(slots, count, panes, end, isEarly, isCarried)
    }
    checkEmitted(this.stage, out)
    this.emit(out)
  }

  #results(slots: Int32Array, count: number, panes: readonly Pane[], end: number, isEarly: boolean, isCarried: boolean): void {
    const aggregation = this.#aggregation
    const combined = this.#combined
    const { keys, partitions } = this.#table.slots
    const start = end - this.#times.sizeMs
    const out = this.#out
    const carried = isCarried ? this.#carried : undefined
    if (carried === undefined) aggregation.combine(combined, panes, slots, count)
    else {
      carried.combine(combined, panes, slots, count, end)
      if (this.#task?.isDisturbed === false) carried.handOn(combined, panes, slots, count, end)
    }
    const { rows } = combined
    for (let i = 0; i < count; i += 1) {
      if (rows[i] === 0) continue
      const slot = slots[i] as number
      const row = aggregation.result(combined, i, keys[slot], start, end)
      if (this.#earlyMs > 0) row['early'] = isEarly
      out.push(row, end - 1, noOrigin, keys[slot], partitions[slot] as number)
    }
  }

  /** Some custom aggregate has thrown: the windows that fail are given up, each by the job's rule. */
  #resultsOneByOne(slots: Int32Array, count: number, panes: readonly Pane[], end: number, isEarly: boolean, isCarried: boolean): void {
    for (let i = 0; i < count; i += 1) {
      try {
        this.#results(slots.subarray(i), 1, panes, end, isEarly, isCarried)
      } catch (thrown) {
        const row = { key: this.#table.slots.keys[slots[i] as number], windowStart: end - this.#times.sizeMs, windowEnd: end }
        this.unit.rowFailed(this.stage, noOrigin, thrown, row)
      }
    }
  }

  // ---- what a watermark makes due

  advanceTo(watermark: number): void {
    this.#watermark = watermark
    if (this.#hasFloors) this.#hasFloors = this.state.partitions.some(partition => this.state.watermarkOf(partition, watermark) > watermark)
    const earlyMs = this.#earlyMs
    if (earlyMs > 0 && watermark >= this.#earlyNext && Number.isFinite(watermark)) {
      if (this.#earlyNext !== never) this.#earlyEnds = this.#openEnds()
      this.#earlyNext = (Math.floor(watermark / earlyMs) + 1) * earlyMs
      if (this.#earlyEnds.length > 0) this.#round += 1
    }
  }

  prepareFire(limit: number): boolean {
    for (;;) {
      if (this.#chunkFrom < this.#chunkEnd) {
        this.#firing = Math.min(limit, this.#chunkEnd - this.#chunkFrom)
        return true
      }
      if (this.#task !== undefined) {
        this.#gather(this.#task, Math.min(limit, chunkMax))
        if (this.#chunkEnd === 0) this.#endTask(this.#task)
        continue
      }
      if (this.#emptying !== undefined || this.#dropNext()) return true
      const end = this.#nextEnd()
      if (end < Number.POSITIVE_INFINITY && end - 1 <= this.#watermark) {
        if (this.#table.storedStart < end) {
          this.#table.loadStored(end, Math.min(limit, pieceMax))
          return true
        }
        this.#begin(end, false)
        continue
      }
      const early = this.#earlyEnds.shift()
      if (early === undefined) return false
      if (early - 1 > this.#watermark) this.#begin(early, true)
    }
  }

  fire(): void {
    if (this.#emptying !== undefined) {
      if (this.#isClosing) this.#table.closing(this.#emptying.pane)
      return
    }
    const task = this.#task
    if (task === undefined) return
    this.#give(this.#chunk.subarray(this.#chunkFrom), this.#firing, task.panes, task.end, task.isEarly, !task.isEarly)
  }

  fired(): void {
    if (this.#emptying !== undefined) {
      this.#isClosing = false
      const { pane, from } = this.#emptying
      const next = this.#table.empty(pane, from, pieceMax)
      if (next === -1) this.#emptying = undefined
      else this.#emptying.from = next
      return
    }
    this.#chunkFrom += this.#firing
    this.#firing = 0
  }

  dropFirst(): unknown {
    const end = this.#task?.end
    if (end === undefined || this.#chunkFrom === this.#chunkEnd) return undefined
    const slot = this.#chunk[this.#chunkFrom] as number
    this.#chunkFrom += 1
    return { key: this.#table.slots.keys[slot], windowStart: end - this.#times.sizeMs }
  }

  /** End of the first window that has rows and was not given yet. */
  #nextEnd(): number {
    const { panes, storedStart } = this.#table
    let next = this.#firstUngiven(storedStart)
    for (const { start } of panes) {
      if (lastEndOf(this.#times, start) <= this.#firedEnd) continue
      next = Math.min(next, this.#firstUngiven(start))
      break
    }
    return next
  }

  #firstUngiven(start: number): number {
    if (start === Number.POSITIVE_INFINITY) return start
    const first = firstEndOf(this.#times, start)
    return first > this.#firedEnd ? first : endAfter(this.#times, this.#firedEnd)
  }

  /** The earliest pane is past everything. */
  #dropNext(): boolean {
    const pane = this.#table.panes[0]
    if (pane === undefined) return false
    const lastEnd = lastEndOf(this.#times, pane.start)
    if (lastEnd > this.#firedEnd || lastEnd - 1 + this.#latenessMs > this.#watermark || this.#table.storedStart <= pane.start) return false
    this.#emptying = { pane, from: 0 }
    this.#isClosing = true
    return true
  }

  #begin(end: number, isEarly: boolean): void {
    this.#taskNumber += 1
    this.#task = { end, isEarly, panes: this.#panesOf(end), pane: 0, position: 0, isDisturbed: false }
    this.#carried?.makeRoom(this.#table.slots.top)
    if (this.#gathered.length < this.#table.slots.top) this.#gathered = new Int32Array(this.#table.slots.top * 2)
  }

  #endTask(task: Task): void {
    if (!task.isEarly) this.#firedEnd = task.end
    this.#task = undefined
  }

  /** Lays the next keys of the window out; none: all were. */
  #gather(task: Task, limit: number): void {
    if (this.#carried !== undefined && !task.isEarly) {
      this.#gatherSlots(this.#carried, task, limit)
      return
    }
    const chunk = this.#chunk
    const gathered = this.#gathered
    const number = this.#taskNumber
    const isOne = task.panes.length === 1
    let count = 0
    for (; task.pane < task.panes.length; task.pane += 1) {
      const { cells } = task.panes[task.pane] as Pane
      const { rows } = cells.columns
      const { top } = cells
      for (; task.position < top; task.position += 1) {
        if (count === limit) break
        if (rows[task.position] === 0) continue
        const slot = cells.slotAt(task.position)
        if (!isOne) {
          if (gathered[slot] === number) continue
          gathered[slot] = number
        }
        if (!this.#isWanted(slot, task)) continue
        chunk[count] = slot
        count += 1
      }
      if (task.position < top) break
      task.position = 0
    }
    this.#chunkFrom = 0
    this.#chunkEnd = count
  }

  /** The same where most keys are known from the window before: by slot. */
  #gatherSlots(carried: Carried, task: Task, limit: number): void {
    const { slots } = this.#table
    let count = 0
    for (; task.position < slots.top && count < limit; task.position += 1) {
      const slot = task.position
      if (!carried.has(slot, task.end) && !this.#isInPanes(slot, task)) continue
      if (!this.#isWanted(slot, task)) continue
      this.#chunk[count] = slot
      count += 1
    }
    this.#chunkFrom = 0
    this.#chunkEnd = count
  }

  #isInPanes(slot: number, { end, panes }: Task): boolean {
    if (this.#table.lastPaneOf(slot) < end - this.#times.sizeMs) return false
    for (let p = panes.length - 1; p >= 0; p -= 1) {
      const { cells } = panes[p] as Pane
      const at = cells.find(slot)
      if (at !== -1 && (cells.columns.rows[at] as number) > 0) return true
    }
    return false
  }

  #isWanted(slot: number, { end, isEarly }: Task): boolean {
    if (isEarly && this.#changedIn[slot] !== this.#round - 1) return false
    // Given before the restart.
    return !this.#hasFloorAt || this.state.watermarkOf(this.#table.slots.partitions[slot] as number, never) < end - 1
  }

  get #hasFloorAt(): boolean {
    return !this.state.isFresh
  }

  // ---- early results

  #openEnds(): number[] {
    const ends = new Set<number>()
    const { everyMs } = this.#times
    for (const { start } of this.#table.panes) {
      for (let end = firstEndOf(this.#times, start); end <= lastEndOf(this.#times, start); end += everyMs) {
        if (end - 1 > this.#watermark) ends.add(end)
      }
    }
    return [...ends].sort((a, b) => a - b)
  }

  #markChanged({ cells }: Pane, from: number, to: number): void {
    const { taken, positions } = this.#aggregation
    if (this.#changedIn.length < this.#table.slots.top) {
      const longer = new Int32Array(this.#table.slots.top * 2)
      longer.set(this.#changedIn)
      this.#changedIn = longer
    }
    for (let i = from; i < to; i += 1) if (taken[i] === 1) this.#changedIn[cells.slotAt(positions[i] as number)] = this.#round
  }

  override commit(): void {
    this.#table.commit()
  }

  override rollback(): void {
    this.#updates.clear()
    this.#late.clear()
    this.#table.rollback()
  }

  override get stateBytes(): number {
    return this.#table.bytes + (this.#carried?.bytesPerSlot ?? 0) * this.#table.slots.size
  }
}
