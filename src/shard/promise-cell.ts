/**
 * The promises that a node holds, in memory that its control thread writes and its shards read before they answer.
 *
 * One slot per other node; the command `view` tells which. A slot is 32 bytes:
 *
 *   i32 sequence (odd: being written) | i32 unused | f64 version (0: no promise) | f64 untilMs on `monotonicClock` | 8 unused
 *
 * 1. A reader sees a promise whole or not at all: the sequence is the same, and even, before and after. Every word is read and written
 *    with Atomics, since a plain read may be moved past the second look at the sequence.
 * 2. A writer that stopped half-way leaves no promise, never half of one.
 */
import { assert } from '../base/assert.ts'
import type { HeldPromise } from '../replication/replica-port.ts'

/** Other nodes that a node can hold promises of at a time. */
export const promiseSlotCount = 1024

const slotWords = 8
const versionWord = 2
const untilWord = 4
/** Looks at a slot that is being written; a write takes less than a microsecond unless its thread is interrupted. */
const looksMax = 200

export const createPromiseCell = (): SharedArrayBuffer => new SharedArrayBuffer(promiseSlotCount * slotWords * 4)

/** A number as the two words that stand for it. */
const number = new Float64Array(1)
const words = new Int32Array(number.buffer)

/** The control thread's end; there is one. */
export class PromiseCellWriter {
  readonly #cell: Int32Array

  constructor(cell: SharedArrayBuffer) {
    this.#cell = new Int32Array(cell)
  }

  /** undefined: none is held. */
  publish(slot: number, promise: HeldPromise | undefined): void {
    const at = slotAt(slot)
    const sequence = Atomics.load(this.#cell, at) | 1
    Atomics.store(this.#cell, at, sequence)
    this.#store(at + versionWord, promise?.version ?? 0)
    this.#store(at + untilWord, promise?.untilMs ?? 0)
    Atomics.store(this.#cell, at, (sequence + 1) | 0)
  }

  #store(at: number, value: number): void {
    number[0] = value
    Atomics.store(this.#cell, at, words[0] as number)
    Atomics.store(this.#cell, at + 1, words[1] as number)
  }
}

interface Seen {
  readonly sequence: number
  readonly promise: HeldPromise | undefined
}

/** A shard's end. What has not changed since the last look costs one load. */
export class PromiseCellReader {
  readonly #cell: Int32Array
  readonly #seen: Seen[] = Array.from({ length: promiseSlotCount }, () => ({ sequence: 0, promise: undefined }))

  constructor(cell: SharedArrayBuffer) {
    this.#cell = new Int32Array(cell)
  }

  read(slot: number): HeldPromise | undefined {
    const at = slotAt(slot)
    for (let look = 0; look < looksMax; look += 1) {
      const sequence = Atomics.load(this.#cell, at)
      if (sequence % 2 !== 0) continue
      const seen = this.#seen[slot] as Seen
      if (seen.sequence === sequence) return seen.promise
      const version = this.#load(at + versionWord)
      const untilMs = this.#load(at + untilWord)
      if (Atomics.load(this.#cell, at) !== sequence) continue
      const promise = version === 0 ? undefined : { version, untilMs }
      this.#seen[slot] = { sequence, promise }
      return promise
    }
    return undefined
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
