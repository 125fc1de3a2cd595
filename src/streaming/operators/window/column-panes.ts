/**
 * The panes of a window stage: per pane the accumulators of the keys that have rows in it, in columns.
 *
 * Owns: working state, its undo, what of it is stored when. Does not: know of windows (pane-window.ts).
 *
 * Record: table | start of the pane | section -> [keys, columns of numbers, columns of objects]: one for the keys of a pane that are
 * in one section (key-slots.ts), which are few where there are many partitions, and many where there are many keys.
 *
 * 1. `touch(pane, section)` comes before a section of a pane changes: it reads what only the store has of it, lays down what a barrier
 *    passed has still to write, and marks it dirty. It is asked once per section, pane and barrier; a comparison tells (`marks`).
 * 2. Undo: before a run changes columns, `save` copies the numbers of its positions; `rollback` puts them back, the oldest last.
 *    Marks, slots and positions stay: an empty position holds nothing.
 * 3. A slot is free again when the last pane that its key was in is gone. What a unit that was undone left over is found by a sweep.
 * 4. A section that was cut off while it was decoded is decoded again at rollback, before anything else sees it, from the bytes that were
 *    read: by then the store may refuse, and a rollback never throws.
 */
import type { KeyCodec } from '../../../keys/key-codec.ts'
import { timedKey, timeOfKey } from '../../state/record-key.ts'
import type { StageState } from '../../state/stage-state.ts'
import { StoredOrder } from '../../state/stored-order.ts'
import { WriteQueue } from '../../state/write-queue.ts'
import { type KeyId, keyIdOf } from '../key-id.ts'
import type { Undoable, Unit } from '../unit.ts'
import type { Aggregation } from './aggregation.ts'
import { Cells, type Columns } from './columns.ts'
import { KeySlots, sectionsPerPartition } from './key-slots.ts'
import type { ObjectUndo } from './steps.ts'

type Written = readonly [keys: readonly unknown[], numbers: readonly (readonly number[])[], objects: readonly (readonly unknown[])[]]

const isStoredFlag = 1
const isLoadedFlag = 2
/** In every how many panes that went the slots are swept. */
const sweepEvery = 64

export class Pane {
  readonly start: number
  readonly cells: Cells
  /** By section: the interval in which it last changed, if that is not written yet. */
  readonly marks: Int32Array
  readonly flags: Uint8Array
  /** The store may hold sections of it from before the restore. */
  readonly mayBeStored: boolean
  isGone = false

  constructor(start: number, cells: Cells, marks: Int32Array, flags: Uint8Array, mayBeStored: boolean) {
    this.start = start
    this.cells = cells
    this.marks = marks
    this.flags = flags
    this.mayBeStored = mayBeStored
  }
}

interface Dirty {
  readonly pane: Pane
  readonly section: number
}

export class ColumnPanes implements ObjectUndo {
  readonly slots: KeySlots
  readonly idOf: (key: unknown) => KeyId
  /** Earliest first. */
  readonly panes: Pane[] = []
  readonly #state: StageState
  readonly #table: number
  readonly #aggregation: Aggregation
  readonly #unit: Unit
  readonly #stored: StoredOrder
  readonly #sections: number
  /** By slot: start of the last pane that it is in. */
  #lastPane = new Float64Array(256)
  /** Without checkpoints nothing is ever marked: all panes share them. */
  readonly #marks: Int32Array | undefined
  readonly #flags: Uint8Array | undefined
  readonly #queue: WriteQueue<Dirty>
  #loading: { readonly pane: Pane; readonly section: number; readonly value: Uint8Array } | undefined
  #gone = 0
  #placing: Pane | undefined

  // Undo: a row of numbers per position that a run is about to change.
  readonly #savedPanes: Pane[] = []
  readonly #savedSlots: number[] = []
  #savedNumbers = new Float64Array(256)

