/** A unit of work: where it begins (its head), what it takes there, and what follows when it was done. */
import type { Edge } from '../exchange/edge.ts'
import { Batch } from '../operators/batch.ts'
import { KeyByOperator } from '../operators/key-by.ts'
import type { Due, Operator } from '../operators/operator.ts'
import { noOrigin, originOf } from '../operators/origin.ts'
import type { SourceOperator } from '../operators/source.ts'
import type { Stateful } from '../state/stage-state.ts'
import type { ReplayedLetter, Replays } from './replays.ts'
import type { Reading, SplitQueue } from './split-queue.ts'
import type { UnitSize } from './unit-size.ts'

export interface SourceHead {
  readonly kind: 'source'
  readonly operator: SourceOperator
  readonly splits: SplitQueue
  readonly firstSplit: number
  readonly size: UnitSize
}

export interface EdgeHead {
  readonly kind: 'edge'
  readonly edge: Edge
  readonly operator: Operator
  readonly size: UnitSize
}

export interface DueHead {
  readonly kind: 'due'
  readonly operator: Operator & Due
  readonly size: UnitSize
}

/** A dead letter goes in front of the stage that refused it. */
export interface ReplayHead {
  readonly kind: 'replay'
  readonly operator: Operator
  readonly replays: Replays
  readonly size: UnitSize
}

/** State of a barrier passed that is not written yet. */
export interface WriteHead {
  readonly kind: 'write'
  readonly operator: Operator & Stateful
  readonly size: UnitSize
  /** There may be more to write. */
  isWriting: boolean
}

export type Work =
  | { readonly head: WriteHead; readonly rows: number }
  | { readonly head: SourceHead; readonly reading: Reading; readonly rows: number }
  | { readonly head: EdgeHead; readonly sender: number; readonly batch: Batch; readonly from: number; readonly rows: number }
  | { readonly head: DueHead; readonly rows: number }
  | { readonly head: ReplayHead; readonly letter: ReplayedLetter; readonly rows: number }

/** Runs it: user code. */
export function runWork(work: Work): void {
  if ('reading' in work) {
    const { batch, cursor, index } = work.reading
    if (batch !== undefined) work.head.operator.read(batch, work.head.firstSplit + index, cursor, cursor + work.rows)
  } else if ('batch' in work) {
    receive(work.head.operator, rowsOf(work.batch, work.from, work.rows))
  } else if ('letter' in work) {
    work.head.replays.run(work.letter)
  } else if (work.head.kind === 'write') {
    work.head.isWriting = work.head.operator.state.encodeSome(work.rows)
  } else {
    work.head.operator.fire()
  }
}

function rowsOf(batch: Batch, from: number, rows: number): Batch {
  if (rows === batch.size) return batch
  const part = new Batch(rows)
  for (let i = from; i < from + rows; i += 1) part.pushFrom(batch, i, batch.rows[i])
  return part
}

function receive(operator: Operator, batch: Batch): void {
  if (operator instanceof KeyByOperator) operator.receive(batch)
  else operator.accept(batch)
}

/** It has been done: the next unit begins behind it. */
export function advanceWork(work: Work, nowMs: number): void {
  if ('reading' in work) work.head.splits.advance(work.reading, work.rows, work.head.operator.greatestTime, nowMs)
  else if ('batch' in work) work.head.edge.advance(work.sender, work.rows)
  else if ('letter' in work) work.head.replays.finish(work.letter)
  else if (work.head.kind === 'due') work.head.operator.fired()
}

/** Where the unit's first row was read. */
export function originOfFirst(work: Work): number {
  if ('reading' in work) {
    const { batch, cursor, index } = work.reading
    return originOf(work.head.firstSplit + index, batch?.lines[cursor] ?? 0)
  }
  return 'batch' in work ? (work.batch.origins[work.from] as number) : noOrigin
}
