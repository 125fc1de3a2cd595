/**
 * Draws for event n: a splitmix generator of 32 bits that is set to a hash of (seed, n). Integer arithmetic and products of table
 * values only, so that every machine draws the same.
 */

/** 10^(6u) for u of 30 bits is a product of three powers, one per 10 bits: no call of `pow` per price. */
const powersOf = (bits: number): Float64Array => Float64Array.from({ length: 1024 }, (_, i) => 10 ** ((6 * i) / 2 ** bits))
const high = powersOf(10)
const middle = powersOf(20)
const low = powersOf(30)

export class Random {
  readonly #seed: number
  #state = 0

  constructor(seed: number) {
    this.#seed = mix(mix(seed | 0) ^ Math.floor(seed / 2 ** 32))
  }

  /** Begins the draws of event n. */
  begin(n: number): void {
    this.#state = mix(mix((this.#seed + n) | 0) ^ Math.floor(n / 2 ** 32) ^ this.#seed)
  }

  bits(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0
    return mix(this.#state) >>> 0
  }

  /** A whole number below `limit`. */
  below(limit: number): number {
    return Math.floor((this.bits() / 2 ** 32) * limit)
  }

  /** round(100 * 10^(6u)) */
  price(): number {
    const u = this.bits() >>> 2
    return Math.round(100 * (high[u >>> 20] ?? 1) * (middle[(u >>> 10) & 1023] ?? 1) * (low[u & 1023] ?? 1))
  }
}

function mix(value: number): number {
  let x = value
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad)
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97)
  return x ^ (x >>> 15)
}
