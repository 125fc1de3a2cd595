/** Walks all partitions of a map page by page, a few partitions ahead of the reader. */
import { NearstateError } from '../base/errors.ts'
import { decodeKey } from '../keys/encode-key.ts'
import type { KeyCodec } from '../keys/key-codec.ts'
import { ScanPage } from '../wire/generated/nearstate/v1/data.ts'
import { boundsOf } from '../wire/operations.ts'
import { decodeValue } from '../wire/value-codec.ts'

/** Pages asked for and not yet read. */
const readAhead = 4
const noCursor = Buffer.alloc(0)

export type AskPage = (partition: number, cursor: Buffer) => Promise<Buffer>

/** What a page holds, as its caller wants it. */
export type ReadPage<T> = (page: ScanPage) => Iterable<T>

/** What the pages of all partitions hold; a page with an empty cursor is its partition's last. */
export async function* pagesOf<T>(partitionCount: number, ask: AskPage, read: ReadPage<T>): AsyncGenerator<T> {
  const asked: { readonly partition: number; readonly page: Promise<Buffer> }[] = []
  let next = 0
  const askFor = (partition: number, cursor: Buffer): { readonly partition: number; readonly page: Promise<Buffer> } => {
    const page = ask(partition, cursor)
    page.catch(() => undefined) // reported where it is awaited, or not wanted any more
    return { partition, page }
  }
  for (;;) {
    while (asked.length < readAhead && next < partitionCount) {
      asked.push(askFor(next, noCursor))
      next += 1
    }
    const first = asked.shift()
    if (first === undefined) return
    const bytes = await first.page
    // A shard that has never seen the map answers with nothing.
    if (bytes.length === 0) continue
    const page = ScanPage.decode(bytes)
    if (page.cursor.length > 0) asked.unshift(askFor(first.partition, page.cursor))
    yield* read(page)
  }
}

/** Keys and values. */
export const pairsOf =
  <K>(codec: KeyCodec): ReadPage<[K, unknown]> =>
  page =>
    decodePairs<K>(page, codec)

/** One entry of a scan. */
export interface ScannedEntry<K, V> {
  readonly key: K
  readonly value: V
  /** As of `getEntry`. */
  readonly version: number
  /** Wall time in milliseconds; undefined: never. A scan is no access: an idle time goes on. */
  readonly expiresAt: number | undefined
}

/** Keys and values with versions and expiry. */
export const entriesOf =
  <K>(codec: KeyCodec): ReadPage<ScannedEntry<K, unknown>> =>
  page =>
    decodeEntries<K>(page, codec)

function* decodeEntries<K>(page: ScanPage, codec: KeyCodec): Generator<ScannedEntry<K, unknown>> {
  const { keyLengths, versions, expiresAtMs } = page
  if (versions.length !== keyLengths.length)
    throw new NearstateError(
      'UNSUPPORTED_VERSION',
      'Cannot scan with versions: the node is of a release that does not tell them; upgrade it',
    )
  let at = 0
  for (const [key, value] of decodePairs<K>(page, codec)) {
    const goesAtMs = Number(expiresAtMs[at] ?? 0n)
    yield { key, value, version: Number(versions[at]), expiresAt: goesAtMs === 0 ? undefined : goesAtMs }
    at += 1
  }
}

function* decodePairs<K>(page: ScanPage, codec: KeyCodec): Generator<[K, unknown]> {
  const count = page.keyLengths.length
  const keyBounds = boundsOf('keys', page.keyLengths, count, page.keys.length)
  const valueBounds = boundsOf('values', page.valueLengths, count, page.values.length)
  for (let i = 0; i < count; i += 1) {
    const start = valueBounds[i] as number
    const end = valueBounds[i + 1] as number
    yield [
      decodeKey(codec, page.keys, keyBounds[i], keyBounds[i + 1]) as K,
      start === end ? undefined : decodeValue(page.values, start, end),
    ]
  }
}

export function* inGroups<T>(items: Iterable<T>, size: number): Generator<T[]> {
  let group: T[] = []
  for (const item of items) {
    group.push(item)
    if (group.length === size) {
      yield group
      group = []
    }
  }
  if (group.length > 0) yield group
}
