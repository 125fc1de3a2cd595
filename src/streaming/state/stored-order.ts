/**
 * What a restored attempt finds in the store of an ordered table (timers, panes), earliest first, in pieces: recovery reads only
 * what becomes due, when it becomes due.
 *
 * Each partition has its own place; `nextTime` is the least of them. What this attempt itself writes in front of a place may come too:
 * the table has it in memory and passes over it. Beyond the greatest time that was written before the restore (`kept`) nothing is read.
 */
import type { StateRecord } from '../ports.ts'
import { afterKey, tableStart, timeOfKey } from './record-key.ts'
import type { StageState } from './stage-state.ts'

export interface PartitionRecords {
  readonly partition: number
  readonly records: readonly StateRecord[]
}

const done = Number.POSITIVE_INFINITY

export class StoredOrder {
  readonly #state: StageState
  readonly #table: number
  readonly #end: Uint8Array
  /** Greatest time that a restored record can have, and the greatest of those and what was laid down since. */
  readonly #until: number
  #greatest: number
  #from: Uint8Array[] | undefined
  #times: Float64Array = new Float64Array(0)
  #next = 0
  #nextTime = Number.NEGATIVE_INFINITY

  constructor(state: StageState, table: number) {
    this.#state = state
    this.#table = table
    this.#end = tableStart(table + 1)
    const name = `until ${table}`
    this.#until = state.isFresh ? Number.NEGATIVE_INFINITY : (state.kept(name) ?? Number.NEGATIVE_INFINITY)
    this.#greatest = this.#until
    if (this.#until === Number.NEGATIVE_INFINITY) this.#nextTime = done
    state.keep(name, () => this.#greatest)
  }

  /** A record of this time is laid down. */
  laidDown(time: number): void {
    if (time > this.#greatest) this.#greatest = time
  }

  /** A record of this time may be in the store since before the restore. */
  mayHold(time: number): boolean {
    return time <= this.#until
  }

  /** Nothing before it is in the store but not read; infinite: nothing at all. */
  get nextTime(): number {
    if (this.#nextTime === Number.NEGATIVE_INFINITY) this.#open()
    return this.#nextTime
  }

  /** Something of this time or an earlier one is in the store and not read. (An end of input asks with an infinite time.) */
  hasUntil(time: number): boolean {
    const next = this.nextTime
    return next <= time && next !== done
  }

  /** The next records, of the partition whose turn it is. */
  take(limit: number): PartitionRecords {
    const at = this.#next
    const partition = this.#state.partitions[at] as number
    const from = this.#from?.[at] as Uint8Array
    const found = this.#state.scan(partition, from, this.#end, limit + 1)
    const records = found.slice(0, limit)
    const last = records.at(-1)
    const following = found[limit]
    if (last !== undefined && this.#from !== undefined) this.#from[at] = afterKey(last.key)
    this.#times[at] = following === undefined ? done : timeOfKey(following.key)
    this.#least()
    return { partition, records }
  }

  #open(): void {
    const { partitions } = this.#state
    const from = tableStart(this.#table)
    this.#from = partitions.map(() => from)
    this.#times = new Float64Array(partitions.length)
    for (const [at, partition] of partitions.entries()) {
      const first = this.#state.scan(partition, from, this.#end, 1)[0]
      this.#times[at] = first === undefined ? done : timeOfKey(first.key)
    }
    this.#least()
  }

  #least(): void {
    let least = done
    for (let at = 0; at < this.#times.length; at += 1) {
      const time = this.#times[at] as number
      if (time >= least) continue
      least = time
      this.#next = at
    }
    this.#nextTime = least > this.#until ? done : least
  }
}
