import type { MemoryBudget } from './memory-budget.ts'

/** A partition's ordered records: (space, key bytes) to value bytes, in byte order of the keys. For timers and stream state. */
export class OrderedRecords {
  constructor(budget: MemoryBudget) {
    void budget
  }

  /** Writes a record; the bytes are copied. */
  put(space: number, key: Uint8Array, value: Uint8Array): void {
    throw new Error(`to come ${space} ${key.length} ${value.length}`)
  }

  /** Whether it was there. */
  remove(space: number, key: Uint8Array): boolean {
    throw new Error(`to come ${space} ${key.length}`)
  }

  /** The value, as a view that is valid until the next write. */
  find(space: number, key: Uint8Array): Uint8Array | undefined {
    throw new Error(`to come ${space} ${key.length}`)
  }

  /** Visits records with key >= `from` in byte order until `visit` answers false. The views are valid during the visit. */
  scanFrom(space: number, from: Uint8Array, visit: (key: Uint8Array, value: Uint8Array) => boolean): void {
    throw new Error(`to come ${space} ${from.length} ${visit.name}`)
  }
}
