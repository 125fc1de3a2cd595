/**
 * The affinity key: the bytes that decide a key's partition. A scalar key is its own. A tuple's is its first element as that
 * element's own space encodes it, so that a map of countries and a map of (country, day) share partitions; nested tuples likewise.
 */
import { invalidArgument } from '../base/errors.ts'
import type { KeyCodec } from './key-codec.ts'
import { findElementEnd, flipSign, unescapeElement } from './tuple-bytes.ts'

/** The affinity key of an encoded key: a view of `keyBytes` where it stands there as it is, else a copy. */
export function affinityOf(codec: KeyCodec, keyBytes: Uint8Array): Uint8Array {
  if (typeof codec === 'string') return keyBytes
  const first = codec[1] as KeyCodec
  if (first === 'int64') {
    if (keyBytes.length < 8) throw invalidArgument(`Cannot read tuple key: ${keyBytes.length} bytes where an int64 is wanted`)
    return flipSign(keyBytes, 0)
  }
  const plain = unescapeElement(keyBytes, 0, findElementEnd(keyBytes, 0, keyBytes.length))
  return affinityOf(first, plain)
}

/** Where the affinity key of a tuple at `start` ends if it stands there as it is; -1 if it has to be taken out by `affinityOf`. */
export function plainAffinityEnd(codec: Exclude<KeyCodec, string>, bytes: Uint8Array, start: number, end: number): number {
  const first = codec[1] as KeyCodec
  if (typeof first !== 'string' || first === 'int64') return -1
  const zero = bytes.indexOf(0, start)
  return zero >= 0 && zero < end - 1 && bytes[zero + 1] === 1 ? zero : -1
}
