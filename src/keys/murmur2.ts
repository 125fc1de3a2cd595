/**
 * murmur2 as Kafka's default partitioner computes it (Austin Appleby's MurmurHash2, 32 bits, seed 0x9747b28c), over bytes[start, end).
 * Returns a signed 32-bit number.
 */
const multiplier = 0x5bd1e995

export function murmur2(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let hash = 0x9747b28c ^ (end - start)
  let at = start
  for (const lastWord = end - 3; at < lastWord; at += 4) {
    let word =
      (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 24)
    word = Math.imul(word, multiplier)
    word ^= word >>> 24
    hash = Math.imul(hash, multiplier) ^ Math.imul(word, multiplier)
  }
  const left = end - at
  if (left === 3) hash ^= (bytes[at + 2] as number) << 16
  if (left >= 2) hash ^= (bytes[at + 1] as number) << 8
  if (left >= 1) hash = Math.imul(hash ^ (bytes[at] as number), multiplier)
  hash = Math.imul(hash ^ (hash >>> 13), multiplier)
  return hash ^ (hash >>> 15)
}

/** murmur2 of a safe integer's eight bytes, the highest first, without writing them. */
export function murmur2OfInt64(value: number): number {
  const high = (value | 0) === value ? value >> 31 : Math.floor(value / 2 ** 32)
  let hash = mixWord(0x9747b28c ^ 8, swapped(high))
  // Modulo 2^32, whatever the sign.
  hash = mixWord(hash, swapped(value - high * 2 ** 32))
  hash = Math.imul(hash ^ (hash >>> 13), multiplier)
  return hash ^ (hash >>> 15)
}

function mixWord(hash: number, word: number): number {
  const mixed = Math.imul(word, multiplier)
  return Math.imul(hash, multiplier) ^ Math.imul(mixed ^ (mixed >>> 24), multiplier)
}

/** The four bytes the other way round. */
const swapped = (word: number): number => (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)
