/**
 * One value per (pane, key): windows. A pane is named by its end and closes when the operator says so, in order of ends.
 *
 *   table.pane(end)                        the pane, made when it is not there
 *   table.get / add(pane, key, partition)  the entry; `changing(entry)` before it changes
 *   table.load(upTo, limit)                between units (`decode` runs no user code): brings what only the store has of panes with end <= upTo into memory, in
 *                                          pieces; true: there is more. To be done before those panes are closed
 *   table.remove(entry)                    e.g. when its pane has fired: what was stored gets a tombstone at the next barrier
 *   table.close(pane)                      the pane is empty and goes
 *
 * Record: table | end | key -> [key, value]. 1 to 3 as in key-table.ts. A pane that lived and died between two barriers writes nothing.
 */
import { encodeKey } from '../../keys/encode-key.ts'
import type { KeyCodec } from '../../keys/key-codec.ts'
import { type KeyId, keyIdOf } from '../operators/key-id.ts'
import type { Undoable, Unit } from '../operators/unit.ts'
import { timedKey, timeOfKey } from './record-key.ts'
import type { StageState } from './stage-state.ts'
import { StoredOrder } from './stored-order.ts'
import { WriteQueue } from './write-queue.ts'

export class PaneEntry<V> implements Undoable {
  readonly pane: Pane<V>
  readonly id: KeyId
  readonly key: unknown
  readonly partition: number
  value: V
  isGone = false
  dirtyIn = 0
  isStored = false
  savedIn = -1
  #savedValue: V
  #savedGone = false

  constructor(pane: Pane<V>, id: KeyId, key: unknown, partition: number, value: V) {
    this.pane = pane
    this.id = id
    this.key = key
    this.partition = partition
    this.value = value
    this.#savedValue = value
  }

  save(unit: Unit, copy: (value: V) => V): void {
    this.#savedValue = copy(this.value)
    this.#savedGone = this.isGone
    unit.changing(this)
    this.savedIn = unit.number
  }

  undo(): void {
    this.value = this.#savedValue
    this.isGone = this.#savedGone
  }
}

export interface Pane<V> {
  readonly end: number
  /** In the order of their coming; removed ones whose tombstone is not written yet stay, `isGone`. */
  readonly entries: Map<KeyId, PaneEntry<V>>
}

export interface PaneTableOptions<V> {
  readonly table: number
  readonly keyCodec: KeyCodec
  readonly encode: (value: V) => unknown
  readonly decode: (plain: unknown) => V
  /** A copy that later changes of the value leave alone: for undo. */
  readonly copy: (value: V) => V
}

export class PaneTable<V> {
  readonly state: StageState
  readonly #unit: Unit
  readonly #options: PaneTableOptions<V>
  readonly #idOf: (key: unknown) => KeyId
  readonly #stored: StoredOrder
  readonly #panes = new Map<number, Pane<V>>()
  /** Closed ones with removed entries whose tombstones are not written yet. */
  readonly #closed = new Map<number, Pane<V>>()
  readonly #undo: boolean
  #size = 0
  readonly #queue: WriteQueue<PaneEntry<V>>

