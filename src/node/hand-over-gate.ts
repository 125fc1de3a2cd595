/**
 * When planned hand-overs may go out, while stream jobs run: in batches, between a last checkpoint and the next attempt of every job, so
 * that nothing is replayed (protocols.md section 7).
 *
 *   closed --orders are there, a batch is due--> holding --all jobs stand still, or 10 s--> open --no orders left, or 10 s--> closed
 *
 * Without jobs it is always open. Jobs without checkpoints are not waited for: a hand-over fails them.
 */
import type { Clock } from '../base/clock.ts'

/** The job master. */
export interface HeldJobs {
  /** There are jobs with checkpoints. */
  readonly canHold: boolean
  /** Resolves when all of them stand still with their work in a checkpoint, or have ended. */
  holdForMove(): Promise<void>
  release(): void
}

/** A batch ends, and this long after it no other begins while copies are still being made. */
const betweenBatchesMs = 10_000
/** The first orders wait so long for company. */
const gatherMs = 1000
const holdMaxMs = 10_000
const openMaxMs = 10_000

export class HandOverGate {
  readonly #clock: Clock
  readonly #jobs: HeldJobs
  readonly #onOpen: () => void
  #state: 'closed' | 'holding' | 'open' = 'closed'
  #seenAtMs: number | undefined
  #sinceMs = Number.NEGATIVE_INFINITY

  /** `onOpen`: it has opened; ask again. */
  constructor(clock: Clock, jobs: HeldJobs, onOpen: () => void) {
    this.#clock = clock
    this.#jobs = jobs
    this.#onOpen = onOpen
  }

  /** Whether so many orders may be given now. Called every now and then, also when there are none. */
  passes(orders: number, isCopying: boolean): boolean {
    const nowMs = this.#clock.nowMs()
    if (this.#state === 'open' && (orders === 0 || nowMs - this.#sinceMs > openMaxMs)) this.#close(nowMs)
    if (orders === 0) {
      this.#seenAtMs = undefined
      return false
    }
    if (this.#state === 'open') return true
    if (this.#state === 'closed') {
      if (!this.#jobs.canHold) return true
      this.#seenAtMs ??= nowMs
      const dueMs = Math.max(this.#seenAtMs + gatherMs, this.#sinceMs + betweenBatchesMs)
      if (!isCopying || nowMs >= dueMs) this.#hold()
    }
    return false
  }

  #hold(): void {
    this.#state = 'holding'
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>(resolve => {
      timer = setTimeout(resolve, holdMaxMs)
    })
    void Promise.race([this.#jobs.holdForMove(), late]).then(() => {
      clearTimeout(timer)
      this.#state = 'open'
      this.#sinceMs = this.#clock.nowMs()
      this.#onOpen()
    })
  }

  #close(nowMs: number): void {
    this.#state = 'closed'
    this.#seenAtMs = undefined
    this.#sinceMs = nowMs
    this.#jobs.release()
  }
}
