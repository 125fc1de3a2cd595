/** The newest cluster state that this node knows, and who waits for the next one. Versions only grow. */
import type { ClusterView, Member } from '../membership/cluster-state.ts'
import { liveMembers } from '../membership/transitions.ts'

export class ViewFeed {
  #view: ClusterView | undefined
  #next = Promise.withResolvers<void>()
  #stopped = false
  readonly #listeners: ((view: ClusterView) => void)[] = []

  get view(): ClusterView | undefined {
    return this.#view
  }

  get liveMembers(): readonly Member[] {
    return this.#view === undefined ? [] : liveMembers(this.#view.state)
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
  next(signal: AbortSignal): Promise<void> {
    if (this.#stopped || signal.aborted) return Promise.resolve()
    return new Promise(resolve => {
      const done = (): void => {
        signal.removeEventListener('abort', done)
        resolve()
      }
      signal.addEventListener('abort', done, { once: true })
      void this.#next.promise.then(done)
    })
  }

  stop(): void {
    this.#stopped = true
    this.#wake()
  }

  #wake(): void {
    const waiting = this.#next
    this.#next = Promise.withResolvers<void>()
    waiting.resolve()
  }
}
