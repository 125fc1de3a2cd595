/**
 * Scan pages of one map on one partition. A page ends at `limit` entries, at about 256 KiB, or after `examinedMax` entries of
 * which few have the prefix; so a page may be empty and still not be the last one. An entry that is there throughout a scan
 * comes exactly once (see MapStore.scanPage).
 */
import { invalidArgument, type NearstateError } from '../base/errors.ts'
import type { PartitionMap } from '../grid/partition-map.ts'
import type { EntryView } from '../storage/entry-view.ts'
import { scanEnd } from '../storage/map-store.ts'
import { type OperationOptions, ScanPage } from '../wire/generated/nearstate/v1/data.ts'
import { copyInto } from '../base/copy-into.ts'
import { withRoom } from '../wire/operations.ts'
import type { AnswerWriter } from './answers.ts'

const limitDefault = 1024
const limitMax = 65_536
const pageTargetBytes = 256 * 1024
const examinedMax = 16_384

const noBytes: Buffer = Buffer.alloc(0)
export const emptyPage = (): ScanPage => ({
  keyLengths: [],
  keys: noBytes,
  valueLengths: [],
  values: noBytes,
  cursor: noBytes,
  versions: [],
  expiresAtMs: [],
})
export const encodePage = (page: ScanPage): Uint8Array => ScanPage.encode(page).finish()
export const emptyScanPage: Uint8Array = encodePage(emptyPage())

/** The page's columns while they grow. */
export class PageBuilder {
  readonly #page = emptyPage()
  #keys: Buffer = noBytes
  #keysEnd = 0
  #values: Buffer = noBytes
  #valuesEnd = 0

  get count(): number {
    return this.#page.keyLengths.length
  }

  get bytes(): number {
    return this.#keysEnd + this.#valuesEnd
  }

  addKey(source: Uint8Array, start: number, end: number): void {
    this.#keys = withRoom(this.#keys, this.#keysEnd, end - start)
    this.#keysEnd = copyInto(this.#keys, this.#keysEnd, source, start, end)
    this.#page.keyLengths.push(end - start)
  }

  addValue(source: Uint8Array, start: number, end: number): void {
    this.#values = withRoom(this.#values, this.#valuesEnd, end - start)
    this.#valuesEnd = copyInto(this.#values, this.#valuesEnd, source, start, end)
    this.#page.valueLengths.push(end - start)
  }

  addTimes({ version, expiresAtMs, maxIdleMs, idleSinceMs }: EntryView): void {
    const { versions, expiresAtMs: column } = this.#page
    versions.push(BigInt(version))
    const idleOutAtMs = maxIdleMs === 0 ? 0 : idleSinceMs + maxIdleMs
    const goesAtMs = expiresAtMs === 0 || idleOutAtMs === 0 ? expiresAtMs + idleOutAtMs : Math.min(expiresAtMs, idleOutAtMs)
    if (goesAtMs === 0 && column.length === 0) return
    // Those before it never go.
    while (column.length < versions.length - 1) column.push(0n)
    column.push(BigInt(goesAtMs))
  }

  encode(cursor: number): Uint8Array {
    this.#page.keys = this.#keys.subarray(0, this.#keysEnd)
    this.#page.values = this.#values.subarray(0, this.#valuesEnd)
    if (cursor < scanEnd) this.#page.cursor = cursorBytes(cursor)
    return encodePage(this.#page)
  }
}

export function scanPartition(
  writer: AnswerWriter,
  id: number,
  part: PartitionMap,
  options: OperationOptions | undefined,
  wallTimeMs: number,
): void {
  const start = readCursor(options?.cursor ?? noBytes)
  if (typeof start !== 'number') {
    writer.error(id, start)
    return
  }
  const limit = Math.min(limitMax, options?.limit || limitDefault)
  const prefix = options?.prefix ?? noBytes
  const keysOnly = options?.keysOnly ?? false
  const page = new PageBuilder()
  const progress = { examined: 0 }
  const visit = (entry: EntryView): void => {
    progress.examined += 1
    if (!hasPrefix(entry, prefix)) return
    page.addKey(entry.segment, entry.keyStart, entry.keyEnd)
    if (keysOnly) return
    page.addValue(entry.segment, entry.valueStart, entry.valueEnd)
    page.addTimes(entry)
  }
  let cursor = start
  do {
    const limits = { maxEntries: limit - page.count, maxBytes: pageTargetBytes - page.bytes }
    cursor = part.scanPage(cursor, limits, wallTimeMs, visit)
  } while (cursor < scanEnd && page.count < limit && page.bytes < pageTargetBytes && progress.examined < examinedMax)
  const encoded = page.encode(cursor)
  writer.value(id, encoded, 0, encoded.length)
}

function hasPrefix(entry: EntryView, prefix: Uint8Array): boolean {
  if (entry.keyEnd - entry.keyStart < prefix.length) return false
  for (let i = 0; i < prefix.length; i += 1) if (entry.segment[entry.keyStart + i] !== prefix[i]) return false
  return true
}

/** 4 bytes, big-endian: a place in the space of the store's hashes. Empty: the beginning. */
export function readCursor(bytes: Buffer): number | NearstateError {
  if (bytes.length === 0) return 0
  return bytes.length === 4 ? bytes.readUInt32BE() : invalidArgument(`Cannot scan: a cursor has 4 bytes, got ${bytes.length}`)
}

function cursorBytes(cursor: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(cursor)
  return bytes
}
