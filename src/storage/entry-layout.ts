/**
 * The bytes of an entry. Words are 32 bits in the machine's order; they never leave the process.
 *
 *   word 0   value length (26 bits) | flags << 26          dead: size in words (26 bits) | deadFlag
 *   word 1   key length (16 bits) | version, bits 32..47 << 16
 *   word 2   version, bits 0..31
 *   timed    next, previous in the expiry wheel's list
 *   expires  wall time (48 bits in 2 words)
 *   idles    max idle, idle since (2 words each)
 *   accessed recency or frequency (1 word)
 *   then the key, the value, and zero to three bytes up to a whole word
 *
 * Only entries that need a field have it: without expiry and eviction a header is 12 bytes.
 */
import { assert } from '../base/assert.ts'
import type { EntryView } from './entry-view.ts'

export const timedFlag = 1
export const expiresFlag = 2
export const idlesFlag = 4
export const accessedFlag = 8
const deadBit = 0x80000000 | 0
const lengthMask = 0x3ffffff

/** Words of a header. Each flag is worth as many words as its fields have, but for the first (two) and the last (one). */
const headerWords = (flags: number): number => 3 + ((flags & timedFlag) << 1) + (flags & (expiresFlag | idlesFlag)) + (flags >>> 3)

export const flagsFor = (expires: boolean, idles: boolean, accessed: boolean): number =>
  (expires || idles ? timedFlag : 0) | (expires ? expiresFlag : 0) | (idles ? idlesFlag : 0) | (accessed ? accessedFlag : 0)

/** Bytes that an entry takes. */
export const entrySize = (flags: number, keyLength: number, valueLength: number): number =>
  (headerWords(flags) * 4 + keyLength + valueLength + 3) & ~3

export const isDead = (words: Int32Array, at: number): boolean => (words[at] as number) < 0
export const flagsAt = (words: Int32Array, at: number): number => ((words[at] as number) >>> 26) & 15
export const valueLengthAt = (words: Int32Array, at: number): number => (words[at] as number) & lengthMask
export const keyLengthAt = (words: Int32Array, at: number): number => (words[at + 1] as number) & 0xffff
/** Byte at which the key starts. */
export const keyStartAt = (words: Int32Array, at: number): number => (at + headerWords(flagsAt(words, at))) * 4
export const versionAt = (words: Int32Array, at: number): number =>
  ((words[at + 1] as number) >>> 16) * 2 ** 32 + ((words[at + 2] as number) >>> 0)

/** Bytes of what stands here, alive or dead. */
export function sizeAt(words: Int32Array, at: number): number {
  return isDead(words, at) ? valueLengthAt(words, at) * 4 : entrySize(flagsAt(words, at), keyLengthAt(words, at), valueLengthAt(words, at))
}

export function writeDead(words: Int32Array, at: number, bytes: number): void {
  words[at] = (bytes >>> 2) | deadBit
}

export function writeHeader(words: Int32Array, at: number, flags: number, keyLength: number, valueLength: number, version: number): void {
  words[at] = valueLength | (flags << 26)
  words[at + 1] = keyLength | (Math.floor(version / 2 ** 32) << 16)
  words[at + 2] = version | 0
}

const expiryWord = 5
const idleWord = (flags: number): number => (flags & expiresFlag ? 7 : 5)
const accessWord = (flags: number): number => headerWords(flags) - 1

const readTime = (words: Int32Array, at: number): number => (words[at + 1] as number) * 2 ** 32 + ((words[at] as number) >>> 0)
function writeTime(words: Int32Array, at: number, timeMs: number): void {
  words[at] = timeMs | 0
  words[at + 1] = Math.floor(timeMs / 2 ** 32)
}

export const expiresAtOf = (words: Int32Array, at: number): number =>
  flagsAt(words, at) & expiresFlag ? readTime(words, at + expiryWord) : 0
export function setExpiresAt(words: Int32Array, at: number, timeMs: number): void {
  writeTime(words, at + expiryWord, timeMs)
}

