/**
 * The state of a job on one partition as of a checkpoint, for those who only look: no fence, no effects.
 *
 * As of (a, n) a slot counts when it is of an attempt before a, or of a with a number up to n. For a checkpoint that is committed this is
 * what JobState calls valid: dead slots were freed before it, and later barriers spare what it holds until one of them is committed.
 * Which checkpoint that is the caller must know.
 */
import type { PartitionStore } from '../storage/partition-store.ts'
import type { StateRow } from './job-state.ts'
import { keysOfPair } from './record-pages.ts'
import {
  decodeJobRow,
  isNewerSlot,
  type JobRow,
  jobKey,
  jobSpace,
  slotAttempt,
  slotHeaderBytes,
  slotIsTombstone,
  slotN,
} from './state-row.ts'

/** A checkpoint: its attempt, and its number in it. */
export interface CheckpointPoint {
  readonly attempt: number
  readonly n: number
}

export interface PageLimits {
  readonly records: number
  /** A record that alone is longer has a page for itself. */
  readonly bytes: number
}

export interface StatePage {
  readonly rows: readonly StateRow[]
  /** Where to go on; undefined: this was the last page. A page that is not may be empty. */
  readonly next: Uint8Array | undefined
}

const nothing: StatePage = { rows: [], next: undefined }

export class JobStateView {
  readonly #store: PartitionStore
  readonly #row: JobRow | undefined

  constructor(store: PartitionStore, job: string) {
    const bytes = store.records.find(jobSpace, jobKey(job))
    this.#store = store
    this.#row = bytes === undefined ? undefined : decodeJobRow(bytes)
  }

  /** The last one that has begun in the partition; 0: it holds nothing of the job. */
  get attempt(): number {
    return this.#row?.attempt ?? 0
  }

  /** A copy. */
  read(stage: string, key: Uint8Array, at: CheckpointPoint): Uint8Array | undefined {
    const pair = this.#row?.stages.get(stage)
    const value = pair === undefined ? undefined : this.#valueOf(pair, key, at)
    return value === undefined ? undefined : new Uint8Array(value)
  }

  /** Records with from <= key < to, in order; copies. */
  scan(stage: string, from: Uint8Array, to: Uint8Array, at: CheckpointPoint, limits: PageLimits): StatePage {
    const pair = this.#row?.stages.get(stage)
    if (pair === undefined) return nothing
    const rows: StateRow[] = []
    let bytes = 0
    const { keys, next } = keysOfPair(this.#store.records, pair, from, to, limits.records)
    for (const key of keys) {
      const value = this.#valueOf(pair, key, at)
      if (value === undefined) continue
      bytes += key.length + value.length
      if (bytes > limits.bytes && rows.length > 0) return { rows, next: key }
      rows.push({ key, value: new Uint8Array(value) })
    }
    return { rows, next }
  }

  #valueOf(pair: number, key: Uint8Array, { attempt, n }: CheckpointPoint): Uint8Array | undefined {
    let newest: Uint8Array | undefined
    for (const space of [2 * pair, 2 * pair + 1]) {
      const slot = this.#store.records.find(space, key)
      if (slot === undefined || slotAttempt(slot) > attempt || (slotAttempt(slot) === attempt && slotN(slot) > n)) continue
      if (newest === undefined || isNewerSlot(slot, newest)) newest = slot
    }
    return newest === undefined || slotIsTombstone(newest) ? undefined : newest.subarray(slotHeaderBytes)
  }
}
