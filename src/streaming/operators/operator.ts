/** One stage at work on one shard: takes a batch, hands rows to the operators behind it, in one synchronous chain. */
import { NearstateError } from '../../base/errors.ts'
import type { HomeRecord } from '../checkpoint/home.ts'
import type { Batch } from './batch.ts'
import { StageFailure, type Unit } from './unit.ts'

/** Rows that one operator may hand on within one unit; user code that emits more fails the job. */
export const emittedMax = 1_000_000

export abstract class Operator {
  readonly stage: number
  /** Operators behind it, and those behind its side output. */
  readonly consumers: Operator[] = []
  readonly sideConsumers: Operator[] = []
  protected readonly unit: Unit

  constructor(stage: number, unit: Unit) {
    this.stage = stage
    this.unit = unit
  }

  accept(batch: Batch): void {
    const { unit, stage } = this
    unit.stage = stage
    const { rowsIn } = unit.counters
    rowsIn[stage] = (rowsIn[stage] as number) + batch.size
    this.process(batch)
  }

  /** What takes the rows of its input of this number. */
  port(_input: number): Operator {
    return this
  }

  protected abstract process(batch: Batch): void

  protected emit(batch: Batch): void {
    if (batch.size === 0) return
    const { rowsOut } = this.unit.counters
    rowsOut[this.stage] = (rowsOut[this.stage] as number) + batch.size
    const { consumers } = this
    for (let i = 0; i < consumers.length; i += 1) (consumers[i] as Operator).accept(batch)
  }

  protected emitAside(batch: Batch): void {
    if (batch.size === 0) return
    for (const consumer of this.sideConsumers) consumer.accept(batch)
  }

  protected rowFailed(batch: Batch, index: number, thrown: unknown): void {
    const way = { time: batch.times[index] as number, key: batch.keys[index], partition: batch.partitions[index] as number }
    this.unit.rowFailed(this.stage, batch.origins[index] as number, thrown, batch.rows[index], way)
  }

  /** The unit has returned: what it left aside takes effect. */
  commit(): void {}

  /** The unit has not returned: what it left aside is forgotten. State is undone by the unit itself. */
  rollback(): void {}

  // Checkpoints; all between units. State is written by the engine (state/stage-state.ts); this is for what acts outside the shard.

  /** Barrier n has passed the stage. */
  passBarrier(_n: number): void {}

  /** Something of a barrier passed is not prepared yet. Throws what fails the job. */
  get isPreparing(): boolean {
    return false
  }

  /** Records without a key that changed with the barrier passed last, for their home partitions among so many. */
  takeRecords(_partitions: number): readonly HomeRecord[] {
    return []
  }

  /** A checkpoint is committed. */
  committed(_n: number): void {}

  /** Something committed is not visible yet. Throws what fails the job. */
  get isCommitting(): boolean {
    return false
  }

  /** Without checkpoints, when all input has ended: makes visible what is left; true: nothing is. */
  endInput(): boolean {
    return true
  }

  /** The attempt ends here; nothing is called afterwards. What is prepared stays. */
  close(): void {}

  /** Rough number of bytes of keyed state. */
  get stateBytes(): number {
    return 0
  }
}

/** Work that a watermark makes due: windows to close, timers to fire. Done in pieces, each a unit. */
export interface Due {
  /** The watermark that the stage has received; its output waits for the work. */
  advanceTo(watermark: number): void
  /** Lays at most `limit` pieces out for `fire`, in order; false: nothing is due. Called between units. */
  prepareFire(limit: number): boolean
  /** In a unit: does what was laid out. */
  fire(): void
  /** The unit has returned: what was laid out is done. Otherwise it stays laid out. */
  fired(): void
  /** Gives the first piece laid out up, because it was cut off; what to show of it. Called between units. */
  dropFirst(): unknown
}

/** An operator that can be full: no head that reaches it is run meanwhile (a bounded queue behind asynchronous calls, a sink). */
export interface Bounded {
  readonly isFull: boolean
}

export const isBounded = (operator: Operator): operator is Operator & Bounded => 'isFull' in operator

/**
 * An operator whose rows take their time (asynchronous calls): it says how far it is itself. Nothing that waits in it keeps a barrier
 * back: what is under way is part of the checkpoint.
 */
export interface Lagging {
  readonly watermarkBehind: number
  /** There are rows in it. */
  readonly isWaiting: boolean
}

export const isLagging = (operator: Operator): operator is Operator & Lagging => 'watermarkBehind' in operator

/** An operator with work that time makes due. */
export interface Timed {
  /** What the clocks show; between units, before anything due is asked for. */
  setTime(nowMs: number, wallTimeMs: number): void
  /** When, on the first of them, it should be asked again even if nothing happens. */
  readonly wakeAtMs: number
}

export const isTimed = (operator: Operator): operator is Operator & Timed => 'wakeAtMs' in operator

export const hasDue = (operator: Operator): operator is Operator & Due => 'prepareFire' in operator

export function checkEmitted(stage: number, out: Batch): void {
  if (out.size <= emittedMax) return
  const error = new NearstateError('RESOURCE_EXHAUSTED', `Cannot hand rows on: more than ${emittedMax} came out of one batch of rows`)
  throw new StageFailure(stage, -1, error)
}
