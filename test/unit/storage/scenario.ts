/** One map in one store, spoken to with strings. */
import type { MapId } from '../../../src/base/ids.ts'
import { applyEffect, type Effect, type RemoveEffect } from '../../../src/storage/effect.ts'
import type { MapLimits } from '../../../src/storage/map-limits.ts'
import type { Admission, MapStore } from '../../../src/storage/map-store.ts'
import { MemoryBudget } from '../../../src/storage/memory-budget.ts'
import { PartitionStore } from '../../../src/storage/partition-store.ts'

export const mapId = 3 as MapId
export const startMs = 1_700_000_000_000

export class Scenario {
  readonly budget: MemoryBudget
  readonly store: PartitionStore
  readonly map: MapStore
  readonly removed: string[] = []
  wallTimeMs = startMs

  constructor(limits: MapLimits = { maxBytes: 0, eviction: 'none' }, memoryBytes = 1 << 30) {
    this.budget = new MemoryBudget(memoryBytes)
    this.store = new PartitionStore(this.budget, 11)
    this.apply({ kind: 'openMap', map: mapId, limits })
    this.map = this.store.openMap(mapId, limits)
  }

  apply(effect: Effect): void {
    if (effect.kind === 'remove') this.removed.push(`${effect.reason} ${Buffer.from(effect.key).toString()}`)
    applyEffect(this.store, effect)
  }

  /** Admits and puts. */
  set(key: string, value: string | Uint8Array, times: { ttlMs?: number; maxIdleMs?: number } = {}): Admission {
    const keyBytes = Buffer.from(key)
    const valueBytes = Buffer.from(value)
    const { ttlMs = 0, maxIdleMs = 0 } = times
    const evict = (effect: RemoveEffect): void => this.apply(effect)
    const admission = this.map.admitPut(keyBytes, 0, keyBytes.length, valueBytes.length, ttlMs > 0, maxIdleMs > 0, evict)
    if (admission !== 'admitted') return admission
    this.apply({
      kind: 'put',
      map: mapId,
      key: keyBytes,
      keyStart: 0,
      keyEnd: keyBytes.length,
      value: valueBytes,
      valueStart: 0,
      valueEnd: valueBytes.length,
      expiresAtMs: ttlMs > 0 ? this.wallTimeMs + ttlMs : 0,
      maxIdleMs,
      wallTimeMs: this.wallTimeMs,
    })
    return admission
  }

  /** The value, or what `find` says. */
  get(key: string): string {
    const bytes = Buffer.from(`..${key}`)
    const lookup = this.map.find(bytes, 2, bytes.length, this.wallTimeMs)
    if (lookup !== 'found') return lookup
    const { segment, valueStart, valueEnd } = this.map.found
    return Buffer.from(segment.subarray(valueStart, valueEnd)).toString()
  }

  delete(key: string): void {
    const bytes = Buffer.from(key)
    this.apply({ kind: 'remove', map: mapId, key: bytes, keyStart: 0, keyEnd: bytes.length, reason: 'deleted' })
  }

  expire(key: string, ttlMs: number, maxIdleMs = 0): void {
    const bytes = Buffer.from(key)
    const { wallTimeMs } = this
    const expiresAtMs = ttlMs > 0 ? wallTimeMs + ttlMs : 0
    this.apply({ kind: 'expire', map: mapId, key: bytes, keyStart: 0, keyEnd: bytes.length, expiresAtMs, maxIdleMs, wallTimeMs })
  }

  sweep(budget = 1_000_000): number {
    return this.store.advanceExpiry(this.wallTimeMs, budget, effect => this.apply(effect))
  }
}
