/**
 * Tumbling windows on event time. The rows of one window, over all keys, share a pane; the watermark closes panes in order of
 * their ends.
 *
 * 1. A row belongs to the window of its own time, in whatever order rows come. It is late, and only then counted so, when the
 *    watermark this stage has received is at or past its window's last millisecond.
 * 2. A pane due is emptied in pieces; the stage's own watermark moves on when it is empty, so no row of it comes after.
 */
import type { Aggregates } from '../graph/aggregate.ts'
import { Batch } from './batch.ts'
import type { KeyId } from './key-id.ts'
import { type Due, Operator } from './operator.ts'
import { noOrigin } from './origin.ts'
import { type Accumulator, Reducer } from './reducer.ts'
import type { Unit } from './unit.ts'

interface Entry {
  readonly key: unknown
  readonly partition: number
  readonly accumulator: Accumulator
}

interface Pane {
  readonly start: number
  readonly entries: Map<KeyId, Entry>
}

export class WindowOperator extends Operator implements Due {
  readonly #sizeMs: number
  readonly #reducer: Reducer
  readonly #idOf: (key: unknown) => KeyId
  readonly #panes = new Map<number, Pane>()
  readonly #out = new Batch()
  readonly #late = new Batch()
  #lastPane: Pane | undefined
  #watermark = Number.NEGATIVE_INFINITY
  /** Greatest watermark at which nothing is due yet, at the earliest. */
  #nextDue = Number.POSITIVE_INFINITY
  /** Panes due, the earliest last, and how far the one being emptied is. */
  #due: Pane[] = []
  #emptying: IterableIterator<Entry> | undefined
  readonly #chunk: Entry[] = []
  #firing = 0
  #entryCount = 0

  constructor(stage: number, unit: Unit, sizeMs: number, aggregates: Aggregates<never>, idOf: (key: unknown) => KeyId) {
    super(stage, unit)
    this.#sizeMs = sizeMs
    this.#reducer = new Reducer(aggregates)
    this.#idOf = idOf
  }

  protected process(batch: Batch): void {
    const late = this.#late
    late.size = 0
    let at = 0
    while (at < batch.size) {
      try {
        for (; at < batch.size; at += 1) this.#add(batch, at, late)
      } catch (thrown) {
        this.rowFailed(batch, at, thrown)
        at += 1
      }
    }
    if (late.size > 0) {
      const counted = this.unit.counters.late
      counted[this.stage] = (counted[this.stage] as number) + late.size
      this.emitAside(late)
    }
  }

  #add(batch: Batch, at: number, late: Batch): void {
    const start = Math.floor((batch.times[at] as number) / this.#sizeMs) * this.#sizeMs
    if (start + this.#sizeMs - 1 <= this.#watermark) {
      late.pushFrom(batch, at, batch.rows[at])
      return
    }
    this.#reducer.read(batch.rows[at])
    const pane = this.#paneOf(start)
    const key = batch.keys[at]
    const id = this.#idOf(key)
    let entry = pane.entries.get(id)
    if (entry === undefined) {
      entry = { key, partition: batch.partitions[at] as number, accumulator: this.#reducer.create() }
      if (this.unit.undo) {
        this.unit.changing({
          undo: () => {
            if (pane.entries.delete(id)) this.#entryCount -= 1
          },
        })
      }
      pane.entries.set(id, entry)
      this.#entryCount += 1
    }
    this.#reducer.add(entry.accumulator, this.unit)
  }

  // A pane is not undone: an empty one closes without a trace.
  #paneOf(start: number): Pane {
    if (this.#lastPane?.start === start) return this.#lastPane
    let pane = this.#panes.get(start)
    if (pane === undefined) {
      pane = { start, entries: new Map() }
      this.#nextDue = Math.min(this.#nextDue, start + this.#sizeMs - 1)
      this.#panes.set(start, pane)
    }
    this.#lastPane = pane
    return pane
  }

  advanceTo(watermark: number): void {
    this.#watermark = watermark
    if (watermark < this.#nextDue) return
    this.#nextDue = Number.POSITIVE_INFINITY
    const due: Pane[] = []
    for (const pane of this.#panes.values()) {
      const last = pane.start + this.#sizeMs - 1
      if (last <= watermark) due.push(pane)
      else this.#nextDue = Math.min(this.#nextDue, last)
    }
    for (const pane of due) this.#panes.delete(pane.start)
    this.#lastPane = undefined
    // What was due before ends earlier than what has become due now.
    this.#due = [...due.sort((a, b) => b.start - a.start), ...this.#due]
  }

  prepareFire(limit: number): boolean {
    const chunk = this.#chunk
    for (let pane = this.#due.at(-1); pane !== undefined && chunk.length === 0; pane = this.#due.at(-1)) {
      this.#emptying ??= pane.entries.values()
      while (chunk.length < limit) {
        const next = this.#emptying.next()
        if (next.done === true) break
        chunk.push(next.value)
      }
      if (chunk.length > 0) break
      this.#due.pop()
      this.#emptying = undefined
    }
    this.#firing = Math.min(limit, chunk.length)
    return this.#firing > 0
  }

  fire(): void {
    const out = this.#out
    out.size = 0
    const windowStart = this.#due.at(-1)?.start ?? 0
    const windowEnd = windowStart + this.#sizeMs
    for (let i = 0; i < this.#firing; i += 1) {
      const { key, partition, accumulator } = this.#chunk[i] as Entry
      const row: Record<string, unknown> = { key, windowStart, windowEnd }
      this.#reducer.write(accumulator, row)
      out.push(row, windowEnd - 1, noOrigin, key, partition)
    }
    this.emit(out)
  }

  fired(): void {
    for (const { accumulator } of this.#chunk.splice(0, this.#firing)) this.#reducer.forget(accumulator)
    this.#entryCount -= this.#firing
  }

  dropFirst(): unknown {
    const windowStart = this.#due.at(-1)?.start
    const [entry] = this.#chunk.splice(0, 1)
    if (entry === undefined) return undefined
    this.#reducer.forget(entry.accumulator)
    this.#entryCount -= 1
    return { key: entry.key, windowStart }
  }

  override get stateBytes(): number {
    return this.#reducer.bytesOf(this.#entryCount)
  }
}
