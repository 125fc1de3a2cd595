/**
 * One value per key, with named timers of that key.
 *
 * Owns: the working state of a stage's keys; when it is written. Does not: fire timers (key-timers.ts).
 *
 *   table.get(key, partition)            the entry, read from the store at first touch after a restart; undefined: none
 *   table.add(key, partition, value)     a new entry
 *   table.changing(entry)                BEFORE its value or its timers change; then change entry.value in place or replace it
 *   table.remove(entry)
 *
 * Record: [value as plain data, timers]; every timer besides has an ordered record (time | key | name) that says only that this key
 * may be due then. What a key's own timers say is the truth; an ordered record without one is skipped.
 *
 * 1. `changing` costs two comparisons when the entry is dirty in this interval and (where units are undone) saved in this unit.
 * 2. Undo takes back value and timers of the entries touched; dirty marks stay, which is harmless.
 * 3. A removed entry that the store may hold stays in the map, gone, until its tombstone is written.
 */
import { decodeKey, encodeKey } from '../../keys/encode-key.ts'
import type { KeyCodec } from '../../keys/key-codec.ts'
import { type KeyId, keyIdOf } from '../operators/key-id.ts'
import type { Undoable, Unit } from '../operators/unit.ts'
import { recordKey, timedKey } from './record-key.ts'
import type { StageState } from './stage-state.ts'
import { StoredOrder } from './stored-order.ts'
import { Timers } from './timers.ts'
import { WriteQueue } from './write-queue.ts'

export class KeyEntry<V> implements Undoable {
  // What every event looks at is together.
  value: V
  isGone = false
  readonly key: unknown
  readonly partition: number
  /** Change it only after `changing`. */
  timers: Timers | undefined
  /** The interval in which it last changed, if that is not written yet; else 0. */
  dirtyIn = 0
  readonly id: KeyId
  /** The store may hold a record of it. */
  isStored = false
  /** The timers whose ordered records the store holds. */
  storedTimers: Timers | undefined
  savedIn = -1
  #copy: ((value: V) => V) | undefined
  #savedValue: V | undefined
  #savedTimers: Timers | undefined
  #savedGone = false

  constructor(id: KeyId, key: unknown, partition: number, value: V) {
    this.id = id
    this.key = key
    this.partition = partition
    this.value = value
  }

  save(unit: Unit, copy: (value: V) => V): void {
    this.#copy = copy
    this.#savedValue = copy(this.value)
    this.#savedTimers = this.timers?.copy()
    this.#savedGone = this.isGone
    unit.changing(this)
    this.savedIn = unit.number
  }

  undo(): void {
    if (this.#copy === undefined) return
    this.value = this.#savedValue as V
    this.timers = this.#savedTimers
    this.isGone = this.#savedGone
  }
}

export interface KeyTableOptions<V> {
  /** Number of the table within the stage, and of the one that holds the ordered records of its timers. */
  readonly table: number
  readonly timerTable: number
  readonly keyCodec: KeyCodec
  /** The value as plain data for the codec, and back. */
  readonly encode: (value: V) => unknown
  readonly decode: (plain: unknown) => V
  /** A copy that later changes of the value leave alone: for undo. */
  readonly copy: (value: V) => V
}

/** What is written: version of this layout, value, timers as name, time, name, time, ... */
type Written = readonly [value: unknown, timers?: readonly (string | number)[]]

const noTimers = new Timers()

export class KeyTable<V> {
  readonly state: StageState
  /** The ordered records of the timers. */
  readonly storedTimers: StoredOrder
  readonly #unit: Unit
  readonly #options: KeyTableOptions<V>
  readonly #idOf: (key: unknown) => KeyId
  readonly #entries = new Map<KeyId, KeyEntry<V>>()
  readonly #undo: boolean
  #goneCount = 0
  readonly #queue: WriteQueue<KeyEntry<V>>

