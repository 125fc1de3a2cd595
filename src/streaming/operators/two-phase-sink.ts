/**
 * A sink whose output becomes visible with checkpoints (contract: ../sink.ts).
 *
 * Owns: which handles are prepared, in a checkpoint, committed. Does not: write (the connector's writer does).
 *
 *   rows -> writer -> prepare(n) at barrier n -> handle, a record at home -> checkpoint committed -> commit, in order -> tombstone
 *
 * 1. Rows leave a unit when it has returned. A writer that holds as much as it may stops everything that could add to it (`isFull`).
 * 2. A barrier is not answered before what was written before it is prepared and its handle written as state.
 * 3. Handles of a checkpoint that was given up are committed with the next one.
 * 4. A new attempt commits the handles that it finds (`recover`) before anything else, and ends all other output of older attempts.
 * 5. Without checkpoints what was written is prepared and committed about once a second, and at the end of the input.
 */
import { NearstateError } from '../../base/errors.ts'
import { type HomeRecord, handleKey, homeOf } from '../checkpoint/home.ts'
import { type CheckpointRules, everyCheckpointRule } from '../checkpoint/rules.ts'
import type { RowCodec } from '../exchange/frame.ts'
import type { StateStore } from '../ports.ts'
import type { SinkConnector, SinkHandle, SinkListener, SinkOptions, SinkTask, SinkWriter } from '../sink.ts'
import { tableStart } from '../state/record-key.ts'
import { Batch } from './batch.ts'
import { type Bounded, Operator, type Timed } from './operator.ts'
import { plainOf } from './plain.ts'
import { StageFailure, type Unit } from './unit.ts'

export interface TwoPhaseSinkOptions {
  readonly connector: SinkConnector
  readonly options: SinkOptions
  readonly task: SinkTask
  readonly codec: RowCodec
  /** The task should be asked for work again. */
  readonly wake: () => void
  readonly isCheckpointed: boolean
  readonly rules?: CheckpointRules
}

interface Prepared {
  readonly n: number
  readonly key: Uint8Array
  readonly handle: SinkHandle
}

interface HandleRecord {
  readonly n: number
  readonly attempt: number
  readonly handle: SinkHandle
}

const handlesMax = 100_000
/** Without checkpoints. */
const prepareEveryMs = 1000

export class TwoPhaseSinkOperator extends Operator implements Bounded, Timed, SinkListener {
  readonly #options: TwoPhaseSinkOptions
  readonly #rules: CheckpointRules
  #writer: SinkWriter | undefined
  readonly #laidDown = new Batch()
  #isFull = false
  #preparing = 0
  #prepared: Prepared[] = []
  /** Handles that a checkpoint has, in their order, and whether the first is being committed. */
  #toCommit: Prepared[] = []
  #isCommitting = false
  /** Handles to be written, and tombstones of those that are committed, at the next barrier. */
  #records: { readonly home: string; readonly key: Uint8Array; readonly value: Uint8Array | undefined }[] = []
  #recovered: HomeRecord[] = []
  #failure: NearstateError | undefined
  #closed = false
  // Without checkpoints: rows were written since the last output was prepared, its number and its time.
  #hasNews = false
  #n = 0
  #nowMs = 0
  #preparedMs = 0

  constructor(stage: number, unit: Unit, options: TwoPhaseSinkOptions) {
    super(stage, unit)
    this.#options = options
    this.#rules = options.rules ?? everyCheckpointRule
  }

  get isFull(): boolean {
    return this.#isFull
  }

  protected process(batch: Batch): void {
    const { codec } = this.#options
    let at = 0
    while (at < batch.size) {
      try {
        for (; at < batch.size; at += 1) this.#laidDown.pushFrom(batch, at, plainOf(batch.rows[at], codec))
      } catch (thrown) {
        this.rowFailed(batch, at, thrown)
        at += 1
      }
    }
  }

  override commit(): void {
    const { size } = this.#laidDown
    if (size === 0) return
    const { rowsOut } = this.unit.counters
    rowsOut[this.stage] = (rowsOut[this.stage] as number) + size
    this.#hasNews = true
    this.#isFull = !this.#open().write(this.#laidDown.rows.slice(0, size))
    this.#laidDown.clear()
  }

  override rollback(): void {
    this.#laidDown.size = 0
  }

  // ---- without checkpoints

