/**
 * Decoded values of hot entries, within a byte budget, in two generations.
 *
 * Owns: nothing but copies. A hit counts only with the entry's present version, so every write to the entry, whoever writes,
 * makes the copy stale by itself; stale copies leave with their generation.
 * At the budget: when the young generation holds half of it, the old one is dropped and the young one grows old.
 */
interface Copy {
  readonly version: number
  readonly value: unknown
  readonly bytes: number
}

/** A decoded object takes about this much more than its encoding. */
const decodedFactor = 4
const copyOverheadBytes = 96

export class DecodedCache {
  readonly #generationMaxBytes: number
  #young = new Map<unknown, Copy>()
  #old = new Map<unknown, Copy>()
  #youngBytes = 0

  constructor(budgetBytes: number) {
    this.#generationMaxBytes = budgetBytes / 2
  }

  /** The copy's value, or undefined; a stored value is never undefined. */
  find(key: unknown, version: number): unknown {
    const young = this.#young.get(key)
    if (young !== undefined) return young.version === version ? young.value : undefined
    const old = this.#old.get(key)
    if (old === undefined || old.version !== version) return undefined
    this.#keep(key, old)
    return old.value
  }

  put(key: unknown, version: number, value: unknown, encodedBytes: number): void {
    const bytes = encodedBytes * decodedFactor + copyOverheadBytes
    if (bytes > this.#generationMaxBytes) return
    this.#youngBytes -= this.#young.get(key)?.bytes ?? 0
    this.#keep(key, { version, value, bytes })
  }

  clear(): void {
    this.#young.clear()
    this.#old.clear()
    this.#youngBytes = 0
  }

  #keep(key: unknown, copy: Copy): void {
    if (this.#youngBytes + copy.bytes > this.#generationMaxBytes) {
      this.#old = this.#young
      this.#young = new Map()
      this.#youngBytes = 0
    }
    this.#young.set(key, copy)
    this.#youngBytes += copy.bytes
  }
}
