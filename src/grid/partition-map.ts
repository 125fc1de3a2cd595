/**
 * One map on one partition: what its operations mean, as effects.
 *
 * Owns: the rules of time to live, versions, limits and refusals. Does not: apply effects (`append` does: today at once, with
 * replication through the log), know a clock (moments are arguments), decode values, know who asks.
 *
 * 1. A write is decided on what is stored, made room for (`admitPut`), then handed to `append`; a refused one changes nothing,
 *    save that entries past their time may be gone.
 * 2. Nothing expires by the clock alone: who finds an entry past its time appends its removal.
 * 3. `set` and `putIfAbsent` give the map's default expiry where the caller says nothing; `replace` and entry processors keep
 *    what the entry has, as they change a value and not a stay.
 * 4. `found` is valid until the next call on this partition.
 */
import { formatByteSize } from '../base/byte-size.ts'
import { invalidArgument, NearstateError } from '../base/errors.ts'
import type { MapId } from '../base/ids.ts'
import { keyMaxBytes } from '../keys/encode-key.ts'
import type { ClearEffect, Effect, ExpireEffect, PutEffect, RemoveEffect, RemoveReason } from '../storage/effect.ts'
import type { EntryView } from '../storage/entry-view.ts'
import type { MapStore, ScanLimits } from '../storage/map-store.ts'
import type { PartitionStore } from '../storage/partition-store.ts'
import type { MapDefinition } from './map-definition.ts'

/** What came of an operation. */
export const Outcome = { done: 0, absent: 1, present: 2, conflict: 3, refused: 4 } as const
export type Outcome = (typeof Outcome)[keyof typeof Outcome]

/** In place of a duration: what the map or the entry has. */
export const unchanged = -1
/** A thousand years. */
export const durationMaxMs = 31_557_600_000_000

export interface PartitionMapOptions {
  readonly definition: MapDefinition
  readonly partitionCount: number
  readonly store: PartitionStore
  readonly valueMaxBytes: number
  readonly append: (effect: Effect) => void
}

const nothing = new Uint8Array(0)
/**
 * The put under way, of whichever map: `append` keeps nothing of it. One object, which stays in the processor's cache; and the buffers of a
 * batch are written to it once, since the collector is told of each young one that an old object gets.
 */
const put: PutEffect = {
  kind: 'put',
  map: 0 as MapId,
  key: nothing,
  keyStart: 0,
  keyEnd: 0,
  value: nothing,
  valueStart: 0,
  valueEnd: 0,
  expiresAtMs: 0,
  maxIdleMs: 0,
  wallTimeMs: 0,
}

export class PartitionMap {
  readonly definition: MapDefinition
  readonly valueMaxBytes: number
  /** Why the last operation that answered `refused` was. */
  refusal: NearstateError | undefined
  readonly #store: MapStore
  readonly #partition: PartitionStore
  readonly #append: (effect: Effect) => void
  readonly #expire: ExpireEffect
  readonly #clear: ClearEffect

  /** Opens the map in the partition when it is not there. */
  constructor(options: PartitionMapOptions) {
    const { definition, store, append, partitionCount } = options
    const map = definition.id
    this.definition = definition
    this.#partition = store
    this.valueMaxBytes = options.valueMaxBytes
    this.#append = append
    this.#expire = { kind: 'expire', map, key: nothing, keyStart: 0, keyEnd: 0, expiresAtMs: 0, maxIdleMs: 0, wallTimeMs: 0 }
    this.#clear = { kind: 'clear', map }
    if (store.findMap(map) === undefined) {
      const maxBytes = definition.maxBytes === 0 ? 0 : Math.max(1, Math.floor(definition.maxBytes / partitionCount))
      append({ kind: 'openMap', map, limits: { maxBytes, eviction: definition.eviction } })
    }
    this.#store = store.findMap(map) as MapStore
  }

  /** The entry that the last `find` found. */
  get found(): EntryView {
    return this.#store.found
  }

  get entries(): number {
    return this.#store.entries
  }

  get bytes(): number {
    return this.#store.bytes
  }

  /** Grows with every change of any entry, by whomever. */
  get changes(): number {
    return this.#store.changes
  }

  get evicted(): number {
    return this.#store.evicted
  }

  get expired(): number {
    return this.#store.expired
  }