  constructor(state: StageState, table: number, unit: Unit, keyCodec: KeyCodec, aggregation: Aggregation) {
    this.slots = new KeySlots(keyCodec === 'int64')
    this.idOf = keyIdOf(keyCodec)
    this.#state = state
    this.#table = table
    this.#unit = unit
    this.#aggregation = aggregation
    this.#stored = new StoredOrder(state, table)
    let highest = 0
    for (const partition of state.partitions) highest = Math.max(highest, partition)
    this.#sections = (highest + 1) * sectionsPerPartition
    if (state.interval === 0) {
      this.#marks = new Int32Array(this.#sections)
      this.#flags = new Uint8Array(this.#sections)
    }
    this.#queue = new WriteQueue(state, {
      partitionOf: ({ section }) => Math.floor(section / sectionsPerPartition),
      markOf: ({ pane, section }) => pane.marks[section] as number,
      setMark: ({ pane, section }, interval) => {
        pane.marks[section] = interval
      },
      layDown: ({ pane, section }) => this.#layDown(pane, section),
    })
  }

  /** No pane that begins before it is in the store only; infinite: none is. */
  get storedStart(): number {
    return this.#stored.nextTime
  }

  get bytes(): number {
    let bytes = this.slots.size * 60
    for (const { cells } of this.panes)
      bytes += cells.columns.capacity * 8 * (this.#aggregation.numberCount + this.#aggregation.objectCount)
    return bytes + this.#aggregation.bytes
  }

  /** The pane, made when it is not there. */
  pane(start: number): Pane {
    const { panes } = this
    let at = panes.length
    while (at > 0 && (panes[at - 1] as Pane).start > start) at -= 1
    const before = panes[at - 1]
    if (before?.start === start) return before
    const cells = new Cells(this.#aggregation.numberCount, this.#aggregation.objectCount)
    const pane = new Pane(
      start,
      cells,
      this.#marks ?? new Int32Array(this.#sections),
      this.#flags ?? new Uint8Array(this.#sections),
      this.#stored.mayHold(start),
    )
    panes.splice(at, 0, pane)
    return pane
  }

  /** Positions of the taken rows [from, to) in the pane, into the aggregation's `positions`. */
  place(pane: Pane, keys: readonly unknown[], partitions: Int32Array, from: number, to: number, isPlain: boolean): void {
    const { slots, idOf } = this
    const { cells, marks } = pane
    const { interval } = this.#state
    const { taken, positions } = this.#aggregation
    cells.settle(slots.top)
    let { columns } = cells
    let { rows } = columns
    for (let i = from; i < to; i += 1) {
      if (taken[i] === 0) continue
      const key = keys[i]
      const id = isPlain ? (key as KeyId) : idOf(key)
      let slot = slots.find(id)
      if (slot === -1) slot = this.#addSlot(id, key, partitions[i] as number)
      const section = slots.sections[slot] as number
      if (marks[section] !== interval || (pane.mayBeStored && (pane.flags[section] as number) < isLoadedFlag)) {
        this.touch(pane, section)
        columns = cells.columns
        rows = columns.rows
      }
      let position = cells.find(slot)
      if (position === -1) {
        position = cells.ensure(slot, slots.top)
        columns = cells.columns
        rows = columns.rows
      }
      if (rows[position] === 0) {
        this.#isIn(slot, pane.start)
        this.#aggregation.begin(columns, position)
      }
      positions[i] = position
    }
  }

  #addSlot(id: KeyId, key: unknown, partition: number): number {
    const slot = this.slots.add(id, key, partition)
    if (slot >= this.#lastPane.length) {
      const longer = new Float64Array(Math.max(slot + 1, this.#lastPane.length * 2))
      longer.set(this.#lastPane)
      this.#lastPane = longer
    }
    this.#lastPane[slot] = Number.NEGATIVE_INFINITY
    return slot
  }

  #isIn(slot: number, start: number): void {
    if (start > (this.#lastPane[slot] as number)) this.#lastPane[slot] = start
  }

  /** Start of the last pane that the slot was put in. */
  lastPaneOf(slot: number): number {
    return this.#lastPane[slot] as number
  }

  // ---- undo

  /** Before the taken rows [from, to) change the pane. */
  save(pane: Pane, from: number, to: number): void {
    const { taken, positions, numberCount } = this.#aggregation
    const { cells } = pane
    const { numbers } = cells.columns
    for (let i = from; i < to; i += 1) {
      if (taken[i] === 0) continue
      const at = positions[i] as number
      const base = this.#savedSlots.length * numberCount
      if (base + numberCount > this.#savedNumbers.length) {
        const longer = new Float64Array(this.#savedNumbers.length * 2 + numberCount)
        longer.set(this.#savedNumbers)
        this.#savedNumbers = longer
      }
      for (let c = 0; c < numberCount; c += 1) this.#savedNumbers[base + c] = (numbers[c] as Float64Array)[at] as number
      this.#savedPanes.push(pane)
      this.#savedSlots.push(cells.slotAt(at))
    }
    this.#placing = pane
  }

  changing(what: Undoable): void {
    this.#unit.changing(what)
  }

  placeOf(position: number): () => { readonly columns: Columns; readonly position: number } | undefined {
    const pane = this.#placing as Pane
    const slot = pane.cells.slotAt(position)
    return () => {
      const found = pane.cells.find(slot)
      return found === -1 ? undefined : { columns: pane.cells.columns, position: found }
    }
  }

  commit(): void {
    this.#savedPanes.length = 0
    this.#savedSlots.length = 0
  }

  rollback(): void {
    if (this.#loading !== undefined) this.#decodeRead(this.#loading)
    const { numberCount } = this.#aggregation
    for (let k = this.#savedSlots.length - 1; k >= 0; k -= 1) {
      const { cells } = this.#savedPanes[k] as Pane
      const at = cells.find(this.#savedSlots[k] as number)
      if (at === -1) continue
      const { numbers } = cells.columns
      for (let c = 0; c < numberCount; c += 1) (numbers[c] as Float64Array)[at] = this.#savedNumbers[k * numberCount + c] as number
    }
    this.commit()
  }

  // ---- what is stored

  /** Before the section of the pane changes, or to have it in memory. */
  touch(pane: Pane, section: number): void {
    if (pane.mayBeStored && ((pane.flags[section] as number) & isLoadedFlag) === 0) this.#load({ pane, section })
    this.#markDirty(pane, section)
  }

  /** The key's section of the pane is in memory. */
  bring(pane: Pane, section: number): void {
    if (pane.mayBeStored && ((pane.flags[section] as number) & isLoadedFlag) === 0) this.#load({ pane, section })
  }

  #markDirty(pane: Pane, section: number): void {
    const { interval } = this.#state
    if (interval !== 0 && pane.marks[section] !== interval) this.#queue.mark({ pane, section })
  }

  /** Between units: what only the store has of panes that begin before `before`, in pieces; true: there is more. */
  loadStored(before: number, limit: number): boolean {
    if (this.#stored.nextTime >= before) return false
    const { partition, records } = this.#stored.take(limit)
    for (const { key, value } of records) {
      const start = timeOfKey(key)
      // What this attempt has written is in memory.
      if (!this.#stored.mayHold(start)) continue
      const section = partition * sectionsPerPartition + (key[9] as number)
      const pane = this.pane(start)
      if (((pane.flags[section] as number) & isLoadedFlag) === 0) this.#decode(pane, section, value)
    }
    return this.#stored.nextTime < before
  }

  #load({ pane, section }: Dirty): void {
    const partition = Math.floor(section / sectionsPerPartition)
    const value = this.#state.read(partition, this.#keyOf(pane, section))
    if (value === undefined) pane.flags[section] = (pane.flags[section] as number) | isLoadedFlag
    else this.#decodeRead({ pane, section, value: value.slice() })
  }

  #decodeRead(read: { readonly pane: Pane; readonly section: number; readonly value: Uint8Array }): void {
    this.#loading = read
    this.#decode(read.pane, read.section, read.value)
    this.#loading = undefined
  }

  #decode(pane: Pane, section: number, value: Uint8Array): void {
    const [keys, numbers, objects] = this.#state.codec.decode(value) as Written
    const partition = Math.floor(section / sectionsPerPartition)
    for (let i = 0; i < keys.length; i += 1) {
      const key = keys[i]
      const id = this.idOf(key)
      const found = this.slots.find(id)
      const slot = found === -1 ? this.#addSlot(id, key, partition) : found
      const position = pane.cells.ensure(slot, this.slots.top)
      this.#isIn(slot, pane.start)
      this.#aggregation.restore(pane.cells.columns, position, numbers, objects, i)
    }
    pane.flags[section] = isLoadedFlag | isStoredFlag
  }

  #keyOf(pane: Pane, section: number): Uint8Array {
    return timedKey(this.#table, pane.start, Uint8Array.of(section % sectionsPerPartition))
  }

  #layDown(pane: Pane, section: number): void {
    const wasStored = ((pane.flags[section] as number) & isStoredFlag) !== 0
    const partition = Math.floor(section / sectionsPerPartition)
    const positions: number[] = []
    const keys: unknown[] = []
    if (!pane.isGone) {
      const { rows } = pane.cells.columns
      for (let slot = this.slots.firstOf(section); slot !== -1; slot = this.slots.after(slot)) {
        const at = pane.cells.find(slot)
        if (at === -1 || rows[at] === 0) continue
        positions.push(at)
        keys.push(this.slots.keys[slot])
      }
    }
    if (keys.length === 0) {
      if (wasStored) this.#state.lay(partition, this.#keyOf(pane, section), undefined)
      pane.flags[section] = (pane.flags[section] as number) & ~isStoredFlag
      return
    }
    const written: Written = [keys, ...this.#aggregation.store(pane.cells.columns, positions)]
    const bytes = this.#state.codec.encode(written)
    this.#stored.laidDown(pane.start)
    this.#state.lay(partition, this.#keyOf(pane, section), bytes)
    pane.flags[section] = (pane.flags[section] as number) | isStoredFlag
  }

  // ---- the end of a pane

  /** In a unit: what a barrier passed has still to write of it is laid down. Everything that was stored of it has been loaded. */
  closing(pane: Pane): void {
    const { interval } = this.#state
    if (interval === 0) return
    for (let section = 0; section < pane.marks.length; section += 1) {
      const mark = pane.marks[section] as number
      if (mark !== 0 || ((pane.flags[section] as number) & isStoredFlag) !== 0) this.#markDirty(pane, section)
    }
  }

  /** Between units, after `closing`: gives its positions up from `from` on, at most `limit`; where to go on, -1: it is gone. */
  empty(pane: Pane, from: number, limit: number): number {
    pane.isGone = true
    const { cells } = pane
    const { columns } = cells
    const until = Math.min(cells.top, from + limit)
    for (let at = from; at < until; at += 1) {
      if (columns.rows[at] === 0) continue
      this.#aggregation.forget(columns, at)
      const slot = cells.slotAt(at)
      if ((this.#lastPane[slot] as number) <= pane.start) this.slots.free(slot)
    }
    if (until < cells.top) return until
    this.panes.splice(this.panes.indexOf(pane), 1)
    this.#gone += 1
    if (this.#gone % sweepEvery === 0) this.#sweep()
    return -1
  }

  #sweep(): void {
    const earliest = this.panes[0]?.start ?? Number.POSITIVE_INFINITY
    for (let slot = 0; slot < this.slots.top; slot += 1) {
      if (this.slots.isUsed(slot) && (this.#lastPane[slot] as number) < earliest) this.slots.free(slot)
    }
  }
}
