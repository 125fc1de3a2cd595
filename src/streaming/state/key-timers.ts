/**
 * The timers of a KeyTable by time: on event time (moved by watermarks) or any other clock.
 *
 *   in a batch:  beginBatch(), per event: set / clear, then takeDue() until undefined (timers set for a moment that has passed)
 *   when due:    advanceTo(w), prepare(limit) between units; in the unit beginFiring(), takeDue()...; then fired()
 *   always:      commit() or rollback() when the unit has ended
 *
 * 1. A timer is what its key's entry says; entries of the heap that say otherwise are skipped.
 * 2. The heap is touched between units only. Timers that are only in the store are read when they are due, in pieces.
 * 3. Firing takes the timer from its key; its ordered record gets a tombstone at the next barrier, so a replay fires it again.
 */
import { isBefore, type Timer as HeapTimer, TimerHeap } from '../operators/timer-heap.ts'
import { KeyEntry, type KeyTable } from './key-table.ts'
import { timeOfKey } from './record-key.ts'
import type { StoredOrder } from './stored-order.ts'
import { Timers } from './timers.ts'

/** A key whose entry was not in memory when its timer was read. */
interface Stored<V> {
  readonly key: unknown
  readonly partition: number
  entry: KeyEntry<V> | undefined
}

type Owner<V> = KeyEntry<V> | Stored<V>
type Timer<V> = HeapTimer<Owner<V>>

export interface DueTimer<V> {
  readonly entry: KeyEntry<V>
  readonly name: string
  readonly timeMs: number
}

export class KeyTimers<V> {
  readonly #table: KeyTable<V>
  readonly #stored: StoredOrder
  readonly #heap = new TimerHeap<Owner<V>>()
  /** Set in the unit and not due within it. */
  #added: Timer<V>[] = []
  /** Set in the unit and due within it. */
  readonly #dueNow = new TimerHeap<Owner<V>>()
  #dueUntil = Number.NEGATIVE_INFINITY
  /** In the order of their times; and where the unit that fires them is. */
  #laidOut: Timer<V>[] = []
  #fired = Number.POSITIVE_INFINITY
  #order = 0
  #watermark = Number.NEGATIVE_INFINITY

  constructor(table: KeyTable<V>) {
    this.#table = table
    this.#stored = table.storedTimers
  }

  get watermark(): number {
    return this.#watermark
  }

  /** How many timers were set in this unit so far; `forgetSince` forgets those that came after. */
  get setCount(): number {
    return this.#added.length
  }

  forgetSince(count: number): void {
    this.#added.length = count
  }

  /** No timer fires before it; it may be one that was moved or cleared. */
  get nextTimeMs(): number {
    const first = this.#laidOut[0] ?? this.#heap.peek()
    return Math.min(first?.timeMs ?? Number.POSITIVE_INFINITY, this.#stored.nextTime)
  }

  beginBatch(): void {
    this.#dueUntil = this.#watermark
    this.#fired = Number.POSITIVE_INFINITY
  }

  get hasDueNow(): boolean {
    return this.#dueNow.size > 0 || this.#fired < this.#laidOut.length
  }

  /** In a unit. A timer of that name is moved. */
  set(entry: KeyEntry<V>, name: string, timeMs: number): void {
    if (entry.timers?.get(name) === timeMs) return
    this.#table.changing(entry)
    entry.timers ??= new Timers()
    entry.timers.set(name, timeMs)
    this.#order += 1
    const timer: Timer<V> = { timeMs, name, owner: entry, order: this.#order }
    if (timeMs <= this.#dueUntil) this.#dueNow.push(timer)
    else this.#added.push(timer)
  }

  clear(entry: KeyEntry<V>, name: string): void {
    if (entry.timers?.has(name) !== true) return
    this.#table.changing(entry)
    entry.timers.delete(name)
  }

  advanceTo(watermark: number): void {
    this.#watermark = watermark
  }

  /** Between units: lays out at most so many timers that are due. False: none is. */
  prepare(limit: number): boolean {
    const laidOut = this.#laidOut
    while (laidOut.length > limit) this.#heap.push(laidOut.pop() as Timer<V>)
    while (laidOut.length < limit) {
      const next = this.#heap.peek()
      if (this.#stored.hasUntil(this.#watermark) && (next === undefined || this.#stored.nextTime < next.timeMs)) {
        this.#load(limit)
        continue
      }
      if (next === undefined || next.timeMs > this.#watermark) break
      this.#heap.take()
      if (isLive(next)) laidOut.push(next)
    }
    return laidOut.length > 0
  }

  /** In the unit that fires what was laid out. */
  beginFiring(): void {
    this.#dueUntil = this.#laidOut.at(-1)?.timeMs ?? this.#watermark
    this.#fired = 0
  }

  /** In a unit: the next timer due, taken from its key. */
  takeDue(): DueTimer<V> | undefined {
    for (let timer = this.#nextDue(); timer !== undefined; timer = this.#nextDue()) {
      const { name, timeMs } = timer
      const entry = this.#entryOf(timer)
      if (entry === undefined || entry.timers?.get(name) !== timeMs) continue
      this.#table.changing(entry)
      entry.timers.delete(name)
      if (!this.#table.state.rules.timerTombstoneAtBarrier) this.#table.layTimerTombstone(entry, name, timeMs)
      return { entry, name, timeMs }
    }
    return undefined
  }

  #nextDue(): Timer<V> | undefined {
    const laidOut = this.#laidOut[this.#fired]
    const added = this.#dueNow.peek()
    if (laidOut === undefined || (added !== undefined && comesBefore(added, laidOut))) return this.#dueNow.take()
    this.#fired += 1
    return laidOut
  }

  #entryOf({ owner }: Timer<V>): KeyEntry<V> | undefined {
    if (owner instanceof KeyEntry) return owner
    owner.entry ??= this.#table.get(owner.key, owner.partition)
    return owner.entry
  }

  /** Between units: what was laid out is done. */
  fired(): void {
    this.#laidOut = []
    this.#fired = Number.POSITIVE_INFINITY
  }

  /** Gives the first timer laid out up; between units. */
  dropFirst(): DueTimer<V> | undefined {
    const timer = this.#laidOut.shift()
    if (timer === undefined) return undefined
    const { name, timeMs } = timer
    const entry = this.#entryOf(timer)
    if (entry === undefined) return undefined
    this.#table.changing(entry)
    entry.timers?.delete(name)
    return { entry, name, timeMs }
  }

  commit(): void {
    if (this.#added.length === 0) return
    for (const timer of this.#added) this.#heap.push(timer)
    this.#added = []
  }

  rollback(): void {
    this.#added = []
    this.#dueNow.clear()
    this.#fired = Number.POSITIVE_INFINITY
  }

  #load(limit: number): void {
    const { partition, records } = this.#stored.take(limit)
    for (const record of records) {
      const [key, name] = this.#table.state.codec.decode(record.value) as [unknown, string]
      this.#order += 1
      this.#heap.push({ timeMs: timeOfKey(record.key), name, owner: { key, partition, entry: undefined }, order: this.#order })
    }
  }
}

const comesBefore = <V>(a: Timer<V>, b: Timer<V>): boolean => (a.timeMs === b.timeMs ? isBefore(a, b) : a.timeMs < b.timeMs)

/** What is known of it so far: a key that is not in memory is looked at when its timer fires. */
function isLive<V>({ owner, name, timeMs }: Timer<V>): boolean {
  const entry = owner instanceof KeyEntry ? owner : owner.entry
  return entry === undefined || entry.timers?.get(name) === timeMs
}
