/**
 * The terms as primary in which an attempt of a job uses partitions. A partition that had another primary in between, or is not served
 * now, is refused even when this shard is its primary again: what the attempt wrote may be lost, and another attempt may have begun.
 */
import { NearstateError } from '../base/errors.ts'
import type { HeldPartition } from './held-partition.ts'
import type { Partitions } from './partitions.ts'

export class Tenure {
  readonly #partitions: Partitions
  readonly #terms: ReadonlyMap<number, number>
  readonly #job: string

  /** Throws UNAVAILABLE when this shard does not serve one of them now. */
  constructor(job: string, partitions: Partitions, wanted: readonly number[]) {
    this.#job = job
    this.#partitions = partitions
    this.#terms = new Map(wanted.map(partition => [partition, this.#serving(partition).replica.term]))
  }

  /** Throws UNAVAILABLE when the term has ended, or the partition is not served for the moment. */
  held(partition: number): HeldPartition {
    const held = this.#serving(partition)
    if (held.replica.term !== this.#terms.get(partition)) throw this.#gone(partition)
    return held
  }

  /** The term goes on, and the partition is served. */
  holds(partition: number): boolean {
    const held = this.#partitions.find(partition)
    return held?.isServing === true && held.replica.term === this.#terms.get(partition)
  }

  #serving(partition: number): HeldPartition {
    const held = this.#partitions.find(partition)
    if (held?.isServing === true) return held
    throw this.#gone(partition)
  }

  #gone(partition: number): NearstateError {
    return new NearstateError(
      'UNAVAILABLE',
      `Cannot use partition ${partition} for job "${this.#job}" here: it is not served by this shard any more, or not without a break`,
    )
  }
}
