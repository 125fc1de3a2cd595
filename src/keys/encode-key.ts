/**
 * Keys to bytes and back (the forms: protocols.md section 1; tuples: tuple-bytes.ts).
 *
 * Refuses, with INVALID_ARGUMENT and never a key's content: another type than the space's, integers outside the safe range, strings
 * with lone surrogates (UTF-8 cannot hold them: two different keys would become one), empty keys, keys of 64 KiB and more.
 */
import { invalidArgument, type NearstateError } from '../base/errors.ts'
import type { KeyCodec, ScalarCodec } from './key-codec.ts'
import { escapeElement, findElementEnd, flipSign, unescapeElement } from './tuple-bytes.ts'

/** Length of an encoded key, at most: the store keeps it in 16 bits. */
export const keyMaxBytes = 65_535
/** Up to here a loop beats the call into native code. */
const shortStringLength = 40

/** The bytes of `key`. */
export function encodeKey(codec: KeyCodec, key: unknown): Uint8Array {
  const bytes = typeof codec === 'string' ? encodeScalar(codec, key) : encodeTuple(codec, key)
  if (bytes.length === 0) throw emptyKey()
  if (bytes.length > keyMaxBytes) throw tooLong(bytes.length)
  return bytes
}

/** Writes the bytes of `key` at `offset` and returns their number; -1, with nothing promised about the bytes, when they do not fit. */
export function encodeKeyInto(codec: KeyCodec, key: unknown, buffer: Buffer, offset: number): number {
  if (codec === 'string' && typeof key === 'string') return encodeStringInto(key, buffer, offset)
  if (codec === 'int64' && Number.isSafeInteger(key)) {
    if (offset + 8 > buffer.length) return -1
    writeInt64(key as number, buffer, offset)
    return 8
  }
  if (typeof codec !== 'string') {
    const length = encodeCommonTupleInto(codec, key, buffer, offset)
    if (length >= 0) return length
  }
  const bytes = encodeKey(codec, key)
  if (offset + bytes.length > buffer.length) return -1
  buffer.set(bytes, offset)
  return bytes.length
}

function encodeStringInto(key: string, buffer: Buffer, offset: number): number {
  const length = key.length
  if (length === 0) throw emptyKey()
  const space = buffer.length - offset
  if (length <= shortStringLength && length <= space) {
    let at = 0
    for (; at < length; at += 1) {
      const code = key.charCodeAt(at)
      if (code > 0x7f) break
      buffer[offset + at] = code
    }
    if (at === length) return length
  }
  checkString(key)
  const bytes = Buffer.byteLength(key)
  if (bytes > keyMaxBytes) throw tooLong(bytes)
  return bytes > space ? -1 : buffer.write(key, offset)
}

/** A tuple of integers and short ASCII strings, which most are, without a buffer per element; -1: it is another one, or does not fit. */
function encodeCommonTupleInto(codec: Exclude<KeyCodec, string>, key: unknown, buffer: Buffer, offset: number): number {
  const count = codec.length - 1
  if (!Array.isArray(key) || key.length !== count) return -1
  let at = offset
  for (let i = 0; i < count; i += 1) {
    const element: unknown = key[i]
    if (codec[i + 1] === 'int64') {
      if (!Number.isSafeInteger(element) || at + 8 > buffer.length) return -1
      const high = Math.floor((element as number) / 2 ** 32)
      buffer.writeInt32BE(high ^ 0x80000000, at)
      buffer.writeUInt32BE((element as number) - high * 2 ** 32, at + 4)
      at += 8
    } else if (codec[i + 1] === 'string' && typeof element === 'string') {
      const { length } = element
      if (length > shortStringLength || at + length + 2 > buffer.length || (i === 0 && length === 0)) return -1
      for (let index = 0; index < length; index += 1) {
        const code = element.charCodeAt(index)
        if (code > 0x7f || code === 0) return -1
        buffer[at + index] = code
      }
      at += length
      if (i < count - 1) {
        buffer[at] = 0
        buffer[at + 1] = 1
        at += 2
      }
    } else return -1
  }
  return at - offset
}

