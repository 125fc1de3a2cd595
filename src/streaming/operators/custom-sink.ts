/**
 * A sink whose writing is user code (`defineSink`), behind the contract of two-phase sinks: batches one after the other, each prepared by
 * itself; the handle of an interval is the list of its batches'. A sink that only writes has nothing to commit: a barrier waits until
 * its rows are out.
 */
import { messageOf, NearstateError } from '../../base/errors.ts'
import type { AsyncCall } from '../graph/async-options.ts'
import type { CommittingSink, CustomSink } from '../graph/sink-descriptors.ts'
import type { Outside } from '../ports.ts'
import type { SinkConnector, SinkHandle, SinkListener, SinkOptions, SinkTask, SinkWriter } from '../sink.ts'
import { RunningCall } from './asynchronous/running-call.ts'

const batchRows = 500
/** Above it `write` says that it is full, until half of it is written. */
const waitingRowsMax = 4096

type WriteBatch = (rows: readonly unknown[], done: (error: NearstateError | undefined, handle: string | undefined) => void) => void
type Done = (error?: NearstateError) => void

export class CustomSinkConnector implements SinkConnector {
  readonly kind = 'custom'
  readonly #sink: CustomSink<unknown>
  readonly #outside: Outside
  readonly #stage: string

  constructor(sink: CustomSink<unknown>, outside: Outside, stage: string) {
    this.#sink = sink
    this.#outside = outside
    this.#stage = stage
  }

  open(_options: SinkOptions, task: SinkTask, listener: SinkListener): SinkWriter {
    return new CustomWriter((rows, done) => this.#write(rows, task, done), listener)
  }

  commit(_options: SinkOptions, handle: SinkHandle, done: Done): void {
    const { commit } = this.#sink as CommittingSink<unknown>
    const handles = JSON.parse(handle) as readonly string[]
    const next = (at: number): void => {
      const one = handles[at]
      if (one === undefined) done()
      else
        this.#run(
          call => commit.call(this.#sink as CommittingSink<unknown>, one, call),
          error => (error === undefined ? next(at + 1) : done(error)),
        )
    }
    next(0)
  }

  endOthers(_options: SinkOptions, task: Omit<SinkTask, 'task'>, done: Done): void {
    const sink = this.#sink
    if (task.attempt === 1 || 'write' in sink || sink.endOthers === undefined) done()
    else this.#run(call => sink.endOthers?.(call, task) ?? Promise.resolve(), done)
  }

  #write(rows: readonly unknown[], task: SinkTask, done: (error: NearstateError | undefined, handle: string | undefined) => void): void {
    const sink = this.#sink
    if ('write' in sink)
      this.#run(
        call => sink.write(rows, call, task),
        error => done(error, undefined),
      )
    else
      this.#run(
        call => sink.prepare(rows, call, task),
        (error, handle) => {
          if (error === undefined && typeof handle !== 'string')
            done(new NearstateError('FUNCTION_FAILED', 'prepare must resolve with a text that names what it has prepared'), undefined)
          else done(error, handle as string | undefined)
        },
      )
  }

  #run(act: (call: AsyncCall) => Promise<unknown>, done: (error: NearstateError | undefined, value?: unknown) => void): void {
    const { fetch, run } = this.#outside
    const call = new RunningCall((url, options, answered) => fetch(this.#stage, url, options, answered))
    run(
      this.#stage,
      () => act(call),
      (error, value) => {
        call.end()
        done(error === undefined ? undefined : failureOf(error), value)
      },
    )
  }
}

class CustomWriter implements SinkWriter {
  failure: NearstateError | undefined
  readonly #write: WriteBatch
  readonly #listener: SinkListener
  /** Rows, and numbers of barriers between them. */
  #waiting: { readonly rows: unknown[]; barrier: number | undefined }[] = []
  #waitingRows = 0
  #isFull = false
  #isWriting = false
  #isClosed = false
  #handles: string[] = []

  constructor(write: WriteBatch, listener: SinkListener) {
    this.#write = write
    this.#listener = listener
  }

  write(rows: readonly unknown[]): boolean {
    const last = this.#waiting.at(-1)
    if (last === undefined || last.barrier !== undefined) this.#waiting.push({ rows: [...rows], barrier: undefined })
    else for (const row of rows) last.rows.push(row)
    this.#waitingRows += rows.length
    this.#isFull = this.#waitingRows >= waitingRowsMax
    this.#next()
    return !this.#isFull
  }

  prepare(n: number): void {
    const last = this.#waiting.at(-1)
    if (last === undefined || last.barrier !== undefined) this.#waiting.push({ rows: [], barrier: n })
    else last.barrier = n
    this.#next()
  }

  close(): void {
    this.#isClosed = true
    this.#waiting = []
  }

  #next(): void {
    const first = this.#waiting[0]
    if (first === undefined || this.#isWriting || this.#isClosed || this.failure !== undefined) return
    if (first.rows.length > 0) {
      this.#isWriting = true
      this.#write(first.rows.splice(0, batchRows), (error, handle) => this.#written(error, handle))
      return
    }
    if (first.barrier === undefined) return
    this.#waiting.shift()
    const handles = this.#handles
    this.#handles = []
    this.#listener.onPrepared(first.barrier, handles.length === 0 ? undefined : JSON.stringify(handles))
    this.#next()
  }

  #written(error: NearstateError | undefined, handle: string | undefined): void {
    this.#isWriting = false
    this.failure = error
    if (handle !== undefined) this.#handles.push(handle)
    this.#waitingRows = this.#waiting.reduce((sum, { rows }) => sum + rows.length, 0)
    if (error !== undefined || (this.#isFull && this.#waitingRows <= waitingRowsMax / 2)) {
      this.#isFull = false
      this.#listener.onReady()
    }
    this.#next()
  }
}

const failureOf = (thrown: unknown): NearstateError =>
  thrown instanceof NearstateError ? thrown : new NearstateError('FUNCTION_FAILED', messageOf(thrown), { cause: thrown })
