/**
 * The promises that a node holds, in memory that its control thread writes and its shards read before they answer.
 *
 * One slot per other node; the command `view` tells which. A slot is 64 bytes:
 *
 *   i32 sequence (odd: being written) | i32 unused | newest: f64 version (0: no promise), f64 untilMs on `monotonicClock` |
 *   the one of the version before: f64, f64 | 24 unused
 *
 * 1. A reader sees a promise whole or not at all: the sequence is the same, and even, before and after. Every word is read and written
 *    with Atomics, since a plain read may be moved past the second look at the sequence.
 * 2. A writer that stopped half-way leaves no promise, never half of one.
 * 3. A promise of a newer table does not take the place of the one before: a shard that is to learn that table in a moment goes on
 *    answering by the promise of the one that it has applied.
 */
import { assert } from '../base/assert.ts'
import type { HeldPromise } from '../replication/replica-port.ts'

/** Other nodes that a node can hold promises of at a time. */
export const promiseSlotCount = 1024

const slotWords = 16
const newestWord = 2
const earlierWord = 6
/** Looks at a slot that is being written; a write takes less than a microsecond unless its thread is interrupted. */
const looksMax = 200

export const createPromiseCell = (): SharedArrayBuffer => new SharedArrayBuffer(promiseSlotCount * slotWords * 4)

/** A number as the two words that stand for it. */
const number = new Float64Array(1)
const words = new Int32Array(number.buffer)

interface Written {
  readonly newest: HeldPromise | undefined
  readonly earlier: HeldPromise | undefined
}
const nothing: Written = { newest: undefined, earlier: undefined }

/** The control thread's end; there is one. */
export class PromiseCellWriter {
  readonly #cell: Int32Array
  readonly #written = new Map<number, Written>()

  constructor(cell: SharedArrayBuffer) {
    this.#cell = new Int32Array(cell)
  }

  /** undefined: none is held. */
  publish(slot: number, promise: HeldPromise | undefined): void {
    const at = slotAt(slot)
    const { newest, earlier } = this.#written.get(slot) ?? nothing
    const isNewer = promise !== undefined && newest !== undefined && promise.version > newest.version
    const kept = promise === undefined ? undefined : isNewer ? newest : earlier
    this.#written.set(slot, { newest: promise, earlier: kept })
    const sequence = Atomics.load(this.#cell, at) | 1
    Atomics.store(this.#cell, at, sequence)
    this.#storePromise(at + newestWord, promise)
    this.#storePromise(at + earlierWord, kept)
    Atomics.store(this.#cell, at, (sequence + 1) | 0)
  }

  #storePromise(at: number, promise: HeldPromise | undefined): void {
    this.#store(at, promise?.version ?? 0)
    this.#store(at + 2, promise?.untilMs ?? 0)
  }

  #store(at: number, value: number): void {
    number[0] = value
    Atomics.store(this.#cell, at, words[0] as number)
    Atomics.store(this.#cell, at + 1, words[1] as number)
  }
}

interface Seen extends Written {
  readonly sequence: number
}

/** A shard's end. What has not changed since the last look costs one load. */
export class PromiseCellReader {
  readonly #cell: Int32Array
  readonly #seen: Seen[] = Array.from({ length: promiseSlotCount }, () => ({ sequence: 0, ...nothing }))

  constructor(cell: SharedArrayBuffer) {
    this.#cell = new Int32Array(cell)
  }

  /** The promise of that version, if there is one; else, and without a version, the newest. */
  read(slot: number, version?: number): HeldPromise | undefined {
    const { newest, earlier } = this.#look(slot)
    return earlier !== undefined && earlier.version === version ? earlier : newest
  }

  #look(slot: number): Written {
    const at = slotAt(slot)
    for (let look = 0; look < looksMax; look += 1) {
      const sequence = Atomics.load(this.#cell, at)
      if (sequence % 2 !== 0) continue
      const seen = this.#seen[slot] as Seen
      if (seen.sequence === sequence) return seen
      const newest = this.#loadPromise(at + newestWord)
      const earlier = this.#loadPromise(at + earlierWord)
      if (Atomics.load(this.#cell, at) !== sequence) continue
      const fresh = { sequence, newest, earlier }
      this.#seen[slot] = fresh
      return fresh
    }
    return nothing
  }

  #loadPromise(at: number): HeldPromise | undefined {
    const version = this.#load(at)
    const untilMs = this.#load(at + 2)
    return version === 0 ? undefined : { version, untilMs }
  }

  #load(at: number): number {
    words[0] = Atomics.load(this.#cell, at)
    words[1] = Atomics.load(this.#cell, at + 1)
    return number[0] as number
  }
}

function slotAt(slot: number): number {
  assert(Number.isInteger(slot) && slot >= 0 && slot < promiseSlotCount, 'a slot of the promise cell')
  return slot * slotWords
}
