/** Sources of one's own: user code that says what follows a position. */
import type { Duration } from '../../base/duration.ts'
import { parseDuration } from '../../base/duration.ts'
import { invalidArgument } from '../../base/errors.ts'
import type { SplitPosition } from '../source.ts'
import type { AsyncCall } from './async-options.ts'
import type { Source } from './source-descriptors.ts'
import { refuseUnknownOptions } from './unknown-options.ts'

export interface CustomSource<Row, Position extends SplitPosition> {
  /** Parts that are read side by side, by name; default: one. */
  readonly splits?: readonly string[]
  /**
   * The rows of a split from a position on (undefined: its beginning), and the position behind them. Called again and again, one call
   * after the other. After a restart it is asked for a position that it gave before, and must answer with the same rows in the same order.
   * No rows: it is asked again after `pollEvery`.
   */
  read(position: Position | undefined, call: AsyncCall, split: string): Promise<SourceRead<Row, Position>>
  /** Default '1s'. */
  readonly pollEvery?: Duration
}

export interface SourceRead<Row, Position> {
  readonly rows: readonly Row[]
  /** Plain data; undefined: these are the last rows of the split. */
  readonly next: Position | undefined
}

/** What the shell needs to read one. */
export interface CustomReading {
  readonly read: (position: SplitPosition | undefined, call: AsyncCall, split: string) => unknown
  readonly pollEveryMs: number
}

export const customSplitsMax = 1000

/** A source of one's own. User code has `call.fetch` to reach the outside with. */
export function defineSource<Row, Position extends SplitPosition = SplitPosition>(custom: CustomSource<Row, Position>): Source<Row> {
  refuseUnknownOptions('define a source', custom, ['splits', 'read', 'pollEvery'])
  const { splits = ['all'], read, pollEvery = '1s' } = custom
  if (typeof read !== 'function') throw invalidArgument('Cannot define a source: read must be a function')
  const areNames = Array.isArray(splits) && splits.every(name => typeof name === 'string' && name !== '')
  if (!areNames || splits.length === 0 || splits.length > customSplitsMax || new Set(splits).size < splits.length)
    throw invalidArgument(`Cannot define a source: splits must be 1 to ${customSplitsMax} different names`)
  const pollEveryMs = parseDuration(pollEvery, 'pollEvery')
  if (pollEveryMs < 1) throw invalidArgument(`Cannot define a source: pollEvery is "${pollEvery}", at least "1ms" is wanted`)
  return {
    kind: 'source',
    connector: 'custom',
    options: { splits: [...splits] },
    decode: undefined,
    custom: { read: (position, call, split) => custom.read(position as Position | undefined, call, split), pollEveryMs },
  }
}