/** The key whose bytes are bytes[start, end); `bytes` keys and elements are copies. Refuses bytes that `encodeKey` cannot have written. */
export function decodeKey(codec: KeyCodec, bytes: Uint8Array, start = 0, end: number = bytes.length): unknown {
  if (end <= start) throw emptyKey()
  if (end - start > keyMaxBytes) throw tooLong(end - start)
  return decodeElement(codec, bytes, start, end)
}

/** Refuses bytes[start, end) unless `decodeKey` reads them: for keys from outside whose value is not needed now. */
export function checkKeyBytes(codec: KeyCodec, bytes: Uint8Array, start: number, end: number): void {
  if (codec === 'string') {
    let at = start
    while (at < end && (bytes[at] as number) < 0x80) at += 1
    if (at === end && end > start && end - start <= keyMaxBytes) return
  } else if (codec === 'bytes' && end > start && end - start <= keyMaxBytes) return
  decodeKey(codec, bytes, start, end)
}

/**
 * The bytes that all keys with `prefix` begin with: a string or bytes for those codecs; for a tuple its first elements, complete,
 * as an array.
 */
export function encodeKeyPrefix(codec: KeyCodec, prefix: unknown): Uint8Array {
  if (codec === 'int64') throw invalidArgument('Cannot use a key prefix: keys of codec int64 have none')
  if (typeof codec === 'string') return encodeScalar(codec, prefix)
  const elements = codec.length - 1
  if (!Array.isArray(prefix) || prefix.length === 0 || prefix.length > elements)
    throw invalidArgument(`Cannot use a key prefix: an array of the first 1 to ${elements} elements is wanted, got ${describe(prefix)}`)
  return prefix.length === elements ? encodeKey(codec, prefix) : encodeElements(codec, prefix, prefix.length, false)
}

function encodeScalar(codec: ScalarCodec, key: unknown): Uint8Array {
  if (codec === 'int64') return encodeInt64(key)
  if (codec === 'bytes') {
    if (!(key instanceof Uint8Array)) throw wrongType('a Uint8Array', key)
    return new Uint8Array(key)
  }
  if (typeof key !== 'string') throw wrongType('a string', key)
  checkString(key)
  return Buffer.from(key)
}

function encodeInt64(key: unknown): Uint8Array {
  if (typeof key !== 'number') throw wrongType('an integer (number)', key)
  if (!Number.isSafeInteger(key)) {
    throw invalidArgument(
      `Cannot encode key: an integer from -(2^53 - 1) to 2^53 - 1 is wanted, got ${Number.isInteger(key) ? 'a larger one' : 'a number that is not an integer'}`,
    )
  }
  const bytes = new Uint8Array(8)
  const high = Math.floor(key / 2 ** 32)
  const view = new DataView(bytes.buffer)
  view.setInt32(0, high)
  view.setUint32(4, key - high * 2 ** 32)
  return bytes
}

function writeInt64(key: number, buffer: Buffer, offset: number): void {
  const high = Math.floor(key / 2 ** 32)
  const low = key - high * 2 ** 32
  buffer[offset] = high >>> 24
  buffer[offset + 1] = high >>> 16
  buffer[offset + 2] = high >>> 8
  buffer[offset + 3] = high
  buffer[offset + 4] = low >>> 24
  buffer[offset + 5] = low >>> 16
  buffer[offset + 6] = low >>> 8
  buffer[offset + 7] = low
}

function encodeTuple(codec: Exclude<KeyCodec, string>, key: unknown): Uint8Array {
  const count = codec.length - 1
  if (!Array.isArray(key) || key.length !== count) throw wrongType(`an array of ${count} elements`, key)
  return encodeElements(codec, key, count, true)
}

