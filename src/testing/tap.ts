/** What a stage hands on, written down. A tap is one more consumer of an operator: it sees what a unit has done when the unit has returned. */
import type { Batch } from '../streaming/operators/batch.ts'
import { Operator } from '../streaming/operators/operator.ts'
import type { Unit } from '../streaming/operators/unit.ts'

/** A row that a stage handed on. */
export interface TestEvent<Row = unknown> {
  readonly row: Row
  /** Event time in milliseconds since the epoch. */
  readonly time: number
  /** Key of a keyed stage; else undefined. */
  readonly key: unknown
  /** Index of the shard. */
  readonly shard: number
}

/** All that one stage has handed on, over all shards, in the order in which their units returned. */
export class Recording {
  readonly events: TestEvent[] = []
  #taken = 0

  /** What came since the last call. */
  take(): readonly TestEvent[] {
    const from = this.#taken
    this.#taken = this.events.length
    return this.events.slice(from)
  }
}

export class Tap extends Operator {
  readonly #recording: Recording
  readonly #shard: number
  readonly #isKeyed: boolean
  #pending: TestEvent[] = []

  constructor(stage: number, unit: Unit, recording: Recording, shard: number, isKeyed: boolean) {
    super(stage, unit)
    this.#recording = recording
    this.#shard = shard
    this.#isKeyed = isKeyed
  }

  /** Counts nothing and takes no blame: it is no stage. */
  override accept(batch: Batch): void {
    this.process(batch)
  }

  protected process(batch: Batch): void {
    for (let at = 0; at < batch.size; at += 1) {
      const key = this.#isKeyed ? batch.keys[at] : undefined
      this.#pending.push({ row: batch.rows[at], time: batch.times[at] as number, key, shard: this.#shard })
    }
  }

  override commit(): void {
    for (const event of this.#pending) this.#recording.events.push(event)
    this.#pending = []
  }

  override rollback(): void {
    this.#pending = []
  }
}
