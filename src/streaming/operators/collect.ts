/**
 * collect(): rows for the program that submitted the job, kept with its state. A row is there when its checkpoint is committed, and
 * once: what a query of state sees of this stage are the rows.
 *
 * Record, at home in the partition of (stage, task): 0 | attempt | n | task | chunk -> [encoded rows].
 * Rows wait in memory for the next barrier: to stop what could add to them would stop the barrier behind it too. More than `rowsMax`
 * rows of one task fail the job, which bounds both.
 */
import { invalidArgument, NearstateError } from '../../base/errors.ts'
import { type HomeRecord, homeOf } from '../checkpoint/home.ts'
import type { RowCodec } from '../exchange/frame.ts'
import type { StateRecord } from '../ports.ts'
import { timedKey, writeTime } from '../state/record-key.ts'
import { Batch } from './batch.ts'
import { Operator } from './operator.ts'
import { StageFailure, type Unit } from './unit.ts'

export interface CollectOptions {
  readonly stageName: string
  readonly attempt: number
  /** The shard. */
  readonly task: string
  readonly codec: RowCodec
  readonly rowsMax?: number
}

const defaultRowsMax = 1_000_000
/** Of one record: whoever reads it gets it in one message. */
const chunkRows = 256
const chunkBytes = 1024 * 1024

export class CollectOperator extends Operator {
  readonly #options: CollectOptions
  readonly #laidDown = new Batch()
  #waiting: Uint8Array[] = []
  #passed: { readonly n: number; readonly rows: readonly Uint8Array[] }[] = []
  #count = 0

  constructor(stage: number, unit: Unit, options: CollectOptions) {
    super(stage, unit)
    this.#options = options
  }

  protected process(batch: Batch): void {
    const { codec } = this.#options
    let at = 0
    while (at < batch.size) {
      try {
        for (; at < batch.size; at += 1) {
          if (batch.rows[at] === undefined) throw invalidArgument('undefined cannot be collected')
          this.#laidDown.pushFrom(batch, at, codec.encode(batch.rows[at]))
        }
      } catch (thrown) {
        this.rowFailed(batch, at, thrown)
        at += 1
      }
    }
  }

  override commit(): void {
    const { rows, size } = this.#laidDown
    if (size === 0) return
    const { rowsMax = defaultRowsMax } = this.#options
    this.#count += size
    if (this.#count > rowsMax) {
      const error = new NearstateError(
        'RESOURCE_EXHAUSTED',
        `Cannot collect rows: one task has more than ${rowsMax}; use a map or a file sink`,
      )
      throw new StageFailure(this.stage, -1, error)
    }
    for (let at = 0; at < size; at += 1) this.#waiting.push(rows[at] as Uint8Array)
    const { rowsOut } = this.unit.counters
    rowsOut[this.stage] = (rowsOut[this.stage] as number) + size
    this.#laidDown.clear()
  }

  override rollback(): void {
    this.#laidDown.size = 0
  }

  override passBarrier(n: number): void {
    if (this.#waiting.length === 0) return
    this.#passed.push({ n, rows: this.#waiting })
    this.#waiting = []
  }

  /** Also those of a barrier that was given up before its records went out. */
  override takeRecords(partitions: number): readonly HomeRecord[] {
    const { stageName, attempt, task, codec } = this.#options
    const partition = homeOf(stageName, task, partitions)
    const records: HomeRecord[] = []
    for (const { n, rows } of this.#passed.splice(0)) {
      for (const [at, chunk] of chunksOf(rows).entries()) {
        const key = rowsKey(attempt, n, `${task}\n${String(at).padStart(6, '0')}`)
        records.push({ partition, stage: stageName, key, value: codec.encode(chunk) })
      }
    }
    return records
  }
}

function chunksOf(rows: readonly Uint8Array[]): readonly (readonly Uint8Array[])[] {
  const chunks: Uint8Array[][] = []
  let bytes = 0
  for (const row of rows) {
    const last = chunks.at(-1)
    bytes += row.length
    if (last === undefined || last.length === chunkRows || bytes > chunkBytes) {
      chunks.push([row])
      bytes = row.length
    } else last.push(row)
  }
  return chunks
}

/** The rows in a record of a collecting stage. */
export const collectedRows = ({ value }: StateRecord, codec: RowCodec): readonly unknown[] =>
  (codec.decode(value) as readonly Uint8Array[]).map(row => codec.decode(row))

const text = new TextEncoder()

function rowsKey(attempt: number, n: number, rest: string): Uint8Array {
  const name = text.encode(rest)
  const bytes = new Uint8Array(8 + name.length)
  writeTime(bytes, 0, n)
  bytes.set(name, 8)
  return timedKey(0, attempt, bytes)
}