function encodeElements(codec: Exclude<KeyCodec, string>, key: readonly unknown[], count: number, complete: boolean): Uint8Array {
  const parts: Uint8Array[] = []
  for (let i = 0; i < count; i += 1) {
    const element = codec[i + 1] as KeyCodec
    const plain = typeof element === 'string' ? encodeScalar(element, key[i]) : encodeTuple(element, key[i])
    // The first element is a key of its own space.
    if (i === 0 && plain.length === 0) throw emptyKey()
    if (element === 'int64') parts.push(flipSign(plain, 0))
    else parts.push(complete && i === count - 1 ? plain : escapeElement(plain))
  }
  return Buffer.concat(parts)
}

function decodeElement(codec: KeyCodec, bytes: Uint8Array, start: number, end: number): unknown {
  switch (codec) {
    case 'string':
      return decodeString(bytes, start, end)
    case 'int64':
      return decodeInt64(bytes, start, end)
    case 'bytes':
      return new Uint8Array(bytes.subarray(start, end))
    default:
      return decodeTuple(codec, bytes, start, end)
  }
}

function decodeString(bytes: Uint8Array, start: number, end: number): string {
  const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const text = buffer.toString('utf8', start, end)
  // Node writes U+FFFD for what is not UTF-8; only where it stands is the strict decoder asked.
  if (text.includes('\ufffd')) {
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(start, end))
    } catch (cause) {
      throw invalidArgument(`Cannot read key: ${end - start} bytes that are not UTF-8 (${String(cause)})`)
    }
  }
  return text
}

function decodeInt64(bytes: Uint8Array, start: number, end: number): number {
  if (end - start !== 8) throw invalidArgument(`Cannot read key: an int64 has 8 bytes, got ${end - start}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, 8)
  const key = view.getInt32(0) * 2 ** 32 + view.getUint32(4)
  if (!Number.isSafeInteger(key)) throw invalidArgument('Cannot read key: an int64 outside -(2^53 - 1) to 2^53 - 1')
  return key
}

function decodeTuple(codec: Exclude<KeyCodec, string>, bytes: Uint8Array, start: number, end: number): readonly unknown[] {
  const key: unknown[] = []
  const count = codec.length - 1
  let at = start
  for (let i = 0; i < count; i += 1) {
    const element = codec[i + 1] as KeyCodec
    const last = i === count - 1
    if (element === 'int64') {
      const elementEnd = last ? end : Math.min(at + 8, end)
      if (elementEnd - at !== 8)
        throw invalidArgument(`Cannot read tuple key: element ${i + 1} has ${elementEnd - at} bytes, an int64 has 8`)
      key.push(decodeInt64(flipSign(bytes, at), 0, 8))
      at = elementEnd
    } else if (last) {
      key.push(decodeElement(element, bytes, at, end))
    } else {
      const elementEnd = findElementEnd(bytes, at, end)
      if (i === 0 && elementEnd === at) throw emptyKey()
      const plain = unescapeElement(bytes, at, elementEnd)
      key.push(decodeElement(element, plain, 0, plain.length))
      at = elementEnd + 2
    }
  }
  return key
}

function checkString(key: string): void {
  if (!key.isWellFormed()) throw invalidArgument('Cannot encode key: the string holds half of a surrogate pair, which UTF-8 cannot express')
}

const emptyKey = (): NearstateError => invalidArgument('Cannot use an empty key: at least one byte is wanted')
const tooLong = (bytes: number): NearstateError => invalidArgument(`Cannot use a key of ${bytes} bytes: the limit is ${keyMaxBytes}`)
const wrongType = (wanted: string, got: unknown): NearstateError =>
  invalidArgument(`Cannot encode key: ${wanted} is wanted, got ${describe(got)}`)

function describe(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return `an array of ${value.length} elements`
  return value instanceof Uint8Array ? 'a Uint8Array' : typeof value
}
