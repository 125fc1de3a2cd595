/** Where a unit of work can begin, and what it takes there. */
import type { Edge } from '../exchange/edge.ts'
import type { Batch } from '../operators/batch.ts'
import type { Due, Operator } from '../operators/operator.ts'
import type { SourceOperator } from '../operators/source.ts'
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

export type Work =
  | { readonly head: SourceHead; readonly reading: Reading; readonly rows: number }
  | { readonly head: EdgeHead; readonly sender: number; readonly batch: Batch; readonly from: number; readonly rows: number }
  | { readonly head: DueHead; readonly rows: number }