  /** Whether the entry is there; then it is in `found`. `touch`: counts as an access for max idle and eviction. */
  find(key: Uint8Array, start: number, end: number, wallTimeMs: number, touch = true): boolean {
    const lookup = this.#store.find(key, start, end, wallTimeMs, touch)
    if (lookup === 'found') return true
    if (lookup === 'expired') this.#remove(key, start, end, 'expired')
    return false
  }

  /** See MapStore.warmIndex. */
  warmIndex(hash: number): number {
    return this.#store.warmIndex(hash)
  }

  warmEntry(hash: number): number {
    return this.#store.warmEntry(hash)
  }

  /** As `find`, changing nothing whatever is there. */
  peek(key: Uint8Array, start: number, end: number, wallTimeMs: number): boolean {
    return this.#store.find(key, start, end, wallTimeMs, false) === 'found'
  }

  /** `done` or `refused`. */
  set(
    key: Uint8Array,
    start: number,
    end: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    ttlMs: number,
    maxIdleMs: number,
    wallTimeMs: number,
  ): Outcome {
    const { definition } = this
    const ttl = ttlMs === unchanged ? definition.ttlMs : ttlMs
    const idle = maxIdleMs === unchanged ? definition.maxIdleMs : maxIdleMs
    return this.#write(key, start, end, value, valueStart, valueEnd, expiryAt(ttl, wallTimeMs), idle, wallTimeMs)
  }

  /** `done`, `absent`, or `conflict` when it has another version than `ifVersion`. */
  delete(key: Uint8Array, start: number, end: number, wallTimeMs: number, ifVersion?: number): Outcome {
    if (!this.find(key, start, end, wallTimeMs, false)) return Outcome.absent
    if (ifVersion !== undefined && this.found.version !== ifVersion) return Outcome.conflict
    this.#remove(key, start, end, 'deleted')
    return Outcome.done
  }

  /** `done` when stored, `present` with the entry in `found`, or `refused`. */
  putIfAbsent(
    key: Uint8Array,
    start: number,
    end: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    ttlMs: number,
    maxIdleMs: number,
    wallTimeMs: number,
  ): Outcome {
    if (this.find(key, start, end, wallTimeMs)) return Outcome.present
    return this.set(key, start, end, value, valueStart, valueEnd, ttlMs, maxIdleMs, wallTimeMs)
  }

  /** Writes where an entry of this version is, keeping its expiry unless told: `done`, `conflict` or `refused`. */
  replace(
    key: Uint8Array,
    start: number,
    end: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    ifVersion: number,
    ttlMs: number,
    maxIdleMs: number,
    wallTimeMs: number,
  ): Outcome {
    if (!this.find(key, start, end, wallTimeMs)) return Outcome.conflict
    if (this.found.version !== ifVersion) return Outcome.conflict
    return this.#rewrite(key, start, end, value, valueStart, valueEnd, ttlMs, maxIdleMs, wallTimeMs)
  }

  /** Writes a value as an entry processor does: keeps the expiry of an entry that is there, gives a new one the map's default. */
  update(
    key: Uint8Array,
    start: number,
    end: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    ttlMs: number,
    wallTimeMs: number,
  ): Outcome {
    return this.find(key, start, end, wallTimeMs)
      ? this.#rewrite(key, start, end, value, valueStart, valueEnd, ttlMs, unchanged, wallTimeMs)
      : this.set(key, start, end, value, valueStart, valueEnd, ttlMs, unchanged, wallTimeMs)
  }

  /** Changes (0: lifts) the expiry; the version stays: `done`, `absent` or `refused`. */
  expire(key: Uint8Array, start: number, end: number, ttlMs: number, maxIdleMs: number, wallTimeMs: number): Outcome {
    if (!this.find(key, start, end, wallTimeMs)) return Outcome.absent
    const { found } = this.#store
    const expiresAtMs = ttlMs === unchanged ? found.expiresAtMs : expiryAt(ttlMs, wallTimeMs)
    const idle = maxIdleMs === unchanged ? found.maxIdleMs : maxIdleMs
    const refused = this.#admit(key, start, end, found.valueEnd - found.valueStart, expiresAtMs !== 0, idle !== 0)
    if (refused) return Outcome.refused
    const effect = this.#expire
    effect.key = key
    effect.keyStart = start
    effect.keyEnd = end
    effect.expiresAtMs = expiresAtMs
    effect.maxIdleMs = idle
    effect.wallTimeMs = wallTimeMs
    this.#append(effect)
    return Outcome.done
  }

