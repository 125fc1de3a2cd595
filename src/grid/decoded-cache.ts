/**
 * Decoded values of hot entries, within a byte budget, in two generations.
 *
 * Owns: nothing but copies. A hit counts only with the entry's present version, so every write to the entry, whoever writes,
 * makes the copy stale by itself; stale copies leave with their generation. Where nothing in the entry's part of the map has changed
 * at all, the entry need not be looked at.
 * At the budget: when the young generation holds half of it, the old one is dropped and the young one grows old.
 */
interface Copy {
  readonly key: unknown
  readonly version: number
  readonly value: unknown
  readonly bytes: number
  /** The part that it was last compared with, and how many changes that had had. */
  seenIn: Changing | undefined
  seenAt: number
}

/** A part of a map that counts its changes. */
interface Changing {
  readonly changes: number
}

/** A decoded object takes about this much more than its encoding. */
const decodedFactor = 4
const copyOverheadBytes = 96

const slots = 2 ** 14
const noSlots = (): (Copy | undefined)[] => Array.from<Copy | undefined>({ length: slots })
/** Neighbours have places of their own. */
const slotOf = (key: number): number => (key ^ (key >>> 14)) & (slots - 1)

export class DecodedCache {
  readonly #generationMaxBytes: number
  #young = new Map<unknown, Copy>()
  #old = new Map<unknown, Copy>()
  #youngBytes = 0
  /** Copies of the young generation whose key is a number, each where its key says, unless another one took the place. */
  #byNumber = noSlots()

  constructor(budgetBytes: number) {
    this.#generationMaxBytes = budgetBytes / 2
  }

  /** The copy's value, if nothing in this part of the map has changed since it was compared there; else undefined. */
  unchanged(key: unknown, part: Changing): unknown {
    let copy: Copy | undefined
    if (typeof key === 'number') {
      copy = this.#byNumber[slotOf(key)]
      if (copy?.key !== key) return undefined
    } else {
      copy = this.#young.get(key)
    }
    return copy !== undefined && copy.seenAt === part.changes && copy.seenIn === part ? copy.value : undefined
  }

  /**
   * The copy's value, or undefined; a stored value is never undefined. `part`: where the entry is, if it can only be changed by being
   * written there, not by time.
   */
  find(key: unknown, version: number, part: Changing | undefined): unknown {
    let copy = this.#young.get(key)
    if (copy === undefined) {
      copy = this.#old.get(key)
      if (copy?.version === version) this.#keep(key, copy)
    }
    if (copy?.version !== version) return undefined
    copy.seenIn = part
    copy.seenAt = part?.changes ?? 0
    if (typeof key === 'number') this.#byNumber[slotOf(key)] = copy
    return copy.value
  }

  put(key: unknown, version: number, value: unknown, encodedBytes: number): void {
    const bytes = encodedBytes * decodedFactor + copyOverheadBytes
    if (bytes > this.#generationMaxBytes) return
    this.#youngBytes -= this.#young.get(key)?.bytes ?? 0
    this.#keep(key, { key, version, value, bytes, seenIn: undefined, seenAt: 0 })
  }

  clear(): void {
    this.#young.clear()
    this.#old.clear()
    this.#youngBytes = 0
    this.#byNumber = noSlots()
  }

  #keep(key: unknown, copy: Copy): void {
    if (this.#youngBytes + copy.bytes > this.#generationMaxBytes) {
      this.#old = this.#young
      this.#young = new Map()
      this.#youngBytes = 0
      this.#byNumber = noSlots()
    }
    this.#young.set(key, copy)
    this.#youngBytes += copy.bytes
  }
}
