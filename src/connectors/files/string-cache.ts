/**
 * Strings of short byte sequences, made once: real columns repeat (countries, dates, prices, ids), and finding a string
 * again is several times cheaper than making it. It also keeps one copy in memory where rows are held in state.
 *
 * Direct-mapped: two sequences of one slot take turns. Strings are flat copies, never slices that would hold a whole chunk.
 */
const slotsLog2 = 15
const lengthMax = 48

export class StringCache {
  readonly #slots: string[] = Array.from({ length: 1 << slotsLog2 }, () => '')

  /** The string of `bytes[start, end)`, which are all ASCII; `hash` is any 32-bit hash of them. */
  get(bytes: Buffer, start: number, end: number, hash: number): string {
    const length = end - start
    if (length === 0) return ''
    if (length > lengthMax) return bytes.toString('latin1', start, end)
    const slot = Math.imul(hash ^ length, 0x9e3779b1) >>> (32 - slotsLog2)
    const known = this.#slots[slot] as string
    if (known.length === length) {
      let index = 0
      while (index < length && known.charCodeAt(index) === bytes[start + index]) index += 1
      if (index === length) return known
    }
    const made = bytes.toString('latin1', start, end)
    this.#slots[slot] = made
    return made
  }
}
