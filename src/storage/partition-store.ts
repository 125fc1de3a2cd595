/**
 * One partition's off-heap store: its maps, its ordered records, and the position of the last effect applied to them.
 *
 * The way of a write: `map.find` (decide) -> `map.admitPut` (refuse or make room) -> `applyEffect` (always succeeds).
 */
import type { MapId } from '../base/ids.ts'
import type { RemoveEffect } from './effect.ts'
import type { MapLimits } from './map-limits.ts'
import { MapStore } from './map-store.ts'
import type { MemoryBudget } from './memory-budget.ts'
import { OrderedRecords } from './ordered-records.ts'
import { SessionTable } from './session-table.ts'

export class PartitionStore {
  /** Effects applied so far; the next one gets this plus one. Only `applyEffect` and an image move it. */
  position = 0
  readonly records: OrderedRecords
  readonly sessions = new SessionTable()
  readonly #budget: MemoryBudget
  readonly #seed: number
  readonly #maps = new Map<MapId, MapStore>()
  /** The one found last: effects on one map follow each other, and few partitions have many maps. */
  #last: MapStore | undefined

  /** `seed` drives the sampling of eviction; the same seed and calls give the same choices. */
  constructor(budget: MemoryBudget, seed: number) {
    this.#budget = budget
    this.#seed = seed
    this.records = new OrderedRecords(budget)
  }

  /** The map, made if it is not there (by the `openMap` effect, so that replicas know it). Limits given anew replace the old ones. */
  openMap(id: MapId, limits: MapLimits): MapStore {
    let map = this.#maps.get(id)
    if (map === undefined) {
      map = new MapStore(id, limits, this.#budget, this.#seed)
      this.#maps.set(id, map)
    }
    map.limits = limits
    return map
  }

  findMap(id: MapId): MapStore | undefined {
    const last = this.#last
    if (last !== undefined && last.id === id) return last
    const map = this.#maps.get(id)
    if (map !== undefined) this.#last = map
    return map
  }

  maps(): Iterable<MapStore> {
    return this.#maps.values()
  }

  dropMap(id: MapId): void {
    this.#maps.get(id)?.release()
    this.#maps.delete(id)
    this.#last = undefined
  }

  get entries(): number {
    let entries = 0
    for (const map of this.#maps.values()) entries += map.entries
    return entries
  }

  /** Bytes of all entries with their headers. What is really held is the memory budget's `heldBytes`. */
  get bytes(): number {
    let bytes = 0
    for (const map of this.#maps.values()) bytes += map.bytes
    return bytes
  }

  /** Hands removals (reason `expired`) of entries past their time to `expire`, which applies each before it returns. Answers the work done, at most `budget`. */
  advanceExpiry(wallTimeMs: number, budget: number, expire: (effect: RemoveEffect) => void): number {
    let done = 0
    for (const map of this.#maps.values()) {
      if (done >= budget) break
      done += map.advanceExpiry(wallTimeMs, budget - done, expire)
    }
    return done
  }

  /** Gives all memory back; the store must not be used afterwards. */
  release(): void {
    for (const map of this.#maps.values()) map.release()
    this.#maps.clear()
    this.#last = undefined
    this.records.clear()
    this.sessions.clear()
  }
}
