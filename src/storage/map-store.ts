/**
 * One map in one partition: index, entries, expiry and eviction together.
 *
 * Owns: what happens to entries; keeping index and wheel right when entries move. Does not: decide (grid), count positions (effect).
 *
 * 1. An entry is in the index exactly once, at its location; in the wheel exactly if it is timed.
 * 2. An entry is written where it stands if it still fits there, so that shrinking and same-size overwrites need no memory.
 * 3. Entries move only in `put`, `expire`, `remove` and `compact`, a bounded number of bytes at a time.
 */
import { copyInto } from '../base/copy-into.ts'
import { assert } from '../base/assert.ts'
import type { MapId } from '../base/ids.ts'
import { seededRandom, type Random } from '../base/random.ts'
import { keyMaxBytes } from '../keys/encode-key.ts'
import type { ExpireEffect, PutEffect, RemoveEffect, RemoveReason } from './effect.ts'
import {
  accessedFlag,
  accessOf,
  dueAt,
  entrySize,
  equalBytes,
  fillTimes,
  fillView,
  flagsAt,
  flagsFor,
  idlesFlag,
  expiresFlag,
  isDead,
  keyLengthAt,
  keyStartIfLength,
  keyStartAt,
  setAccess,
  setExpiresAt,
  setIdle,
  setIdleSince,
  setNext,
  setPrevious,
  sizeAt,
  timedFlag,
  valueLengthAt,
  versionAt,
  writeHeader,
} from './entry-layout.ts'
import { EntrySpace, segmentOf, wordOf } from './entry-space.ts'
import { EntryView } from './entry-view.ts'
import { evictionRank, evictionSamples, firstAccess, nextAccess } from './eviction.ts'
import { ExpiryWheel } from './expiry-wheel.ts'
import { HashIndex, homeOf, noTable } from './hash-index.ts'
import { hashKey, hashOfPlace, placeOfHash } from './key-hash.ts'
import type { MapLimits } from './map-limits.ts'
import type { MemoryBudget } from './memory-budget.ts'

/** `expired`: the entry is past its time and still stored; the caller appends its removal (reason `expired`). */
export type Lookup = 'found' | 'absent' | 'expired'

/** `mapFull`: the map's own maxBytes, and nothing to evict; `memoryFull`: the shard's memory budget. */
export type Admission = 'admitted' | 'mapFull' | 'memoryFull'

export interface ScanLimits {
  /** Stops after so many entries (more only for equal hashes). */
  readonly maxEntries: number
  /** Stops after so many bytes of keys and values. */
  readonly maxBytes: number
}

/** No value can be longer, whatever the configuration says. */
const valueHardMaxBytes = 64 * 1024 * 1024 - 1
/** `scanPage` answers this after the last entry. */
export const scanEnd = 2 ** 32

/** The objects of a map besides its tables: counted, so that many empty maps are not free. */
const mapObjectBytes = 2048
/** Bytes of a segment that a write looks through at least and at most while entries are being moved together. */
const compactMinBytes = 2048
const compactMaxBytes = 64 * 1024
const cacheLineBytes = 64

export class MapStore {
  readonly id: MapId
  limits: MapLimits
  /** The entry that the last `find` found, of any map of this shard: one object, which stays in the processor's cache. */
  readonly found: EntryView
  evicted = 0
  expired = 0
  /** Grows with every put, change of expiry, removal and clear. */
  changes = 0
  readonly #budget: MemoryBudget
  readonly #random: Random
  readonly #index: HashIndex
  readonly #space: EntrySpace
  readonly #wheel: ExpiryWheel
  readonly #scanned = new EntryView()
  /** The latest time that a caller has named. */
  #wallTimeMs = 0
  /** The index's cells and capacity, kept here because a lookup's time is the way to them; capacity 0: ask the index. */
  #cells = noTable.cells
  #capacity = 0
  readonly #segments: readonly Uint8Array[]
  /** What `admitPut` has found, for the put that follows; location 0: nothing, or something may have moved since. */
  #admittedHash = 0
  #admittedLocation = 0

