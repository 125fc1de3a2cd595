/** What operators with a time to live per key have in common: rows one by one, freeing when the watermark says so. */
import type { Queried } from '../state/queried.ts'
import type { StageState, Stateful } from '../state/stage-state.ts'
import { Batch } from './batch.ts'
import { type ExpiringKeys, type Kept } from './expiring-keys.ts'
import { checkEmitted, type Due, Operator } from './operator.ts'
import { type Unit, UnitSignal } from './unit.ts'

export abstract class ExpiringOperator<V> extends Operator implements Due, Stateful, Queried {
  readonly state: StageState
  protected abstract readonly kept: ExpiringKeys<V>
  protected readonly out = new Batch()
  readonly #late = new Batch()

  constructor(stage: number, unit: Unit, state: StageState) {
    super(stage, unit)
    this.state = state
  }

  /** One row: user code first, then state, then `out`. */
  protected abstract take(batch: Batch, at: number): void

  protected process(batch: Batch): void {
    const { out } = this
    out.size = 0
    this.kept.beginBatch()
    let at = 0
    while (at < batch.size) {
      try {
        for (; at < batch.size; at += 1) this.take(batch, at)
      } catch (thrown) {
        if (thrown instanceof UnitSignal) throw thrown
        this.rowFailed(batch, at, thrown)
        at += 1
      }
    }
    checkEmitted(this.stage, out)
    this.emit(out)
    const late = this.#late
    if (late.size === 0) return
    const counted = this.unit.counters.late
    counted[this.stage] = (counted[this.stage] as number) + late.size
    this.emitAside(late)
    late.clear()
  }

  protected isLate(batch: Batch, at: number): void {
    this.#late.pushFrom(batch, at, batch.rows[at])
  }

  /** What stays of a value that is due; undefined: nothing. */
  protected restOf(_value: V, _watermark: number): Kept<V> | undefined {
    return undefined
  }

  recordNow(key: Uint8Array, partition: number): Uint8Array | undefined {
    return this.kept.recordNow(key, partition)
  }

  advanceTo(watermark: number): void {
    this.kept.advanceTo(watermark)
  }

  prepareFire(limit: number): boolean {
    return this.kept.prepareFire(limit)
  }

  fire(): void {
    this.kept.fire((value, watermark) => this.restOf(value, watermark))
  }

  fired(): void {
    this.kept.fired()
  }

  dropFirst(): unknown {
    return this.kept.dropFirst()
  }

  override commit(): void {
    this.kept.commit()
  }

  override rollback(): void {
    this.#late.clear()
    this.kept.rollback()
  }

  override get stateBytes(): number {
    return this.kept.size * 200
  }
}
