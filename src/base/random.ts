/** Randomness as an input. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number
}

export const systemRandom: Random = { next: () => Math.random() }

/** A seeded generator: mulberry32 (Tommy Ettinger, public domain); the same seed gives the same numbers everywhere. */
export function seededRandom(seed: number): Random {
  let state = seed | 0
  return {
    next() {
      state = (state + 0x6d2b79f5) | 0
      let t = Math.imul(state ^ (state >>> 15), 1 | state)
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296
    },
  }
}

export const randomInteger = (random: Random, below: number): number => Math.floor(random.next() * below)

/** A 16-character lowercase id. */
export function randomId(random: Random): string {
  let id = ''
  for (let i = 0; i < 16; i += 1) id += '0123456789abcdefghijklmnopqrstuvwxyz'[randomInteger(random, 36)]
  return id
}
