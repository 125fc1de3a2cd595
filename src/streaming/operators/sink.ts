/**
 * Map sinks: rows are laid down while the unit runs and written when it has returned, each under the key of its stage.
 *
 * Of neighbouring rows for one key in one unit only the last is written: the others could never be seen.
 * A value that the map refuses for what it is fails like any row; a map that cannot take writes now fails the job.
 */
import { invalidArgument, NearstateError } from '../../base/errors.ts'
import type { Schema } from '../../base/schema.ts'
import { checkValue } from '../graph/broken-row.ts'
import type { LocalMap } from '../ports.ts'
import { Batch } from './batch.ts'
import { Operator } from './operator.ts'
import { refusePromise } from './stateless.ts'
import { StageFailure, type Unit } from './unit.ts'

export class SinkOperator extends Operator {
  readonly #map: LocalMap
  readonly #value: Schema<unknown> | undefined
  readonly #rest: ((row: unknown) => unknown) | undefined
  protected readonly laidDown = new Batch()

  constructor(stage: number, unit: Unit, map: LocalMap, value: Schema<unknown> | undefined, rest: ((row: unknown) => unknown) | undefined) {
    super(stage, unit)
    this.#map = map
    this.#value = value
    this.#rest = rest
  }

  protected process(batch: Batch): void {
    for (let at = 0; at < batch.size; at += 1) {
      try {
        this.#layDown(batch, at)
      } catch (thrown) {
        this.rowFailed(batch, at, thrown)
      }
    }
    const { rowsOut } = this.unit.counters
    rowsOut[this.stage] = (rowsOut[this.stage] as number) + batch.size
  }

  #layDown(batch: Batch, at: number): void {
    const row = batch.rows[at]
    if (row === undefined) throw invalidArgument('undefined cannot be stored')
    const value = this.#value === undefined ? row : checkValue(this.#value, row)
    const { laidDown } = this
    const last = laidDown.size - 1
    if (this.#rest === undefined) {
      const key = batch.keys[at]
      if (last >= 0 && laidDown.keys[last] === key) laidDown.size = last
      laidDown.pushFrom(batch, at, value)
    } else {
      const rest = this.#rest(row)
      refusePromise(rest)
      if (!Array.isArray(rest)) throw invalidArgument('the other elements of the key must be an array')
      laidDown.push(
        value,
        batch.times[at] as number,
        batch.origins[at] as number,
        [batch.keys[at], ...rest],
        batch.partitions[at] as number,
      )
    }
  }

  override commit(): void {
    const { laidDown } = this
    if (laidDown.size === 0) return
    for (let at = 0; at < laidDown.size; at += 1) {
      try {
        this.#map.set(laidDown.partitions[at] as number, laidDown.keys[at], laidDown.rows[at])
      } catch (thrown) {
        this.refused(at, thrown)
      }
    }
    laidDown.clear()
  }

  override rollback(): void {
    this.laidDown.size = 0
  }

  protected refused(at: number, thrown: unknown): void {
    const { laidDown, stage } = this
    const origin = laidDown.origins[at] as number
    if (!(thrown instanceof NearstateError) || thrown.code !== 'INVALID_ARGUMENT') throw new StageFailure(stage, origin, thrown)
    const { rowsOut } = this.unit.counters
    rowsOut[stage] = (rowsOut[stage] as number) - 1
    this.unit.rowFailed(stage, origin, thrown, laidDown.rows[at])
  }
}