export const maxIdleOf = (words: Int32Array, at: number): number =>
  flagsAt(words, at) & idlesFlag ? readTime(words, at + idleWord(flagsAt(words, at))) : 0
export const idleSinceOf = (words: Int32Array, at: number): number =>
  flagsAt(words, at) & idlesFlag ? readTime(words, at + idleWord(flagsAt(words, at)) + 2) : 0
export function setIdle(words: Int32Array, at: number, maxIdleMs: number, sinceMs: number): void {
  const word = at + idleWord(flagsAt(words, at))
  writeTime(words, word, maxIdleMs)
  writeTime(words, word + 2, sinceMs)
}
export function setIdleSince(words: Int32Array, at: number, sinceMs: number): void {
  writeTime(words, at + idleWord(flagsAt(words, at)) + 2, sinceMs)
}

export const accessOf = (words: Int32Array, at: number): number => words[at + accessWord(flagsAt(words, at))] as number
export function setAccess(words: Int32Array, at: number, access: number): void {
  words[at + accessWord(flagsAt(words, at))] = access
}

/** The wall time from which the entry is past its time; Infinity: never. */
export function dueAt(words: Int32Array, at: number): number {
  const flags = flagsAt(words, at)
  const expiresAtMs = flags & expiresFlag ? readTime(words, at + expiryWord) : Number.POSITIVE_INFINITY
  if ((flags & idlesFlag) === 0) return expiresAtMs
  const word = at + idleWord(flags)
  return Math.min(expiresAtMs, readTime(words, word) + readTime(words, word + 2))
}

export const nextOf = (words: Int32Array, at: number): number => words[at + 3] as number
export const previousOf = (words: Int32Array, at: number): number => words[at + 4] as number
export function setNext(words: Int32Array, at: number, location: number): void {
  words[at + 3] = location
}
export function setPrevious(words: Int32Array, at: number, location: number): void {
  words[at + 4] = location
}

// The following read bytes, not words: a lookup that touches one typed array per segment instead of two misses the cache less often.
assert(new Uint8Array(new Int32Array([1]).buffer)[0] === 1, 'Nearstate runs on little-endian machines')

/** The byte at which the key of the entry at byte `at` starts if it has this length; else -1. */
export function keyStartIfLength(bytes: Uint8Array, at: number, length: number): number {
  if (((bytes[at + 4] as number) | ((bytes[at + 5] as number) << 8)) !== length) return -1
  return at + headerWords(((bytes[at + 3] as number) >>> 2) & 15) * 4
}

/** Fills a view of the entry at byte `at`, without its times; answers its flags. */
export function fillView(view: EntryView, bytes: Uint8Array, at: number): number {
  const top = bytes[at + 3] as number
  const flags = (top >>> 2) & 15
  const keyStart = at + headerWords(flags) * 4
  const keyEnd = keyStart + ((bytes[at + 4] as number) | ((bytes[at + 5] as number) << 8))
  view.segment = bytes
  view.keyStart = keyStart
  view.keyEnd = keyEnd
  view.valueStart = keyEnd
  view.valueEnd =
    keyEnd + ((bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16) | ((top & 3) << 24))
  const low =
    (bytes[at + 8] as number) | ((bytes[at + 9] as number) << 8) | ((bytes[at + 10] as number) << 16) | ((bytes[at + 11] as number) << 24)
  view.version = ((bytes[at + 6] as number) | ((bytes[at + 7] as number) << 8)) * 2 ** 32 + (low >>> 0)
  view.expiresAtMs = 0
  view.maxIdleMs = 0
  view.idleSinceMs = 0
  return flags
}

export function fillTimes(view: EntryView, words: Int32Array, at: number): void {
  view.expiresAtMs = expiresAtOf(words, at)
  view.maxIdleMs = maxIdleOf(words, at)
  view.idleSinceMs = idleSinceOf(words, at)
}

export function equalBytes(left: Uint8Array, leftStart: number, right: Uint8Array, rightStart: number, length: number): boolean {
  for (let i = 0; i < length; i += 1) if (left[leftStart + i] !== right[rightStart + i]) return false
  return true
}
