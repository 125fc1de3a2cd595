/**
 * A stage whose rows wait for answers from outside: rows go in, calls are made, rows go on when they are answered.
 *
 *   row -> waiting -> called -> answered -> goes on
 *             ^---retry---'---> failed   -> by the job's rule
 *
 * Owns: the rows under way, how many calls there are at a time, time-outs and repeats. Does not: make calls (what extends it does).
 *
 * 1. At most `inFlight` calls are under way. With so many rows in it the stage is full, and nothing that reaches it is run: it holds at
 *    most one unit's rows more.
 * 2. An answer is an input like any other: it is laid aside when it comes, the task is woken, and it is taken up between units.
 * 3. A barrier passes at once. Rows that are under way then are part of the checkpoint, as they came in; a restart calls for them
 *    again before anything else. They go to the partition of their key, or, without one, to the home of (stage, task); whoever has the
 *    partition afterwards takes them over.
 * 4. A watermark waits for the rows before it (pending-rows.ts), so what is behind it is never later than it was.
 */
import { NearstateError } from '../../../base/errors.ts'
import { type HomeRecord, homeOf } from '../../checkpoint/home.ts'
import type { AsyncLimits } from '../../graph/async-options.ts'
import type { Outside } from '../../ports.ts'
import { afterKey, tableStart, timedKey, timeOfKey } from '../../state/record-key.ts'
import type { StageState } from '../../state/stage-state.ts'
import { Batch } from '../batch.ts'
import { type Bounded, type Due, type Lagging, Operator, type Timed } from '../operator.ts'
import { noOrigin } from '../origin.ts'
import { type Unit, UnitSignal } from '../unit.ts'
import { type PendingRow, PendingRows, type RowRecord } from './pending-rows.ts'

export interface AsyncOperatorOptions {
  readonly limits: AsyncLimits
  readonly isKeyed: boolean
  readonly outside: Outside
  /** Where recorded rows are read from after a restart. */
  readonly saved: StageState
  readonly attempt: number
  /** The shard. */
  readonly task: string
  /** Of the cluster. */
  readonly partitionCount: number
}

interface Answer {
  readonly row: PendingRow
  readonly call: number
  readonly state: 'answered' | 'failed'
  readonly outcome: unknown
}

const firstRetryMs = 100
const scanAtOnce = 1024

export abstract class AsyncOperator extends Operator implements Due, Bounded, Lagging, Timed {
  protected readonly outside: Outside
  protected readonly isKeyed: boolean
  readonly #options: AsyncOperatorOptions
  readonly #limits: AsyncLimits
  readonly #rows: PendingRows
  /** Rows to be called, in their order; a row that waits for its repeat comes when it is due. */
  readonly #waiting = new Set<PendingRow>()
  readonly #retrying = new Set<PendingRow>()
  /** In the order in which they will be given up. */
  readonly #called = new Set<PendingRow>()
  #answers: Answer[] = []
  #nowMs = 0
  #sequence = 0
  // In a unit.
  readonly #laidDown: PendingRow[] = []
  readonly #out = new Batch()
  #goingOn: readonly PendingRow[] = []
  #toCall: readonly PendingRow[] = []
  #begun: PendingRow[] = []
  // Records of rows under way at a barrier, and tombstones of those that are not any more.
  #records: HomeRecord[] = []
  #goneRecords: RowRecord[] = []

