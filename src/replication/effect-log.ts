/**
 * The retained part of a partition's log: entries in order, after a start that is known by name only.
 *
 *   start ... (gone) | entry entry entry ... last
 *
 * 1. Positions rise; every entry follows the one before it without a gap (the first one follows `start`).
 */
import { assert } from '../base/assert.ts'
import type { Epoch } from '../base/ids.ts'
import type { Effect } from '../storage/effect.ts'
import { effectBytes } from '../storage/effect.ts'
import type { EntryName, LogEntry } from './messages.ts'

const entryOverheadBytes = 64

export class EffectLog {
  /** Its own, as `skipTo` changes it. */
  #start: { epoch: Epoch; position: number }
  #entries: LogEntry[] = []
  /** Bytes of all entries ever up to and with this one; one per entry. */
  #bytesTo: number[] = []
  /** Entries before this index are gone. */
  #head = 0
  #bytesBefore = 0

  constructor(start: EntryName) {
    this.#start = { epoch: start.epoch, position: start.position }
  }

  /** The entry before the first retained one. */
  get start(): EntryName {
    return this.#start
  }

  get last(): EntryName {
    return this.#head < this.#entries.length ? (this.#entries.at(-1) as LogEntry) : this.#start
  }

  get bytes(): number {
    return (this.#bytesTo.at(-1) ?? this.#bytesBefore) - this.#bytesBefore
  }

  /** Of all entries ever, those that are gone too. */
  get endBytes(): number {
    return this.#bytesTo.at(-1) ?? this.#bytesBefore
  }

  reset(start: EntryName): void {
    this.#start = { epoch: start.epoch, position: start.position }
    this.#entries = []
    this.#bytesTo = []
    this.#head = 0
    this.#bytesBefore = 0
  }

  /** Instead of an append, where nobody will ask for the entry: the log begins anew after it. */
  skipTo(epoch: Epoch, position: number): void {
    if (this.#entries.length > 0) return this.reset({ epoch, position })
    this.#start.epoch = epoch
    this.#start.position = position
  }

  append(entry: LogEntry): void {
    assert(entry.position - entry.effects.length === this.last.position, 'entries follow each other')
    this.#bytesTo.push((this.#bytesTo.at(-1) ?? this.#bytesBefore) + bytesOfEffects(entry.effects) + entryOverheadBytes)
    this.#entries.push(entry)
  }

  /** The name at that position; undefined: no entry ends there, or it is gone. */
  nameAt(position: number): EntryName | undefined {
    if (position === this.#start.position) return this.#start
    const index = this.#indexAfter(position) - 1
    const entry = index < this.#head ? undefined : this.#entries[index]
    return entry?.position === position ? entry : undefined
  }

  has(name: { readonly epoch: number; readonly position: number }): boolean {
    return this.nameAt(name.position)?.epoch === name.epoch
  }

  /** The first entry that ends after that position. */
  next(position: number): LogEntry | undefined {
    return this.#entries[this.#indexAfter(position)]
  }

  /** Entries after that position, at least one if there is one, of about `maxBytes`. */
  entriesAfter(position: number, maxBytes: number): readonly LogEntry[] {
    const from = this.#indexAfter(position)
    const before = this.#bytesUpTo(from)
    let to = from
    while (to < this.#entries.length && (to === from || (this.#bytesTo[to] as number) - before <= maxBytes)) to += 1
    return this.#entries.slice(from, to)
  }

  /** Bytes of the entries that end in (from, to]. */
  bytesBetween(from: number, to: number): number {
    return Math.max(0, this.#bytesUpTo(this.#indexAfter(to)) - this.#bytesUpTo(this.#indexAfter(from)))
  }

  /** Removes all entries that end after that position. */
  cutAfter(position: number): void {
    const index = this.#indexAfter(position)
    this.#entries.length = index
    this.#bytesTo.length = index
  }

  /** Forgets entries that end at or before `position`, save the last `retainBytes` of the log. */
  trimTo(position: number, retainBytes: number): void {
    const end = this.#bytesTo.at(-1) ?? 0
    let head = this.#head
    while (head < this.#entries.length) {
      const entry = this.#entries[head] as LogEntry
      if (entry.position > position || end - (this.#bytesTo[head] as number) < retainBytes) break
      head += 1
    }
    if (head === this.#head) return
    const { epoch, position: startPosition } = this.#entries[head - 1] as LogEntry
    this.#start = { epoch, position: startPosition }
    this.#bytesBefore = this.#bytesTo[head - 1] as number
    this.#head = head
    if (head > 64 && head * 2 > this.#entries.length) {
      this.#entries.splice(0, head)
      this.#bytesTo.splice(0, head)
      this.#head = 0
    }
  }

  #bytesUpTo(index: number): number {
    return index <= this.#head ? this.#bytesBefore : (this.#bytesTo[index - 1] as number)
  }

  /** Index of the first retained entry with a greater position. */
  #indexAfter(position: number): number {
    let low = this.#head
    let high = this.#entries.length
    if (high > low && (this.#entries[high - 1] as LogEntry).position <= position) return high
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#entries[middle] as LogEntry).position <= position) low = middle + 1
      else high = middle
    }
    return low
  }
}

function bytesOfEffects(effects: readonly Effect[]): number {
  let bytes = 0
  for (const effect of effects) bytes += effectBytes(effect)
  return bytes
}
