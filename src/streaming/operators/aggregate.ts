/** Rolling aggregates: one accumulator per key for as long as the job runs, one row with the new values per input row. */
import type { Aggregates } from '../graph/aggregate.ts'
import { Batch } from './batch.ts'
import type { KeyId } from './key-id.ts'
import { Operator } from './operator.ts'
import { type Accumulator, Reducer } from './reducer.ts'
import type { Unit } from './unit.ts'

export class AggregateOperator extends Operator {
  readonly #reducer: Reducer
  readonly #idOf: (key: unknown) => KeyId
  readonly #byKey = new Map<KeyId, Accumulator>()
  readonly #out = new Batch()

  constructor(stage: number, unit: Unit, aggregates: Aggregates<never>, idOf: (key: unknown) => KeyId) {
    super(stage, unit)
    this.#reducer = new Reducer(aggregates)
    this.#idOf = idOf
  }

  protected process(batch: Batch): void {
    const out = this.#out
    const reducer = this.#reducer
    out.size = 0
    let at = 0
    while (at < batch.size) {
      try {
        for (; at < batch.size; at += 1) {
          reducer.read(batch.rows[at])
          const key = batch.keys[at]
          const accumulator = this.#of(key)
          reducer.add(accumulator, this.unit)
          const row: Record<string, unknown> = { key }
          reducer.write(accumulator, row)
          out.pushFrom(batch, at, row)
        }
      } catch (thrown) {
        this.rowFailed(batch, at, thrown)
        at += 1
      }
    }
    this.emit(out)
  }

  #of(key: unknown): Accumulator {
    const id = this.#idOf(key)
    let accumulator = this.#byKey.get(id)
    if (accumulator === undefined) {
      accumulator = this.#reducer.create()
      if (this.unit.undo) this.unit.changing({ undo: () => this.#byKey.delete(id) })
      this.#byKey.set(id, accumulator)
    }
    return accumulator
  }

  override get stateBytes(): number {
    return this.#reducer.bytesOf(this.#byKey.size)
  }
}
