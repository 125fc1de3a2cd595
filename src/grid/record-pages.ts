/** Keys of a stage's records: the two spaces of its slots, walked as one. */
import type { OrderedRecords } from '../storage/ordered-records.ts'

export interface KeyPage {
  /** In order, without doubles. */
  readonly keys: readonly Uint8Array[]
  /** Where to go on; undefined: there are no more. */
  readonly next: Uint8Array | undefined
}

/** Keys with from <= key < to of the pair of spaces; about `limit` of them. */
export function keysOfPair(records: OrderedRecords, pair: number, from: Uint8Array, to: Uint8Array, limit: number): KeyPage {
  let bound: Uint8Array | undefined
  const keys: Uint8Array[] = []
  for (const space of [2 * pair, 2 * pair + 1]) {
    let taken = 0
    let last: Uint8Array | undefined
    records.scanFrom(space, from, view => {
      if (Buffer.compare(view, to) >= 0) return false
      last = new Uint8Array(view)
      keys.push(last)
      taken += 1
      return taken < limit
    })
    if (taken === limit && last !== undefined && (bound === undefined || Buffer.compare(last, bound) < 0)) bound = last
  }
  const upTo = bound
  const sorted = keys.sort((a, b) => Buffer.compare(a, b))
  const unique = sorted.filter((key, i) => i === 0 || Buffer.compare(sorted[i - 1] as Uint8Array, key) !== 0)
  if (upTo === undefined) return { keys: unique, next: undefined }
  const next = new Uint8Array(upTo.length + 1)
  next.set(upTo)
  return { keys: unique.filter(key => Buffer.compare(key, upTo) <= 0), next }
}
