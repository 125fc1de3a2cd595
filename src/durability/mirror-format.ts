/**
 * The rows of a mirror: every key and value as bytes.
 *
 *   1 fact      name                                        JSON
 *   2 copy      copy u32                                    JSON (CopyRow): one partition's content as one incarnation held it
 *   3 map       copy u32, map u32                           JSON: its table and limits
 *   4 entry     table u32, key                              version f, expires at f, max idle f, moment f, value
 *   5 record    copy u32, space u32, key                    value
 *   6 session   copy u32, position u64, 0                   epoch f, trimmed to f
 *     result    copy u32, position u64, 1, slot u16         number f, position f, trim to f, result
 *   7 tail      copy u32, position u64                      entry: accepted after what the rows above hold
 *   8 garbage   prefix of keys                              nothing: all rows that begin so are removed in the background
 *
 * Numbers in keys are big-endian, `f` is a float64. A key of an entry or record is 0 and its bytes, or, when long, 1 and its SHA-256; then
 * length u32 and bytes of the key stand before the value. A cleared or dropped map gets another table; the old one is garbage.
 * Results stand in a ring of slots, so that what is trimmed needs no removal: a later one, or the highest "trim to", says what counts.
 */
import { createHash } from 'node:crypto'
import { assert } from '../base/assert.ts'
import type { MapLimits } from '../storage/map-limits.ts'

export const mirrorFormat = 1

/** The name of a log entry: the epoch it was written in and its last position. */
export interface EntryName {
  readonly epoch: number
  readonly position: number
}

/** A shard's incarnation. */
export interface Incarnation {
  readonly node: string
  readonly shard: string
}

export interface CopyRow extends Incarnation {
  readonly partition: number
  readonly givenUp: number
  /** The last entry that the rows hold. */
  readonly applied: EntryName
  /** The last entry of the tail, or `applied`. */
  readonly last: EntryName
  /** No snapshot was under way. */
  readonly whole: boolean
  /** It holds all that this incarnation ever acknowledged: synced with every acknowledgement, or closed in order. */
  readonly complete: boolean
}

export interface MapRow {
  readonly table: number
  readonly limits: MapLimits
}

export interface RowChange {
  readonly key: Uint8Array
  /** undefined: removed. */
  readonly value: Uint8Array | undefined
}

/** Longer keys are named by their hash; LMDB takes 1978 bytes. */
const rawKeyMaxBytes = 1024
/** At least the results that are kept per session: numbers in it never share a slot. */
export const resultSlots = 1024

const family = { fact: 1, copy: 2, map: 3, entry: 4, record: 5, session: 6, tail: 7, garbage: 8 } as const
type Family = (typeof family)[keyof typeof family]

function head(of: Family, id: number, extraBytes: number): Buffer {
  const key = Buffer.allocUnsafe(5 + extraBytes)
  key[0] = of
  key.writeUInt32BE(id, 1)
  return key
}

const writePosition = (key: Buffer, position: number, at: number): void => {
  key.writeUInt32BE(Math.floor(position / 2 ** 32), at)
  key.writeUInt32BE(position >>> 0, at + 4)
}
const readPosition = (key: Buffer, at: number): number => key.readUInt32BE(at) * 2 ** 32 + key.readUInt32BE(at + 4)

export const factKey = (name: string): Buffer => Buffer.concat([Buffer.from([family.fact]), Buffer.from(name)])
export const copyKey = (copy: number): Buffer => head(family.copy, copy, 0)
export const copyOfKey = (key: Buffer): number => key.readUInt32BE(1)
export const copyPrefix: Buffer = Buffer.from([family.copy])
export const garbagePrefix: Buffer = Buffer.from([family.garbage])
export const garbageKey = (prefix: Uint8Array): Buffer => Buffer.concat([garbagePrefix, prefix])
export const prefixOfGarbage = (key: Buffer): Buffer => key.subarray(1)
export const mapPrefix = (copy: number): Buffer => head(family.map, copy, 0)
export const tablePrefix = (table: number): Buffer => head(family.entry, table, 0)
export const recordPrefix = (copy: number): Buffer => head(family.record, copy, 0)
export const sessionsPrefix = (copy: number): Buffer => head(family.session, copy, 0)
export const tailPrefix = (copy: number): Buffer => head(family.tail, copy, 0)

