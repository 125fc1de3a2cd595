/** The newest cluster state that this node knows, and who waits for the next one. Versions only grow. */
import type { ClusterView, Member } from '../membership/cluster-state.ts'
import { reachableMembers } from '../membership/replica-transitions.ts'

export class ViewFeed {
  #view: ClusterView | undefined
  /** Each leaves when it is woken or its signal aborts: a client that goes leaves nothing behind. */
  readonly #waiting = new Set<() => void>()
  #stopped = false
  readonly #listeners: ((view: ClusterView) => void)[] = []

  get view(): ClusterView | undefined {
    return this.#view
  }

  /** Neither suspected nor dead. */
  get reachableMembers(): readonly Member[] {
    return this.#view === undefined ? [] : reachableMembers(this.#view.state)
  }

  get stopped(): boolean {
    return this.#stopped
  }

  onChange(listener: (view: ClusterView) => void): void {
    this.#listeners.push(listener)
  }

  /** One that is not newer than what is known changes nothing. */
  offer(view: ClusterView): void {
    if (view.version <= (this.#view?.version ?? 0) || this.#stopped) return
    this.#view = view
    for (const listener of this.#listeners) listener(view)
    this.#wake()
  }

  /** Resolves at the next change, when the feed stops, or when `signal` aborts. */
  next(signal?: AbortSignal): Promise<void> {
    if (this.#stopped || signal?.aborted === true) return Promise.resolve()
    return new Promise(resolve => {
      const done = (): void => {
        this.#waiting.delete(done)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      this.#waiting.add(done)
      signal?.addEventListener('abort', done, { once: true })
    })
  }

  stop(): void {
    this.#stopped = true
    this.#wake()
  }

  #wake(): void {
    for (const done of this.#waiting) done()
  }
}
