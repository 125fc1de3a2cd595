/**
 * Counts operations taken and not yet answered, over all pipes of the shard. At the bound new batches are refused with
 * RESOURCE_EXHAUSTED before any work; the `refused` counter shows it. While the shard stops, everything new is refused with UNAVAILABLE.
 */
import { NearstateError } from '../base/errors.ts'

export class Admission {
  readonly #max: number
  #underWay = 0
  #stopping = false
  #onIdle: (() => void) | undefined
  operations = 0
  refused = 0

  constructor(queuedOperationsMax: number) {
    this.#max = queuedOperationsMax
  }

  /** Admits `count` operations, or answers why not. */
  admit(count: number): NearstateError | undefined {
    if (this.#stopping) {
      this.refused += count
      return new NearstateError('UNAVAILABLE', 'Cannot take operations: the node is stopping')
    }
    if (this.#underWay + count > this.#max) {
      this.refused += count
      return new NearstateError(
        'RESOURCE_EXHAUSTED',
        `Cannot take ${count} operations: ${this.#underWay} are queued on this shard, limit is ${this.#max}; send fewer at a time`,
      )
    }
    this.#underWay += count
    return undefined
  }

  /** `count` operations were answered, or their client is gone. */
  release(count: number): void {
    this.#underWay -= count
    this.operations += count
    if (this.#underWay === 0) this.#onIdle?.()
  }

  /** Refuses everything from now on; resolves when nothing is under way. */
  stop(): Promise<void> {
    this.#stopping = true
    if (this.#underWay === 0) return Promise.resolve()
    return new Promise(resolve => {
      this.#onIdle = resolve
    })
  }
}
