/**
 * keyBy and rekey: computes the key; rows of this shard go on in the same chain, the others wait for their owner's credit.
 * Frames are encoded between units, so what waits is plain.
 */
import type { Edge } from '../exchange/edge.ts'
import type { RowCodec } from '../exchange/frame.ts'
import type { Router } from '../exchange/router.ts'
import type { RowFunction } from '../graph/stage-spec.ts'
import { Batch } from './batch.ts'
import { Operator } from './operator.ts'
import { plainOf } from './plain.ts'
import type { Unit } from './unit.ts'

export class KeyByOperator extends Operator {
  readonly edge: Edge
  readonly #router: Router
  readonly #fn: RowFunction
  readonly #codec: RowCodec
  readonly #out = new Batch()

  constructor(stage: number, unit: Unit, fn: RowFunction, codec: RowCodec, router: Router, edge: Edge) {
    super(stage, unit)
    this.#fn = fn
    this.#codec = codec
    this.#router = router
    this.edge = edge
  }

  protected process(batch: Batch): void {
    const out = this.#out
    const fn = this.#fn
    const router = this.#router
    const codec = this.#codec
    const { owners, self } = router
    out.size = 0
    let sent = 0
    let at = 0
    while (at < batch.size) {
      try {
        for (; at < batch.size; at += 1) {
          const row = batch.rows[at]
          const key = plainOf(fn(row, batch.keys[at]), codec)
          const partition = router.partitionOf(key)
          const owner = owners[partition] as number
          const time = batch.times[at] as number
          const origin = batch.origins[at] as number
          if (owner === self) {
            out.push(row, time, origin, key, partition)
          } else {
            this.edge.waitingFor(owner).push(plainOf(row, codec), time, origin, key, partition)
            sent += 1
          }
        }
      } catch (thrown) {
        this.rowFailed(batch, at, thrown)
        at += 1
      }
    }
    const { rowsOut } = this.unit.counters
    rowsOut[this.stage] = (rowsOut[this.stage] as number) + sent
    this.emit(out)
  }

  /** Rows that came from another shard go on behind the exchange. */
  receive(batch: Batch): void {
    const { consumers } = this
    for (let i = 0; i < consumers.length; i += 1) (consumers[i] as Operator).accept(batch)
  }
}
