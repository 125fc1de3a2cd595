/**
 * Answers that wait for a position to be committed, in the order of their positions.
 * Reads and writes wait apart: below `minInSync` only writes are held back.
 */
import type { Answered, WaitKind } from './replica-port.ts'

/** What is answered is what waited: one object for each. */
interface Waiting<Waiter> extends Answered<Waiter> {
  readonly position: number
  outcome: 'committed' | 'unknown'
}

export class Waiters<Waiter> {
  readonly #queues: Readonly<Record<WaitKind, Waiting<Waiter>[]>> = { read: [], write: [] }
  readonly #heads: Record<WaitKind, number> = { read: 0, write: 0 }
  #answered: Answered<Waiter>[] = []

  answer(waiter: Waiter): void {
    this.#answered.push({ waiter, outcome: 'committed' })
  }

  /** Positions mostly rise; a recorded answer of an older entry waits behind younger ones at most one round trip. */
  add(kind: WaitKind, position: number, waiter: Waiter): void {
    this.#queues[kind].push({ waiter, outcome: 'committed', position })
  }

  release(kind: WaitKind, committed: number): void {
    const queue = this.#queues[kind]
    if (queue.length === 0) return
    let head = this.#heads[kind]
    while (head < queue.length && (queue[head] as Waiting<Waiter>).position <= committed) {
      this.#answered.push(queue[head] as Waiting<Waiter>)
      head += 1
    }
    if (head > 1024 || head === queue.length) {
      queue.splice(0, head)
      head = 0
    }
    this.#heads[kind] = head
  }

  /** The replica is no primary any more. */
  abandon(): void {
    for (const kind of ['read', 'write'] as const) {
      for (const waiting of this.#queues[kind].slice(this.#heads[kind])) {
        waiting.outcome = 'unknown'
        this.#answered.push(waiting)
      }
      this.#queues[kind].length = 0
      this.#heads[kind] = 0
    }
  }

  take(): readonly Answered<Waiter>[] {
    if (this.#answered.length === 0) return nothing
    const answered = this.#answered
    this.#answered = []
    return answered
  }
}

const nothing: readonly never[] = []
