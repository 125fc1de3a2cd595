/**
 * Strings of short byte sequences, made once: real columns repeat (countries, dates, prices, ids), and finding a string
 * again is several times cheaper than making it. It also keeps one copy in memory where rows are held in state.
 *
 * Direct-mapped: two sequences of one slot take turns. Strings are flat copies, never slices that would hold a whole chunk.
 */
const slotsLog2 = 14
const lengthMax = 40

export class StringCache {
  readonly #strings: string[] = Array.from({ length: 1 << slotsLog2 }, () => '')
  /** The bytes of each slot's string: comparing these is cheaper than asking the string for its characters. */
  readonly #bytes = new Uint8Array(lengthMax << slotsLog2)

  /** The string of `bytes[start, end)`, which are all ASCII; `hash` is any 32-bit hash of them. */
  get(bytes: Buffer, start: number, end: number, hash: number): string {
    const length = end - start
    if (length === 0) return ''
    if (length > lengthMax) return bytes.toString('latin1', start, end)
    const slot = Math.imul(hash ^ length, 0x9e3779b1) >>> (32 - slotsLog2)
    const known = this.#strings[slot] as string
    const cached = this.#bytes
    const offset = slot * lengthMax
    if (known.length === length) {
      let index = 0
      while (index < length && cached[offset + index] === bytes[start + index]) index += 1
      if (index === length) return known
    }
    for (let index = 0; index < length; index += 1) cached[offset + index] = bytes[start + index] as number
    const made = bytes.toString('latin1', start, end)
    this.#strings[slot] = made
    return made
  }
}
