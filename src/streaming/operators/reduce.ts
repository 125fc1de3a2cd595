/**
 * Rolling reduce: the first row of a key is its value, each further row makes the next value out of it; every row gives the new value.
 * With a time to live a key that had no row for so long begins anew.
 */
import type { KeyCodec } from '../../keys/key-codec.ts'
import { refusePromise } from '../graph/refuse-async.ts'
import type { StageState } from '../state/stage-state.ts'
import type { Batch } from './batch.ts'
import { cloneState } from './clone-state.ts'
import { ExpiringKeys } from './expiring-keys.ts'
import { ExpiringOperator } from './expiring-operator.ts'
import type { Unit } from './unit.ts'

export interface ReduceOptions {
  /** Returns a new value; what it is given is shared with the rows handed on and must stay as it is. */
  readonly reduce: (value: unknown, row: unknown, key: unknown) => unknown
  /** Of event time, since the key's latest row. */
  readonly ttlMs?: number | undefined
  readonly keyCodec: KeyCodec
}

export class ReduceOperator extends ExpiringOperator<unknown> {
  protected readonly kept: ExpiringKeys<unknown>
  readonly #reduce: ReduceOptions['reduce']
  readonly #ttlMs: number

  constructor(stage: number, unit: Unit, state: StageState, { reduce, ttlMs = Number.POSITIVE_INFINITY, keyCodec }: ReduceOptions) {
    super(stage, unit, state)
    this.#reduce = reduce
    this.#ttlMs = ttlMs
    this.kept = new ExpiringKeys<unknown>(state, unit, {
      keyCodec,
      encode: value => value,
      decode: plain => plain,
      copy: value => cloneState(value),
    })
  }

  protected take(batch: Batch, at: number): void {
    const key = batch.keys[at]
    const partition = batch.partitions[at] as number
    const time = batch.times[at] as number
    const row = batch.rows[at]
    const known = this.kept.find(key, partition, time)
    let value = row
    if (known !== undefined) {
      this.kept.changing(key, partition)
      value = this.#reduce(known.value, row, key)
      refusePromise(value)
    }
    // A value must not become younger by a row that comes late.
    this.kept.put(key, partition, value, Math.max(known?.until ?? time, time + this.#ttlMs))
    this.out.pushFrom(batch, at, value)
  }
}
