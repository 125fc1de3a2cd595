/**
 * The stores of the partitions that this shard serves, and the parts of each map on them.
 *
 * Owns: stores, from adoption to drop; the one `append` per partition through which every write goes (the seam for
 * replication); expiry sweeps. Does not: know who may write.
 */
import { assert, present } from '../base/assert.ts'
import { PartitionMap } from '../grid/partition-map.ts'
import type { ShardLimits, MapStatsReport } from './protocol.ts'
import { applyEffect, type Effect } from '../storage/effect.ts'
import type { MemoryBudget } from '../storage/memory-budget.ts'
import { PartitionStore } from '../storage/partition-store.ts'
import type { MapHandle } from './map-catalog.ts'
import type { Ownership, OwnershipChange } from './ownership.ts'

interface Served {
  readonly store: PartitionStore
  readonly append: (effect: Effect) => void
}

/** Units of expiry work between two looks at the clock. */
const sweepStep = 64

export class Partitions {
  readonly #limits: ShardLimits
  readonly #budget: MemoryBudget
  readonly #random: () => number
  #served: (Served | undefined)[] = []
  #partitionCount = 0
  #sweepNext = 0

  constructor(limits: ShardLimits, budget: MemoryBudget, random: () => number) {
    this.#limits = limits
    this.#budget = budget
    this.#random = random
  }

  /** Begins and ceases to hold partitions; what was on dropped ones is gone, also in the handles. */
  change(change: OwnershipChange, ownership: Ownership, handles: Iterable<MapHandle>): void {
    this.#partitionCount = ownership.partitionCount
    const known = [...handles]
    for (const partition of change.dropped) {
      this.#served[partition]?.store.release()
      this.#served[partition] = undefined
      for (const handle of known) handle.parts[partition] = undefined
    }
    for (const partition of change.adopted) {
      const store = new PartitionStore(this.#budget, Math.floor(this.#random() * 2 ** 32))
      store.position = firstPosition(ownership.epochOf(partition))
      this.#served[partition] = { store, append: effect => applyEffect(store, effect) }
    }
  }

  /** The map's part on a partition that is served here, made if it is not there. */
  openPart(handle: MapHandle, partition: number): PartitionMap {
    const known = handle.parts[partition]
    if (known !== undefined) return known
    const { store, append } = present(this.#served[partition], 'a served partition')
    const part = new PartitionMap({
      definition: handle.definition,
      partitionCount: this.#partitionCount,
      store,
      append,
      valueMaxBytes: this.#limits.valueMaxBytes,
    })
    while (handle.parts.length < partition) handle.parts.push(undefined)
    handle.parts[partition] = part
    return part
  }

  /** Removes a destroyed map's data. */
  dropMap(handle: MapHandle): void {
    for (const [partition, part] of handle.parts.entries()) {
      if (part === undefined) continue
      const served = this.#served[partition]
      assert(served !== undefined, 'a part of a map without its partition')
      served.append({ kind: 'dropMap', map: handle.definition.id })
      handle.parts[partition] = undefined
    }
  }

  /** Removes entries past their time, from where the last call stopped, until done or `isOver`. True: there may be more. */
  sweep(wallTimeMs: number, isOver: () => boolean): boolean {
    const count = this.#served.length
    for (let swept = 0; swept < count; ) {
      const served = this.#served[this.#sweepNext]
      const done = served === undefined ? 0 : served.store.advanceExpiry(wallTimeMs, sweepStep, served.append)
      if (done < sweepStep) {
        swept += 1
        this.#sweepNext = (this.#sweepNext + 1) % count
      }
      if ((done > 0 || swept % 16 === 0) && isOver()) return swept < count
    }
    return false
  }

  get entries(): number {
    return this.#served.reduce((sum, served) => sum + (served?.store.entries ?? 0), 0)
  }

  /** Of entries with their headers. */
  get bytes(): number {
    return this.#served.reduce((sum, served) => sum + (served?.store.bytes ?? 0), 0)
  }

  release(): void {
    for (const served of this.#served) served?.store.release()
    this.#served = []
  }
}

/**
 * Where the log of a partition begins that starts empty. Each epoch has its own range, so that versions do not come again when a
 * lost partition is given up; 12 bits of epoch and 36 of writes fill the 48 that the store keeps.
 */
const firstPosition = (epoch: number): number => (Math.max(0, epoch - 1) % 2 ** 12) * 2 ** 36

export function mapStats(handle: MapHandle): MapStatsReport {
  const report = { name: handle.definition.name, entries: 0, bytes: 0, evicted: 0, expired: 0 }
  for (const part of handle.parts) {
    if (part === undefined) continue
    report.entries += part.entries
    report.bytes += part.bytes
    report.evicted += part.evicted
    report.expired += part.expired
  }
  return report
}
