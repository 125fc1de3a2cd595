/** Splits a stage: rows that the author's function picks are set aside, the others go on. */
import { refusePromise } from '../graph/refuse-async.ts'
import type { RowFunction } from '../graph/stage-spec.ts'
import { Batch } from './batch.ts'
import { Operator } from './operator.ts'
import type { Unit } from './unit.ts'

export class SideOutputOperator extends Operator {
  readonly #isAside: RowFunction
  readonly #out = new Batch()
  readonly #aside = new Batch()

  constructor(stage: number, unit: Unit, isAside: RowFunction) {
    super(stage, unit)
    this.#isAside = isAside
  }

  protected process(batch: Batch): void {
    const out = this.#out
    const aside = this.#aside
    out.size = 0
    aside.size = 0
    let at = 0
    while (at < batch.size) {
      try {
        for (; at < batch.size; at += 1) {
          const row = batch.rows[at]
          const isAside = this.#isAside(row, batch.keys[at])
          if (at === 0) refusePromise(isAside)
          ;(isAside ? aside : out).pushFrom(batch, at, row)
        }
      } catch (thrown) {
        this.rowFailed(batch, at, thrown)
        at += 1
      }
    }
    this.emit(out)
    this.emitAside(aside)
  }
}
