/**
 * Keys as small integers: what columns of numbers are indexed by. A slot belongs to a key until it is freed, and to one section: a
 * quarter of a partition's keys, which are stored together.
 *
 * Integer keys go through open addressing over typed arrays, others through a Map. Neither makes an object per event.
 */
import type { KeyId } from '../key-id.ts'

/** Sections per partition; part of the stored layout. */
export const sectionsPerPartition = 4

const none = -1
const firstCapacity = 256

export class KeySlots {
  /** By slot. */
  readonly keys: unknown[] = []
  readonly ids: KeyId[] = []
  partitions = new Int32Array(firstCapacity)
  sections = new Int32Array(firstCapacity)
  /** Number of slots that were ever used: columns need to be this long. */
  top = 0
  #index: SlotIndex
  #free: number[] = []
  /** Slots of a section, as a list through arrays. */
  #next = new Int32Array(firstCapacity)
  #before = new Int32Array(firstCapacity)
  #heads = new Int32Array(0)

  constructor(integers: boolean) {
    this.#index = integers ? new IntegerIndex() : new MapIndex()
  }

  /** Keys that have a slot. */
  get size(): number {
    return this.top - this.#free.length
  }

  /** -1: it has none. */
  find(id: KeyId): number {
    return this.#index.find(id)
  }

  /** A slot for a key that has none. */
  add(id: KeyId, key: unknown, partition: number): number {
    const slot = this.#free.pop() ?? this.top
    if (slot === this.partitions.length) this.#grow()
    if (slot === this.top) this.top += 1
    const section = sectionOf(id, partition)
    this.keys[slot] = key
    this.ids[slot] = id
    this.partitions[slot] = partition
    this.sections[slot] = section
    this.#link(slot, section)
    this.#index.set(id, slot)
    return slot
  }

  free(slot: number): void {
    const id = this.ids[slot] as KeyId
    if (this.#index.find(id) !== slot) return
    this.#index.delete(id)
    this.#unlink(slot)
    this.keys[slot] = undefined
    this.ids[slot] = none
    this.#free.push(slot)
  }

  isUsed(slot: number): boolean {
    return this.#index.find(this.ids[slot] as KeyId) === slot
  }

  /** The first slot of a section, and the one behind a slot; -1: none. */
  firstOf(section: number): number {
    return (this.#heads[section] ?? 0) - 1
  }

  after(slot: number): number {
    return (this.#next[slot] as number) - 1
  }

  // Heads and links are slots + 1, so that 0 is none.
  #link(slot: number, section: number): void {
    if (section >= this.#heads.length) {
      const heads = new Int32Array(Math.max(section + 1, this.#heads.length * 2, 64))
      heads.set(this.#heads)
      this.#heads = heads
    }
    const first = this.#heads[section] as number
    this.#next[slot] = first
    this.#before[slot] = 0
    if (first > 0) this.#before[first - 1] = slot + 1
    this.#heads[section] = slot + 1
  }

  #unlink(slot: number): void {
    const next = this.#next[slot] as number
    const before = this.#before[slot] as number
    if (before > 0) this.#next[before - 1] = next
    else this.#heads[this.sections[slot] as number] = next
    if (next > 0) this.#before[next - 1] = before
  }

  #grow(): void {
    const capacity = this.partitions.length * 2
    this.partitions = grown(this.partitions, capacity)
    this.sections = grown(this.sections, capacity)
    this.#next = grown(this.#next, capacity)
    this.#before = grown(this.#before, capacity)
  }
}

export function grown(array: Int32Array<ArrayBuffer>, capacity: number): Int32Array<ArrayBuffer> {
  const longer = new Int32Array(capacity)
  longer.set(array)
  return longer
}

/** The same after a restart, on any machine: it is part of the stored layout. */
export function sectionOf(id: KeyId, partition: number): number {
  let hash = 0
  if (typeof id === 'number') hash = Math.imul((id % 0x7fffffff) | 0, 0x9e3779b1) >>> 30
  else {
    for (let i = 0; i < id.length; i += 1) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193)
    hash = Math.imul(hash, 0x9e3779b1) >>> 30
  }
  return partition * sectionsPerPartition + hash
}

interface SlotIndex {
  find(id: KeyId): number
  set(id: KeyId, slot: number): void
  delete(id: KeyId): void
}

class MapIndex implements SlotIndex {
  readonly #slots = new Map<KeyId, number>()

  find(id: KeyId): number {
    return this.#slots.get(id) ?? none
  }

  set(id: KeyId, slot: number): void {
    this.#slots.set(id, slot)
  }

  delete(id: KeyId): void {
    this.#slots.delete(id)
  }
}

/** Open addressing with linear probing; an entry that goes pulls up those behind it, so there are no tombstones. */
class IntegerIndex implements SlotIndex {
  #mask = 1023
  #keys = new Float64Array(1024)
  /** Slot + 1; 0: free. */
  #slots = new Int32Array(1024)
  #count = 0

  find(id: KeyId): number {
    const key = id as number
    const mask = this.#mask
    const keys = this.#keys
    const slots = this.#slots
    let at = hashOf(key) & mask
    for (;;) {
      const slot = slots[at] as number
      if (slot === 0) return none
      if (keys[at] === key) return slot - 1
      at = (at + 1) & mask
    }
  }

  set(id: KeyId, slot: number): void {
    if (this.#count * 2 >= this.#mask) this.#grow()
    this.#count += 1
    put(this.#keys, this.#slots, this.#mask, id as number, slot + 1)
  }

  delete(id: KeyId): void {
    const mask = this.#mask
    const keys = this.#keys
    const slots = this.#slots
    let at = hashOf(id as number) & mask
    while (keys[at] !== id || slots[at] === 0) {
      if (slots[at] === 0) return
      at = (at + 1) & mask
    }
    this.#count -= 1
    let hole = at
    for (;;) {
      at = (at + 1) & mask
      if (slots[at] === 0) break
      const home = hashOf(keys[at] as number) & mask
      // It may move up unless its home lies behind the hole.
      if (((at - home) & mask) < ((at - hole) & mask)) continue
      keys[hole] = keys[at] as number
      slots[hole] = slots[at] as number
      hole = at
    }
    slots[hole] = 0
  }

  #grow(): void {
    const mask = this.#mask * 2 + 1
    const keys = new Float64Array(mask + 1)
    const slots = new Int32Array(mask + 1)
    for (let at = 0; at <= this.#mask; at += 1) {
      const slot = this.#slots[at] as number
      if (slot > 0) put(keys, slots, mask, this.#keys[at] as number, slot)
    }
    this.#keys = keys
    this.#slots = slots
    this.#mask = mask
  }
}

function hashOf(key: number): number {
  const low = key | 0
  const high = low === key ? 0 : (key / 4294967296) | 0
  const mixed = Math.imul(low ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1)
  return mixed ^ (mixed >>> 15)
}

function put(keys: Float64Array, slots: Int32Array, mask: number, key: number, slot: number): void {
  let at = hashOf(key) & mask
  while (slots[at] !== 0) at = (at + 1) & mask
  keys[at] = key
  slots[at] = slot
}
