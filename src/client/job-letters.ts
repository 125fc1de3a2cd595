/**
 * The dead letters of a job: entries of the map `<job>.dead-letters`, which outlives the job. Listed and cleared as entries of any map are;
 * the job itself is asked only whether it is there, and for the names of its stages. Replaying them is job-replay.ts.
 */
import { invalidArgument, NearstateError } from '../base/errors.ts'
import type { KeySpace } from '../keys/key-space.ts'
import { type CallOptions, checkOptions, signalOf } from './call-options.ts'
import type { GridMap } from './grid-map.ts'
import { inGroups } from './partition-pages.ts'

/** A row that a stage could not process, or a record that was none. */
export interface DeadLetter {
  /** Of its entry in the map: `<origin>:<line>:<stage>`, or what names a row of no event. */
  readonly key: string
  /** The stage that refused it. */
  readonly stage: string
  /** Where its event was read: a file, or the split of a source; empty for a row of no event (a window, a timer). */
  readonly origin: string
  /** Of that file, from 1; of a generator n + 1. */
  readonly line: number
  readonly reason: string
  /** The row as the stage got it. */
  readonly row?: unknown
  /** In its place the text, where it was no row yet, or cannot be shown. */
  readonly raw?: string
  /** When it failed, in milliseconds since the epoch. */
  readonly at: number
  /**
   * What its stage needs to take it again; absent where it cannot. `time` is its event time, `key` that of its row where the stage has keys, `packed` the
   * row as MessagePack where `row` does not say all of it.
   */
  readonly replay?: { readonly time: number; readonly key?: unknown; readonly partition: number; readonly packed?: Uint8Array }
}

export interface DeadLetterOptions extends CallOptions {
  /** Only those of this stage. */
  readonly stage?: string
}

export interface ListDeadLettersOptions extends DeadLetterOptions {
  /** At most so many. */
  readonly limit?: number
}

export type LetterMap = Pick<GridMap<KeySpace<string, string>, Omit<DeadLetter, 'key'>>, 'scanEntries' | 'delete'>

export interface VersionedLetter {
  readonly key: string
  readonly value: Omit<DeadLetter, 'key'>
  readonly version: number
}

/** As the engine names it (streaming/graph/flow-builder.ts). */
export const letterMapName = (job: string): string => `${job}.dead-letters`

/** Deletes on their way at once. */
const groupSize = 1024

export class JobLetters {
  readonly #job: string
  readonly #map: LetterMap
  readonly #stageNames: (options: CallOptions) => Promise<readonly string[]>

  /** `stageNames` rejects with NOT_FOUND when there is no such job. */
  constructor(job: string, map: LetterMap, stageNames: (options: CallOptions) => Promise<readonly string[]>) {
    this.#job = job
    this.#map = map
    this.#stageNames = stageNames
  }

  async *list(options: ListDeadLettersOptions = {}): AsyncGenerator<DeadLetter> {
    checkOptions('deadLetters', options, ['signal', 'timeout', 'stage', 'limit'])
    const { limit = Number.POSITIVE_INFINITY } = options
    if (limit !== Number.POSITIVE_INFINITY && !(Number.isSafeInteger(limit) && limit >= 0))
      throw invalidArgument(`Cannot list dead letters of job "${this.#job}": limit is ${String(limit)}, a whole number is wanted`)
    let left = limit
    for await (const letter of this.#found('list', options)) {
      if (left === 0) return
      left -= 1
      yield letter
    }
  }

  /** Resolves to how many went. */
  async clear(options: DeadLetterOptions = {}): Promise<number> {
    checkOptions('clearDeadLetters', options, ['signal', 'timeout', 'stage'])
    const keys: string[] = []
    for await (const { key } of this.#found('clear', options)) keys.push(key)
    let gone = 0
    for (const group of inGroups(keys, groupSize)) {
      const were = await Promise.all(group.map(key => this.#map.delete(key, callOf(options))))
      gone += were.filter(was => was).length
    }
    return gone
  }

  async *#found(action: string, options: DeadLetterOptions): AsyncGenerator<DeadLetter> {
    for await (const { key, value } of this.entries(action, options)) yield { key, ...value }
  }

  /** Letters with their versions. NOT_FOUND, behind the last, when there is no such stage. */
  async *entries(action: string, options: DeadLetterOptions): AsyncGenerator<VersionedLetter> {
    const { stage } = options
    const names = await this.#stageNames(callOf(options))
    let isKnown = stage === undefined || names.includes(stage)
    for await (const { key, value, version } of this.#map.scanEntries(callOf(options))) {
      if (stage !== undefined && value.stage !== stage) continue
      // Of an earlier version of the job, perhaps.
      isKnown = true
      yield { key, value, version }
    }
    if (isKnown) return
    throw new NearstateError(
      'NOT_FOUND',
      `Cannot ${action} dead letters of stage "${stage ?? ''}" of job "${this.#job}": there is no such stage; its stages are ${names.join(', ')}`,
    )
  }
}

/** What the options say of each call. */
export const callOf = (options: CallOptions): CallOptions => ({
  ...signalOf(options),
  ...(options.timeout === undefined ? {} : { timeout: options.timeout }),
})
