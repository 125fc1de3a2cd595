/**
 * The memory of one shard's store: what is held, what may be held, and a bounded pool of freed segments.
 *
 * Owns: the counters and the pool. Does not: decide what to give up when it is full.
 *
 * 1. `usedBytes` is what stores hold (segments, indexes, side tables, with slack); `pooledBytes` waits for reuse.
 * 2. Writes that would grow the store ask `canGrow` first, which keeps `reserveBytes` free: compaction and shrinking need
 *    room to give memory back. Effects are facts and are always carried out, so a replica may pass its limit.
 * 3. The pool gives way: it never makes `heldBytes` pass the limit.
 */
import { assert } from '../base/assert.ts'
import { EntryView } from './entry-view.ts'

const pooledBuffersMax = 64
const reserveMaxBytes = 80 * 1024

export class MemoryBudget {
  readonly limitBytes: number
  /** Kept free by `canGrow`. */
  readonly reserveBytes: number
  /** Where every lookup of this shard's maps leaves what it found. */
  readonly found = new EntryView()
  #usedBytes = 0
  #pooledBytes = 0
  readonly #pool = new Map<number, ArrayBuffer[]>()

  constructor(limitBytes: number) {
    assert(limitBytes > 0, `a memory budget of ${limitBytes} bytes`)
    this.limitBytes = limitBytes
    this.reserveBytes = Math.min(reserveMaxBytes, Math.floor(limitBytes / 16))
  }

  get usedBytes(): number {
    return this.#usedBytes
  }

  get pooledBytes(): number {
    return this.#pooledBytes
  }

  get heldBytes(): number {
    return this.#usedBytes + this.#pooledBytes
  }

  /** Whether a write may add so many bytes. */
  canGrow(bytes: number): boolean {
    return bytes === 0 || this.#usedBytes + bytes + this.reserveBytes <= this.limitBytes
  }

  /** Whether housekeeping that gives memory back later may add so many bytes now. */
  canBorrow(bytes: number): boolean {
    return this.#usedBytes + bytes <= this.limitBytes
  }

  /** Counts memory taken outside of the pool; negative: given back. */
  add(bytes: number): void {
    this.#usedBytes += bytes
    if (bytes > 0) this.#trimPool()
  }

  /** A buffer of exactly so many bytes, from the pool (with old bytes in it) or new. */
  take(bytes: number): ArrayBuffer {
    this.#usedBytes += bytes
    const pooled = this.#pool.get(bytes)?.pop()
    if (pooled !== undefined) {
      this.#pooledBytes -= bytes
      return pooled
    }
    this.#trimPool()
    return new ArrayBuffer(bytes)
  }

  /** Gives a buffer of `take` back. It is kept for reuse if `pooled`, and if the pool has room. */
  give(buffer: ArrayBuffer, pooled: boolean): void {
    const bytes = buffer.byteLength
    this.#usedBytes -= bytes
    if (!pooled || this.heldBytes + bytes > this.limitBytes) return
    let buffers = this.#pool.get(bytes)
    if (buffers === undefined) this.#pool.set(bytes, (buffers = []))
    if (buffers.length >= pooledBuffersMax) return
    buffers.push(buffer)
    this.#pooledBytes += bytes
  }

  #trimPool(): void {
    for (const [bytes, buffers] of this.#pool) {
      while (this.#pooledBytes > 0 && this.heldBytes > this.limitBytes && buffers.pop() !== undefined) this.#pooledBytes -= bytes
      if (this.heldBytes <= this.limitBytes) return
    }
  }
}
