/**
 * The order of a shard's work within one turn of the event loop: what peers said, then slices of operations, then what both left to
 * be sent. All of it runs in one callback after the loop has read its sockets.
 *
 * Why not as it comes: node:http2 sends what is written in a callback of `setImmediate` only when the next turn has read its sockets, so
 * whatever is worked on while they are read delays what the turn before has written. With operations and replication worked on
 * while reading, an acknowledgement of a backup took five turns instead of two.
 */
export class LoopTurn {
  readonly #later: (callback: () => void) => void
  readonly #first: (() => void)[] = []
  readonly #work: (() => void)[] = []
  readonly #last: (() => void)[] = []
  #isAsked = false
  /** In this turn, or the one before. */
  #hasFirst = false
  #isRunning = false

  /** `later`: calls back after other events had their turn (setImmediate). */
  constructor(later: (callback: () => void) => void) {
    this.#later = later
  }

  /** Peers talk: work that comes now had better wait for the end of this turn, so that what was just written leaves before. */
  get isBusy(): boolean {
    return this.#isAsked && this.#hasFirst
  }

  readonly first = (callback: () => void): void => {
    this.#hasFirst = true
    this.#add(this.#first, callback)
  }

  readonly work = (callback: () => void): void => this.#add(this.#work, callback)

  /** Also when it is asked for within the turn, it is called in the same. */
  readonly last = (callback: () => void): void => {
    this.#last.push(callback)
    if (!this.#isRunning) this.#ask()
  }

  #add(queue: (() => void)[], callback: () => void): void {
    queue.push(callback)
    this.#ask()
  }

  #ask(): void {
    if (this.#isAsked) return
    this.#isAsked = true
    this.#later(this.#run)
  }

  readonly #run = (): void => {
    this.#isAsked = false
    this.#isRunning = true
    try {
      const first = this.#first.splice(0)
      this.#hasFirst = first.length > 0
      for (const callback of first) callback()
      // What asks for another slice gets it in the next turn.
      for (const callback of this.#work.splice(0)) callback()
      for (const callback of this.#last.splice(0)) callback()
      // While the next turn reads, what was written here waits.
      if (this.#hasFirst) this.#ask()
    } finally {
      this.#isRunning = false
    }
  }
}
