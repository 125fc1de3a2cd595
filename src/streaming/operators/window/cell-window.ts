/**
 * Windows that keep rows: one cell of the operator's own making per (pane, key), handed over when a window closes. What joins and
 * rankings of windows have in common; aggregates have columns instead (pane-window.ts, whose rules 1, 2 and 4 hold here too, without
 * allowed lateness).
 */
import type { KeyCodec } from '../../../keys/key-codec.ts'
import { type Pane, type PaneEntry, PaneTable } from '../../state/pane-table.ts'
import type { StageState, Stateful } from '../../state/stage-state.ts'
import { Batch } from '../batch.ts'
import { checkEmitted, type Due, Operator } from '../operator.ts'
import { noOrigin } from '../origin.ts'
import { type Unit, UnitSignal } from '../unit.ts'
import { endAfter, firstEndOf, lastEndOf, paneStartOf, type WindowTimes, windowTimes } from './window-times.ts'

export interface CellWindowOptions<V> {
  readonly sizeMs: number
  readonly everyMs: number
  readonly keyCodec: KeyCodec
  readonly encode: (cell: V) => unknown
  readonly decode: (plain: unknown) => V
}

interface Task<V> {
  readonly end: number
  readonly panes: readonly Pane<V>[]
  at: number
  entries: IterableIterator<PaneEntry<V>> | undefined
}

const never = Number.NEGATIVE_INFINITY
/** Entries given up in one piece. */
const pieceMax = 4096

export abstract class CellWindowOperator<V> extends Operator implements Due, Stateful {
  readonly state: StageState
  readonly #times: WindowTimes
  readonly #table: PaneTable<V>
  readonly #late = new Batch()
  readonly #out = new Batch()
  #watermark = never
  #firedEnd = never
  #task: Task<V> | undefined
  #laidOut: PaneEntry<V>[] = []
  #firing = 0
  /** A pane that is given up, in pieces; `entries` goes back to the start when a piece was cut off. */
  #emptying: { readonly pane: Pane<V>; entries: IterableIterator<PaneEntry<V>>; isEmpty: boolean } | undefined

  constructor(stage: number, unit: Unit, state: StageState, { sizeMs, everyMs, keyCodec, encode, decode }: CellWindowOptions<V>) {
    super(stage, unit)
    this.state = state
    this.#times = windowTimes(sizeMs, everyMs)
    // Cells take their own changes back.
    this.#table = new PaneTable<V>(state, unit, { table: 0, keyCodec, encode, decode, copy: cell => cell })
  }

  protected abstract create(): V
  /** Results of a key in a window, from its cells in the order of time; user code that may throw, before it pushes anything. */
  protected abstract give(key: unknown, cells: readonly V[], start: number, end: number, push: (row: unknown) => void): void

