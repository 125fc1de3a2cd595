/**
 * How far a split has been read, as a checkpoint keeps it: with the split itself, so that the list of splits is in the checkpoint.
 *
 * Reading goes on at `position` (a batch's), and passes over the first `records` and `rejected` there: those were done before the
 * barrier. Plain data; an infinite watermark is null with `ended`, or null: none yet.
 */
import type { Split } from '../assignment.ts'
import type { SplitPosition } from '../source.ts'

export interface SplitState {
  /** null: the split's own start. */
  readonly position: SplitPosition
  readonly records: number
  readonly rejected: number
  readonly watermark: number | null
  readonly ended: boolean
}

/** A split record, as it is stored. */
export interface SplitRecord {
  readonly split: Split
  readonly state: SplitState
}

export const unread: SplitState = { position: null, records: 0, rejected: 0, watermark: null, ended: false }
