/**
 * The contract between a two-phase sink and what writes for it (files, Kafka, ...). Output of an interval is prepared at its barrier
 * and made visible after the checkpoint is committed.
 *
 *   write* -> prepare(n) -> onPrepared(n, handle) -> [handle in the checkpoint, CAS] -> commit(handle)
 *
 * 1. Prepared output outlives the writer and its node; `close` never aborts it.
 * 2. `commit` is repeatable, may be called on any node, and in the order of checkpoints for one task.
 * 3. What an attempt prepared for a checkpoint that was given up counts with the next one.
 * 4. `endOthers` ends all output of older attempts that is neither committed nor among the valid handles, which were committed before.
 */
import type { NearstateError } from '../base/errors.ts'

/** The options of a sink as plain data, as the builder wrote them. */
export type SinkOptions = Readonly<Record<string, string | number | boolean | readonly string[]>>

/** Names prepared output; plain data (JSON). */
export type SinkHandle = string

/** Who writes. */
export interface SinkTask {
  readonly job: string
  /** Of the run: another one of the same name has another. */
  readonly jobId: string
  readonly stage: string
  readonly attempt: number
  /** The shard. */
  readonly task: string
}

export interface SinkConnector {
  readonly kind: string
  open(options: SinkOptions, task: SinkTask, listener: SinkListener): SinkWriter
  commit(options: SinkOptions, handle: SinkHandle, done: (error?: NearstateError) => void): void
  /** Called once by a new attempt, whose task is given, after all valid handles were committed. */
  endOthers(options: SinkOptions, task: Omit<SinkTask, 'task'>, done: (error?: NearstateError) => void): void
}

export interface SinkListener {
  /** `write` takes rows again, or what was asked has failed: `failure`. */
  onReady(): void
  /** Everything written before `prepare(n)` is prepared; undefined: there was nothing. */
  onPrepared(n: number, handle: SinkHandle | undefined): void
}

export interface SinkWriter {
  /** Set when writing has failed for good; the attempt ends with it. */
  readonly failure: NearstateError | undefined
  /** False: it holds as much as it may, and no more rows come until onReady. These rows are taken in any case. */
  write(rows: readonly unknown[]): boolean
  /** Ends the output of the interval. Rows written later belong to the next one. */
  prepare(n: number): void
  /** Releases everything; what is prepared stays, what is not is ended. */
  close(): void
}
