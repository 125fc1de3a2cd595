/**
 * Map sinks: rows are encoded and laid down while the unit runs, since encoding may run user code (a getter, a proxy), and written
 * when it has returned, each under the key of its stage.
 *
 * Of neighbouring rows for one key in one batch only the last is encoded and written: the others could never be seen.
 * A value that the map refuses for what it is fails like any row; a map that cannot take writes now fails the job.
 */
import { invalidArgument, NearstateError } from '../../base/errors.ts'
import type { Schema } from '../../base/schema.ts'
import { checkValue } from '../graph/broken-row.ts'
import { refusePromise } from '../graph/refuse-async.ts'
import type { RowCodec } from '../exchange/frame.ts'
import type { LocalMap } from '../ports.ts'
import { Batch } from './batch.ts'
import { Operator } from './operator.ts'
import { plainOf } from './plain.ts'
import { StageFailure, type Unit, UnitSignal } from './unit.ts'

export class SinkOperator extends Operator {
  readonly #map: LocalMap
  protected readonly codec: RowCodec
  readonly #value: Schema<unknown> | undefined
  readonly #rest: ((row: unknown) => unknown) | undefined
  /** Rows are encoded values. */
  protected readonly laidDown = new Batch()

  constructor(
    stage: number,
    unit: Unit,
    map: LocalMap,
    codec: RowCodec,
    value: Schema<unknown> | undefined,
    rest: ((row: unknown) => unknown) | undefined,
  ) {
    super(stage, unit)
    this.#map = map
    this.codec = codec
    this.#value = value
    this.#rest = rest
  }

  protected process(batch: Batch): void {
    const { laidDown } = this
    const first = laidDown.size
    let written = batch.size
    try {
      for (let at = 0; at < batch.size; at += 1) this.#layDown(batch, at, this.#valueOf(batch.rows[at]), first)
      for (let at = first; at < laidDown.size; at += 1) laidDown.rows[at] = this.codec.encode(laidDown.rows[at])
    } catch (thrown) {
      if (thrown instanceof UnitSignal) throw thrown
      laidDown.size = first
      written = this.#rowByRow(batch, first)
    }
    const { rowsOut } = this.unit.counters
    rowsOut[this.stage] = (rowsOut[this.stage] as number) + written
  }

  /** Every row is encoded before it takes the place of its neighbour, and those that fail leave the others alone. */
  #rowByRow(batch: Batch, first: number): number {
    let written = 0
    for (let at = 0; at < batch.size; at += 1) {
      try {
        this.#layDown(batch, at, this.codec.encode(this.#valueOf(batch.rows[at])), first)
        written += 1
      } catch (thrown) {
        this.rowFailed(batch, at, thrown)
      }
    }
    return written
  }

  #valueOf(row: unknown): unknown {
    if (row === undefined) throw invalidArgument('undefined cannot be stored')
    return this.#value === undefined ? row : checkValue(this.#value, row)
  }

  #layDown(batch: Batch, at: number, value: unknown, first: number): void {
    const { laidDown } = this
    if (this.#rest === undefined) {
      const last = laidDown.size - 1
      if (last >= first && laidDown.keys[last] === batch.keys[at]) laidDown.size = last
      laidDown.pushFrom(batch, at, value)
      return
    }
    const rest = this.#rest(batch.rows[at])
    refusePromise(rest)
    if (!Array.isArray(rest)) throw invalidArgument('the other elements of the key must be an array')
    const key = [batch.keys[at]]
    for (const element of rest) key.push(plainOf(element, this.codec))
    laidDown.push(value, batch.times[at] as number, batch.origins[at] as number, key, batch.partitions[at] as number)
  }

  override commit(): void {
    const { laidDown } = this
    if (laidDown.size === 0) return
    for (let at = 0; at < laidDown.size; at += 1) {
      try {
        this.#map.setEncoded(laidDown.partitions[at] as number, laidDown.keys[at], laidDown.rows[at] as Uint8Array)
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
    this.unit.rowFailed(stage, origin, thrown, this.codec.decode(laidDown.rows[at] as Uint8Array))
  }
}
