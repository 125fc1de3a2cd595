/**
 * Rows that wait for answers, with the watermarks that came between them.
 *
 * A watermark goes on when all rows before it have, so what comes out behind it is no later than it was. Rows between two watermarks
 * form a segment; `ordered` decides whether its rows go on in their order, or as they are answered.
 *
 *   [row row row | w1] [row row | w2] [row]      open: the last segment, until the next watermark
 */

export interface PendingRow {
  readonly row: unknown
  readonly time: number
  readonly origin: number
  readonly key: unknown
  readonly partition: number
  /** Its record for a checkpoint; undefined in a job without. */
  readonly record: RowRecord | undefined
  /** A checkpoint may have the record. */
  isRecorded: boolean
  state: 'waiting' | 'called' | 'answered' | 'failed'
  /** Calls made for it. Answers to an earlier one come too late. */
  calls: number
  /** Called: when it is given up. Waiting: not to be called before. */
  dueMs: number
  /** The answer, or what went wrong. */
  outcome: unknown
}

export interface RowRecord {
  readonly partition: number
  readonly key: Uint8Array
  readonly value: Uint8Array
}

interface Segment {
  readonly rows: Set<PendingRow>
  /** Those that can go on, in the order of their answers. */
  settled: PendingRow[]
  /** Behind it; undefined: not known yet. */
  watermark: number | undefined
}

const emptySegment = (): Segment => ({ rows: new Set(), settled: [], watermark: undefined })

export class PendingRows {
  /** Behind the last row that has gone on. */
  watermark = Number.NEGATIVE_INFINITY
  size = 0
  /** The last one that has come. */
  #latest = Number.NEGATIVE_INFINITY
  readonly #ordered: boolean
  readonly #segments: Segment[] = [emptySegment()]
  readonly #segmentOf = new WeakMap<PendingRow, Segment>()

  constructor(ordered: boolean) {
    this.#ordered = ordered
  }

  *[Symbol.iterator](): IterableIterator<PendingRow> {
    for (const { rows } of this.#segments) yield* rows
  }

  push(row: PendingRow): void {
    let segment = this.#segments.at(-1) as Segment
    // Nothing waits before a segment that is empty: its watermark has gone on.
    if (segment.rows.size === 0) segment.watermark = undefined
    if (segment.watermark !== undefined) {
      segment = emptySegment()
      this.#segments.push(segment)
    }
    segment.rows.add(row)
    this.#segmentOf.set(row, segment)
    this.size += 1
  }

  advanceTo(watermark: number): void {
    if (watermark <= this.#latest) return
    this.#latest = watermark
    if (this.size === 0) this.watermark = watermark
    else (this.#segments.at(-1) as Segment).watermark = watermark
  }

  /** The row is answered or has failed for good. */
  settle(row: PendingRow): void {
    if (!this.#ordered) this.#segmentOf.get(row)?.settled.push(row)
  }

  /** At most so many rows that can go on now. They stay until they are removed. */
  ready(limit: number): readonly PendingRow[] {
    const [first] = this.#segments
    if (first === undefined) return []
    if (!this.#ordered) return first.settled.slice(0, limit)
    const ready: PendingRow[] = []
    for (const row of first.rows) {
      if (ready.length === limit || (row.state !== 'answered' && row.state !== 'failed')) break
      ready.push(row)
    }
    return ready
  }

  remove(rows: readonly PendingRow[]): void {
    const gone = new Set(rows)
    for (const row of rows) {
      if (this.#segmentOf.get(row)?.rows.delete(row) === true) this.size -= 1
    }
    const [first] = this.#segments
    if (first !== undefined && !this.#ordered) first.settled = first.settled.filter(row => !gone.has(row))
    this.#passMarks()
  }

  #passMarks(): void {
    for (let first = this.#segments[0]; first !== undefined && first.rows.size === 0; first = this.#segments[0]) {
      if (first.watermark === undefined) return
      this.watermark = first.watermark
      if (this.#segments.length === 1) return
      this.#segments.shift()
    }
  }
}
