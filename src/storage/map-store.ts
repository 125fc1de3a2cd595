import type { MapId } from '../base/ids.ts'
import type { ExpireEffect, PutEffect, RemoveEffect } from './effect.ts'
import type { MemoryBudget } from './memory-budget.ts'

export type Eviction = 'none' | 'lru' | 'lfu'

export interface MapLimits {
  /** Bytes of this map's entries in this partition, headers included; 0: no limit of its own. */
  readonly maxBytes: number
  readonly eviction: Eviction
}

/** `expired`: the entry is past its time and still stored; the caller appends its removal (reason `expired`). */
export type Lookup = 'found' | 'absent' | 'expired'

/** `mapFull`: the map's own maxBytes, and nothing to evict; `memoryFull`: the shard's memory budget. */
export type Admission = 'admitted' | 'mapFull' | 'memoryFull'

/** Keys are at most this long. */
export const keyMaxBytes = 65_535
/** No value can be longer, whatever the configuration says. */
export const valueHardMaxBytes = 64 * 1024 * 1024 - 1

/** An entry that a lookup or a scan stands on. Reused: valid until the next call of any method of its partition's store. */
export class EntryView {
  segment: Uint8Array = new Uint8Array(0)
  keyStart = 0
  keyEnd = 0
  valueStart = 0
  valueEnd = 0
  version = 0
  /** 0: none. */
  expiresAtMs = 0
  /** 0: none. */
  maxIdleMs = 0
  /** The last read or write, if the entry has a maximal idle time; else 0. */
  idleSinceMs = 0
}

export interface ScanLimits {
  /** Stops after so many entries (more only for equal hashes). */
  readonly maxEntries: number
  /** Stops after so many bytes of keys and values. */
  readonly maxBytes: number
}

/** `scanPage` answers this after the last entry. */
export const scanEnd = 2 ** 32

/** One map in one partition. */
export class MapStore {
  readonly id: MapId
  limits: MapLimits
  /** The entry that the last `find` found. */
  readonly found = new EntryView()
  evicted = 0
  expired = 0

  constructor(id: MapId, limits: MapLimits, budget: MemoryBudget, seed: number) {
    this.id = id
    this.limits = limits
    void budget
    void seed
  }

  /** Entries, those past their time and not yet removed among them. */
  get entries(): number {
    throw new Error('to come')
  }

  /** Bytes of the entries with their headers: what `maxBytes` limits. */
  get bytes(): number {
    throw new Error('to come')
  }

  /**
   * Looks a key up as of `wallTimeMs`; with `found`, the entry is in `this.found`. Allocates nothing.
   * `touch` counts as an access for max idle, lru and lfu.
   */
  find(key: Uint8Array, keyStart: number, keyEnd: number, wallTimeMs: number, touch = true): Lookup {
    throw new Error(`to come ${key[keyStart]} ${keyEnd} ${wallTimeMs} ${touch}`)
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
    throw new Error(`to come ${key[keyStart]} ${keyEnd} ${valueLength} ${hasExpiry} ${hasMaxIdle} ${evict.name}`)
  }

  /**
   * Visits entries in the order of their hashes from `cursor` (first: 0) until a limit, and answers the cursor of the next page
   * or `scanEnd`. Entries past their time are left out. The view is valid during the visit; `visit` must not write.
   *
   * A cursor is a place in the space of 32-bit hashes: an entry that is there throughout comes exactly once, whatever is
   * written between pages and on whichever replica the next page is read.
   */
  scanPage(cursor: number, limits: ScanLimits, wallTimeMs: number, visit: (entry: EntryView) => void): number {
    throw new Error(`to come ${cursor} ${limits.maxBytes} ${wallTimeMs} ${visit.name}`)
  }

  /** Only `applyEffect` and the image call the following. */
  put(effect: PutEffect, version: number): void {
    throw new Error(`to come ${effect.kind} ${version}`)
  }

  remove(effect: RemoveEffect): void {
    throw new Error(`to come ${effect.kind}`)
  }

  expire(effect: ExpireEffect): void {
    throw new Error(`to come ${effect.kind}`)
  }

  clear(): void {
    throw new Error('to come')
  }

  /** Hands removals (reason `expired`) of entries past their time to `expire`, which applies each before it returns. Answers the work done, at most `budget`. */
  advanceExpiry(wallTimeMs: number, budget: number, expire: (effect: RemoveEffect) => void): number {
    throw new Error(`to come ${wallTimeMs} ${budget} ${expire.name}`)
  }
}
