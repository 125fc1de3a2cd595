/**
 * The aggregates of a window, carried out column by column: a run of rows is first asked for all values of one aggregate, then of the
 * next; then each column changes. One loop per aggregate, no object per row.
 *
 * 1. A row whose user code throws, or whose value is of the wrong kind, is left out of all aggregates.
 * 2. Custom aggregates go row by row, before the others, since their code may throw while it changes state.
 * 3. Combining never changes what is combined.
 */
import { invalidArgument } from '../../../base/errors.ts'
import type { Aggregates } from '../../graph/aggregate.ts'
import type { Batch } from '../batch.ts'
import type { Cells, Columns } from './columns.ts'
import {
  CountStep,
  type CustomAggregate,
  CustomStep,
  DistinctStep,
  ExtremeStep,
  type ObjectUndo,
  type Run,
  type Step,
  SumStep,
} from './steps.ts'

/** Where a failing row is reported. */
export type RowFailed = (index: number, thrown: unknown) => void

export class Aggregation {
  readonly numberCount: number
  readonly objectCount: number
  readonly #steps: readonly Step[]
  readonly #customs: readonly CustomStep[]
  /** By row of the batch: 1 is to be added, and where. */
  taken = new Uint8Array(64)
  positions = new Int32Array(64)
  readonly #template: Record<string, unknown> = { key: '', windowStart: 0.5, windowEnd: 0.5 }

  constructor(aggregates: Aggregates<never>) {
    this.#steps = Object.entries(aggregates).map(([name, aggregate]) => stepOf(name, aggregate))
    this.#customs = this.#steps.filter(step => step instanceof CustomStep)
    let numbers = 1
    let objects = 0
    for (const step of this.#steps) {
      if (step.hasNumber) step.number = numbers++
      if (step.hasObject) step.object = objects++
      this.#template[step.name] = undefined
    }
    this.numberCount = numbers
    this.objectCount = objects
  }

