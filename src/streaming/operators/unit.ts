/**
 * The unit of work of a shard's task: one batch through one chain of operators, run in user code and cut off at any point.
 *
 * Owns: where in the chain it is, how it may fail, what must be undone, what it counted.
 *
 *   begin -> operators run -> commit        (it returned)
 *                          -> rollback      (it threw or was cut off: everything is as it was before)
 *
 * 1. While a unit runs, what a rollback cannot undo is not touched. Whatever changes is recorded before it changes.
 * 2. `undo` off (a job that fails at the first error): nothing is recorded, for nothing goes on after a failure.
 * 3. `careful`: the unit is run again after user code with state has thrown. State is then copied per event, so that the failing
 *    event alone is taken back.
 */
import type { OnError } from '../graph/job-graph.ts'
import { BrokenRow } from '../graph/broken-row.ts'

/** What operators of a unit throw to end it; never caught per row. */
export class UnitSignal extends Error {}

/** The job fails. */
export class StageFailure extends UnitSignal {
  override readonly name = 'StageFailure'
  readonly stage: number
  readonly origin: number

  constructor(stage: number, origin: number, thrown: unknown) {
    super('stage failed', { cause: thrown })
    this.stage = stage
    this.origin = origin
  }
}

/** Runs the unit again, carefully. */
export class ReplaySignal extends UnitSignal {}

/** Something that was changed and can be taken back. */
export interface Undoable {
  undo(): void
}

/** Where rows go that failed; see operators/dead-letters.ts. */
export interface DeadLetterPort {
  add(stage: number, origin: number, thrown: unknown, row: unknown, way?: WayIn): void
}

/** How a row came to the stage that refused it, so that it can come again; partition -1: without a key. */
export interface WayIn {
  readonly time: number
  readonly key: unknown
  readonly partition: number
}

/** Who tells of rows that failed; see execution/failed-rows.ts. */
export interface FailedRowsPort {
  /** May run user code. */
  add(stage: number, thrown: unknown): void
  commit(wallTimeMs: number): void
  rollback(): void
}

export class Counters {
  readonly rowsIn: Float64Array
  readonly rowsOut: Float64Array
  readonly deadLetters: Float64Array
  readonly late: Float64Array
  readonly #all: Float64Array
  readonly #saved: Float64Array

  constructor(stages: number) {
    this.#all = new Float64Array(stages * 4)
    this.#saved = new Float64Array(stages * 4)
    const part = (index: number): Float64Array => this.#all.subarray(index * stages, (index + 1) * stages)
    this.rowsIn = part(0)
    this.rowsOut = part(1)
    this.deadLetters = part(2)
    this.late = part(3)
  }

  save(): void {
    this.#saved.set(this.#all)
  }

  restore(): void {
    this.#all.set(this.#saved)
  }
}

export class Unit {
  /** Index of the stage whose operator is running: who is to blame when the unit is cut off. */
  stage = 0
  careful = false
  wallTimeMs = 0
  /** Number of the unit: state touched in it is marked so. */
  number = 0
  readonly undo: boolean
  readonly counters: Counters
  deadLetters: DeadLetterPort | undefined
  /** The unit runs this dead letter of the stage again. */
  replaying: { readonly stage: number; readonly key: string } | undefined
  failedRows: FailedRowsPort | undefined
  readonly #onError: OnError
  readonly #onBrokenRow: OnError
  #changed: Undoable[] = []

  constructor(stages: number, onError: OnError, onBrokenRow: OnError) {
    this.counters = new Counters(stages)
    this.#onError = onError
    this.#onBrokenRow = onBrokenRow
    this.undo = onError !== 'fail'
  }

  begin(careful: boolean, wallTimeMs: number): void {
    this.number += 1
    this.careful = careful
    this.wallTimeMs = wallTimeMs
    this.replaying = undefined
    this.counters.save()
  }

  /** To be called before the change. */
  changing(what: Undoable): void {
    this.#changed.push(what)
  }

  commit(): void {
    if (this.#changed.length > 0) this.#changed = []
    this.failedRows?.commit(this.wallTimeMs)
  }

  rollback(): void {
    for (let i = this.#changed.length - 1; i >= 0; i -= 1) this.#changed[i]?.undo()
    this.#changed = []
    this.counters.restore()
    this.failedRows?.rollback()
  }

  /**
   * A row that a stage could not process: by the job's rule it is counted, kept aside, or fails the job (throws). Without `way` it is no
   * row that came to the stage.
   */
  rowFailed(stage: number, origin: number, thrown: unknown, row: unknown, way?: WayIn): void {
    if (thrown instanceof UnitSignal) throw thrown
    const rule = thrown instanceof BrokenRow ? this.#onBrokenRow : this.#onError
    if (rule === 'fail') throw new StageFailure(stage, origin, thrown)
    this.counters.deadLetters[stage] = (this.counters.deadLetters[stage] as number) + 1
    this.failedRows?.add(stage, thrown)
    if (rule === 'deadLetter') this.deadLetters?.add(stage, origin, thrown, row, way)
  }
}