  constructor(stage: number, unit: Unit, options: AsyncOperatorOptions) {
    super(stage, unit)
    this.#options = options
    this.#limits = options.limits
    this.outside = options.outside
    this.isKeyed = options.isKeyed
    this.#rows = new PendingRows(options.limits.ordered)
    for (const row of this.#restored()) this.#take(row)
  }

  /** In a unit: begins the call for a row; user code. What must not happen twice is done in `send`. Throws what fails the row. */
  protected abstract begin(row: PendingRow): void

  /** The unit in which these calls were begun has returned. */
  protected abstract send(rows: readonly PendingRow[]): void

  /** The unit has not returned. */
  protected abstract forget(): void

  /** In a unit: the row that goes on; user code. */
  protected abstract resultOf(row: PendingRow): unknown

  /** Nobody waits for the call any more. */
  protected abstract givenUp(row: PendingRow): void

  /** At any time, but for within a unit's execution of this stage: the answer to a call. */
  protected answer(row: PendingRow, call: number, state: 'answered' | 'failed', outcome: unknown): void {
    this.#answers.push({ row, call, state, outcome })
    this.outside.wake()
  }

  get isFull(): boolean {
    return this.#rows.size >= this.#limits.inFlight
  }

  get watermarkBehind(): number {
    return this.#rows.watermark
  }

  /** Calls that were not answered yet. */
  get isWaiting(): boolean {
    return this.#rows.size > 0
  }

  protected process(batch: Batch): void {
    let at = 0
    while (at < batch.size) {
      try {
        for (; at < batch.size; at += 1) this.#laidDown.push(this.#pendingOf(batch, at))
      } catch (thrown) {
        this.rowFailed(batch, at, thrown)
        at += 1
      }
    }
  }

  /** Its record is encoded here: in a unit, where a row's own code may run. */
  #pendingOf(batch: Batch, at: number): PendingRow {
    const row = batch.rows[at]
    const time = batch.times[at] as number
    const key = this.isKeyed ? batch.keys[at] : undefined
    const partition = this.isKeyed ? (batch.partitions[at] as number) : -1
    const record = this.#recordOf(row, time, key, partition)
    return pending({ row, time, origin: batch.origins[at] as number, key, partition, record })
  }