/** The first key after all that begin with `prefix`. */
export function afterPrefix(prefix: Uint8Array): Buffer {
  const end = Buffer.from(prefix)
  for (let at = end.length - 1; at >= 0; at -= 1) {
    const byte = end[at] as number
    if (byte < 0xff) {
      end[at] = byte + 1
      return end.subarray(0, at + 1)
    }
  }
  throw new Error('a prefix of 0xff has no end')
}

export function mapKey(copy: number, map: number): Buffer {
  const key = head(family.map, copy, 4)
  key.writeUInt32BE(map, 5)
  return key
}
export const mapOfKey = (key: Buffer): number => key.readUInt32BE(5)

export const jsonValue = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))

/** A user's key as the end of a row's key. `long`: the whole key must stand in the value. */
function withUserKey(prefix: Buffer, bytes: Uint8Array, start: number, end: number): { readonly key: Buffer; readonly long: boolean } {
  const long = end - start > rawKeyMaxBytes
  const own = bytes.subarray(start, end)
  return { key: Buffer.concat([prefix, longMark[long ? 1 : 0], long ? createHash('sha256').update(own).digest() : own]), long }
}
const longMark = [Buffer.from([0]), Buffer.from([1])] as const

export const entryKey = (table: number, bytes: Uint8Array, start: number, end: number): Buffer =>
  withUserKey(head(family.entry, table, 0), bytes, start, end).key

function recordHead(copy: number, space: number): Buffer {
  assert(Number.isInteger(space) && space >= 0 && space < 2 ** 32, 'a space is a uint32')
  const prefix = head(family.record, copy, 4)
  prefix.writeUInt32BE(space, 5)
  return prefix
}
export const recordKey = (copy: number, space: number, bytes: Uint8Array): Buffer =>
  withUserKey(recordHead(copy, space), bytes, 0, bytes.length).key

export interface EntryRow {
  readonly version: number
  readonly expiresAtMs: number
  readonly maxIdleMs: number
  readonly wallTimeMs: number
  readonly key: Uint8Array
  readonly value: Uint8Array
}

interface Bytes {
  readonly key: Uint8Array
  readonly keyStart: number
  readonly keyEnd: number
  readonly value: Uint8Array
  readonly valueStart: number
  readonly valueEnd: number
  readonly expiresAtMs: number
  readonly maxIdleMs: number
  readonly wallTimeMs: number
}

export function entryRow(table: number, version: number, put: Bytes): RowChange {
  const { key, long } = withUserKey(head(family.entry, table, 0), put.key, put.keyStart, put.keyEnd)
  const keyBytes = long ? 4 + put.keyEnd - put.keyStart : 0
  const value = Buffer.allocUnsafe(32 + keyBytes + put.valueEnd - put.valueStart)
  value.writeDoubleLE(version, 0)
  value.writeDoubleLE(put.expiresAtMs, 8)
  value.writeDoubleLE(put.maxIdleMs, 16)
  value.writeDoubleLE(put.wallTimeMs, 24)
  if (long) {
    value.writeUInt32BE(put.keyEnd - put.keyStart, 32)
    value.set(put.key.subarray(put.keyStart, put.keyEnd), 36)
  }
  value.set(put.value.subarray(put.valueStart, put.valueEnd), 32 + keyBytes)
  return { key, value }
}

