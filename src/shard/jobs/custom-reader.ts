/**
 * Reads one split of a source that is user code (`defineSource`): one call of `read` after the other, one answer ahead.
 *
 * A position is the author's with the number of rows before it, so that lines are told apart wherever reading began.
 */
import { messageOf, NearstateError } from '../../base/errors.ts'
import type { Split } from '../../streaming/assignment.ts'
import type { CustomReading, SourceRead } from '../../streaming/graph/custom-source.ts'
import { RunningCall } from '../../streaming/operators/asynchronous/running-call.ts'
import type { Outside } from '../../streaming/ports.ts'
import type { SourceBatch, SplitPosition, SplitReader } from '../../streaming/source.ts'

export interface CustomReaderOptions {
  readonly custom: CustomReading
  readonly stage: string
  readonly split: Split
  readonly position: SplitPosition | undefined
  readonly outside: Outside
  readonly wake: () => void
}

export class CustomReader implements SplitReader {
  readonly #options: CustomReaderOptions
  #position: SplitPosition | undefined
  /** Rows before the position. */
  #rows = 0
  #batch: SourceBatch | undefined
  #hasEnded = false
  #failure: NearstateError | undefined
  #call: RunningCall | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  #isClosed = false

  constructor(options: CustomReaderOptions) {
    this.#options = options
    if (options.position !== undefined) {
      const [rows, position] = options.position as readonly [number, SplitPosition]
      this.#rows = rows
      this.#position = position
    }
    this.#read()
  }

  take(): SourceBatch | 'end' | undefined {
    if (this.#failure !== undefined) throw this.#failure
    const batch = this.#batch
    if (batch === undefined) return this.#hasEnded ? 'end' : undefined
    this.#batch = undefined
    if (!this.#hasEnded) this.#read()
    return batch
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#call?.end()
  }

  #read(): void {
    const { custom, stage, split, outside } = this.#options
    const call = new RunningCall((url, options, done) => outside.fetch(stage, url, options, done))
    this.#call = call
    const act = async (): Promise<unknown> => custom.read(this.#position, call, split.id)
    outside.run(stage, act, (error, value) => {
      call.end()
      if (this.#isClosed) return
      if (error === undefined) this.#took(value)
      else this.#failure = failureOf(split.id, error)
      this.#options.wake()
    })
  }

  #took(value: unknown): void {
    const { split, custom } = this.#options
    const { rows, next } = (value ?? {}) as Partial<SourceRead<unknown, SplitPosition>>
    if (!Array.isArray(rows)) {
      this.#failure = failureOf(split.id, new Error('read must resolve with { rows, next }, and rows be a list'))
      return
    }
    const before = this.#rows
    const position = this.#position === undefined ? {} : { position: [before, this.#position] }
    this.#rows += rows.length
    this.#position = next
    this.#hasEnded = next === undefined
    if (rows.length > 0) {
      const lines = rows.map((_, index) => before + index + 1)
      this.#batch = { origin: split.id, records: rows, lines, rejected: [], ...position }
    } else if (!this.#hasEnded) {
      this.#timer = setTimeout(() => this.#read(), custom.pollEveryMs)
    }
  }
}

const failureOf = (split: string, thrown: unknown): NearstateError =>
  thrown instanceof NearstateError
    ? thrown
    : new NearstateError('FUNCTION_FAILED', `Cannot read split "${split}": ${messageOf(thrown)}`, { cause: thrown })
