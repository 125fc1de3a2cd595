/**
 * One aggregate of a window on columns (columns.ts): how it reads rows, adds them, combines panes, writes its result, and is stored.
 * Each method is a loop over many rows or keys; `position` -1 is a key that is not in the pane.
 */
import { invalidArgument } from '../../../base/errors.ts'
import { BrokenRow } from '../../graph/broken-row.ts'
import { refusePromise } from '../../graph/refuse-async.ts'
import { cloneState } from '../clone-state.ts'
import { latin1Of } from '../key-id.ts'
import type { Undoable } from '../unit.ts'
import type { Columns } from './columns.ts'

/** An aggregate of the user's own. Accumulators are plain data; `add` and `combine` may change and return their first argument. */
export interface CustomAggregate {
  create(): unknown
  add(accumulator: unknown, row: unknown): unknown
  combine(accumulator: unknown, other: unknown): unknown
  deduct?(accumulator: unknown, other: unknown): unknown
  finish(accumulator: unknown): unknown
}

/** The rows of a run and where they go. */
export interface Run {
  readonly rows: readonly unknown[]
  /** 1: the row is to be added. */
  readonly taken: Uint8Array
  readonly positions: Int32Array
  readonly from: number
  readonly to: number
}

/** How objects in columns are put back when the unit is undone; undefined: it never is. */
export interface ObjectUndo {
  changing(what: Undoable): void
  /** A place that is found again after columns have been replaced. */
  placeOf(position: number): () => { readonly columns: Columns; readonly position: number } | undefined
}

export abstract class Step {
  readonly name: string
  /** Index of its column of numbers, and of objects; -1: it has none. */
  number = -1
  object = -1
  readonly hasNumber: boolean = false
  readonly hasObject: boolean = false
  /** Where `read` stands, when user code throws. */
  at = 0

  constructor(name: string) {
    this.name = name
  }

  /** Asks the rows for their values, from `this.at` on: user code. */
  read(_run: Run): void {}
  makeRoom(_rows: number): void {}
  /** The first positions of columns that were cleared, to combine into. */
  reset(columns: Columns, count: number): void {
    const column = columns.objects[this.object]
    if (column !== undefined) for (let i = 0; i < count; i += 1) column.push(undefined)
  }
  /** A position begins empty. */
  begin(_columns: Columns, _position: number): void {}
  add(_columns: Columns, _run: Run, _undo: ObjectUndo | undefined): void {}
  /** Adds what `from` holds at positions[i] to what `into` holds at i. */
  combine(_into: Columns, _from: Columns, _positions: Int32Array, _count: number): void {}
  /** Whether `deduct` undoes `combine`. */
  get deducts(): boolean {
    return false
  }
  /** Clears `exact` where `deduct` might not give to the last digit what combining the rest gives; a window has so many panes. */
  checkExact(_from: Columns, _positions: Int32Array, _count: number, _panes: number, _exact: Uint8Array): void {}
  /** Takes what `from` holds at positions[i] from what `into` holds at places[i]. */
  deduct(_into: Columns, _places: Int32Array, _from: Columns, _positions: Int32Array, _count: number): void {}
  abstract result(columns: Columns, position: number): unknown
  /** What is stored of its objects. */
  store(value: unknown): unknown {
    return value
  }
  restore(plain: unknown): unknown {
    return plain
  }
  /** Rough bytes beside the columns. */
  get bytes(): number {
    return 0
  }
  /** The position is given up. */
  forget(_columns: Columns, _position: number): void {}
}

export class CountStep extends Step {
  override get deducts(): boolean {
    return true
  }

  result(columns: Columns, position: number): unknown {
    return columns.rows[position]
  }
}

abstract class ValueStep extends Step {
  override readonly hasNumber = true
  protected readonly of: (row: unknown) => unknown
  protected values = new Float64Array(64)

  constructor(name: string, of: (row: unknown) => unknown) {
    super(name)
    this.of = of
  }

  override makeRoom(rows: number): void {
    if (this.values.length < rows) this.values = new Float64Array(rows)
  }
}

