/**
 * The bytes of a tuple key, whose order as bytes is the order of the tuples.
 *
 *   element, not the last one   int64          8 bytes, big-endian, sign bit flipped
 *                               anything else  its bytes with 00 written as 00 FF, then 00 01
 *   last element                int64          as above
 *                               anything else  its bytes as they are
 *
 * 00 01 is below every continuation (00 FF, or any byte above 00), so a prefix sorts before what it begins. A nested tuple is an
 * element like any other: its own bytes are escaped.
 */
import { invalidArgument } from '../base/errors.ts'

/** Index of the 00 of the first 00 01 at or after `start`; refuses bytes in which an element does not end. */
export function findElementEnd(bytes: Uint8Array, start: number, end: number): number {
  for (let at = start; at < end - 1; at += 1) {
    if (bytes[at] !== 0) continue
    if (bytes[at + 1] === 1) return at
    if (bytes[at + 1] !== 0xff) break
    at += 1
  }
  throw invalidArgument('Cannot read tuple key: an element does not end')
}

export function escapeElement(plain: Uint8Array): Uint8Array {
  let zeros = 0
  for (const byte of plain) if (byte === 0) zeros += 1
  const escaped = new Uint8Array(plain.length + zeros + 2)
  let to = 0
  for (const byte of plain) {
    escaped[to++] = byte
    if (byte === 0) escaped[to++] = 0xff
  }
  escaped[to + 1] = 1
  return escaped
}

/** The plain bytes of the element at bytes[start, end), without its 00 01: a view where nothing was escaped. */
export function unescapeElement(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const firstZero = bytes.indexOf(0, start)
  if (firstZero < 0 || firstZero >= end) return bytes.subarray(start, end)
  const plain = new Uint8Array(end - start)
  let to = 0
  for (let at = start; at < end; at += 1) {
    plain[to++] = bytes[at] as number
    if (bytes[at] === 0) at += 1
  }
  return plain.subarray(0, to)
}

/** A copy of the 8 bytes at `start` with the sign bit turned over: from the plain form to the one in tuples, and back. */
export function flipSign(bytes: Uint8Array, start: number): Uint8Array {
  // Not bytes.slice: a Buffer's own `slice` is a view.
  const flipped = new Uint8Array(bytes.subarray(start, start + 8))
  flipped[0] = (flipped[0] as number) ^ 0x80
  return flipped
}
