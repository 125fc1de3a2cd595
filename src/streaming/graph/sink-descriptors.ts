/**
 * Sinks besides maps, as the builder writes them: plain options for the node's connector, or user code that takes the rows.
 *
 * `files`: JSON lines in a directory that every node sees. `collect`: rows kept with the job's state.
 */
import { invalidArgument } from '../../base/errors.ts'
import type { SinkOptions } from '../sink.ts'
import type { AsyncCall } from './async-options.ts'
import { refuseUnknownOptions } from './unknown-options.ts'

export interface Sink<in Row> {
  readonly kind: 'sink'
  readonly connector: string
  readonly options: SinkOptions
  /** Of `defineSink`. */
  readonly custom?: CustomSink<never>
  readonly '~row'?: (row: Row) => void
}

/** Who writes. */
export interface SinkInfo {
  readonly job: string
  /** Of the run: another one of the same name has another. */
  readonly jobId: string
  readonly stage: string
  /** One more with every restart. */
  readonly attempt: number
  /** The shard. */
  readonly task: string
}

/**
 * Rows come in batches of at most 500 of one shard, one call after the other. `write` alone: they are out when it has resolved; after a
 * restart those since the last checkpoint come again. `prepare` and `commit`: exactly once, if both can be repeated.
 */
export type CustomSink<Row> = WritingSink<Row> | CommittingSink<Row>

export interface WritingSink<Row> {
  write(rows: readonly Row[], call: AsyncCall, info: SinkInfo): Promise<void>
}

export interface CommittingSink<Row> {
  /** Puts the rows where they outlive the node and nobody sees them yet; the text names them in the checkpoint. */
  prepare(rows: readonly Row[], call: AsyncCall, info: SinkInfo): Promise<string>
  /** Makes visible what `prepare` has named, when its checkpoint is committed. May be called again, and on any node. */
  commit(handle: string, call: AsyncCall): Promise<void>
  /** Called once when a job goes on after a restart: what older attempts have prepared and not committed by now is of no checkpoint. */
  endOthers?(call: AsyncCall, info: Omit<SinkInfo, 'task'>): Promise<void>
}

/** A sink of one's own. User code has `call.fetch` to reach the outside with; it runs on every shard that has rows. */
export function defineSink<Row>(custom: CustomSink<Row>): Sink<Row> {
  refuseUnknownOptions('define a sink', custom, ['write', 'prepare', 'commit', 'endOthers'])
  const { write, prepare, commit, endOthers } = custom as Partial<WritingSink<Row> & CommittingSink<Row>>
  const isWriting = typeof write === 'function' && prepare === undefined && commit === undefined && endOthers === undefined
  const isCommitting = write === undefined && typeof prepare === 'function' && typeof commit === 'function'
  if (!isWriting && !isCommitting)
    throw invalidArgument('Cannot define a sink: it has either the function write, or prepare and commit (and endOthers, if it wants)')
  return { kind: 'sink', connector: 'custom', options: {}, custom: custom as CustomSink<never> }
}

/**
 * JSON lines in files of a directory that every node sees under this path: one file per shard and checkpoint, there when it is
 * committed; without checkpoints about one a second.
 */
export function filesSink(options: { readonly path: string }): Sink<unknown> {
  refuseUnknownOptions('make a files sink', options, ['path'])
  if (typeof options.path !== 'string' || options.path === '') throw invalidArgument('Cannot make a files sink: path must name a directory')
  return { kind: 'sink', connector: 'files', options: { path: options.path } }
}

/** Rows for the program that runs the job, kept with its state: there once their checkpoint is committed, a million per shard at most. */
export function collect(...more: unknown[]): Sink<unknown> {
  if (more.some(argument => argument !== undefined)) throw invalidArgument('Cannot collect: collect takes nothing')
  return { kind: 'sink', connector: 'collect', options: {} }
}

export const isSink = (value: unknown): value is Sink<unknown> =>
  typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'sink' && 'connector' in value
