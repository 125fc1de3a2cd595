/**
 * Values as bytes: MessagePack without records, so that any language can read what is stored and no schema travels beside it.
 *
 * What comes back equals what went in, as a copy that shares no memory with either side, with these exceptions:
 * `-0` comes back as `0`; a `Map` as a plain object (write `[...map]` to keep its keys); an instance of a class as a plain
 * object, or as what its `toJSON` returns; a hole in an array as `undefined`; a lone surrogate as U+FFFD; a property
 * `__proto__` as `__proto_`. `undefined` within objects, `Date`, `Set`, `RegExp`, `Error` (name, message and cause),
 * typed arrays, `Buffer` (MessagePack's own `bin`), `bigint` of any size and NaN survive.
 * Functions, symbols, cycles and nesting deeper than 200 are refused with INVALID_ARGUMENT, and so are bytes that are no such value.
 */
import { clearSource, Packr } from 'msgpackr'
import { invalidArgument, messageOf, NearstateError } from '../base/errors.ts'
import { copyInto } from '../base/copy-into.ts'
import { checkNesting, nestingMax } from './value-nesting.ts'

// Modes of msgpackr's encoder: hand out its own buffer with `start` and `end`, and write over it the next time.
const reuseBuffer = 512 | 1024
const scratchKeptBytes = 1024 * 1024

interface Scratch extends Buffer {
  readonly start: number
  readonly end: number
}

// MessagePack's `bin 8`, the commonest form of binary values, without the detour through the encoder.
const bin8 = 0xc4
const shortBytesMax = 255
const shortBytes = Buffer.allocUnsafeSlow(2 + shortBytesMax)
shortBytes[0] = bin8

const createPackr = (): Packr =>
  new Packr({
    useRecords: false,
    moreTypes: true,
    copyBuffers: true,
    structuredClone: false,
    useBigIntExtension: true,
    variableMapSize: true,
    writeFunction: () => {
      throw invalidArgument('a function cannot be stored')
    },
  } as ConstructorParameters<typeof Packr>[0])
let packr = createPackr()
const range = { start: 0, end: 0 }
const freshScratch = (): void => packr.useBuffer(Buffer.allocUnsafeSlow(64 * 1024))
freshScratch()

/**
 * To be called after user code was cut off: the encoder or decoder it was in still believes itself at work, and would save and
 * copy that state at every later call.
 */
export function resetValueCodec(): void {
  packr = createPackr()
  freshScratch()
  clearSource()
}

/** The value's bytes, freshly allocated. */
export function encodeValue(value: unknown): Buffer {
  const { bytes, start, end } = encodeShared(value)
  return Buffer.from(bytes.subarray(start, end))
}

/** An encoded value: bytes[start..end). */
export interface Encoded {
  bytes: Buffer
  start: number
  end: number
}

const shared: Encoded = { bytes: shortBytes, start: 0, end: 0 }

/** Encodes a value without copying its bytes: what is answered is valid until the next call. */
export function encodeShared(value: unknown): Readonly<Encoded> {
  if (Buffer.isBuffer(value) && value.length <= shortBytesMax) {
    shortBytes[1] = value.length
    shortBytes.set(value, 2)
    shared.bytes = shortBytes
    shared.start = 0
    shared.end = 2 + value.length
    return shared
  }
  let scratch: Scratch
  try {
    scratch = packr.pack(value, reuseBuffer) as Scratch
  } catch (thrown) {
    freshScratch()
    throw refusal('encode', thrown)
  }
  const start = checked('encode', scratch, scratch.start, scratch.end)
  const { end } = scratch
  if (scratch.length > scratchKeptBytes) {
    freshScratch()
    return { bytes: scratch, start, end }
  }
  shared.bytes = scratch
  shared.start = start
  shared.end = end
  return shared
}

/** The value that `bytes[start..end)` stands for; a copy. */
export function decodeValue(bytes: Uint8Array, start = 0, end = bytes.length): unknown {
  if (start >= end || end > bytes.length)
    throw invalidArgument(`Cannot decode value: ${end - start} bytes from ${start} of ${bytes.length}`)
  const head = bytes[start] as number
  if (head === bin8 && end - start === 2 + (bytes[start + 1] as number)) return copyOf(bytes, start + 2, end)
  checked('decode', bytes, start, end)
  range.start = start
  range.end = end
  try {
    return packr.unpack(bytes, range)
  } catch (thrown) {
    throw refusal('decode', thrown)
  }
}

function copyOf(bytes: Uint8Array, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafe(end - start)
  copyInto(copy, 0, bytes, start, end)
  return copy
}

// A value of up to nestingMax bytes cannot nest deeper than that; the check of larger ones touches heads only.
function checked(action: string, bytes: Uint8Array, start: number, end: number): number {
  if (end - start > nestingMax) {
    const complaint = checkNesting(bytes, start, end)
    if (complaint !== undefined) throw invalidArgument(`Cannot ${action} value: ${complaint}`)
  }
  return start
}

function refusal(action: string, thrown: unknown): NearstateError {
  const deep = thrown instanceof RangeError && thrown.message.includes('call stack')
  const reason = deep ? `it nests deeper than ${nestingMax}, or contains itself` : messageOf(thrown)
  return new NearstateError('INVALID_ARGUMENT', `Cannot ${action} value: ${reason}`, { cause: thrown })
}
