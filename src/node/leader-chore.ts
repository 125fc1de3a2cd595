/** Work that the leader does over and over until nothing of it is left; retries grow from 1 s to 30 s apart. */
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../telemetry/logger.ts'

const retryMinMs = 1000
const retryMaxMs = 30_000

export class LeaderChore {
  readonly #once: () => Promise<boolean>
  readonly #log: Logger
  readonly #failed: string
  #leading = false
  #isUnderWay = false
  #isDirty = false
  #waiting = new AbortController()

  /** `once` answers false when something is left; `failed`: what the log says when it throws. */
  constructor(once: () => Promise<boolean>, log: Logger, failed: string) {
    this.#once = once
    this.#log = log
    this.#failed = failed
  }

  lead(): void {
    this.#leading = true
    this.poke()
  }

  stop(): void {
    this.#leading = false
    this.#waiting.abort()
  }

  /** There is something to do, at once. */
  poke(): void {
    this.#isDirty = true
    this.#waiting.abort()
    if (!this.#isUnderWay) void this.#work()
  }

  async #work(): Promise<void> {
    this.#isUnderWay = true
    let retryMs = retryMinMs
    while (this.#leading && this.#isDirty) {
      this.#isDirty = false
      this.#waiting = new AbortController()
      if (await this.#attempt()) retryMs = retryMinMs
      else {
        this.#isDirty = true
        const isPoked = await sleep(retryMs, false, { ref: false, signal: this.#waiting.signal }).catch(() => true)
        retryMs = isPoked ? retryMinMs : Math.min(retryMs * 2, retryMaxMs)
      }
    }
    this.#isUnderWay = false
  }

  async #attempt(): Promise<boolean> {
    try {
      return await this.#once()
    } catch (error) {
      this.#log.warn(`${this.#failed}; trying again`, { reason: messageOf(error) })
      return false
    }
  }
}
