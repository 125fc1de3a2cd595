/**
 * The index's hash of key bytes: 32 bits, the same on every replica, signed; its order as a signed number is the order of scans.
 * Not murmur2: the keys of one partition agree in murmur2 modulo the number of partitions.
 */
export function hashKey(bytes: Uint8Array, start: number, end: number): number {
  let hash = (end - start) ^ 0x2545f491
  let i = start
  for (; i + 4 <= end; i += 4) {
    const word =
      (bytes[i] as number) | ((bytes[i + 1] as number) << 8) | ((bytes[i + 2] as number) << 16) | ((bytes[i + 3] as number) << 24)
    hash = Math.imul(hash ^ word, 0x9e3779b1)
    hash ^= hash >>> 15
  }
  if (i < end) {
    let word = 0
    for (; i < end; i += 1) word = (word << 8) | (bytes[i] as number)
    hash = Math.imul(hash ^ word, 0x9e3779b1)
    hash ^= hash >>> 15
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}

/** Where a hash stands in scan order: 0 .. 2^32 - 1. */
export const placeOfHash = (hash: number): number => hash + 0x80000000
export const hashOfPlace = (place: number): number => place - 0x80000000
