/** Operators without state: map, filter, flatMap, require, merge, and the stages behind side outputs. */
import { invalidArgument } from '../../base/errors.ts'
import { refusePromise } from '../graph/refuse-async.ts'
import type { RowFunction } from '../graph/stage-spec.ts'
import type { LocalMap } from '../ports.ts'
import { Batch } from './batch.ts'
import type { ChainStep, FusedChain } from './fused-chain.ts'
import { checkEmitted, Operator } from './operator.ts'
import type { Unit } from './unit.ts'

/** An operator that can be part of a chain, or its beginning: then the chain takes its batches, up to a row that fails. */
export abstract class ChainedOperator extends Operator {
  /** It and the stages behind it, as one loop. */
  chain: FusedChain | undefined

  /** Itself as a part of a chain. */
  abstract get step(): ChainStep

  /** Without those behind it. */
  protected abstract processAlone(batch: Batch): void

  protected process(batch: Batch): void {
    const { chain } = this
    if (chain === undefined) {
      this.processAlone(batch)
      return
    }
    const reached = chain.accept(batch)
    if (reached === batch.size) return
    this.unit.stage = this.stage
    this.processAlone(batch.from(reached))
  }
}

/** One row for one row: the columns beside the rows are those of the input, unless a row fails. */
abstract class RowByRow extends ChainedOperator {
  readonly #rows: unknown[] = []
  readonly #view = new Batch(0)
  readonly #survivors = new Batch()

  protected abstract transform(batch: Batch, index: number): unknown

  protected processAlone(batch: Batch): void {
    const rows = this.#rows
    let at = 0
    try {
      for (; at < batch.size; at += 1) rows[at] = this.transform(batch, at)
      if (batch.size > 0) refusePromise(rows[0])
    } catch (thrown) {
      this.#withFailures(batch, at < batch.size ? at : 0, thrown)
      return
    }
    const view = this.#view
    view.size = batch.size
    view.rows = rows
    view.times = batch.times
    view.origins = batch.origins
    view.keys = batch.keys
    view.partitions = batch.partitions
    this.emit(view)
  }

  /** From the first failure on: rows are copied, and those that fail are left out. */
  #withFailures(batch: Batch, failed: number, thrown: unknown): void {
    const out = this.#survivors
    out.size = 0
    for (let i = 0; i < failed; i += 1) out.pushFrom(batch, i, this.#rows[i])
    this.rowFailed(batch, failed, thrown)
    for (let i = failed + 1; i < batch.size; i += 1) {
      try {
        const row = this.transform(batch, i)
        refusePromise(row)
        out.pushFrom(batch, i, row)
      } catch (error) {
        this.rowFailed(batch, i, error)
      }
    }
    this.emit(out)
  }
}

export class MapOperator extends RowByRow {
  readonly #fn: RowFunction

  constructor(stage: number, unit: Unit, fn: RowFunction) {
    super(stage, unit)
    this.#fn = fn
  }

  get step(): ChainStep {
    return { kind: 'map', stage: this.stage, fn: this.#fn }
  }

  protected transform(batch: Batch, index: number): unknown {
    return this.#fn(batch.rows[index], batch.keys[index])
  }
}

export class EnrichOperator extends RowByRow {
  readonly #map: LocalMap
  readonly #join: (row: unknown, value: unknown) => unknown

  constructor(stage: number, unit: Unit, map: LocalMap, join: (row: unknown, value: unknown) => unknown) {
    super(stage, unit)
    this.#map = map
    this.#join = join
  }

  get step(): ChainStep {
    return { kind: 'enrich', stage: this.stage, fn: this.#join, map: this.#map }
  }

  protected transform(batch: Batch, index: number): unknown {
    return this.#join(batch.rows[index], this.#map.get(batch.partitions[index] as number, batch.keys[index]))
  }
}

export class FilterOperator extends ChainedOperator {
  readonly #keep: RowFunction
  readonly #out = new Batch()

  constructor(stage: number, unit: Unit, keep: RowFunction) {
    super(stage, unit)
    this.#keep = keep
  }

  get step(): ChainStep {
    return { kind: 'filter', stage: this.stage, fn: this.#keep }
  }

  protected processAlone(batch: Batch): void {
    const out = this.#out
    const keep = this.#keep
    out.size = 0
    let at = 0
    while (at < batch.size) {
      try {
        for (; at < batch.size; at += 1) {
          const row = batch.rows[at]
          const kept = keep(row, batch.keys[at])
          if (at === 0) refusePromise(kept)
          if (kept) out.pushFrom(batch, at, row)
        }
      } catch (thrown) {
        this.rowFailed(batch, at, thrown)
        at += 1
      }
    }
    this.emit(out)
  }
}

export class RequireOperator extends Operator {
  readonly #fields: readonly string[]
  readonly #out = new Batch()
  readonly #rejected = new Batch()

  constructor(stage: number, unit: Unit, fields: readonly string[]) {
    super(stage, unit)
    this.#fields = fields
  }

  protected process(batch: Batch): void {
    const out = this.#out
    const rejected = this.#rejected
    out.size = 0
    rejected.size = 0
    let at = 0
    while (at < batch.size) {
      try {
        for (; at < batch.size; at += 1) {
          const row = batch.rows[at]
          ;(this.#isWhole(row) ? out : rejected).pushFrom(batch, at, row)
        }
      } catch (thrown) {
        this.rowFailed(batch, at, thrown)
        at += 1
      }
    }
    this.emit(out)
    this.emitAside(rejected)
  }

  #isWhole(row: unknown): boolean {
    const fields = this.#fields
    for (let i = 0; i < fields.length; i += 1) {
      const value = (row as Readonly<Record<string, unknown>>)[fields[i] as string]
      if (value === undefined || value === null) return false
    }
    return true
  }
}

export class FlatMapOperator extends Operator {
  readonly #fn: RowFunction
  readonly #out = new Batch()

  constructor(stage: number, unit: Unit, fn: RowFunction) {
    super(stage, unit)
    this.#fn = fn
  }

  protected process(batch: Batch): void {
    const out = this.#out
    out.size = 0
    for (let at = 0; at < batch.size; at += 1) {
      const mark = out.size
      try {
        const rows = this.#fn(batch.rows[at], batch.keys[at])
        if (!Array.isArray(rows)) {
          refusePromise(rows)
          throw invalidArgument('flatMap must return an array of rows')
        }
        for (let i = 0; i < rows.length; i += 1) out.pushFrom(batch, at, rows[i])
      } catch (thrown) {
        out.size = mark
        this.rowFailed(batch, at, thrown)
      }
      checkEmitted(this.stage, out)
    }
    this.emit(out)
  }
}

/** Hands rows on as they are: merge, and the stages that name a side output. */
export class PassOperator extends Operator {
  protected process(batch: Batch): void {
    this.emit(batch)
  }
}