  constructor(id: MapId, limits: MapLimits, budget: MemoryBudget, seed: number) {
    this.id = id
    this.limits = limits
    this.#budget = budget
    this.found = budget.found
    this.#random = seededRandom(seed)
    this.#index = new HashIndex(budget)
    this.#space = new EntrySpace(budget)
    this.#segments = this.#space.bytes
    this.#wheel = new ExpiryWheel(this.#space, budget)
    budget.add(mapObjectBytes)
  }

  /** Entries, those past their time and not yet removed among them. */
  get entries(): number {
    return this.#index.entries
  }

  /** Bytes of the entries with their headers: what `maxBytes` limits. */
  get bytes(): number {
    return this.#space.liveBytes
  }

  /**
   * Reads where a lookup of this hash begins; `warmEntry` then reads what a lookup and a write of its entry will touch. Nothing is changed,
   * and the answers only keep the reads from being optimized away. Called for many keys in a row, first the one and then the other, their
   * cache misses overlap, where each lookup would wait for its own (group prefetching: Chen et al., "Improving Hash Join Performance
   * through Prefetching", 2004).
   */
  warmIndex(hash: number): number {
    const capacity = this.#capacity
    return capacity === 0 ? 0 : (this.#cells[homeOf(hash, capacity)] as number)
  }

  warmEntry(hash: number): number {
    const capacity = this.#capacity
    if (capacity === 0) return 0
    const cells = this.#cells
    let cell = homeOf(hash, capacity)
    while ((cells[cell] as number) < hash && cells[cell + 1] !== 0) cell += 2
    const location = cells[cell + 1] as number
    if (location === 0 || cells[cell] !== hash) return 0
    const segment = this.#segments[segmentOf(location)] as Uint8Array
    const at = wordOf(location) * 4
    // Lookups go by bytes and writes by words, two objects over the same memory. A small entry lies in up to three lines.
    const head = (this.#wordsOf(location)[wordOf(location)] as number) + (segment[at] as number)
    return head + (segment[at + cacheLineBytes] ?? 0) + (segment[at + 2 * cacheLineBytes] ?? 0)
  }

  /**
   * Looks a key up as of `wallTimeMs`; with `found`, the entry is in `this.found`. Allocates nothing.
   * `touch` counts as an access for max idle, lru and lfu.
   */
  find(key: Uint8Array, keyStart: number, keyEnd: number, wallTimeMs: number, touch = true): Lookup {
    const location = this.#locate(hashKey(key, keyStart, keyEnd), key, keyStart, keyEnd)
    if (location === 0) return 'absent'
    const segment = this.#segments[segmentOf(location)] as Uint8Array
    if (fillView(this.found, segment, wordOf(location) * 4) === 0) return 'found'
    this.#wallTimeMs = wallTimeMs
    const words = this.#wordsOf(location)
    const at = wordOf(location)
    const flags = flagsAt(words, at)
    if ((flags & timedFlag) !== 0) {
      if (dueAt(words, at) <= wallTimeMs) return 'expired'
      if (touch && (flags & idlesFlag) !== 0) setIdleSince(words, at, wallTimeMs)
      fillTimes(this.found, words, at)
    }
    if (touch && (flags & accessedFlag) !== 0) {
      setAccess(words, at, nextAccess(this.limits.eviction, accessOf(words, at), wallTimeMs, this.#random))
    }
    return 'found'
  }

  /**
   * Whether a put of this key with a value of this length may follow (an `expire` too: with the length of the present value).
   * At the map's `maxBytes` it first asks for room: `evict` gets removals (reason `evicted`), each to be applied before it returns.
   * A refusal evicts nothing and changes nothing. Shrinking and same-size overwrites are always admitted.
   */
  admitPut(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    valueLength: number,
    hasExpiry: boolean,
    hasMaxIdle: boolean,
    evict: (effect: RemoveEffect) => void,
  ): Admission {
    const flags = flagsFor(hasExpiry, hasMaxIdle, this.limits.eviction !== 'none')
    const size = entrySize(flags, keyEnd - keyStart, valueLength)
    const hash = hashKey(key, keyStart, keyEnd)
    const location = this.#locate(hash, key, keyStart, keyEnd)
    const present = location === 0 ? 0 : sizeAt(this.#wordsOf(location), wordOf(location))
    this.#admittedHash = hash
    this.#admittedLocation = location
    if (size <= present) return 'admitted'
    const { maxBytes, eviction } = this.limits
    const grows = this.#space.liveBytes + size - present
    if (maxBytes > 0 && (eviction === 'none' ? grows : size) > maxBytes) return 'mapFull'
    let growth = this.#space.growthFor(size)
    if (location === 0) growth += this.#index.growthForInsert()
    if ((flags & timedFlag) !== 0) growth += this.#wheel.growthForLink()
    if (!this.#budget.canGrow(growth) || !this.#space.hasNumbers) {
      this.compact(compactMinBytes)
      return 'memoryFull'
    }
    if (maxBytes > 0 && grows > maxBytes) this.#evictDownTo(maxBytes - size + present, key, keyStart, keyEnd, evict)
    return 'admitted'
  }

  /**
   * Visits entries in the order of their hashes from `cursor` (first: 0) until a limit, and answers the cursor of the next page
   * or `scanEnd`. Entries past their time are left out. The view is valid during the visit; `visit` must not write.
   *
   * A cursor is a place in the space of 32-bit hashes: an entry that is there throughout comes exactly once, whatever is
   * written between pages and on whichever replica the next page is read.
   */
  scanPage(cursor: number, limits: ScanLimits, wallTimeMs: number, visit: (entry: EntryView) => void): number {
    assert(cursor >= 0 && cursor <= scanEnd, `scan cursor ${cursor}`)
    if (cursor === scanEnd) return scanEnd
    let seen = 0
    let bytes = 0
    let previous = 0
    let next = scanEnd
    this.#index.walk(hashOfPlace(cursor), (hash, location) => {
      if (seen > 0 && hash !== previous && (seen >= limits.maxEntries || bytes >= limits.maxBytes)) {
        next = placeOfHash(hash)
        return false
      }
      previous = hash
      seen += 1
      const words = this.#wordsOf(location)
      const at = wordOf(location)
      if (dueAt(words, at) <= wallTimeMs) return true
      fillView(this.#scanned, this.#segments[segmentOf(location)] as Uint8Array, at * 4)
      fillTimes(this.#scanned, words, at)
      bytes += this.#scanned.valueEnd - this.#scanned.keyStart
      visit(this.#scanned)
      return true
    })
    return next
  }

  /** Hands removals (reason `expired`) of entries past their time to `expire`, which applies each before it returns. Answers the work done, at most `budget`. */
  advanceExpiry(wallTimeMs: number, budget: number, expire: (effect: RemoveEffect) => void): number {
    this.#wallTimeMs = wallTimeMs
    return this.#wheel.advance(wallTimeMs, budget, location => expire(this.#removal(location, 'expired')))
  }

  /** Called by `applyEffect` and the image only, like all that follow. */
  put(effect: PutEffect, version: number): void {
    const { key, keyStart, keyEnd } = effect
    this.changes += 1
    this.#wallTimeMs = Math.max(this.#wallTimeMs, effect.wallTimeMs)
    const keyLength = keyEnd - keyStart
    const valueLength = effect.valueEnd - effect.valueStart
    assert(keyLength <= keyMaxBytes && valueLength <= valueHardMaxBytes, `an entry of ${keyLength} + ${valueLength} bytes`)
    const flags = flagsFor(effect.expiresAtMs > 0, effect.maxIdleMs > 0, this.limits.eviction !== 'none')
    const size = entrySize(flags, keyLength, valueLength)
    const isKnown = this.#isAdmitted(key, keyStart, keyLength)
    const hash = isKnown ? this.#admittedHash : hashKey(key, keyStart, keyEnd)
    const before = isKnown ? this.#admittedLocation : this.#locate(hash, key, keyStart, keyEnd)
    let freed = 0
    let access = 0
    let location = before
    if (before !== 0) {
      const words = this.#wordsOf(before)
      const at = wordOf(before)
      const flagsBefore = flagsAt(words, at)
      if ((flagsBefore & timedFlag) !== 0) this.#wheel.unlink(before)
      if ((flags & flagsBefore & accessedFlag) !== 0) access = accessOf(words, at)
      freed = sizeAt(words, at) - size
    }
    if (before === 0 || freed < 0) location = this.#space.allocate(size)
    const words = this.#wordsOf(location)
    const bytes = this.#space.bytes[segmentOf(location)] as Uint8Array
    const at = wordOf(location)
    writeHeader(words, at, flags, keyLength, valueLength, version)
    const start = keyStartAt(words, at)
    copyInto(bytes, start, key, keyStart, keyEnd)
    copyInto(bytes, start + keyLength, effect.value, effect.valueStart, effect.valueEnd)
    if (flags !== 0) this.#writeTimes(location, effect.expiresAtMs, effect.maxIdleMs, effect.wallTimeMs, access)
    if (before === 0) {
      this.#index.insert(hash, location)
      this.#indexChanged()
    } else this.#settle(hash, before, location, size, freed)
  }

  /** Changes expiry: in place if the header needs no other fields, else the entry is written anew. */
  expire(effect: ExpireEffect): void {
    const { key, keyStart, keyEnd, expiresAtMs, maxIdleMs, wallTimeMs } = effect
    this.changes += 1
    this.#wallTimeMs = Math.max(this.#wallTimeMs, wallTimeMs)
    const hash = hashKey(key, keyStart, keyEnd)
    const before = this.#locate(hash, key, keyStart, keyEnd)
    if (before === 0) return
    const words = this.#wordsOf(before)
    const at = wordOf(before)
    const flagsBefore = flagsAt(words, at)
    const flags = flagsFor(expiresAtMs > 0, maxIdleMs > 0, (flagsBefore & accessedFlag) !== 0)
    if ((flagsBefore & timedFlag) !== 0) this.#wheel.unlink(before)
    const access = (flagsBefore & accessedFlag) !== 0 ? accessOf(words, at) : 0
    const keyLength = keyLengthAt(words, at)
    const valueLength = valueLengthAt(words, at)
    const version = versionAt(words, at)
    const from = keyStartAt(words, at)
    const size = entrySize(flags, keyLength, valueLength)
    const freed = sizeAt(words, at) - size
    const location = freed < 0 ? this.#space.allocate(size) : before
    const target = this.#wordsOf(location)
    const targetAt = wordOf(location)
    // The payload first: in the same place it may lie where the new header's neighbours come to lie.
    const to = targetAt * 4 + entrySize(flags, 0, 0)
    const source = this.#space.bytes[segmentOf(before)] as Uint8Array
    if (location === before) source.copyWithin(to, from, from + keyLength + valueLength)
    else (this.#space.bytes[segmentOf(location)] as Uint8Array).set(source.subarray(from, from + keyLength + valueLength), to)
    writeHeader(target, targetAt, flags, keyLength, valueLength, version)
    if (flags !== 0) this.#writeTimes(location, expiresAtMs, maxIdleMs, wallTimeMs, access)
    this.#settle(hash, before, location, size, freed)
  }

  remove(effect: RemoveEffect): void {
    this.changes += 1
    const hash = hashKey(effect.key, effect.keyStart, effect.keyEnd)
    const location = this.#locate(hash, effect.key, effect.keyStart, effect.keyEnd)
    if (location === 0) return
    if (effect.reason === 'evicted') this.evicted += 1
    if (effect.reason === 'expired') this.expired += 1
    const words = this.#wordsOf(location)
    const at = wordOf(location)
    if ((flagsAt(words, at) & timedFlag) !== 0) this.#wheel.unlink(location)
    const size = sizeAt(words, at)
    this.#index.remove(hash, location)
    this.#indexChanged()
    this.#space.release(segmentOf(location), at, size)
    this.#admittedLocation = 0
    if (this.#index.entries === 0) this.#wheel.clear()
    else this.compact(size)
  }

  clear(): void {
    this.changes += 1
    this.#index.clear()
    this.#indexChanged()
    this.#space.clear()
    this.#wheel.clear()
    this.#admittedLocation = 0
  }

  /** Gives all memory back; the map must not be used afterwards. */
  release(): void {
    this.clear()
    this.#budget.add(-mapObjectBytes)
  }

  /** Moves live entries out of the segment with much dead in it, if there is one worth it; the more, the more has just died. */
  compact(deadBytes: number): void {
    const segment = this.#space.evacuee()
    if (segment === 0) return
    const words = this.#space.words[segment] as Int32Array
    const fill = this.#space.fillOf(segment)
    const stop = Math.min(fill, this.#space.evacuatedBytes + Math.min(compactMaxBytes, Math.max(compactMinBytes, deadBytes * 8)))
    while (this.#space.evacuatedBytes < stop) {
      const at = this.#space.evacuatedBytes >>> 2
      const size = sizeAt(words, at)
      if (!isDead(words, at)) {
        const growth = this.#space.growthFor(size)
        if ((growth > 0 && !this.#budget.canBorrow(growth)) || !this.#space.hasNumbers) return
        this.#move(segment, words, at, size)
      }
      if (this.#space.evacuee() !== segment) return
      this.#space.evacuatedBytes += size
    }
  }

  #move(segment: number, words: Int32Array, at: number, size: number): void {
    const from = this.#space.locationOf(segment, at)
    const keyStart = keyStartAt(words, at)
    const hash = hashKey(this.#space.bytes[segment] as Uint8Array, keyStart, keyStart + keyLengthAt(words, at))
    const to = this.#space.allocate(size)
    this.#wordsOf(to).set(words.subarray(at, at + (size >>> 2)), wordOf(to))
    this.#index.relocate(hash, from, to)
    if ((flagsAt(words, at) & timedFlag) !== 0) this.#wheel.moved(to)
    this.#space.release(segment, at, size)
    this.#admittedLocation = 0
  }

  /** After an entry was written over `before`: what it does not need any more is dead. */
  #settle(hash: number, before: number, location: number, size: number, freed: number): void {
    const segment = segmentOf(before)
    const at = wordOf(before)
    if (location !== before) {
      this.#index.relocate(hash, before, location)
      this.#space.release(segment, at, size + freed)
      this.#admittedLocation = 0
      this.compact(size + freed)
    } else if (freed > 0) {
      this.#space.release(segment, at + (size >>> 2), freed)
      this.compact(freed)
    }
  }

  #writeTimes(location: number, expiresAtMs: number, maxIdleMs: number, wallTimeMs: number, access: number): void {
    const words = this.#wordsOf(location)
    const at = wordOf(location)
    const flags = flagsAt(words, at)
    if ((flags & accessedFlag) !== 0) {
      const eviction = this.limits.eviction
      setAccess(words, at, access === 0 ? firstAccess(eviction, wallTimeMs) : nextAccess(eviction, access, wallTimeMs, this.#random))
    }
    if ((flags & timedFlag) === 0) return
    if ((flags & expiresFlag) !== 0) setExpiresAt(words, at, expiresAtMs)
    if ((flags & idlesFlag) !== 0) setIdle(words, at, maxIdleMs, wallTimeMs)
    setNext(words, at, 0)
    setPrevious(words, at, 0)
    this.#wheel.link(location, wallTimeMs)
  }

  #evictDownTo(bytes: number, key: Uint8Array, keyStart: number, keyEnd: number, evict: (effect: RemoveEffect) => void): void {
    const hash = hashKey(key, keyStart, keyEnd)
    while (this.#space.liveBytes > bytes) {
      // An eviction may move the entry that is about to be overwritten, hence the look at where it is each time.
      const location = this.#victim(this.#locate(hash, key, keyStart, keyEnd))
      const live = this.#space.liveBytes
      const isDue = dueAt(this.#wordsOf(location), wordOf(location)) <= this.#wallTimeMs
      evict(this.#removal(location, isDue ? 'expired' : 'evicted'))
      assert(this.#space.liveBytes < live, `a removal for eviction was not applied to map ${this.id}`)
    }
  }

  /** The entry to give up among some sampled ones; never `kept`. There must be another one. */
  #victim(kept: number): number {
    let victim = 0
    let rank = -1
    for (let i = 0; i < evictionSamples || victim === 0; i += 1) {
      // Small maps, in which only `kept` is ever hit, end by walking on from it.
      const location = i < 4 * evictionSamples ? this.#index.near((this.#random.next() * 2 ** 32) | 0) : this.#index.other(kept)
      if (location === kept) continue
      const words = this.#wordsOf(location)
      const at = wordOf(location)
      const isPlain = (flagsAt(words, at) & accessedFlag) === 0
      const isDue = dueAt(words, at) <= this.#wallTimeMs
      const own = isDue || isPlain ? 2 ** 32 : evictionRank(this.limits.eviction, accessOf(words, at), this.#wallTimeMs)
      if (own > rank) {
        rank = own
        victim = location
      }
    }
    return victim
  }

  #removal(location: number, reason: RemoveReason): RemoveEffect {
    const words = this.#wordsOf(location)
    const keyStart = keyStartAt(words, wordOf(location))
    const keyEnd = keyStart + keyLengthAt(words, wordOf(location))
    const key = (this.#space.bytes[segmentOf(location)] as Uint8Array).slice(keyStart, keyEnd)
    return { kind: 'remove', map: this.id, key, keyStart: 0, keyEnd: key.length, reason }
  }

  /** Whether the entry that `admitPut` found still stands there and has this key. */
  #isAdmitted(key: Uint8Array, keyStart: number, keyLength: number): boolean {
    const location = this.#admittedLocation
    if (location === 0) return false
    const segment = this.#segments[segmentOf(location)] as Uint8Array
    const start = keyStartIfLength(segment, wordOf(location) * 4, keyLength)
    return start >= 0 && equalBytes(segment, start, key, keyStart, keyLength)
  }

  /** Location of the entry with this key; 0: there is none. */
  #locate(hash: number, key: Uint8Array, keyStart: number, keyEnd: number): number {
    let cells = this.#cells
    let capacity = this.#capacity
    if (capacity === 0) {
      const table = this.#index.tableOf(hash)
      cells = table.cells
      capacity = table.capacity
    }
    const length = keyEnd - keyStart
    for (let cell = homeOf(hash, capacity); ; cell += 2) {
      const location = cells[cell + 1] as number
      const other = cells[cell] as number
      if (location === 0 || other > hash) return 0
      if (other !== hash) continue
      const segment = this.#segments[segmentOf(location)] as Uint8Array
      const start = keyStartIfLength(segment, wordOf(location) * 4, length)
      if (start >= 0 && equalBytes(segment, start, key, keyStart, length)) return location
    }
  }

  #indexChanged(): void {
    const { cells, capacity } = this.#index.settled
    this.#cells = cells
    this.#capacity = capacity
  }

  #wordsOf(location: number): Int32Array {
    return this.#space.words[segmentOf(location)] as Int32Array
  }
}
