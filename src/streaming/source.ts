/**
 * The contract between a source stage and the connector that reads for it. The connector turns bytes into plain records;
 * schemas, event time and everything else that is user code run in the stage.
 */
import type { Split } from './assignment.ts'

/** The options of a source as plain data, as the builder wrote them. */
export type SourceOptions = Readonly<Record<string, string | number | boolean | readonly string[]>>

export interface SourceConnector {
  readonly kind: string
  /**
   * Checks the options against reality (files exist) and lists the splits, in a stable order, with start positions resolved ("latest"
   * becomes a place: `Split.position`). Runs once, at submit: afterwards the list is in the checkpoint. Rejects with a NearstateError.
   */
  listSplits(options: SourceOptions): Promise<readonly Split[]>
  /** Reads from `position` on, which was a `SourceBatch.position` of this split; undefined: from its start position. */
  open(options: SourceOptions, split: Split, listener: SplitListener, position?: SplitPosition): SplitReader
}

/** A place in a split, as its reader names it: plain data (JSON). */
export type SplitPosition = string | number | boolean | null | readonly SplitPosition[] | { readonly [field: string]: SplitPosition }

export interface SplitListener {
  /** There may be something to take after take() returned undefined. */
  onReady(): void
}

/** Reads one split. Buffers a bounded amount ahead and stops reading there. */
export interface SplitReader {
  /** The next records, the last batch's no longer being used; undefined: none yet; 'end': the split is finished. Throws NearstateError when the split cannot be read on. */
  take(): SourceBatch | 'end' | undefined
  /** A checkpoint is committed: nothing before this position will be asked for again, so upstream may let go of it. */
  committed?(position: SplitPosition): void
  /** Releases everything; nothing is called afterwards. */
  close(): void
}

export interface SourceBatch {
  /** Where the records come from, for people: a path. */
  readonly origin: string
  readonly records: readonly unknown[]
  /** Line number (from 1) of each record's first line. */
  readonly lines: readonly number[]
  readonly rejected: readonly RejectedRecord[]
  /**
   * The place of the first record of this batch, from which a reader opened later gives the same records and rejected records in the
   * same order, in whatever batches. Without one, a restart reads the split from its start and passes over what was done.
   */
  readonly position?: SplitPosition
  /** Only in a batch without records: the split's own word that no event with time <= this will follow. */
  readonly watermark?: number
}

/** A record that is broken before any schema sees it. */
export interface RejectedRecord {
  readonly line: number
  readonly reason: string
  /** The record's text, cut at 1 KiB. */
  readonly raw: string
}