  setTime(nowMs: number): void {
    const failure = this.#failure ?? this.#writer?.failure
    if (failure !== undefined) throw new StageFailure(this.stage, -1, failure)
    this.#nowMs = nowMs
    if (!this.#options.isCheckpointed && nowMs - this.#preparedMs >= prepareEveryMs) this.#prepareNow()
  }

  get wakeAtMs(): number {
    const at = this.#preparedMs + prepareEveryMs
    return this.#hasNews && !this.#options.isCheckpointed && at > this.#nowMs ? at : Number.POSITIVE_INFINITY
  }

  override endInput(): boolean {
    this.#prepareNow()
    return !this.isAtWork
  }

  /** Something is not written, prepared or committed yet. */
  get isAtWork(): boolean {
    return this.#isFull || this.#preparing > 0 || this.#toCommit.length > 0
  }

  #prepareNow(): void {
    if (!this.#hasNews || this.isAtWork) return
    this.#hasNews = false
    this.#preparedMs = this.#nowMs
    this.#n += 1
    this.passBarrier(this.#n)
  }

  // ---- checkpoints

  override passBarrier(n: number): void {
    if (this.#writer === undefined) return
    this.#preparing = n
    this.#writer.prepare(n)
  }

  override get isPreparing(): boolean {
    const failure = this.#failure ?? this.#writer?.failure
    if (failure !== undefined) throw failure
    return this.#preparing > 0
  }

  onReady(): void {
    this.#isFull = false
    this.#options.wake()
  }

  onPrepared(n: number, handle: SinkHandle | undefined): void {
    if (this.#closed) return
    const { task, codec } = this.#options
    if (handle !== undefined) {
      const prepared = { n, key: handleKey(task.task, task.attempt, n), handle }
      const record: HandleRecord = { n, attempt: task.attempt, handle }
      this.#prepared.push(prepared)
      this.#record({ home: task.task, key: prepared.key, value: codec.encode(record) })
      if (!this.#options.isCheckpointed || !this.#rules.outputsCommittedAfterCas) this.committed(n)
    }
    if (n === this.#preparing) this.#preparing = 0
    this.#options.wake()
  }

  override takeRecords(partitions: number): readonly HomeRecord[] {
    const { stage } = this.#options.task
    const own = this.#records.splice(0).map(({ home, key, value }) => ({ partition: homeOf(stage, home, partitions), stage, key, value }))
    return [...own, ...this.#recovered.splice(0)]
  }

  override committed(n: number): void {
    const due = this.#prepared.filter(prepared => (this.#rules.givenUpOutputKept ? prepared.n <= n : prepared.n === n))
    this.#prepared = this.#prepared.filter(prepared => prepared.n > n)
    this.#toCommit.push(...due)
    this.#commitNext()
  }

  override get isCommitting(): boolean {
    if (this.#failure !== undefined) throw this.#failure
    return this.#toCommit.length > 0
  }

  #commitNext(): void {
    const first = this.#toCommit[0]
    if (first === undefined || this.#isCommitting) return
    this.#isCommitting = true
    const { connector, options, task, wake } = this.#options
    connector.commit(options, first.handle, error => {
      this.#isCommitting = false
      if (error !== undefined) {
        this.#failure = error
      } else {
        this.#toCommit.shift()
        this.#record({ home: task.task, key: first.key, value: undefined })
        this.#commitNext()
      }
      wake()
    })
  }

  #record(record: { readonly home: string; readonly key: Uint8Array; readonly value: Uint8Array | undefined }): void {
    if (this.#options.isCheckpointed) this.#records.push(record)
  }

  // ---- a new attempt

  /** Commits the valid handles at home in these partitions; before the shard says that it stands ready. */
  recover(store: StateStore, partitions: readonly number[], done: (error?: NearstateError) => void): void {
    const { connector, options, task, codec } = this.#options
    if (store.isFresh || !this.#rules.newAttemptCommitsHandles) {
      done()
      return
    }
    const found: { readonly record: HandleRecord; readonly at: HomeRecord }[] = []
    for (const partition of partitions) {
      for (const { key, value } of store.scan(partition, task.stage, tableStart(1), tableStart(2), handlesMax)) {
        found.push({ record: codec.decode(value) as HandleRecord, at: { partition, stage: task.stage, key, value: undefined } })
      }
    }
    found.sort((a, b) => a.record.attempt - b.record.attempt || a.record.n - b.record.n)
    const next = (): void => {
      const first = found.shift()
      if (first === undefined) {
        done()
        return
      }
      connector.commit(options, first.record.handle, error => {
        if (error !== undefined) {
          done(error)
          return
        }
        this.#recovered.push(first.at)
        next()
      })
    }
    next()
  }

  /** Ends what older attempts left that no checkpoint has; on one shard, when all have recovered. */
  endOthers(): void {
    const { connector, options, task } = this.#options
    connector.endOthers(options, task, error => {
      if (error !== undefined) this.#failure = error
    })
  }

  override close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#writer?.close()
    if (this.#rules.stoppingKeepsPrepared) return
    const { connector, options, task } = this.#options
    connector.endOthers(options, { ...task, attempt: task.attempt + 1 }, () => undefined)
  }

  #open(): SinkWriter {
    if (this.#closed) throw new NearstateError('INTERNAL', 'rows came to a sink that was closed')
    const { connector, options, task } = this.#options
    this.#writer ??= connector.open(options, task, this)
    return this.#writer
  }
}
