/**
 * Joins two inputs by key and window: every left row of a window with every right row of it. `left` also gives left rows whose window
 * holds no right one, `outer` those of either side.
 */
import type { KeyCodec } from '../../../keys/key-codec.ts'
import { refusePromise } from '../../graph/refuse-async.ts'
import type { StageState } from '../../state/stage-state.ts'
import type { Batch } from '../batch.ts'
import { JoinPort, type JoinType, type TakesInputs } from '../join-port.ts'
import type { Operator } from '../operator.ts'
import type { Undoable, Unit } from '../unit.ts'
import { CellWindowOperator } from './cell-window.ts'

export interface JoinWindowOptions {
  readonly sizeMs: number
  readonly everyMs: number
  readonly type: JoinType
  readonly join: (
    left: unknown,
    right: unknown,
    window: { readonly key: unknown; readonly windowStart: number; readonly windowEnd: number },
  ) => unknown
  readonly keyCodec: KeyCodec
}

/** Rows only come: what a unit has added is cut off again. */
class Cell implements Undoable {
  readonly rows: readonly [unknown[], unknown[]]
  #savedIn = -1
  #left = 0
  #right = 0

  constructor(left: unknown[], right: unknown[]) {
    this.rows = [left, right]
  }

  add(input: 0 | 1, row: unknown, unit: Unit): void {
    if (unit.undo && this.#savedIn !== unit.number) {
      this.#left = this.rows[0].length
      this.#right = this.rows[1].length
      unit.changing(this)
      this.#savedIn = unit.number
    }
    this.rows[input].push(row)
  }

  undo(): void {
    this.rows[0].length = this.#left
    this.rows[1].length = this.#right
  }
}

const empty: readonly unknown[] = []

export class JoinWindowOperator extends CellWindowOperator<Cell> implements TakesInputs {
  readonly #type: JoinType
  readonly #join: JoinWindowOptions['join']
  readonly #ports: readonly [Operator, Operator]
  /** Rows per cell, on average of the last ones. */
  #averageRows = 1

  constructor(stage: number, unit: Unit, state: StageState, { sizeMs, everyMs, type, join, keyCodec }: JoinWindowOptions) {
    super(stage, unit, state, {
      sizeMs,
      everyMs,
      keyCodec,
      encode: ({ rows }) => rows,
      decode: plain => new Cell(...(plain as [unknown[], unknown[]])),
    })
    this.#type = type
    this.#join = join
    this.#ports = [new JoinPort(unit, this, 0), new JoinPort(unit, this, 1)]
  }

  override port(input: number): Operator {
    return this.#ports[input === 0 ? 0 : 1]
  }

  protected process(batch: Batch): void {
    this.take(batch, 0)
  }

  take(batch: Batch, input: 0 | 1): void {
    const { unit } = this
    for (let at = 0; at < batch.size; at += 1) {
      const cell = this.cellFor(batch, at)
      if (cell === undefined) continue
      cell.add(input, batch.rows[at], unit)
    }
    this.handLateAside()
  }

  protected create(): Cell {
    return new Cell([], [])
  }

  protected give(key: unknown, cells: readonly Cell[], start: number, end: number, push: (row: unknown) => void): void {
    const window = { key, windowStart: start, windowEnd: end }
    const left = cells.length === 1 ? (cells[0]?.rows[0] ?? empty) : cells.flatMap(({ rows }) => rows[0])
    const right = cells.length === 1 ? (cells[0]?.rows[1] ?? empty) : cells.flatMap(({ rows }) => rows[1])
    this.#averageRows = this.#averageRows * 0.95 + ((left.length + right.length) / cells.length) * 0.05
    const type = this.#type
    if (left.length === 0) {
      if (type === 'outer') for (const row of right) push(this.#joined(undefined, row, window))
      return
    }
    if (right.length === 0) {
      if (type !== 'inner') for (const row of left) push(this.#joined(row, undefined, window))
      return
    }
    for (const l of left) for (const r of right) push(this.#joined(l, r, window))
  }

  #joined(left: unknown, right: unknown, window: { key: unknown; windowStart: number; windowEnd: number }): unknown {
    const row = this.#join(left, right, window)
    refusePromise(row)
    return row
  }

  override get stateBytes(): number {
    return Math.round(this.cellCount * (300 + this.#averageRows * 100))
  }
}