/** Sum and mean. */
export class SumStep extends ValueStep {
  readonly #isMean: boolean

  constructor(name: string, of: (row: unknown) => unknown, isMean: boolean) {
    super(name, of)
    this.#isMean = isMean
  }

  override read({ rows, taken, to }: Run): void {
    const { of, values } = this
    for (; this.at < to; this.at += 1) {
      const i = this.at
      if (taken[i] === 0) continue
      const value = of(rows[i])
      if (typeof value !== 'number' || value !== value) throw wrongKind(this.name, this.#isMean ? 'avg' : 'sum', value, 'a number')
      values[i] = value
    }
  }

  override begin(columns: Columns, position: number): void {
    ;(columns.numbers[this.number] as Float64Array)[position] = 0
  }

  override add(columns: Columns, { taken, positions, from, to }: Run): void {
    const column = columns.numbers[this.number] as Float64Array
    const { values } = this
    for (let i = from; i < to; i += 1) {
      if (taken[i] === 0) continue
      const at = positions[i] as number
      column[at] = (column[at] as number) + (values[i] as number)
    }
  }

  override combine(into: Columns, from: Columns, positions: Int32Array, count: number): void {
    const target = into.numbers[this.number] as Float64Array
    const column = from.numbers[this.number] as Float64Array
    for (let i = 0; i < count; i += 1) {
      const at = positions[i] as number
      if (at >= 0) target[i] = (target[i] as number) + (column[at] as number)
    }
  }

  override get deducts(): boolean {
    return true
  }

  /** Whole numbers of which no sum of so many panes, in whatever order, is above 2^53. */
  override checkExact(from: Columns, positions: Int32Array, count: number, panes: number, exact: Uint8Array): void {
    const column = from.numbers[this.number] as Float64Array
    const limit = Math.floor(Number.MAX_SAFE_INTEGER / panes)
    for (let i = 0; i < count; i += 1) {
      const at = positions[i] as number
      if (at < 0) continue
      const value = column[at] as number
      if (!(Math.abs(value) <= limit) || Math.trunc(value) !== value) exact[i] = 0
    }
  }

  override deduct(into: Columns, places: Int32Array, from: Columns, positions: Int32Array, count: number): void {
    const target = into.numbers[this.number] as Float64Array
    const column = from.numbers[this.number] as Float64Array
    for (let i = 0; i < count; i += 1) {
      const at = positions[i] as number
      if (at < 0) continue
      const place = places[i] as number
      target[place] = (target[place] as number) - (column[at] as number)
    }
  }

  result(columns: Columns, position: number): unknown {
    const value = (columns.numbers[this.number] as Float64Array)[position] as number
    if (!this.#isMean) return value
    const rows = columns.rows[position] as number
    return rows === 0 ? undefined : value / rows
  }
}

/** Greatest or smallest: a number (NaN: none), and a text once there was one; texts rank above numbers. */
export class ExtremeStep extends ValueStep {
  override readonly hasObject = true
  readonly #isMax: boolean
  readonly #texts: (string | undefined)[] = []
  #hasText = false

  constructor(name: string, of: (row: unknown) => unknown, isMax: boolean) {
    super(name, of)
    this.#isMax = isMax
  }

  override read({ rows, taken, to }: Run): void {
    const { of, values } = this
    for (; this.at < to; this.at += 1) {
      const i = this.at
      if (taken[i] === 0) continue
      const value = of(rows[i])
      if (typeof value === 'number' && value === value) {
        values[i] = value
        if (this.#hasText) this.#texts[i] = undefined
      } else if (typeof value === 'string') {
        this.#hasText = true
        values[i] = Number.NaN
        this.#texts[i] = value
      } else throw wrongKind(this.name, this.#isMax ? 'max' : 'min', value, 'a number or a text')
    }
  }

  override begin(columns: Columns, position: number): void {
    ;(columns.numbers[this.number] as Float64Array)[position] = Number.NaN
    if (this.#hasText) setObject(columns, this.object, position, undefined)
  }

  override reset(columns: Columns, count: number): void {
    ;(columns.numbers[this.number] as Float64Array).fill(Number.NaN, 0, count)
  }

  override add(columns: Columns, run: Run, undo: ObjectUndo | undefined): void {
    const { taken, positions, from, to } = run
    const column = columns.numbers[this.number] as Float64Array
    const { values } = this
    const isMax = this.#isMax
    for (let i = from; i < to; i += 1) {
      if (taken[i] === 0) continue
      const at = positions[i] as number
      const value = values[i] as number
      const old = column[at] as number
      // NaN compares false: a value replaces none, and no value replaces nothing.
      if (isMax ? value > old : value < old) column[at] = value
      else if (old !== old) column[at] = value
    }
    if (this.#hasText) this.#addTexts(columns, run, undo)
  }

  #addTexts(columns: Columns, { taken, positions, from, to }: Run, undo: ObjectUndo | undefined): void {
    for (let i = from; i < to; i += 1) {
      const text = this.#texts[i]
      if (taken[i] === 0 || text === undefined) continue
      const at = positions[i] as number
      const old = columns.objects[this.object]?.[at] as string | undefined
      if (old !== undefined && (this.#isMax ? text <= old : text >= old)) continue
      if (undo !== undefined) undoObject(undo, this.object, at, old)
      setObject(columns, this.object, at, text)
    }
  }

  override combine(into: Columns, from: Columns, positions: Int32Array, count: number): void {
    const target = into.numbers[this.number] as Float64Array
    const column = from.numbers[this.number] as Float64Array
    const isMax = this.#isMax
    for (let i = 0; i < count; i += 1) {
      const at = positions[i] as number
      if (at < 0) continue
      const value = column[at] as number
      const old = target[i] as number
      if (old !== old || (isMax ? value > old : value < old)) target[i] = value
      if (!this.#hasText) continue
      const text = from.objects[this.object]?.[at] as string | undefined
      const oldText = into.objects[this.object]?.[i] as string | undefined
      if (text !== undefined && (oldText === undefined || (isMax ? text > oldText : text < oldText))) setObject(into, this.object, i, text)
    }
  }

  override restore(plain: unknown): unknown {
    if (typeof plain === 'string') this.#hasText = true
    return plain ?? undefined
  }

  result(columns: Columns, position: number): unknown {
    const text = this.#hasText ? columns.objects[this.object]?.[position] : undefined
    const value = (columns.numbers[this.number] as Float64Array)[position] as number
    if (this.#isMax) return text ?? (value !== value ? undefined : value)
    return value !== value ? text : value
  }
}

/** Distinct values: a Set per position. */
export class DistinctStep extends Step {
  override readonly hasObject = true
  readonly #of: (row: unknown) => unknown
  readonly #values: unknown[] = []
  #count = 0

  constructor(name: string, of: (row: unknown) => unknown) {
    super(name)
    this.#of = of
  }

  override read({ rows, taken, to }: Run): void {
    for (; this.at < to; this.at += 1) {
      const i = this.at
      if (taken[i] === 0) continue
      const value = this.#of(rows[i])
      if (typeof value === 'string' || (typeof value === 'number' && value === value)) this.#values[i] = value
      else if (value instanceof Uint8Array) this.#values[i] = `\u0000bytes\u0000${latin1Of(value)}`
      else throw wrongKind(this.name, 'countDistinct', value, 'a number or a text')
    }
  }

  override begin(columns: Columns, position: number): void {
    setObject(columns, this.object, position, new Set())
  }

  override add(columns: Columns, { taken, positions, from, to }: Run, undo: ObjectUndo | undefined): void {
    const column = columns.objects[this.object] as Set<unknown>[]
    for (let i = from; i < to; i += 1) {
      if (taken[i] === 0) continue
      const values = column[positions[i] as number] as Set<unknown>
      const value = this.#values[i]
      if (undo !== undefined) {
        if (values.has(value)) continue
        undo.changing({ undo: () => void values.delete(value) })
      }
      values.add(value)
    }
    this.#count += to - from
  }

  override combine(into: Columns, from: Columns, positions: Int32Array, count: number): void {
    const column = from.objects[this.object] as Set<unknown>[]
    const target = into.objects[this.object] as unknown[]
    for (let i = 0; i < count; i += 1) {
      const at = positions[i] as number
      if (at < 0) continue
      let union = target[i] as Set<unknown> | undefined
      if (union === undefined) {
        union = new Set()
        target[i] = union
      }
      for (const value of column[at] as Set<unknown>) union.add(value)
    }
  }

  override store(value: unknown): unknown {
    return value instanceof Set ? [...value] : []
  }

  override restore(plain: unknown): unknown {
    return new Set(plain as readonly unknown[])
  }

  result(columns: Columns, position: number): unknown {
    return (columns.objects[this.object]?.[position] as Set<unknown> | undefined)?.size ?? 0
  }

  override get bytes(): number {
    return Math.max(0, this.#count) * 40
  }

  override forget(columns: Columns, position: number): void {
    this.#count -= columns.rows[position] as number
  }
}

/** An aggregate of the user's own: its user code changes state, so it is called row by row (aggregation.ts). */
export class CustomStep extends Step {
  override readonly hasObject = true
  readonly #custom: CustomAggregate

  constructor(name: string, custom: CustomAggregate) {
    super(name)
    this.#custom = custom
  }

  override begin(columns: Columns, position: number): void {
    const accumulator = this.#custom.create()
    refusePromise(accumulator)
    setObject(columns, this.object, position, accumulator)
  }

  /** One row: user code. */
  addRow(columns: Columns, position: number, row: unknown): void {
    const column = columns.objects[this.object] as unknown[]
    const after = this.#custom.add(column[position], row)
    if (after === undefined) return
    refusePromise(after)
    column[position] = after
  }

  save(columns: Columns, position: number, undo: ObjectUndo): unknown {
    const saved = cloneState(columns.objects[this.object]?.[position])
    undoObject(undo, this.object, position, saved)
    return saved
  }

  /** Takes back what was done since `save`. */
  putBack(columns: Columns, position: number, saved: unknown): void {
    setObject(columns, this.object, position, cloneState(saved))
  }

  override combine(into: Columns, from: Columns, positions: Int32Array, count: number): void {
    const column = from.objects[this.object] as unknown[]
    const target = into.objects[this.object] as unknown[]
    for (let i = 0; i < count; i += 1) {
      const at = positions[i] as number
      if (at < 0) continue
      if (target[i] === undefined) target[i] = this.#custom.create()
      target[i] = this.#custom.combine(target[i], column[at]) ?? target[i]
    }
  }

  override get deducts(): boolean {
    return this.#custom.deduct !== undefined
  }

  override deduct(into: Columns, places: Int32Array, from: Columns, positions: Int32Array, count: number): void {
    const column = from.objects[this.object] as unknown[]
    const target = into.objects[this.object] as unknown[]
    for (let i = 0; i < count; i += 1) {
      const at = positions[i] as number
      if (at < 0) continue
      const place = places[i] as number
      const after = this.#custom.deduct?.(target[place], column[at])
      refusePromise(after)
      target[place] = after ?? target[place]
    }
  }

  result(columns: Columns, position: number): unknown {
    return this.#custom.finish(columns.objects[this.object]?.[position])
  }
}

/** Sets an element; columns of objects grow without holes. */
export function setObject(columns: Columns, object: number, position: number, value: unknown): void {
  const column = columns.objects[object] as unknown[]
  while (column.length < position) column.push(undefined)
  column[position] = value
}

function undoObject(undo: ObjectUndo, object: number, position: number, old: unknown): void {
  const place = undo.placeOf(position)
  undo.changing({
    undo: () => {
      const found = place()
      if (found !== undefined) setObject(found.columns, object, found.position, old)
    },
  })
}

function wrongKind(name: string, operation: string, value: unknown, wanted: string): Error {
  refusePromise(value)
  const got = typeof value === 'number' ? 'NaN' : value === null ? 'null' : typeof value
  const sentence = `aggregate "${name}" (${operation}) got ${got}, ${wanted} is wanted`
  // A row without the value is broken data; an object is broken code.
  return got === 'object' ? invalidArgument(sentence) : new BrokenRow(sentence)
}
