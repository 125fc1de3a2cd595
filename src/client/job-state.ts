/**
 * The state of a job's stage as a map that is only read: `grid.jobs.get('fraud').state('velocity', Customer)`.
 *
 * By default it is that of the last checkpoint. Each value, and each page of a scan, is of one checkpoint; while the job runs, two of them may be of
 * two. A suspended job stands still.
 */
import { invalidArgument } from '../base/errors.ts'
import { encodeKey } from '../keys/encode-key.ts'
import { formatKeyCodec, type KeyCodec, parseKeyCodec } from '../keys/key-codec.ts'
import type { AnyKey, KeyOf } from '../keys/key-space.ts'
import { partitionOfKey } from '../keys/partition-of.ts'
import { stateValueOf } from '../wire/state-values.ts'
import { decodeValue } from '../wire/value-codec.ts'
import { type CallOptions, checkOptions, signalOf } from './call-options.ts'
import { inGroups, pagesOf, pairsOf } from './partition-pages.ts'
import type { StageReader } from './stage-reader.ts'

export interface StateReadOptions extends CallOptions {
  /**
   * `checkpoint` (default): as the last checkpoint has it, which a crash takes nothing from. `live`: as the stage works with it at this moment, which a
   * crash may take back; while the job does not run there is none.
   */
  readonly read?: 'checkpoint' | 'live'
}

export interface StateScanOptions extends CallOptions {
  /** At most so many keys. */
  readonly limit?: number
}

export interface StateEntry<V> {
  readonly value: V
  /** Number of the checkpoint that has it, as in `checkpoint.id` of the job's status; undefined: read live. */
  readonly checkpoint: number | undefined
}

const readNames = ['signal', 'timeout', 'read']
/** Calls of one getAll that are on their way at once. */
const groupSize = 64

export class JobStateMap<S extends AnyKey, V> {
  readonly job: string
  readonly stage: string
  readonly #key: S | undefined
  readonly #reader: StageReader

  /** Made by `JobHandle.state`. */
  constructor(job: string, stage: string, key: S | undefined, reader: StageReader) {
    this.job = job
    this.stage = stage
    this.#key = key
    this.#reader = reader
  }

  /** The state of the key, or undefined. */
  async get(key: KeyOf<S>, options?: StateReadOptions): Promise<V | undefined> {
    return (await this.getEntry(key, options))?.value
  }

  /** The state of the key and the checkpoint that it is of, or undefined. */
  async getEntry(key: KeyOf<S>, options?: StateReadOptions): Promise<StateEntry<V> | undefined> {
    checkOptions('get', options, readNames)
    const live = isLive(options?.read)
    const bytes = Buffer.from(encodeKey(await this.keyCodec(options), key))
    const partition = partitionOfKey(await this.keyCodec(options), bytes, 0, bytes.length, this.#reader.partitionCount)
    const { description, checkpoint, value } = await this.#reader.read({ partition, key: bytes, live }, callOf(options))
    if (value === undefined) return undefined
    return { value: stateValueOf(description, decodeValue(value)) as V, checkpoint: live ? undefined : checkpoint.n }
  }

  /** The keys that have state, as given. */
  async getAll(keys: Iterable<KeyOf<S>>, options?: StateReadOptions): Promise<Map<KeyOf<S>, V>> {
    checkOptions('getAll', options, readNames)
    const found = new Map<KeyOf<S>, V>()
    for (const group of inGroups(keys, groupSize)) {
      const values = await Promise.all(group.map(key => this.get(key, options)))
      group.forEach((key, i) => {
        const value = values[i]
        if (value !== undefined) found.set(key, value)
      })
    }
    return found
  }

  /** All keys and their state as checkpoints have it, in no order that means anything, page by page; `timeout` is that of one page. */
  async *scan(options: StateScanOptions = {}): AsyncGenerator<[KeyOf<S>, V]> {
    const { limit = Number.POSITIVE_INFINITY } = options
    if (limit !== Number.POSITIVE_INFINITY && !(Number.isSafeInteger(limit) && limit >= 0))
      throw invalidArgument(`Cannot scan state of stage "${this.stage}": limit is ${String(limit)}, a whole number is wanted`)
    let left = limit
    if (left === 0) return
    for await (const [key, record] of this.#pairs(options, false)) {
      yield [key, stateValueOf(await this.#reader.describe(), record) as V]
      left -= 1
      if (left === 0) return
    }
  }

  /** Number of keys as checkpoints have them; it reads all of them, though not their values. */
  async size(options?: CallOptions): Promise<number> {
    let keys = 0
    for await (const _ of this.#pairs(options, true)) keys += 1
    return keys
  }

  /** How keys are written: that of the key space given, which the stage must have, or the stage's own. */
  async keyCodec(options?: CallOptions): Promise<KeyCodec> {
    const description = await this.#reader.describe(callOf(options))
    const { keySpace, keyCodec } = description
    if (keyCodec === undefined)
      throw invalidArgument(`Cannot read stage "${this.stage}" of job "${this.job}" as a map: it collects rows; use rows`)
    if (this.#key === undefined) return parseKeyCodec(keyCodec)
    const codec = formatKeyCodec(this.#key.codec)
    if (this.#key.name === keySpace && codec === keyCodec) return this.#key.codec
    throw invalidArgument(
      `Cannot read stage "${this.stage}" of job "${this.job}" by keys of space "${this.#key.name}" (${codec}): its keys are of space "${keySpace}" (${keyCodec})`,
    )
  }

  async *#pairs(options: StateScanOptions | undefined, keysOnly: boolean): AsyncGenerator<[KeyOf<S>, unknown]> {
    checkOptions(keysOnly ? 'size' : 'scan', options, keysOnly ? ['signal', 'timeout'] : ['signal', 'timeout', 'limit'], {
      read: 'only single keys can be read live',
    })
    const codec = await this.keyCodec(options)
    const limit = Math.min(options?.limit ?? 0, 1000)
    const ask = async (partition: number, cursor: Buffer): Promise<Buffer> =>
      (await this.#reader.read({ partition, cursor, limit, keysOnly }, callOf(options))).page
    yield* pagesOf(this.#reader.partitionCount, ask, pairsOf<KeyOf<S>>(codec))
  }
}

function isLive(read: unknown): boolean {
  if (read === undefined || read === 'checkpoint') return false
  if (read === 'live') return true
  throw invalidArgument(`Cannot read state as "${String(read)}": "checkpoint" or "live" is wanted`)
}

const callOf = (options: CallOptions | undefined): CallOptions => ({
  ...signalOf(options),
  ...(options?.timeout === undefined ? {} : { timeout: options.timeout }),
})
