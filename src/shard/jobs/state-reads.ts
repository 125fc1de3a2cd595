/**
 * Reads of a job's state from outside, on the shard that has the partition: as of the last checkpoint that is known to be committed.
 *
 * 1. While an attempt stands open here, it knows the checkpoint. Otherwise the asker must: with a point that is final as long as no attempt
 *    above `lastAttempt` has begun. Who does not know hears so, and asks the job's record.
 * 2. A page is of one checkpoint. Rows that were collected never change, so their readers may hold on to an older one (`upTo`).
 */
import { NearstateError } from '../../base/errors.ts'
import { type CheckpointPoint, JobStateView } from '../../grid/job-state-view.ts'
import type { PartitionStore } from '../../storage/partition-store.ts'
import { recordKey, tableStart } from '../../streaming/state/record-key.ts'
import { ScanPage } from '../../wire/generated/nearstate/v1/data.ts'
import { messageMaxBytesDefault } from '../../wire/limits.ts'

export interface ReadJobState {
  readonly job: string
  readonly stage: string
  readonly partition: number
  /** Of one key; absent: a page of all. */
  readonly key?: Uint8Array
  /** Where the page begins; empty: at the first key. */
  readonly cursor: Uint8Array
  /** Records of a page. */
  readonly limit: number
  readonly keysOnly: boolean
  /** What the task works with now; one key only. */
  readonly live: boolean
  readonly settled?: SettledPoint
  readonly upTo?: CheckpointPoint
}

/** The last checkpoint of a job of which no attempt runs. */
export interface SettledPoint {
  /** The greatest attempt that may have begun without the point being another one. */
  readonly lastAttempt: number
  readonly point: CheckpointPoint
}

export interface JobStateAnswer {
  /** False: nothing of the job stands open here, and the point given does not hold. */
  readonly isKnown: boolean
  /** The last one that has begun in the partition. */
  readonly attempt: number
  readonly point: CheckpointPoint
  /** Of one key. */
  readonly value?: Uint8Array
  /** An encoded ScanPage. */
  readonly page?: Uint8Array
}

/** What an attempt that stands open on this shard says. */
export interface OpenPoint {
  readonly attempt: number
  readonly point: CheckpointPoint
}

/** Of every stage that is read: one record per key, or rows collected. */
const table = 0
const none: CheckpointPoint = { attempt: 0, n: 0 }
const pageRecordsMax = 1000
const pageTargetBytes = 256 * 1024
const recordMaxBytes = messageMaxBytesDefault - 64 * 1024

export const unknownHere: JobStateAnswer = { isKnown: false, attempt: 0, point: none }

export function readState(store: PartitionStore, open: OpenPoint | undefined, request: ReadJobState): JobStateAnswer {
  const { job, stage, key, cursor, limit, keysOnly, settled, upTo } = request
  const view = new JobStateView(store, job)
  const { attempt } = view
  const point = pointOf(attempt, open, settled)
  if (point === undefined) return unknownHere
  const at = upTo === undefined || isBefore(point, upTo) ? point : upTo
  const known = { isKnown: true, attempt, point: at }
  if (key !== undefined) {
    const value = view.read(stage, recordKey(table, key), at)
    return value === undefined ? known : { ...known, value: checkedRecord(request, value) }
  }
  const limits = { records: Math.min(pageRecordsMax, limit || pageRecordsMax), bytes: pageTargetBytes }
  const { rows, next } = view.scan(stage, recordKey(table, cursor), tableStart(table + 1), at, limits)
  for (const { value } of rows) checkedRecord(request, value)
  const values = keysOnly ? [] : rows.map(({ value }) => value)
  const page: ScanPage = {
    keyLengths: rows.map(row => row.key.length - 1),
    keys: Buffer.concat(rows.map(row => row.key.subarray(1))),
    valueLengths: values.map(value => value.length),
    values: Buffer.concat(values),
    cursor: next === undefined ? Buffer.alloc(0) : Buffer.from(next.subarray(1)),
    versions: [],
    expiresAtMs: [],
  }
  return { ...known, page: ScanPage.encode(page).finish() }
}

/** A record of a task's own, for an answer. */
export function checkedRecord({ job, stage }: Pick<ReadJobState, 'job' | 'stage'>, record: Uint8Array): Uint8Array {
  if (record.length <= recordMaxBytes) return record
  throw new NearstateError(
    'RESOURCE_EXHAUSTED',
    `Cannot read state of stage "${stage}" of job "${job}": a record of ${record.length} bytes does not fit into an answer, which has room for ${recordMaxBytes}`,
  )
}

function pointOf(attempt: number, open: OpenPoint | undefined, settled: SettledPoint | undefined): CheckpointPoint | undefined {
  if (open !== undefined && open.attempt === attempt) return open.point
  // A row that is gone is that of a job that has ended.
  if (settled === undefined || attempt > settled.lastAttempt || attempt < settled.point.attempt) return undefined
  return settled.point
}

const isBefore = (a: CheckpointPoint, b: CheckpointPoint): boolean => a.attempt < b.attempt || (a.attempt === b.attempt && a.n < b.n)