  clear(): void {
    this.#append(this.#clear)
  }

  /** See MapStore.scanPage. */
  scanPage(cursor: number, limits: ScanLimits, wallTimeMs: number, visit: (entry: EntryView) => void): number {
    return this.#store.scanPage(cursor, limits, wallTimeMs, visit)
  }

  /** The version that the last write of a value got. */
  get writtenVersion(): number {
    return this.#partition.position
  }

  #rewrite(
    key: Uint8Array,
    start: number,
    end: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    ttlMs: number,
    maxIdleMs: number,
    wallTimeMs: number,
  ): Outcome {
    const { found } = this.#store
    const expiresAtMs = ttlMs === unchanged ? found.expiresAtMs : expiryAt(ttlMs, wallTimeMs)
    const idle = maxIdleMs === unchanged ? found.maxIdleMs : maxIdleMs
    return this.#write(key, start, end, value, valueStart, valueEnd, expiresAtMs, idle, wallTimeMs)
  }

  #write(
    key: Uint8Array,
    start: number,
    end: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    expiresAtMs: number,
    maxIdleMs: number,
    wallTimeMs: number,
  ): Outcome {
    const valueBytes = valueEnd - valueStart
    if (valueBytes > this.valueMaxBytes) return this.#refuse(this.#tooLarge('value', valueBytes, this.valueMaxBytes))
    if (end - start > keyMaxBytes) return this.#refuse(this.#tooLarge('key', end - start, keyMaxBytes))
    if (this.#admit(key, start, end, valueBytes, expiresAtMs !== 0, maxIdleMs !== 0)) return Outcome.refused
    put.map = this.definition.id
    if (put.key !== key) put.key = key
    put.keyStart = start
    put.keyEnd = end
    if (put.value !== value) put.value = value
    put.valueStart = valueStart
    put.valueEnd = valueEnd
    put.expiresAtMs = expiresAtMs
    put.maxIdleMs = maxIdleMs
    put.wallTimeMs = wallTimeMs
    this.#append(put)
    return Outcome.done
  }

  #admit(key: Uint8Array, start: number, end: number, valueBytes: number, hasExpiry: boolean, hasMaxIdle: boolean): boolean {
    const admission = this.#store.admitPut(key, start, end, valueBytes, hasExpiry, hasMaxIdle, this.#append)
    if (admission === 'admitted') return false
    this.#refuse(admission === 'mapFull' ? this.#mapFull() : this.#memoryFull())
    return true
  }

  #refuse(refusal: NearstateError): Outcome {
    this.refusal = refusal
    return Outcome.refused
  }

  #remove(key: Uint8Array, keyStart: number, keyEnd: number, reason: RemoveReason): void {
    const effect: RemoveEffect = { kind: 'remove', map: this.definition.id, key, keyStart, keyEnd, reason }
    this.#append(effect)
  }

  #tooLarge(what: string, bytes: number, limit: number): NearstateError {
    return invalidArgument(`Cannot store entry in map "${this.definition.name}": ${what} is ${bytes} bytes, limit is ${limit}`)
  }

  #mapFull(): NearstateError {
    const { name, maxBytes } = this.definition
    return new NearstateError(
      'RESOURCE_EXHAUSTED',
      `Cannot store entry in map "${name}": its partition holds its share of maxBytes ${maxBytes} (${formatByteSize(maxBytes)}) and nothing can be evicted; delete entries, or give the map an eviction or a larger maxBytes`,
    )
  }

  #memoryFull(): NearstateError {
    return new NearstateError(
      'RESOURCE_EXHAUSTED',
      `Cannot store entry in map "${this.definition.name}": the shard's memory limit is reached; delete entries, or add nodes or memory`,
    )
  }
}

const expiryAt = (ttlMs: number, wallTimeMs: number): number => (ttlMs === 0 ? 0 : wallTimeMs + ttlMs)

/** Why a duration cannot be used; undefined: it can. */
export function durationRefusal(what: string, ms: number): NearstateError | undefined {
  if (ms <= durationMaxMs) return undefined
  return invalidArgument(`Cannot use ${what} of ${ms} ms: limit is ${durationMaxMs} (a thousand years)`)
}