  constructor(state: StageState, unit: Unit, options: KeyTableOptions<V>) {
    this.state = state
    this.storedTimers = new StoredOrder(state, options.timerTable)
    this.#unit = unit
    this.#options = options
    this.#idOf = keyIdOf(options.keyCodec)
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

  /** Keys in memory. */
  get size(): number {
    return this.#entries.size - this.#goneCount
  }

  /** The entries in memory; those of a restored state that were not touched yet are not among them. */
  *inMemory(): IterableIterator<KeyEntry<V>> {
    for (const entry of this.#entries.values()) if (!entry.isGone) yield entry
  }

  get(key: unknown, partition: number): KeyEntry<V> | undefined {
    const id = this.#idOf(key)
    const entry = this.#entries.get(id)
    if (entry !== undefined) return entry.isGone ? undefined : entry
    return this.state.isFresh ? undefined : this.#load(id, key, partition)
  }

  /** The record that would be written of the key as it is now; nothing changes, and getters of user code may run. Between units. */
  recordNow(keyBytes: Uint8Array, partition: number): Uint8Array | undefined {
    const { table, keyCodec } = this.#options
    const entry = this.#entries.get(this.#idOf(decodeKey(keyCodec, keyBytes)))
    if (entry !== undefined) return entry.isGone ? undefined : this.#encoded(entry)
    return this.state.isFresh ? undefined : this.state.read(partition, recordKey(table, keyBytes))
  }

  /** A new entry for a key that has none. */
  add(key: unknown, partition: number, value: V): KeyEntry<V> {
    const id = this.#idOf(key)
    const gone = this.#entries.get(id)
    if (gone !== undefined) {
      this.changing(gone)
      gone.value = value
      gone.isGone = false
      this.#goneCount -= 1
      if (this.#undo) this.#unit.changing({ undo: () => void (this.#goneCount += 1) })
      return gone
    }
    const entry = new KeyEntry(id, key, partition, value)
    if (this.#undo) {
      entry.savedIn = this.#unit.number
      this.#unit.changing({ undo: () => this.#drop(entry) })
    }
    this.#entries.set(id, entry)
    this.#queue.mark(entry)
    return entry
  }

  /** To be called before the entry changes. */
  changing(entry: KeyEntry<V>): void {
    if (entry.dirtyIn !== this.state.interval) this.#queue.mark(entry)
    if (this.#undo && entry.savedIn !== this.#unit.number) entry.save(this.#unit, this.#options.copy)
  }

  remove(entry: KeyEntry<V>): void {
    if (entry.isGone) return
    this.changing(entry)
    entry.isGone = true
    entry.timers = undefined
    if (entry.isStored) {
      this.#goneCount += 1
      if (this.#undo) this.#unit.changing({ undo: () => void (this.#goneCount -= 1) })
      return
    }
    this.#entries.delete(entry.id)
    if (this.#undo) this.#unit.changing({ undo: () => void this.#entries.set(entry.id, entry) })
  }

  /** For the simulator only: a timer's ordered record goes before the barrier that would let a replay fire it again. */
  layTimerTombstone(entry: KeyEntry<V>, name: string, timeMs: number): void {
    if (entry.storedTimers?.delete(name) !== true) return
    const { timerTable, keyCodec } = this.#options
    this.state.lay(entry.partition, timerKey(timerTable, timeMs, encodeKey(keyCodec, entry.key), name), undefined)
  }

  /** Its tombstone is laid down. */
  #forgetGone(entry: KeyEntry<V>): void {
    if (!entry.isGone || this.#entries.get(entry.id) !== entry) return
    this.#entries.delete(entry.id)
    this.#goneCount -= 1
  }

  #layDown(entry: KeyEntry<V>): void {
    const { state } = this
    const { table, keyCodec } = this.#options
    const wasStored = entry.isStored
    if (entry.isGone && !wasStored) return
    const keyBytes = encodeKey(keyCodec, entry.key)
    const key = recordKey(table, keyBytes)
    if (entry.isGone) {
      this.#layTimers(entry, keyBytes, undefined)
      state.lay(entry.partition, key, undefined)
      entry.isStored = false
      return
    }
    const bytes = this.#encoded(entry)
    this.#layTimers(entry, keyBytes, entry.timers)
    state.lay(entry.partition, key, bytes)
    entry.isStored = true
  }

  #encoded({ value, timers }: KeyEntry<V>): Uint8Array {
    const plain = this.#options.encode(value)
    const written: Written = timers === undefined || timers.size === 0 ? [plain] : [plain, [...timers].flat()]
    return this.state.codec.encode(written)
  }

  /** Ordered records of timers that are new, tombstones of those that are no more. */
  #layTimers(entry: KeyEntry<V>, keyBytes: Uint8Array, timers: Timers | undefined): void {
    const stored = entry.storedTimers
    if (stored === undefined && timers === undefined) return
    const { state } = this
    const { timerTable } = this.#options
    for (const [name, time] of stored ?? noTimers) {
      if (timers?.get(name) !== time) state.lay(entry.partition, timerKey(timerTable, time, keyBytes, name), undefined)
    }
    for (const [name, time] of timers ?? noTimers) {
      if (stored?.get(name) === time) continue
      this.storedTimers.laidDown(time)
      state.lay(entry.partition, timerKey(timerTable, time, keyBytes, name), state.codec.encode([entry.key, name]))
    }
    entry.storedTimers = timers?.copy()
  }

  #load(id: KeyId, key: unknown, partition: number): KeyEntry<V> | undefined {
    const { state } = this
    const { table, keyCodec, decode } = this.#options
    const bytes = state.read(partition, recordKey(table, encodeKey(keyCodec, key)))
    if (bytes === undefined) return undefined
    const [plain, flat] = state.codec.decode(bytes) as Written
    const entry = new KeyEntry(id, key, partition, decode(plain))
    entry.isStored = true
    if (flat !== undefined) {
      const timers = new Timers()
      for (let i = 0; i + 1 < flat.length; i += 2) timers.set(flat[i] as string, flat[i + 1] as number)
      entry.timers = timers
      entry.storedTimers = timers.copy()
    }
    this.#entries.set(id, entry)
    return entry
  }

  #drop(entry: KeyEntry<V>): void {
    entry.isGone = true
    if (entry.isStored) this.#goneCount += 1
    else this.#entries.delete(entry.id)
  }
}

const text = new TextEncoder()

/** table | time | length of the key u16 | key | name */
function timerKey(table: number, time: number, keyBytes: Uint8Array, name: string): Uint8Array {
  const nameBytes = text.encode(name)
  const rest = new Uint8Array(2 + keyBytes.length + nameBytes.length)
  rest[0] = keyBytes.length >>> 8
  rest[1] = keyBytes.length
  rest.set(keyBytes, 2)
  rest.set(nameBytes, 2 + keyBytes.length)
  return timedKey(table, time, rest)
}
