/**
 * Which keys of an exchange take most rows: Space-Saving (Metwally, Agrawal, El Abbadi: Efficient computation of frequent and top-k
 * elements in data streams, 2005) over a sample of the rows that one task gets.
 *
 * One row in about 64 counts, at gaps that vary, so that keys which come round in turn are not taken for hot or missed. All counts halve
 * with every minute of the wall clock: what is told is of the last minutes, and of all tasks alike, so that their counts can be added.
 *
 * 1. A key's rows among those sampled are at most `count`, and at least `count - error`.
 * 2. A key without a counter has at most as many as the least counter: no more than sampled / 32.
 * 3. Rows of a batch that is rolled back and run again count again. Nothing else depends on the figures.
 */
import type { KeyCodec } from '../../keys/key-codec.ts'
import type { Batch } from './batch.ts'
import { type KeyId, keyIdOf } from './key-id.ts'

const counters = 32
/** A power of 2; the gap is 1 to this, so one row in 64.5 is sampled. */
const gapMax = 128
const halfLifeMs = 60_000

export interface KeyCount {
  readonly key: unknown
  readonly count: number
  readonly error: number
}

export class HotKeys {
  readonly #idOf: (key: unknown) => KeyId
  readonly #ids: KeyId[] = []
  readonly #keys: unknown[] = []
  readonly #counts = new Float64Array(counters)
  readonly #errors = new Float64Array(counters)
  #sampled = 0
  /** Halvings that the counts have been through, counted from the epoch. */
  #halvings = 0
  /** Rows to pass over before the next one that counts. */
  #left = 0
  #random: number

  constructor(codec: KeyCodec, seed: number) {
    this.#idOf = keyIdOf(codec)
    this.#random = (seed + 1) * 0x9e37_79b9
    this.#left = this.#gap() - 1
  }

  take({ keys, size }: Batch, wallTimeMs: number): void {
    let at = this.#left
    if (at < size) {
      this.#age(wallTimeMs)
      for (; at < size; at += this.#gap()) this.#add(keys[at])
    }
    this.#left = at - size
  }

  /** Rows sampled, old ones as what is left of them. */
  sampled(wallTimeMs: number): number {
    this.#age(wallTimeMs)
    return this.#sampled
  }

  /** Those that surely have most, first. */
  top(limit: number): readonly KeyCount[] {
    const found = this.#ids.map((_, at) => ({
      key: this.#keys[at],
      count: this.#counts[at] as number,
      error: this.#errors[at] as number,
    }))
    return found.sort((a, b) => b.count - b.error - (a.count - a.error)).slice(0, limit)
  }

  #gap(): number {
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0
    return 1 + Math.floor(this.#random / (2 ** 32 / gapMax))
  }

  #add(key: unknown): void {
    const id = this.#idOf(key)
    this.#sampled += 1
    const ids = this.#ids
    const counts = this.#counts
    let least = 0
    for (let at = 0; at < ids.length; at += 1) {
      if (ids[at] === id) {
        counts[at] = (counts[at] as number) + 1
        return
      }
      if ((counts[at] as number) < (counts[least] as number)) least = at
    }
    const at = ids.length < counters ? ids.length : least
    ids[at] = id
    this.#keys[at] = key
    this.#errors[at] = counts[at] as number
    counts[at] = (counts[at] as number) + 1
  }

  #age(wallTimeMs: number): void {
    const halvings = Math.floor(wallTimeMs / halfLifeMs)
    if (halvings <= this.#halvings) return
    const factor = 2 ** (this.#halvings - halvings)
    this.#halvings = halvings
    this.#sampled *= factor
    for (let at = 0; at < counters; at += 1) {
      this.#counts[at] = (this.#counts[at] as number) * factor
      this.#errors[at] = (this.#errors[at] as number) * factor
    }
  }
}