  #recordOf(row: unknown, time: number, key: unknown, partition: number): RowRecord | undefined {
    const { saved, attempt, task, partitionCount } = this.#options
    if (saved.interval === 0) return undefined
    this.#sequence += 1
    return {
      partition: this.isKeyed ? partition : homeOf(saved.stage, task, partitionCount),
      key: timedKey(0, attempt, timedKey(0, this.#sequence, text.encode(task))),
      value: saved.codec.encode([time, key ?? null, row]),
    }
  }

  // ---- time

  setTime(nowMs: number): void {
    this.#nowMs = nowMs
    for (const row of this.#called) {
      if (row.dueMs > nowMs) break
      this.givenUp(row)
      const error = new NearstateError('DEADLINE_EXCEEDED', `its call had no answer within ${this.#limits.timeoutMs} ms`)
      this.#answers.push({ row, call: row.calls, state: 'failed', outcome: error })
    }
    for (const row of this.#retrying) {
      if (row.dueMs > nowMs) continue
      this.#retrying.delete(row)
      this.#waiting.add(row)
    }
    this.#takeAnswers()
  }

  get wakeAtMs(): number {
    let earliest = Number.POSITIVE_INFINITY
    for (const { dueMs } of this.#called) {
      earliest = dueMs
      break
    }
    for (const { dueMs } of this.#retrying) earliest = Math.min(earliest, dueMs)
    return earliest
  }

  // ---- what is due: rows that go on, calls to be made

  advanceTo(watermark: number): void {
    this.#rows.advanceTo(watermark)
  }

  prepareFire(limit: number): boolean {
    this.#takeAnswers()
    this.#goingOn = this.#rows.ready(limit)
    this.#toCall = this.#goingOn.length > 0 ? [] : this.#nextCalls(limit)
    return this.#goingOn.length > 0 || this.#toCall.length > 0
  }

  #nextCalls(limit: number): readonly PendingRow[] {
    const most = Math.min(limit, this.#limits.inFlight - this.#called.size)
    const next: PendingRow[] = []
    for (const row of this.#waiting) {
      if (next.length >= most) break
      next.push(row)
    }
    return next
  }

  fire(): void {
    if (this.#goingOn.length === 0) {
      for (const row of this.#toCall) this.#begin(row)
      return
    }
    const out = this.#out
    out.size = 0
    for (const row of this.#goingOn) {
      try {
        if (row.state === 'failed') throw row.outcome
        out.push(this.resultOf(row), row.time, row.origin, row.key, row.partition)
      } catch (thrown) {
        this.unit.rowFailed(this.stage, row.origin, thrown, row.row, row)
      }
    }
    this.emit(out)
  }

  #begin(row: PendingRow): void {
    try {
      this.begin(row)
      this.#begun.push(row)
    } catch (thrown) {
      if (thrown instanceof UnitSignal) throw thrown
      // Fails like an answer would, and is repeated like one.
      this.#answers.push({ row, call: row.calls + 1, state: 'failed', outcome: thrown })
      this.#begun.push(row)
    }
  }

  fired(): void {
    this.#done(this.#goingOn)
    this.#goingOn = []
    this.#toCall = []
  }

  dropFirst(): unknown {
    const [row] = this.#goingOn.length > 0 ? this.#goingOn : this.#toCall
    if (row === undefined) return undefined
    this.#done([row])
    this.#goingOn = []
    this.#toCall = []
    return row.row
  }

  override commit(): void {
    for (const row of this.#laidDown) this.#take(row)
    this.#laidDown.length = 0
    if (this.#begun.length === 0) return
    const begun = this.#begun
    this.#begun = []
    for (const row of begun) {
      this.#waiting.delete(row)
      row.state = 'called'
      row.calls += 1
      row.dueMs = this.#nowMs + this.#limits.timeoutMs
      this.#called.add(row)
    }
    this.send(begun)
  }

  override rollback(): void {
    this.#laidDown.length = 0
    this.#answers = this.#answers.filter(({ row, call }) => call <= row.calls)
    this.#begun = []
    this.forget()
  }

  override close(): void {
    for (const row of this.#called) this.givenUp(row)
    this.#called.clear()
  }

  #take(row: PendingRow): void {
    this.#rows.push(row)
    this.#waiting.add(row)
  }

  #takeAnswers(): void {
    if (this.#answers.length === 0) return
    const answers = this.#answers
    this.#answers = []
    for (const { row, call, state, outcome } of answers) {
      if (row.state !== 'called' || row.calls !== call) continue
      this.#called.delete(row)
      if (state === 'failed' && row.calls <= this.#limits.retries) {
        row.state = 'waiting'
        row.dueMs = this.#nowMs + firstRetryMs * 2 ** (row.calls - 1)
        this.#retrying.add(row)
        continue
      }
      row.state = state
      row.outcome = outcome
      this.#rows.settle(row)
    }
  }

  #done(rows: readonly PendingRow[]): void {
    this.#rows.remove(rows)
    for (const row of rows) {
      this.#waiting.delete(row)
      if (row.isRecorded && row.record !== undefined) this.#goneRecords.push(row.record)
    }
  }

  // ---- checkpoints

  override passBarrier(_n: number): void {
    const { saved } = this.#options
    for (const { partition, key } of this.#goneRecords) this.#records.push({ partition, stage: saved.stage, key, value: undefined })
    this.#goneRecords = []
    if (!saved.rules.asynchronousRowsRecorded) return
    for (const row of this.#rows) {
      if (row.record === undefined || row.isRecorded) continue
      row.isRecorded = true
      this.#records.push({ ...row.record, stage: saved.stage })
    }
  }

  override takeRecords(): readonly HomeRecord[] {
    return this.#records.splice(0)
  }

  /** Rows that were under way at the restore point, of older attempts first, each task's in their order. */
  #restored(): readonly PendingRow[] {
    const { saved } = this.#options
    if (saved.isFresh) return []
    const found: { readonly attempt: number; readonly sequence: number; readonly row: PendingRow }[] = []
    for (const partition of saved.partitions) {
      let from = tableStart(0)
      for (;;) {
        const records = saved.scan(partition, from, tableStart(1), scanAtOnce)
        for (const { key, value } of records) {
          const [time, rowKey, row] = saved.codec.decode(value) as readonly [number, unknown, unknown]
          const of = { row, time, origin: noOrigin, key: rowKey ?? undefined, partition: this.isKeyed ? partition : -1 }
          const restored = pending({ ...of, record: { partition, key, value } })
          restored.isRecorded = true
          found.push({ attempt: timeOfKey(key), sequence: timeOfKey(key.subarray(9)), row: restored })
        }
        const last = records.at(-1)
        if (last === undefined || records.length < scanAtOnce) break
        from = afterKey(last.key)
      }
    }
    found.sort((a, b) => a.attempt - b.attempt || a.sequence - b.sequence)
    return found.map(({ row }) => row)
  }
}

const text = new TextEncoder()

const pending = (of: Pick<PendingRow, 'row' | 'time' | 'origin' | 'key' | 'partition' | 'record'>): PendingRow => ({
  ...of,
  isRecorded: false,
  state: 'waiting',
  calls: 0,
  dueMs: 0,
  outcome: undefined,
})
