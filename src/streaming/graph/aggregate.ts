/** Aggregates as the builder writes them: an operation and what it takes from a row. Carried out by operators/reducer.ts. */
import type { Scalar } from '../../keys/key-codec.ts'

import { invalidArgument } from '../../base/errors.ts'
import { refuseAsync } from './refuse-async.ts'
import { refuseUnknownOptions } from './unknown-options.ts'

export type AggregateOperation = 'sum' | 'count' | 'countDistinct' | 'max' | 'min' | 'avg' | 'custom'

/**
 * An aggregate of one's own. Accumulators are plain data: they are stored at checkpoints and move between shards. `add` and `combine`
 * may change their first argument, and return it or a new one. `combine` joins two parts of the rows of a window, in no order
 * that can be relied on. `deduct`, where given, undoes `combine`: deduct(combine(a, b), b) must equal a. Sliding windows of
 * many panes then go on from the window before, instead of combining all of their panes again.
 */
export interface CustomAggregate<Row, Accumulator, Result> {
  create(): Accumulator
  add(accumulator: Accumulator, row: Row): Accumulator
  combine(accumulator: Accumulator, other: Accumulator): Accumulator
  deduct?(accumulator: Accumulator, other: Accumulator): Accumulator
  finish(accumulator: Accumulator): Result
}

export interface Aggregate<in Row, out Result> {
  readonly kind: 'aggregate'
  readonly operation: AggregateOperation
  readonly of: ((row: Row) => unknown) | undefined
  readonly custom?: CustomAggregate<never, unknown, unknown>
  readonly '~result'?: () => Result
}

export type Aggregates<Row> = Readonly<Record<string, Aggregate<Row, unknown>>>
export type ResultOf<A> = { readonly [N in keyof A]: A[N] extends Aggregate<never, infer R> ? R : never }

/** An aggregate that this package does not have: `defineAggregate({ create: () => ({ n: 0 }), add: ..., combine: ..., finish: ... })`. */
export function defineAggregate<Row, Accumulator, Result>(custom: CustomAggregate<Row, Accumulator, Result>): Aggregate<Row, Result> {
  refuseUnknownOptions('define an aggregate', custom, ['create', 'add', 'combine', 'deduct', 'finish'])
  for (const part of ['create', 'add', 'combine', 'finish', 'deduct'] as const) {
    if (part === 'deduct' && custom.deduct === undefined) continue
    if (typeof custom[part] !== 'function') throw invalidArgument(`Cannot define an aggregate: ${part} must be a function`)
    refuseAsync(custom[part], `Cannot define an aggregate: ${part}`)
  }
  return { kind: 'aggregate', operation: 'custom', of: undefined, custom: custom as CustomAggregate<never, unknown, unknown> }
}

/** Sum of numbers, 0 over none. Sums of integers are exact and do not depend on order; sums of fractions depend on it in their last digits. */
export function sum<Row>(of: (row: Row) => number): Aggregate<Row, number> {
  return { kind: 'aggregate', operation: 'sum', of }
}

/** Number of rows. */
export function count(): Aggregate<unknown, number> {
  return { kind: 'aggregate', operation: 'count', of: undefined }
}

/** Number of different values, exact: every value is kept as long as the aggregate lives. */
export function countDistinct<Row>(of: (row: Row) => Scalar): Aggregate<Row, number> {
  return { kind: 'aggregate', operation: 'countDistinct', of }
}

/** Greatest value; strings compare by code unit. */
export function max<Row, T extends number | string>(of: (row: Row) => T): Aggregate<Row, T | undefined> {
  return { kind: 'aggregate', operation: 'max', of }
}

/** Smallest value; strings compare by code unit. */
export function min<Row, T extends number | string>(of: (row: Row) => T): Aggregate<Row, T | undefined> {
  return { kind: 'aggregate', operation: 'min', of }
}

/** Arithmetic mean; undefined over no rows. */
export function avg<Row>(of: (row: Row) => number): Aggregate<Row, number | undefined> {
  return { kind: 'aggregate', operation: 'avg', of }
}