  constructor(state: StageState, unit: Unit, options: PaneTableOptions<V>) {
    this.state = state
    this.#unit = unit
    this.#options = options
    this.#idOf = keyIdOf(options.keyCodec)
    this.#stored = new StoredOrder(state, options.table)
    this.#undo = unit.undo
    this.#queue = new WriteQueue(state, {
      partitionOf: entry => entry.partition,
      markOf: entry => entry.dirtyIn,
      setMark: (entry, interval) => {
        entry.dirtyIn = interval
      },
      layDown: entry => this.#layDown(entry),
      written: entry => this.#forgetGone(entry),
    })
  }

  /** Entries in memory. */
  get size(): number {
    return this.#size
  }

  /** The panes in memory, in no order. */
  panes(): IterableIterator<Pane<V>> {
    return this.#panes.values()
  }

  /** No pane that ends before it is in the store only; infinite: none is. */
  get storedEnd(): number {
    return this.#stored.nextTime
  }

  pane(end: number): Pane<V> {
    let pane = this.#panes.get(end)
    if (pane === undefined) {
      pane = this.#closed.get(end) ?? { end, entries: new Map() }
      this.#closed.delete(end)
      this.#panes.set(end, pane)
    }
    return pane
  }

  get(pane: Pane<V>, key: unknown, partition: number): PaneEntry<V> | undefined {
    const id = this.#idOf(key)
    const entry = pane.entries.get(id)
    if (entry !== undefined) return entry.isGone ? undefined : entry
    return this.#stored.mayHold(pane.end) ? this.#load(pane, id, key, partition) : undefined
  }

  /** A new entry for a key that has none in the pane. */
  add(pane: Pane<V>, key: unknown, partition: number, value: V): PaneEntry<V> {
    const id = this.#idOf(key)
    this.#size += 1
    if (this.#undo) this.#unit.changing({ undo: () => void (this.#size -= 1) })
    const gone = pane.entries.get(id)
    if (gone !== undefined) {
      this.changing(gone)
      gone.value = value
      gone.isGone = false
      return gone
    }
    const entry = new PaneEntry(pane, id, key, partition, value)
    if (this.#undo) {
      entry.savedIn = this.#unit.number
      this.#unit.changing({ undo: () => this.#drop(entry) })
    }
    pane.entries.set(id, entry)
    this.#queue.mark(entry)
    return entry
  }

  /** To be called before the entry's value changes. */
  changing(entry: PaneEntry<V>): void {
    if (entry.dirtyIn !== this.state.interval) this.#queue.mark(entry)
    if (this.#undo && entry.savedIn !== this.#unit.number) entry.save(this.#unit, this.#options.copy)
  }

  /** In a unit. */
  remove(entry: PaneEntry<V>): void {
    if (entry.isGone) return
    this.changing(entry)
    this.#size -= 1
    this.#drop(entry)
    if (this.#undo) this.#unit.changing({ undo: () => this.#putBack(entry) })
  }

  /** An empty pane goes; what a removed entry left in the store is still tombstoned. Between units. */
  close(pane: Pane<V>): void {
    this.#panes.delete(pane.end)
    if (pane.entries.size > 0) this.#closed.set(pane.end, pane)
  }

  /** Between units. */
  load(upTo: number, limit: number): boolean {
    if (!this.#stored.hasUntil(upTo)) return false
    const { partition, records } = this.#stored.take(limit)
    for (const { key: recordKey, value } of records) {
      const pane = this.pane(timeOfKey(recordKey))
      const [key, plain] = this.state.codec.decode(value) as [unknown, unknown]
      const id = this.#idOf(key)
      if (!pane.entries.has(id)) this.#addLoaded(pane, id, key, partition, plain)
    }
    return this.#stored.hasUntil(upTo)
  }

  /** Its tombstone is laid down. */
  #forgetGone(entry: PaneEntry<V>): void {
    const { entries, end } = entry.pane
    if (!entry.isGone || entries.get(entry.id) !== entry) return
    entries.delete(entry.id)
    if (entries.size === 0) this.#closed.delete(end)
  }

  #layDown(entry: PaneEntry<V>): void {
    const { state } = this
    const { table, keyCodec, encode } = this.#options
    if (entry.isGone && !entry.isStored) return
    const { end } = entry.pane
    const key = timedKey(table, end, encodeKey(keyCodec, entry.key))
    if (entry.isGone) {
      state.lay(entry.partition, key, undefined)
      entry.isStored = false
      return
    }
    const bytes = state.codec.encode([entry.key, encode(entry.value)])
    this.#stored.laidDown(end)
    state.lay(entry.partition, key, bytes)
    entry.isStored = true
  }

  #load(pane: Pane<V>, id: KeyId, key: unknown, partition: number): PaneEntry<V> | undefined {
    const bytes = this.state.read(partition, timedKey(this.#options.table, pane.end, encodeKey(this.#options.keyCodec, key)))
    if (bytes === undefined) return undefined
    return this.#addLoaded(pane, id, key, partition, (this.state.codec.decode(bytes) as [unknown, unknown])[1])
  }

  #addLoaded(pane: Pane<V>, id: KeyId, key: unknown, partition: number, plain: unknown): PaneEntry<V> {
    const entry = new PaneEntry(pane, id, key, partition, this.#options.decode(plain))
    entry.isStored = true
    pane.entries.set(id, entry)
    this.#size += 1
    return entry
  }

  #putBack(entry: PaneEntry<V>): void {
    this.#size += 1
    entry.pane.entries.set(entry.id, entry)
  }

  #drop(entry: PaneEntry<V>): void {
    entry.isGone = true
    if (!entry.isStored && entry.pane.entries.get(entry.id) === entry) entry.pane.entries.delete(entry.id)
  }
}
