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

interface Recorded extends TestEvent {
  readonly attempt: number
  /** The last barrier that had passed the stage before it. */
  readonly after: number
}

/**
 * All that one stage has handed on, over all shards, in the order in which their units returned. What was handed on after the
 * checkpoint that a restart goes back to is taken out: the replay hands it on again.
 */
export class Recording {
  readonly events: Recorded[] = []
  #taken = 0

  /** What came since the last call. */
  take(): readonly TestEvent[] {
    const from = this.#taken
    this.#taken = this.events.length
    return this.events.slice(from)
  }

  /** A new attempt goes on from checkpoint n of this attempt. */
  backTo(attempt: number, n: number): void {
    const isKept = (event: Recorded): boolean => event.attempt < attempt || (event.attempt === attempt && event.after < n)
    const takenAndKept = this.events.slice(0, this.#taken).filter(isKept).length
    const kept = this.events.filter(isKept)
    this.events.splice(0, this.events.length, ...kept)
    this.#taken = takenAndKept
  }
}

export class Tap extends Operator {
  readonly #recording: Recording
  readonly #shard: number
  readonly #isKeyed: boolean
  readonly #attempt: number
  #after = 0
  #pending: Recorded[] = []

  constructor(stage: number, unit: Unit, recording: Recording, shard: number, attempt: number, isKeyed: boolean) {
    super(stage, unit)
    this.#recording = recording
    this.#shard = shard
    this.#attempt = attempt
    this.#isKeyed = isKeyed
  }

  /** A barrier has passed the stage that it looks at. */
  override passBarrier(n: number): void {
    this.#after = n
  }

  /** Counts nothing and takes no blame: it is no stage. */
  override accept(batch: Batch): void {
    this.process(batch)
  }

  protected process(batch: Batch): void {
    for (let at = 0; at < batch.size; at += 1) {
      const key = this.#isKeyed ? batch.keys[at] : undefined
      this.#pending.push({
        row: batch.rows[at],
        time: batch.times[at] as number,
        key,
        shard: this.#shard,
        attempt: this.#attempt,
        after: this.#after,
      })
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
