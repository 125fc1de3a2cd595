/** Reads a map's entry for each row, wherever it lives, and joins the two in the rows' order. */
import { invalidArgument } from '../../../base/errors.ts'
import { encodeKey } from '../../../keys/encode-key.ts'
import type { MapDescription } from '../../graph/job-graph.ts'
import { refusePromise } from '../../graph/refuse-async.ts'
import type { RowFunction } from '../../graph/stage-spec.ts'
import type { Unit } from '../unit.ts'
import { AsyncOperator, type AsyncOperatorOptions } from './async-operator.ts'
import type { PendingRow } from './pending-rows.ts'

export interface LookupParts {
  readonly map: MapDescription
  readonly key: RowFunction
  readonly join: (row: unknown, value: unknown) => unknown
}

export class LookupOperator extends AsyncOperator {
  readonly #parts: LookupParts
  /** In a unit: keys of the calls begun. */
  readonly #keys = new Map<PendingRow, Uint8Array>()

  constructor(stage: number, unit: Unit, options: AsyncOperatorOptions, parts: LookupParts) {
    super(stage, unit, options)
    this.#parts = parts
  }

  protected begin(row: PendingRow): void {
    const { map, key: keyOf } = this.#parts
    const key = keyOf(row.row, row.key)
    refusePromise(key)
    if (key === undefined || key === null) throw invalidArgument(`the key to look up in map "${map.map}" is ${String(key)}`)
    this.#keys.set(row, encodeKey(map.keyCodec, key))
  }

  protected send(rows: readonly PendingRow[]): void {
    for (const row of rows) {
      const key = this.#keys.get(row)
      if (key === undefined) continue
      const { calls } = row
      this.outside.lookup(this.#parts.map.map, key, (error, value) =>
        error === undefined ? this.answer(row, calls, 'answered', value) : this.answer(row, calls, 'failed', error),
      )
    }
    this.#keys.clear()
  }

  protected forget(): void {
    this.#keys.clear()
  }

  protected resultOf({ row, outcome }: PendingRow): unknown {
    const joined = this.#parts.join(row, outcome)
    refusePromise(joined)
    return joined
  }

  protected givenUp(): void {
    // A read that is not waited for hurts nobody.
  }
}
