/**
 * What a table has to write: entries marked since the last barrier, and those of the barrier passed that are not written yet.
 *
 *   mark -> (barrier passes) -> written in slices, or at once when it is about to change again
 *
 * An entry's mark is the interval in which it last changed, 0 when that is written. The table keeps the marks, where a look costs least.
 *
 * 1. What a barrier that was given up has left behind stays dirty, and is written with the next one.
 * 2. Laid down first, marked as clean then: cut off in between, it is encoded once more.
 * 3. Written partition by partition: what a slice writes is in few partitions, and few groups of their logs.
 */
import type { StageState, StateTable } from './stage-state.ts'

export interface Marked<E> {
  partitionOf(entry: E): number
  markOf(entry: E): number
  setMark(entry: E, interval: number): void
  /** In a unit: encodes the entry as it is, and lays it down. */
  layDown(entry: E): void
  /** It was laid down for its barrier, and not in haste. */
  written?(entry: E): void
}

export class WriteQueue<E> implements StateTable {
  readonly #state: StageState
  readonly #marked: Marked<E>
  #dirty = new Map<number, E[]>()
  /** Entries of the barrier passed, the interval that it ended, and how far they are written. */
  #writing: E[] = []
  #writingIn = 0
  #cursor = 0

  constructor(state: StageState, marked: Marked<E>) {
    this.#state = state
    this.#marked = marked
    state.addTable(this)
  }

  /** Before the entry changes; a caller that has compared the mark with `state.interval` saves the call. */
  mark(entry: E): void {
    const { interval, rules } = this.#state
    const mark = this.#marked.markOf(entry)
    if (interval === 0 || mark === interval) return
    if (mark !== 0 && rules.writtenBeforeChange) this.#marked.layDown(entry)
    this.#keep(entry)
    this.#marked.setMark(entry, interval)
  }

  passBarrier(): void {
    const isKept = this.#state.rules.unwrittenStaysDirty
    const left = this.#writing.slice(this.#cursor).filter(entry => isKept && this.#marked.markOf(entry) === this.#writingIn)
    this.#writingIn = this.#state.interval - 1
    for (const entry of left) {
      this.#marked.setMark(entry, this.#writingIn)
      this.#keep(entry)
    }
    this.#writing = [...this.#dirty.values()].flat()
    this.#dirty = new Map()
    this.#cursor = 0
  }

  #keep(entry: E): void {
    const partition = this.#marked.partitionOf(entry)
    const known = this.#dirty.get(partition)
    if (known === undefined) this.#dirty.set(partition, [entry])
    else known.push(entry)
  }

  encodeSome(limit: number): number {
    const writing = this.#writing
    const until = Math.min(writing.length, this.#cursor + limit)
    const seen = until - this.#cursor
    for (; this.#cursor < until; this.#cursor += 1) {
      const entry = writing[this.#cursor] as E
      if (this.#marked.markOf(entry) !== this.#writingIn) continue
      this.#marked.layDown(entry)
      this.#marked.setMark(entry, 0)
      this.#marked.written?.(entry)
    }
    if (seen > 0 && this.#cursor === writing.length) {
      this.#writing = []
      this.#cursor = 0
    }
    return seen
  }
}
