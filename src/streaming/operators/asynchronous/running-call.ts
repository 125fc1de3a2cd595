/** What asynchronous user code may use while it runs: requests, which end with the call. */
import { invalidArgument } from '../../../base/errors.ts'
import type { AsyncCall, FetchAnswer, FetchOptions } from '../../graph/async-options.ts'

export type StartFetch = (url: string, options: FetchOptions, done: (error: unknown, answer: FetchAnswer | undefined) => void) => () => void

export class RunningCall implements AsyncCall {
  readonly #startFetch: StartFetch
  readonly #cancels = new Set<() => void>()
  #isOver = false

  constructor(startFetch: StartFetch) {
    this.#startFetch = startFetch
  }

  fetch(url: string, options: FetchOptions = {}): Promise<FetchAnswer> {
    if (typeof url !== 'string') throw invalidArgument('fetch wants the address as a text')
    return new Promise((resolve, reject) => {
      if (this.#isOver) return
      const cancel = this.#startFetch(url, options, (error, answer) => {
        this.#cancels.delete(cancel)
        if (answer === undefined) reject(error)
        else resolve(answer)
      })
      this.#cancels.add(cancel)
    })
  }

  end(): void {
    this.#isOver = true
    for (const cancel of this.#cancels) cancel()
    this.#cancels.clear()
  }
}
