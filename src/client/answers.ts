/**
 * Hands answers out in portions, with a turn of the event loop between two of them.
 *
 * The callers of one portion go on, and their next calls leave, while the shard's other answers wait here: so client and shard
 * work at the same time. Handed out all at once, a thousand answers make a thousand calls that leave together, and each side
 * stands still while the other is at work. Bound: what is unanswered.
 */
import type { ResultBatch } from '../wire/generated/nearstate/v1/data.ts'
import { ResultReader } from '../wire/results.ts'

export interface AnswerTaker {
  onChunk(batch: ResultBatch): void
  onAnswer(reader: ResultReader, index: number): void
  /** Answers in the next portion, at least 1. */
  portion(): number
  /** After a portion. */
  onPortion(): void
  /** What is wrong with the answers themselves. */
  onBroken(thrown: unknown): void
}

export class Answers {
  readonly #taker: AnswerTaker
  readonly #queue: ResultReader[] = []
  /** Of the first reader in the queue. */
  #next = 0
  #scheduled = false

  constructor(taker: AnswerTaker) {
    this.#taker = taker
  }

  push(batch: ResultBatch): void {
    try {
      this.#queue.push(new ResultReader(batch))
      if (!this.#scheduled) this.#handOut(this.#taker.portion())
    } catch (thrown) {
      this.#taker.onBroken(thrown)
    }
  }

  /** Everything at once: nothing will follow. */
  drain(): void {
    try {
      this.#handOut(Number.POSITIVE_INFINITY)
    } catch (thrown) {
      this.#taker.onBroken(thrown)
    }
  }

  clear(): void {
    this.#queue.length = 0
    this.#next = 0
  }

  #handOut(portion: number): void {
    let left = portion
    for (let reader = this.#queue[0]; reader !== undefined; reader = this.#queue[0]) {
      if (reader.batch.chunk !== undefined) this.#taker.onChunk(reader.batch)
      const end = Math.min(reader.count, this.#next + left)
      left -= end - this.#next
      // Moved on first: whoever is told may clear the queue.
      const start = this.#next
      this.#next = end
      if (end === reader.count) {
        this.#queue.shift()
        this.#next = 0
      }
      for (let i = start; i < end; i += 1) this.#taker.onAnswer(reader, i)
      if (left <= 0 && this.#queue.length > 0) {
        this.#schedule()
        break
      }
    }
    this.#taker.onPortion()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      try {
        this.#handOut(this.#taker.portion())
      } catch (thrown) {
        this.#taker.onBroken(thrown)
      }
    })
  }
}
