/**
 * A file's batches cut into pieces that are due by the clock. The first piece of a batch has its position and what was rejected; the
 * others have no position of their own, so a restart reads from there and passes over what was done.
 */
import type { SourceBatch, SplitListener, SplitPosition, SplitReader } from '../../streaming/source.ts'
import { Pace } from '../pace.ts'

export class PacedReader implements SplitReader {
  readonly #reader: SplitReader
  readonly #pace: Pace
  #batch: SourceBatch | undefined
  #at = 0

  constructor(reader: SplitReader, perSecond: number, listener: SplitListener, isBehind = false) {
    this.#reader = reader
    this.#pace = new Pace(perSecond, listener, isBehind)
  }

  take(): SourceBatch | 'end' | undefined {
    if (this.#batch === undefined) {
      const taken = this.#reader.take()
      if (taken === undefined || taken === 'end' || taken.records.length === 0) return taken
      this.#batch = taken
      this.#at = 0
    }
    const due = this.#pace.due()
    if (due < 1) return undefined
    return this.#piece(this.#batch, due)
  }

  #piece(batch: SourceBatch, due: number): SourceBatch {
    const { origin, records, lines, position } = batch
    const from = this.#at
    const to = Math.min(from + due, records.length)
    this.#pace.given(to - from)
    this.#at = to
    if (to === records.length) this.#batch = undefined
    const piece = { origin, records: records.slice(from, to), lines: lines.slice(from, to) }
    if (from > 0) return { ...piece, rejected: [] }
    return { ...piece, rejected: batch.rejected, ...(position === undefined ? {} : { position }) }
  }

  committed(position: SplitPosition): void {
    this.#reader.committed?.(position)
  }

  close(): void {
    this.#pace.close()
    this.#reader.close()
  }
}