  /** The cell that the row belongs to, about to change; undefined: the row is late, or falls between windows. */
  protected cellFor(batch: Batch, at: number): V | undefined {
    const time = batch.times[at] as number
    const key = batch.keys[at]
    const partition = batch.partitions[at] as number
    const start = paneStartOf(this.#times, time)
    const lastEnd = lastEndOf(this.#times, start)
    if (lastEnd <= start) return undefined
    if (lastEnd - 1 <= this.state.watermarkOf(partition, this.#watermark)) {
      this.#late.pushFrom(batch, at, batch.rows[at])
      return undefined
    }
    const table = this.#table
    const pane = table.pane(start + this.#times.paneMs)
    const entry = table.get(pane, key, partition)
    if (entry === undefined) return table.add(pane, key, partition, this.create()).value
    table.changing(entry)
    return entry.value
  }

  /** At the end of each batch. */
  protected handLateAside(): void {
    const late = this.#late
    if (late.size === 0) return
    const counted = this.unit.counters.late
    counted[this.stage] = (counted[this.stage] as number) + late.size
    this.emitAside(late)
    late.clear()
  }

  advanceTo(watermark: number): void {
    this.#watermark = watermark
  }

  prepareFire(limit: number): boolean {
    for (;;) {
      if (this.#laidOut.length > 0) {
        this.#firing = Math.min(limit, this.#laidOut.length)
        return true
      }
      if (this.#task !== undefined) {
        this.#gather(this.#task, limit)
        if (this.#laidOut.length === 0) {
          this.#firedEnd = this.#task.end
          this.#task = undefined
        }
        continue
      }
      if (this.#emptying !== undefined || this.#dropNext()) return true
      const end = this.#nextEnd()
      if (end === Number.POSITIVE_INFINITY || end - 1 > this.#watermark) return false
      if (this.#table.storedEnd < end + this.#times.paneMs && this.#table.load(end, limit)) return true
      this.#task = { end, panes: this.#panesOf(end), at: 0, entries: undefined }
    }
  }

  fire(): void {
    if (this.#emptying !== undefined) this.#removeSome(this.#emptying.entries)
    const task = this.#task
    if (task === undefined) return
    const out = this.#out
    out.size = 0
    const { sizeMs } = this.#times
    for (let i = 0; i < this.#firing; i += 1) {
      const { id, key, partition } = this.#laidOut[i] as PaneEntry<V>
      const cells: V[] = []
      for (const pane of task.panes) {
        const entry = pane.entries.get(id)
        if (entry !== undefined && !entry.isGone) cells.push(entry.value)
      }
      const before = out.size
      try {
        this.give(key, cells, task.end - sizeMs, task.end, row => {
          out.push(row, task.end - 1, noOrigin, key, partition)
          checkEmitted(this.stage, out)
        })
      } catch (thrown) {
        if (thrown instanceof UnitSignal) throw thrown
        out.size = before
        this.unit.rowFailed(this.stage, noOrigin, thrown, { key, windowStart: task.end - sizeMs, windowEnd: task.end })
      }
    }
    this.emit(out)
  }

  fired(): void {
    this.#laidOut.splice(0, this.#firing)
    this.#firing = 0
    if (this.#emptying?.isEmpty !== true) return
    this.#table.close(this.#emptying.pane)
    this.#emptying = undefined
  }

  #removeSome(entries: IterableIterator<PaneEntry<V>>): void {
    for (let i = 0; i < pieceMax; i += 1) {
      const next = entries.next()
      if (next.done === true) {
        if (this.#emptying !== undefined) this.#emptying.isEmpty = true
        return
      }
      this.#table.remove(next.value)
    }
  }

  dropFirst(): unknown {
    const entry = this.#laidOut.shift()
    return entry === undefined ? undefined : { key: entry.key, windowStart: (this.#task?.end ?? 0) - this.#times.sizeMs }
  }

  #nextEnd(): number {
    const { paneMs } = this.#times
    let next = this.#firstUngiven(this.#table.storedEnd - paneMs)
    for (const { end } of this.#table.panes()) {
      if (lastEndOf(this.#times, end - paneMs) > this.#firedEnd) next = Math.min(next, this.#firstUngiven(end - paneMs))
    }
    return next
  }

  #firstUngiven(start: number): number {
    if (start === Number.POSITIVE_INFINITY) return start
    const first = firstEndOf(this.#times, start)
    return first > this.#firedEnd ? first : endAfter(this.#times, this.#firedEnd)
  }

  #dropNext(): boolean {
    const { paneMs } = this.#times
    for (const pane of this.#table.panes()) {
      const lastEnd = lastEndOf(this.#times, pane.end - paneMs)
      if (lastEnd > this.#firedEnd || lastEnd - 1 > this.#watermark || this.#table.storedEnd <= pane.end) continue
      this.#emptying = { pane, entries: pane.entries.values(), isEmpty: false }
      return true
    }
    return false
  }

  #panesOf(end: number): readonly Pane<V>[] {
    const { sizeMs } = this.#times
    return [...this.#table.panes()].filter(pane => pane.end > end - sizeMs && pane.end <= end).sort((a, b) => a.end - b.end)
  }

  #gather(task: Task<V>, limit: number): void {
    for (; task.at < task.panes.length; task.at += 1) {
      task.entries ??= (task.panes[task.at] as Pane<V>).entries.values()
      while (this.#laidOut.length < limit) {
        const next = task.entries.next()
        if (next.done === true) break
        if (this.#isWanted(next.value, task)) this.#laidOut.push(next.value)
      }
      if (this.#laidOut.length === limit) return
      task.entries = undefined
    }
  }

  #isWanted({ id, partition, isGone }: PaneEntry<V>, { end, panes, at }: Task<V>): boolean {
    if (isGone) return false
    for (let before = 0; before < at; before += 1) if (panes[before]?.entries.get(id)?.isGone === false) return false
    // Given before the restart.
    return this.state.isFresh || this.state.watermarkOf(partition, never) < end - 1
  }

  override rollback(): void {
    this.#late.clear()
    if (this.#emptying === undefined) return
    this.#emptying.isEmpty = false
    this.#emptying.entries = this.#emptying.pane.entries.values()
  }

  /** Cells in memory. */
  protected get cellCount(): number {
    return this.#table.size
  }
}
