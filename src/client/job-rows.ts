/**
 * The rows that a `collect()` sink has in committed checkpoints: exactly those of the last one when the reading begins, in order of
 * checkpoints; within one, by shard, and there in the order of their coming.
 *
 * A shard's rows are in one partition, which nobody can tell from outside: the first page of all is asked for, and those that have rows are
 * merged by their keys, which begin with attempt and checkpoint.
 */
import { invalidArgument } from '../base/errors.ts'
import { ScanPage } from '../wire/generated/nearstate/v1/data.ts'
import { boundsOf } from '../wire/operations.ts'
import { rowsOf } from '../wire/state-values.ts'
import { decodeValue } from '../wire/value-codec.ts'
import { type CallOptions, checkOptions } from './call-options.ts'
import type { StageReader } from './stage-reader.ts'

export interface RowOptions extends CallOptions {
  /** At most so many rows. */
  readonly limit?: number
}

/** Partitions whose first page is asked for at once. */
const askedAtOnce = 16

export async function* collectedRows(reader: StageReader, stage: string, options: RowOptions = {}): AsyncGenerator {
  checkOptions('rows', options, ['signal', 'timeout', 'limit'])
  const { limit = Number.POSITIVE_INFINITY, ...call } = options
  if (limit !== Number.POSITIVE_INFINITY && !(Number.isSafeInteger(limit) && limit >= 0))
    throw invalidArgument(`Cannot read rows of stage "${stage}": limit is ${String(limit)}, a whole number is wanted`)
  if ((await reader.describe(call)).kind !== 'collect')
    throw invalidArgument(`Cannot read rows of stage "${stage}": it is no collect() sink; its state is read with state`)
  let left = limit
  if (left === 0) return
  const heads = await firstPages(reader, call)
  for (;;) {
    const head = least(heads)
    if (head === undefined) return
    for (const row of rowsOf(head.take())) {
      yield row
      left -= 1
      if (left === 0) return
    }
    if (head.isEmpty && !(await head.next())) heads.splice(heads.indexOf(head), 1)
  }
}

async function firstPages(reader: StageReader, call: CallOptions): Promise<PartitionRows[]> {
  // Whatever is committed meanwhile is for the next reader.
  const { checkpoint } = await reader.read({ partition: 0, limit: 1 }, call)
  const heads: PartitionRows[] = []
  for (let from = 0; from < reader.partitionCount; from += askedAtOnce) {
    const count = Math.min(askedAtOnce, reader.partitionCount - from)
    const some = Array.from(
      { length: count },
      (_, i) => new PartitionRows(async cursor => (await reader.read({ partition: from + i, cursor, upTo: checkpoint }, call)).page),
    )
    const haveRows = await Promise.all(some.map(partition => partition.next()))
    heads.push(...some.filter((_, i) => haveRows[i]))
  }
  return heads
}

/** The records of one partition, a page at a time. */
class PartitionRows {
  readonly #ask: (cursor: Buffer) => Promise<Buffer>
  #cursor: Buffer | undefined = Buffer.alloc(0)
  #records: { readonly key: Buffer; readonly value: Buffer }[] = []

  constructor(ask: (cursor: Buffer) => Promise<Buffer>) {
    this.#ask = ask
  }

  get isEmpty(): boolean {
    return this.#records.length === 0
  }

  get key(): Buffer {
    return (this.#records[0] as { readonly key: Buffer }).key
  }

  /** The first record, decoded. */
  take(): unknown {
    return decodeValue((this.#records.shift() as { readonly value: Buffer }).value)
  }

  /** Asks for pages until there is a record; false: there are no more. */
  async next(): Promise<boolean> {
    while (this.isEmpty && this.#cursor !== undefined) {
      const bytes = await this.#ask(this.#cursor)
      const page = ScanPage.decode(bytes)
      const { keyLengths, keys, valueLengths, values } = page
      const keyBounds = boundsOf('keys', keyLengths, keyLengths.length, keys.length)
      const valueBounds = boundsOf('values', valueLengths, keyLengths.length, values.length)
      this.#records = keyLengths.map((_, i) => ({
        key: keys.subarray(keyBounds[i], keyBounds[i + 1]),
        value: values.subarray(valueBounds[i], valueBounds[i + 1]),
      }))
      this.#cursor = page.cursor.length === 0 ? undefined : page.cursor
    }
    return !this.isEmpty
  }
}

function least(heads: readonly PartitionRows[]): PartitionRows | undefined {
  let least: PartitionRows | undefined
  for (const head of heads) if (least === undefined || Buffer.compare(head.key, least.key) < 0) least = head
  return least
}
