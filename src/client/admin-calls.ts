/** Calls of the admin service, at whichever endpoint answers. */
import { setTimeout as sleep } from 'node:timers/promises'
import { NearstateError } from '../base/errors.ts'
import { type CallOptions, signalOf, timeoutMsOf } from './call-options.ts'
import type { AdminClient } from './topology.ts'

interface Unary {
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}
type Call<T> = (admin: AdminClient, unary: Unary) => Promise<T>

const againAfterMs = 100

export class AdminCalls {
  readonly #current: () => AdminClient
  readonly #timeoutMs: number

  /** `current`: the client of the endpoint that answered last. */
  constructor(current: () => AdminClient, timeoutMs: number) {
    this.#current = current
    this.#timeoutMs = timeoutMs
  }

  /** A call that must not be repeated. */
  once<T>(call: Call<T>, options: CallOptions | undefined, timeoutMs = this.#timeoutMs): Promise<T> {
    return call(this.#current(), { timeoutMs: timeoutMsOf(options, timeoutMs), ...signalOf(options) })
  }

  /** An idempotent call: while it is UNAVAILABLE it is tried again until its time-out, by then perhaps at another endpoint. */
  async repeatable<T>(call: Call<T>, options: CallOptions | undefined, timeoutMs = this.#timeoutMs): Promise<T> {
    const deadlineMs = performance.now() + timeoutMsOf(options, timeoutMs)
    for (;;) {
      try {
        return await call(this.#current(), { timeoutMs: Math.max(1, deadlineMs - performance.now()), ...signalOf(options) })
      } catch (thrown) {
        const mayPass = thrown instanceof NearstateError && thrown.code === 'UNAVAILABLE'
        if (!mayPass || performance.now() + againAfterMs >= deadlineMs || options?.signal?.aborted === true) throw thrown
        await sleep(againAfterMs)
      }
    }
  }
}
