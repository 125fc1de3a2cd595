/**
 * What a sliding window hands on to the next one: per key, the aggregates of the panes that both have. The next window adds the panes
 * that are new to it, and deducts those that it was the last to have.
 *
 * 1. It is derived from the panes and never stored: after a restart, and for a key whose panes changed behind it, the next window
 *    combines all of its panes again.
 * 2. Results are the same with and without. Sums are handed on only where deducting is exact: the sum of each pane is a whole number,
 *    small enough that no order of adding them up rounds.
 * 3. What is handed on is given up before it changes, and there again when all is done: a unit that is cut off leaves none, and one that
 *    is run again asks for a window that it is not for.
 */
import { cloneState } from '../clone-state.ts'
import type { Aggregation } from './aggregation.ts'
import { type Cells, Columns } from './columns.ts'

interface TimedCells {
  readonly start: number
  readonly cells: Cells
}

const never = Number.NEGATIVE_INFINITY

export class Carried {
  readonly #aggregation: Aggregation
  readonly #sizeMs: number
  readonly #everyMs: number
  /** Panes of a window. */
  readonly #panes: number
  /** By slot. */
  #columns: Columns
  /** By slot: end of the window that it is for. */
  #endOf: Float64Array
  // Of the keys of one chunk: has it, and may hand it on.
  readonly #has: Uint8Array
  readonly #exact: Uint8Array

  constructor(aggregation: Aggregation, sizeMs: number, everyMs: number, paneMs: number, chunkMax: number) {
    this.#aggregation = aggregation
    this.#sizeMs = sizeMs
    this.#everyMs = everyMs
    this.#panes = sizeMs / paneMs
    this.#columns = new Columns(aggregation.numberCount, aggregation.objectCount, 256)
    this.#endOf = new Float64Array(256).fill(never)
    this.#has = new Uint8Array(chunkMax)
    this.#exact = new Uint8Array(chunkMax)
  }

  get bytesPerSlot(): number {
    return 8 * (1 + this.#columns.numbers.length + this.#columns.objects.length)
  }

  makeRoom(slots: number): void {
    if (slots <= this.#endOf.length) return
    const capacity = slots * 2
    this.#columns = this.#columns.grown(capacity)
    const longer = new Float64Array(capacity).fill(never)
    longer.set(this.#endOf)
    this.#endOf = longer
  }

  /** Something of the slot was handed on to the window of that end: it holds rows. */
  has(slot: number, end: number): boolean {
    return this.#endOf[slot] === end
  }

  /** A pane of the slot changes. */
  forget(slot: number): void {
    if (slot < this.#endOf.length) this.#endOf[slot] = never
  }

  /** Aggregates of the window at 0, 1, ... of `into`. */
  combine(into: Columns, panes: readonly TimedCells[], slots: Int32Array, count: number, end: number): void {
    const aggregation = this.#aggregation
    const has = this.#has
    aggregation.reset(into, count)
    this.#exact.fill(1, 0, count)
    const hasAll = this.#takeOver(into, slots, count, end)
    const newFrom = end - this.#everyMs
    for (const { start, cells } of panes) {
      const isNew = start >= newFrom
      if (!isNew && hasAll) continue
      aggregation.combineOne(into, cells, slots, count, isNew ? undefined : has)
      aggregation.checkExact(cells, count, this.#panes, this.#exact)
    }
  }

  #takeOver(into: Columns, slots: Int32Array, count: number, end: number): boolean {
    const has = this.#has
    const { numbers, objects } = this.#columns
    let hasAll = true
    for (let i = 0; i < count; i += 1) {
      const slot = slots[i] as number
      if (this.#endOf[slot] !== end) {
        has[i] = 0
        hasAll = false
        continue
      }
      has[i] = 1
      this.#endOf[slot] = never
      for (let c = 0; c < numbers.length; c += 1) (into.numbers[c] as Float64Array)[i] = (numbers[c] as Float64Array)[slot] as number
      for (let c = 0; c < objects.length; c += 1) (into.objects[c] as unknown[])[i] = objects[c]?.[slot]
    }
    return hasAll
  }

  /** Hands on what `combine` has made, before results are made of it. Custom aggregates: user code. */
  handOn(from: Columns, panes: readonly TimedCells[], slots: Int32Array, count: number, end: number): void {
    const columns = this.#columns
    const exact = this.#exact
    for (let i = 0; i < count; i += 1) {
      if (exact[i] === 0) continue
      const slot = slots[i] as number
      for (let c = 0; c < columns.numbers.length; c += 1)
        (columns.numbers[c] as Float64Array)[slot] = (from.numbers[c] as Float64Array)[i] as number
      // `finish` may hand its accumulator out as the result.
      for (let c = 0; c < columns.objects.length; c += 1) put(columns.objects[c] as unknown[], slot, cloneState(from.objects[c]?.[i]))
    }
    const leavingUntil = end - this.#sizeMs + this.#everyMs
    for (const { start, cells } of panes) {
      if (start < leavingUntil) this.#aggregation.deductOne(columns, cells, slots, count, exact)
    }
    const next = end + this.#everyMs
    for (let i = 0; i < count; i += 1) {
      const slot = slots[i] as number
      if (exact[i] === 1 && (columns.rows[slot] as number) > 0) this.#endOf[slot] = next
    }
  }
}

function put(column: unknown[], at: number, value: unknown): void {
  while (column.length < at) column.push(undefined)
  column[at] = value
}
