/**
 * Counts operations taken and not yet answered, and the bytes that are held for them (batches and uploads), over all pipes of the
 * shard. At either bound what is new is refused with RESOURCE_EXHAUSTED before any work; the `refused` counter shows it. While the
 * shard stops, everything new is refused with UNAVAILABLE.
 */
import { formatByteSize } from '../base/byte-size.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { NearstateError } from '../base/errors.ts'
import { UploadBudget } from '../wire/chunks.ts'

class ByteBudget {
  readonly #max: number
  #held = 0

  constructor(max: number) {
    this.#max = max
  }

  take(bytes: number): NearstateError | undefined {
    if (this.#held + bytes > this.#max) {
      return new NearstateError(
        'RESOURCE_EXHAUSTED',
        `Cannot take ${formatByteSize(bytes)}: ${formatByteSize(this.#held)} wait on this shard, limit is ${formatByteSize(this.#max)}; send less at a time`,
      )
    }
    this.#held += bytes
    return undefined
  }

  give(bytes: number): void {
    this.#held -= bytes
  }
}

export class Admission {
  readonly #max: number
  /** Keys and values of queued batches. */
  readonly #batches: ByteBudget
  /** Apart, so that uploads which nobody ends stop no plain operation. */
  readonly uploads: UploadBudget
  #underWay = 0
  #stopping = false
  #onIdle: (() => void) | undefined
  operations = 0
  refused = 0

  constructor(queuedOperationsMax: number, queuedMaxBytes: number, clock: Clock = systemClock) {
    this.#max = queuedOperationsMax
    this.#batches = new ByteBudget(queuedMaxBytes)
    this.uploads = new UploadBudget(queuedMaxBytes, clock)
  }

  /** Admits `count` operations and their bytes, or answers why not. */
  admit(count: number, bytes: number): NearstateError | undefined {
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
    const refusal = this.#batches.take(bytes)
    if (refusal === undefined) this.#underWay += count
    else this.refused += count
    return refusal
  }

  /** Bytes that were admitted are not held any more. */
  releaseBytes(bytes: number): void {
    this.#batches.give(bytes)
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
