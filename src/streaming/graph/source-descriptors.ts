/**
 * Sources as the builder writes them: plain options for the node's connector, and the user code that makes rows of its records.
 *
 * `files`: records are objects of strings (CSV) or parsed JSON; `row` makes rows of them. Options: `path`, `format`, and where given
 * `ratePerSecond` over all files.
 * `generator`: the connector hands out event numbers as records (split i of n: i, i + n, i + 2n, ... below `count`), paced over
 * all splits by `ratePerSecond`; `events` makes the rows. Options: `splits`, and where given `count`, `ratePerSecond`.
 */
import { invalidArgument } from '../../base/errors.ts'
import type { SourceOptions } from '../source.ts'
import { isSchema, type Schema } from '../../base/schema.ts'
import { checkValue } from './broken-row.ts'
import type { CustomReading } from './custom-source.ts'
import { refuseUnknownOptions } from './unknown-options.ts'

export interface Source<Row> {
  readonly kind: 'source'
  readonly connector: string
  readonly options: SourceOptions
  /** Makes a row of a record; undefined: the record is the row. */
  readonly decode: ((record: unknown) => unknown) | undefined
  /** Of `defineSource`. */
  readonly custom?: CustomReading
  readonly '~out'?: () => Row
}

/** A CSV row without a schema: every field is text. */
export type TextRow = Readonly<Record<string, string>>

/** A path, a folder, a glob, or a list of them; one split per file. */
export interface FilesOptions<Row> {
  readonly path: string | readonly string[]
  readonly format: 'csv' | 'jsonl'
  /** Rows that it refuses go to the job's dead letters, with file and line. */
  readonly row?: Schema<Row>
  /** Records per second over all files, each in proportion to its size; without it as fast as they are taken. */
  readonly ratePerSecond?: number
}

export function files<Row>(options: FilesOptions<Row> & { readonly row: Schema<Row> }): Source<Row>
export function files(options: FilesOptions<TextRow> & { readonly format: 'csv' }): Source<TextRow>
export function files(options: FilesOptions<unknown>): Source<unknown>
export function files(options: FilesOptions<unknown>): Source<unknown> {
  refuseUnknownOptions('make a files source', options, ['path', 'format', 'row', 'ratePerSecond'])
  const { path, format, row, ratePerSecond } = options
  const paths = typeof path === 'string' ? [path] : path
  if (!Array.isArray(paths) || paths.length === 0 || paths.some(one => typeof one !== 'string' || one === '')) {
    throw invalidArgument('Cannot make a files source: path must be a path or glob, or a list of at least one')
  }
  if (format !== 'csv' && format !== 'jsonl') {
    throw invalidArgument(`Cannot make a files source: format is ${JSON.stringify(format)}, "csv" or "jsonl" is wanted`)
  }
  if (row !== undefined && !isSchema(row)) throw invalidArgument('Cannot make a files source: row is no Standard Schema')
  checkRate('a files', ratePerSecond)
  return {
    kind: 'source',
    connector: 'files',
    options: { path, format, ...(ratePerSecond === undefined ? {} : { ratePerSecond }) },
    decode: row === undefined ? undefined : record => checkValue(row, record),
  }
}

export interface GeneratorOptions<Row> {
  /** The row of event number n, from 0. Must depend on n alone. */
  readonly events: (n: number) => Row
  /** Events in all; without it the source never ends. */
  readonly count?: number
  /** Events per second over all splits; without it as fast as they are taken. */
  readonly ratePerSecond?: number
  /** Number of tasks that generate side by side, 1 to 64; default 4. */
  readonly splits?: number
}

export const generatorSplitsMax = 64

export function generator<Row>(options: GeneratorOptions<Row>): Source<Row> {
  refuseUnknownOptions('make a generator source', options, ['events', 'count', 'ratePerSecond', 'splits'])
  const { events, count, ratePerSecond, splits = 4 } = options
  if (typeof events !== 'function') throw invalidArgument('Cannot make a generator source: events must be a function of the event number')
  if (count !== undefined && !(Number.isSafeInteger(count) && count >= 0)) {
    throw invalidArgument(`Cannot make a generator source: count is ${count}, a whole number of at least 0 is wanted`)
  }
  checkRate('a generator', ratePerSecond)
  if (!(Number.isSafeInteger(splits) && splits >= 1 && splits <= generatorSplitsMax)) {
    throw invalidArgument(`Cannot make a generator source: splits is ${splits}, 1 to ${generatorSplitsMax} are wanted`)
  }
  return {
    kind: 'source',
    connector: 'generator',
    options: { splits, ...(count === undefined ? {} : { count }), ...(ratePerSecond === undefined ? {} : { ratePerSecond }) },
    decode: record => events(record as number),
  }
}

function checkRate(what: string, ratePerSecond: number | undefined): void {
  if (ratePerSecond !== undefined && !(Number.isFinite(ratePerSecond) && ratePerSecond > 0))
    throw invalidArgument(`Cannot make ${what} source: ratePerSecond is ${ratePerSecond}, a number above 0 is wanted`)
}