/** Views of the row's bytes. */
export function readEntryRow(key: Buffer, value: Buffer): EntryRow {
  const user = readUserKey(key, 5, value, 32)
  return {
    version: value.readDoubleLE(0),
    expiresAtMs: value.readDoubleLE(8),
    maxIdleMs: value.readDoubleLE(16),
    wallTimeMs: value.readDoubleLE(24),
    ...user,
  }
}

function readUserKey(key: Buffer, at: number, value: Buffer, from: number): { readonly key: Uint8Array; readonly value: Uint8Array } {
  if (key[at] === 0) return { key: key.subarray(at + 1), value: value.subarray(from) }
  const end = from + 4 + value.readUInt32BE(from)
  return { key: value.subarray(from + 4, end), value: value.subarray(end) }
}

export function recordRow(copy: number, space: number, bytes: Uint8Array, value: Uint8Array): RowChange {
  const { key, long } = withUserKey(recordHead(copy, space), bytes, 0, bytes.length)
  if (!long) return { key, value }
  const length = Buffer.allocUnsafe(4)
  length.writeUInt32BE(bytes.length)
  return { key, value: Buffer.concat([length, bytes, value]) }
}

export const readRecordRow = (
  key: Buffer,
  value: Buffer,
): { readonly space: number; readonly key: Uint8Array; readonly value: Uint8Array } => ({
  space: key.readUInt32BE(5),
  ...readUserKey(key, 9, value, 0),
})

/** All rows of one session begin with it. */
export function sessionPrefix(copy: number, position: number): Buffer {
  const key = head(family.session, copy, 8)
  writePosition(key, position, 5)
  return key
}

export function sessionRow(copy: number, position: number, epoch: number, trimmedTo: number): RowChange {
  const value = Buffer.allocUnsafe(16)
  value.writeDoubleLE(epoch, 0)
  value.writeDoubleLE(trimmedTo, 8)
  return { key: Buffer.concat([sessionPrefix(copy, position), longMark[0]]), value }
}

export interface ResultRow {
  readonly number: number
  readonly position: number
  readonly trimTo: number
  readonly result: Uint8Array
}

export function resultRow(copy: number, ticketPosition: number, row: ResultRow): RowChange {
  const key = head(family.session, copy, 11)
  writePosition(key, ticketPosition, 5)
  key[13] = 1
  key.writeUInt16BE(row.number % resultSlots, 14)
  const value = Buffer.allocUnsafe(24 + row.result.length)
  value.writeDoubleLE(row.number, 0)
  value.writeDoubleLE(row.position, 8)
  value.writeDoubleLE(row.trimTo, 16)
  value.set(row.result, 24)
  return { key, value }
}

/** A row under `sessionsPrefix`; its result owns its bytes. */
export function readSessionRow(
  key: Buffer,
  value: Buffer,
):
  | { readonly kind: 'session'; readonly position: number; readonly epoch: number; readonly trimmedTo: number }
  | ({ readonly kind: 'result'; readonly ticketPosition: number } & ResultRow) {
  const position = readPosition(key, 5)
  if (key[13] === 0) return { kind: 'session', position, epoch: value.readDoubleLE(0), trimmedTo: value.readDoubleLE(8) }
  return {
    kind: 'result',
    ticketPosition: position,
    number: value.readDoubleLE(0),
    position: value.readDoubleLE(8),
    trimTo: value.readDoubleLE(16),
    result: new Uint8Array(value.subarray(24)),
  }
}

export function tailKey(copy: number, position: number): Buffer {
  const key = head(family.tail, copy, 8)
  writePosition(key, position, 5)
  return key
}
export const positionOfTail = (key: Buffer): number => readPosition(key, 5)

/** All that a copy's rows begin with, its own row aside. */
export const prefixesOfCopy = (copy: number, tables: Iterable<number>): readonly Buffer[] => [
  mapPrefix(copy),
  recordPrefix(copy),
  sessionsPrefix(copy),
  tailPrefix(copy),
  ...Array.from(tables, tablePrefix),
]