  makeRoom(rows: number): void {
    if (this.taken.length >= rows) return
    const room = Math.max(rows, this.taken.length * 2)
    this.taken = new Uint8Array(room)
    this.positions = new Int32Array(room)
    for (const step of this.#steps) step.makeRoom(room)
  }

  /** Asks the rows [from, to) for their values: user code. Rows with `taken` 0 are passed over, those that fail become so. */
  read(batch: Batch, from: number, to: number, failed: RowFailed): void {
    const run = this.#run(batch, from, to)
    for (const step of this.#steps) {
      step.at = from
      while (step.at < to) {
        try {
          step.read(run)
          break
        } catch (thrown) {
          this.taken[step.at] = 0
          failed(step.at, thrown)
          step.at += 1
        }
      }
    }
  }

  /** A position that held nothing. */
  begin(columns: Columns, position: number): void {
    const steps = this.#steps
    for (let i = 0; i < steps.length; i += 1) (steps[i] as Step).begin(columns, position)
  }

  /** Adds the rows that `read` has read at their `positions`. */
  add(columns: Columns, batch: Batch, from: number, to: number, undo: ObjectUndo | undefined, failed: RowFailed): void {
    const run = this.#run(batch, from, to)
    if (this.#customs.length > 0) this.#addCustom(columns, run, undo, failed)
    for (const step of this.#steps) step.add(columns, run, undo)
    const { rows } = columns
    const { taken, positions } = this
    for (let i = from; i < to; i += 1) {
      if (taken[i] === 0) continue
      const at = positions[i] as number
      rows[at] = (rows[at] as number) + 1
    }
  }

  #addCustom(columns: Columns, { rows, positions, taken, from, to }: Run, undo: ObjectUndo | undefined, failed: RowFailed): void {
    const customs = this.#customs
    for (let i = from; i < to; i += 1) {
      if (taken[i] === 0) continue
      const at = positions[i] as number
      const saved = undo === undefined ? undefined : customs.map(step => step.save(columns, at, undo))
      try {
        for (const step of customs) step.addRow(columns, at, rows[i])
      } catch (thrown) {
        for (const [k, step] of customs.entries()) if (saved !== undefined) step.putBack(columns, at, saved[k])
        taken[i] = 0
        failed(i, thrown)
      }
    }
  }

  /** Combines what the panes hold of so many slots; the results are at 0, 1, ... of `into`, whose old content goes. */
  combine(into: Columns, panes: readonly { readonly cells: Cells }[], slots: Int32Array, count: number): void {
    this.reset(into, count)
    for (let p = 0; p < panes.length; p += 1) this.combineOne(into, (panes[p] as { readonly cells: Cells }).cells, slots, count)
  }

  /** Nothing yet at 0, 1, ... of `into`. */
  reset(into: Columns, count: number): void {
    into.clear(count)
    for (const step of this.#steps) step.reset(into, count)
    this.makeRoom(count)
  }

  /** One pane more, but for those whose `left` is 1; leaves in `positions` where they are in the pane. */
  combineOne(into: Columns, cells: Cells, slots: Int32Array, count: number, left?: Uint8Array): void {
    const { positions } = this
    const { columns } = cells
    const { rows } = columns
    const total = into.rows
    for (let i = 0; i < count; i += 1) {
      const at = left?.[i] === 1 ? -1 : cells.find(slots[i] as number)
      const found = at >= 0 ? (rows[at] as number) : 0
      positions[i] = found === 0 ? -1 : at
      total[i] = (total[i] as number) + found
    }
    for (const step of this.#steps) step.combine(into, columns, positions, count)
  }

  /** Of what `combineOne` has added last: clears `exact` of those for which deducting is not the same as combining the rest. */
  checkExact({ columns }: Cells, count: number, panes: number, exact: Uint8Array): void {
    for (const step of this.#steps) step.checkExact(columns, this.positions, count, panes, exact)
  }

  /** Takes one pane away from what `from` holds at each slot, where its `kept` is 1. */
  deductOne(from: Columns, cells: Cells, slots: Int32Array, count: number, kept: Uint8Array): void {
    const { positions } = this
    const { columns } = cells
    const { rows } = columns
    const total = from.rows
    for (let i = 0; i < count; i += 1) {
      const slot = slots[i] as number
      const at = kept[i] === 1 ? cells.find(slot) : -1
      const found = at >= 0 ? (rows[at] as number) : 0
      positions[i] = found === 0 ? -1 : at
      if (found > 0) total[slot] = (total[slot] as number) - found
    }
    for (const step of this.#steps) step.deduct(from, slots, columns, positions, count)
  }

  /** Whether windows can go on from the one before. */
  get deducts(): boolean {
    return this.#steps.every(step => step.deducts)
  }

  /** A result row. */
  result(columns: Columns, position: number, key: unknown, windowStart: number, windowEnd: number): Record<string, unknown> {
    const row: Record<string, unknown> = { ...this.#template }
    row['key'] = key
    row['windowStart'] = windowStart
    row['windowEnd'] = windowEnd
    const steps = this.#steps
    for (let i = 0; i < steps.length; i += 1) {
      const step = steps[i] as Step
      row[step.name] = step.result(columns, position)
    }
    return row
  }

  // ---- as plain data

  /** Numbers and objects of the positions, by column. */
  store(columns: Columns, positions: readonly number[]): readonly [numbers: number[][], objects: unknown[][]] {
    const numbers = columns.numbers.map(column => positions.map(at => column[at] as number))
    const objects: unknown[][] = []
    for (const step of this.#steps) {
      if (step.object < 0) continue
      const column = columns.objects[step.object] as unknown[]
      objects.push(column.length === 0 ? [] : positions.map(at => step.store(column[at])))
    }
    return [numbers, objects]
  }

  /** Puts entry `index` of what `store` gave at a position. */
  restore(
    columns: Columns,
    position: number,
    numbers: readonly (readonly number[])[],
    objects: readonly (readonly unknown[])[],
    index: number,
  ): void {
    for (const [c, column] of columns.numbers.entries()) column[position] = numbers[c]?.[index] as number
    for (const step of this.#steps) {
      if (step.object < 0) continue
      const stored = objects[step.object]
      if (stored === undefined || stored.length === 0) continue
      const value = step.restore(stored[index])
      const column = columns.objects[step.object] as unknown[]
      while (column.length < position) column.push(undefined)
      column[position] = value
    }
  }

  /** The position is given up. */
  forget(columns: Columns, position: number): void {
    for (const step of this.#steps) step.forget(columns, position)
  }

  get bytes(): number {
    let bytes = 0
    for (const step of this.#steps) bytes += step.bytes
    return bytes
  }

  #run(batch: Batch, from: number, to: number): Run {
    return { rows: batch.rows, taken: this.taken, positions: this.positions, from, to }
  }
}

function stepOf(name: string, aggregate: Aggregates<never>[string]): Step {
  const { operation, of } = aggregate
  const custom = (aggregate as { readonly custom?: CustomAggregate }).custom
  if (custom !== undefined) return new CustomStep(name, custom)
  const value = (of ?? (() => 1)) as (row: unknown) => unknown
  switch (operation) {
    case 'count':
      return new CountStep(name)
    case 'sum':
    case 'avg':
      return new SumStep(name, value, operation === 'avg')
    case 'max':
    case 'min':
      return new ExtremeStep(name, value, operation === 'max')
    case 'countDistinct':
      return new DistinctStep(name, value)
    case 'custom':
      throw invalidArgument(`Aggregate "${name}" says that it is custom and has no functions: make it with defineAggregate`)
  }
}
