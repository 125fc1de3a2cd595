/** Rolling aggregates: one accumulator per key for as long as the job runs, one row with the new values per input row. */
import type { KeyCodec } from '../../keys/key-codec.ts'
import type { Aggregates } from '../graph/aggregate.ts'
import { KeyTable } from '../state/key-table.ts'
import type { Queried } from '../state/queried.ts'
import type { Stateful, StageState } from '../state/stage-state.ts'
import { Batch } from './batch.ts'
import { Operator } from './operator.ts'
import { type Accumulator, Reducer } from './reducer.ts'
import type { Unit } from './unit.ts'

export class AggregateOperator extends Operator implements Stateful, Queried {
  readonly state: StageState
  readonly #reducer: Reducer
  readonly #keys: KeyTable<Accumulator>
  readonly #out = new Batch()

  constructor(stage: number, unit: Unit, aggregates: Aggregates<never>, keyCodec: KeyCodec, state: StageState) {
    super(stage, unit)
    this.state = state
    const reducer = new Reducer(aggregates)
    this.#reducer = reducer
    this.#keys = new KeyTable<Accumulator>(state, unit, {
      table: 0,
      timerTable: 1,
      keyCodec,
      encode: accumulator => reducer.encode(accumulator),
      decode: plain => reducer.decode(plain as readonly unknown[]),
      // An accumulator takes its own changes back.
      copy: accumulator => accumulator,
    })
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
          const accumulator = this.#changing(key, batch.partitions[at] as number)
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

  #changing(key: unknown, partition: number): Accumulator {
    const entry = this.#keys.get(key, partition)
    if (entry === undefined) return this.#keys.add(key, partition, this.#reducer.create()).value
    this.#keys.changing(entry)
    return entry.value
  }

  recordNow(key: Uint8Array, partition: number): Uint8Array | undefined {
    return this.#keys.recordNow(key, partition)
  }

  override get stateBytes(): number {
    return this.#reducer.bytesOf(this.#keys.size)
  }
}
