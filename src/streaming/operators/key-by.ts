/**
 * keyBy and rekey: computes the key; rows of this shard go on in the same chain, the others wait for their owner's credit.
 * Frames are encoded between units, so what waits is plain.
 */
import type { Edge } from '../exchange/edge.ts'
import type { RowCodec } from '../exchange/frame.ts'
import type { Router } from '../exchange/router.ts'
import type { RowFunction } from '../graph/stage-spec.ts'
import { Batch } from './batch.ts'
import type { HotKeys } from './hot-keys.ts'
import { Operator } from './operator.ts'
import { plainOf } from './plain.ts'
import type { Unit } from './unit.ts'

export class KeyByOperator extends Operator {
  readonly edge: Edge
  /** Of the rows of this shard's keys. */
  readonly hotKeys: HotKeys
  readonly #router: Router
  readonly #fn: RowFunction
  readonly #codec: RowCodec
  readonly #out = new Batch()
  #sent = 0

  constructor(stage: number, unit: Unit, fn: RowFunction, codec: RowCodec, router: Router, edge: Edge, hotKeys: HotKeys) {
    super(stage, unit)
    this.#fn = fn
    this.#codec = codec
    this.#router = router
    this.edge = edge
    this.hotKeys = hotKeys
  }

  protected process(batch: Batch): void {
    const fn = this.#fn
    this.begin(batch.size)
    let at = 0
    while (at < batch.size) {
      try {
        for (; at < batch.size; at += 1) {
          const row = batch.rows[at]
          this.take(row, fn(row, batch.keys[at]), batch.times[at] as number, batch.origins[at] as number)
        }
      } catch (thrown) {
        this.rowFailed(batch, at, thrown)
        at += 1
      }
    }
    this.end()
  }

  get fn(): RowFunction {
    return this.#fn
  }

  /** At most so many rows follow. */
  begin(rows: number): void {
    this.#out.reserve(rows)
    this.#sent = 0
  }

  /** Sends the row, or lays it down for the stages behind; or throws, and has done neither. */
  readonly take = (row: unknown, given: unknown, time: number, origin: number): void => {
    const key = typeof given === 'number' ? given : plainOf(given, this.#codec)
    const router = this.#router
    const partition = router.partitionOf(key)
    const owner = router.owners[partition] as number
    if (owner === router.self) {
      this.#out.add(row, time, origin, key, partition)
    } else {
      this.edge.waitingFor(owner).push(plainOf(row, this.#codec), time, origin, key, partition)
      this.#sent += 1
    }
  }

  /** Hands on what was laid down. */
  end(): void {
    const { rowsOut } = this.unit.counters
    rowsOut[this.stage] = (rowsOut[this.stage] as number) + this.#sent
    this.hotKeys.take(this.#out, this.unit.wallTimeMs)
    this.emit(this.#out)
  }

  /** Rows that came from another shard go on behind the exchange. */
  receive(batch: Batch): void {
    this.hotKeys.take(batch, this.unit.wallTimeMs)
    const { consumers } = this
    for (let i = 0; i < consumers.length; i += 1) (consumers[i] as Operator).accept(batch)
  }
}
