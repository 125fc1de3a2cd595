/**
 * Keys of state records. They order by their bytes.
 *
 *   table u8 | bytes of the key                                        one value per key
 *   table u8 | time, 8 bytes | bytes of the key ...                    timers, panes: by time first
 *
 * A time is a float64 whose bits are turned so that the order of bytes is the order of numbers (infinities included, -0 as 0).
 */

const scratch = new DataView(new ArrayBuffer(8))

/** Writes a time so that bytes order as times do. */
export function writeTime(bytes: Uint8Array, at: number, time: number): void {
  scratch.setFloat64(0, time === 0 ? 0 : time)
  const high = scratch.getUint32(0)
  // Negative: all bits are turned, else the sign alone.
  const isNegative = high >>> 31 === 1
  const a = (isNegative ? ~high : high ^ 0x80000000) >>> 0
  const low = scratch.getUint32(4)
  const b = (isNegative ? ~low : low) >>> 0
  bytes[at] = a >>> 24
  bytes[at + 1] = a >>> 16
  bytes[at + 2] = a >>> 8
  bytes[at + 3] = a
  bytes[at + 4] = b >>> 24
  bytes[at + 5] = b >>> 16
  bytes[at + 6] = b >>> 8
  bytes[at + 7] = b
}

export function readTime(bytes: Uint8Array, at: number): number {
  const a = readUint32(bytes, at)
  const b = readUint32(bytes, at + 4)
  const isNegative = a >>> 31 === 0
  scratch.setUint32(0, (isNegative ? ~a : a ^ 0x80000000) >>> 0)
  scratch.setUint32(4, (isNegative ? ~b : b) >>> 0)
  return scratch.getFloat64(0)
}

const readUint32 = (bytes: Uint8Array, at: number): number =>
  (((bytes[at] as number) << 24) | ((bytes[at + 1] as number) << 16) | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number)) >>> 0

/** table | key */
export function recordKey(table: number, key: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(1 + key.length)
  bytes[0] = table
  bytes.set(key, 1)
  return bytes
}

/** table | time | rest */
export function timedKey(table: number, time: number, rest: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(9 + rest.length)
  bytes[0] = table
  writeTime(bytes, 1, time)
  bytes.set(rest, 9)
  return bytes
}

/** The time of a key that `timedKey` made. */
export const timeOfKey = (key: Uint8Array): number => readTime(key, 1)

/** The first key of a table. */
export const tableStart = (table: number): Uint8Array => Uint8Array.of(table)

/** The key right behind this one: where a scan goes on. */
export function afterKey(key: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(key.length + 1)
  bytes.set(key)
  return bytes
}

export function compareKeys(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i += 1) {
    const difference = (a[i] as number) - (b[i] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}
