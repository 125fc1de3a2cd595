/** A source stage: makes rows of records, with their event times. What is read, and when, is decided by execution/split-queue.ts. */
import type { EventTimeSpec } from '../graph/stage-spec.ts'
import { BrokenRow } from '../graph/broken-row.ts'
import { refusePromise } from '../graph/refuse-async.ts'
import type { SourceBatch } from '../source.ts'
import { Batch } from './batch.ts'
import { RawText } from './dead-letters.ts'
import type { FusedChain } from './fused-chain.ts'
import { Operator } from './operator.ts'
import { originOf } from './origin.ts'
import type { Unit, WayIn } from './unit.ts'

/** Greatest event time that a Date can show. */
const timeMax = 8.64e15
/** Time and key come when a row is made of it. */
const asRecord: WayIn = { time: 0, key: undefined, partition: -1 }

export class SourceOperator extends Operator {
  /** Greatest event time of the last unit. */
  greatestTime = Number.NEGATIVE_INFINITY
  /** It and the stages behind it, as one loop. */
  chain: FusedChain | undefined
  readonly decode: ((record: unknown) => unknown) | undefined
  readonly eventTime: EventTimeSpec | undefined
  readonly #out = new Batch()

  constructor(stage: number, unit: Unit, decode: ((record: unknown) => unknown) | undefined, eventTime: EventTimeSpec | undefined) {
    super(stage, unit)
    this.decode = decode
    this.eventTime = eventTime
  }

  /** The records [from, to) of a batch of this split; those that the connector rejected come with the first. */
  read(batch: SourceBatch, split: number, from: number, to: number): void {
    const { unit, stage } = this
    unit.stage = stage
    this.greatestTime = Number.NEGATIVE_INFINITY
    if (from === 0) this.reject(batch, split)
    const start = this.chain === undefined ? from : this.#readChained(this.chain, batch, split, from, to)
    if (start < to) this.#readRest(batch, split, start, to)
  }

  #readChained(chain: FusedChain, batch: SourceBatch, split: number, from: number, to: number): number {
    const reached = chain.read(batch, from, to, originOf(split, 0))
    this.greatestTime = chain.greatestTime
    return reached
  }

  #readRest(batch: SourceBatch, split: number, from: number, to: number): void {
    const { unit, stage } = this
    unit.stage = stage
    const { rowsIn } = unit.counters
    rowsIn[stage] = (rowsIn[stage] as number) + (to - from)
    const out = this.#out
    out.size = 0
    let at = from
    while (at < to) {
      try {
        for (; at < to; at += 1) this.#readOne(batch, split, at, out)
      } catch (thrown) {
        unit.rowFailed(stage, originOf(split, batch.lines[at] ?? 0), thrown, batch.records[at], asRecord)
        at += 1
      }
    }
    this.emit(out)
  }

  /** Gives up what the connector rejected. */
  reject(batch: SourceBatch, split: number): void {
    const { unit, stage } = this
    const { rowsIn } = unit.counters
    rowsIn[stage] = (rowsIn[stage] as number) + batch.rejected.length
    for (const { line, reason, raw } of batch.rejected)
      unit.rowFailed(stage, originOf(split, line), new BrokenRow(reason), new RawText(raw))
  }

  override rollback(): void {
    this.greatestTime = Number.NEGATIVE_INFINITY
  }

  #readOne(batch: SourceBatch, split: number, at: number, out: Batch): void {
    const record = batch.records[at]
    const row = this.decode === undefined ? record : this.decode(record)
    refusePromise(row)
    const time = this.eventTime === undefined ? this.unit.wallTimeMs : this.eventTime.at(row)
    if (typeof time !== 'number' || !(Math.abs(time) <= timeMax)) {
      refusePromise(time)
      throw new BrokenRow(`its event time is ${typeof time === 'number' ? time : typeof time}, milliseconds since the epoch are wanted`)
    }
    out.push(row, time, originOf(split, batch.lines[at] ?? 0), undefined, -1)
    if (time > this.greatestTime) this.greatestTime = time
  }

  protected process(): void {
    // A source has no stage before it.
  }
}
