/**
 * A client's session at one partition: the numbers of its writes, and the operations that wait for it.
 *
 *   new write --number--> with a pipe --answer--> settled
 *                 |            |
 *                 |            +--not done, or not known--> again --(all others answered)--> with a pipe, same number
 *                 +--no ticket yet, window full, or others wait--> fresh --> with a pipe
 *
 * Owns: numbers, the lowest one without an answer, order. Does not: route, keep time, open itself (sessions.ts).
 *
 * 1. Numbers are given in the order of the calls and never anew; they reach less than `sessionWindow` beyond the lowest unanswered one.
 * 2. What has to be sent again waits until no other write of the session is with a pipe, and leaves first, in order: so writes that
 *    follow each other take effect in that order.
 * 3. While anything waits here, all operations of the partition wait behind it.
 */
import { isNumbered } from '../wire/operations.ts'
import { sessionWindow } from '../wire/limits.ts'
import type { Operation } from './operation.ts'
import type { ShardPipe } from './shard-pipe.ts'

/** Numbers are uint32 on the wire; beyond this one the session is opened anew. */
const numberMax = 0xffff_0000

export interface SessionListener {
  /** An operation was settled or came back while others wait. */
  onRoom(session: PartitionSession): void
}

export class PartitionSession {
  readonly partition: number
  readonly #listener: SessionListener
  /** As the shard gave it; undefined: it is to be opened. */
  ticket: Buffer | undefined
  /** The shard does not know the ticket any more. */
  isLost = false
  isOpening = false
  /** The pipe that its writes are with. */
  pipe: ShardPipe | undefined
  /** Writes that a pipe has. */
  underWay = 0
  /** The lowest number without an answer. */
  lowest = 1
  #next = 1
  /** Answered numbers above the lowest, by their remainder. */
  readonly #answered = new Uint8Array(sessionWindow)
  readonly #again: Operation[] = []
  #fresh: Operation[] = []
  #freshHead = 0
  /** Nothing is sent again before; and how often that was put off. */
  againAtMs = 0
  attempts = 0
  isAdvancing = false

  constructor(partition: number, listener: SessionListener) {
    this.partition = partition
    this.#listener = listener
  }

  get isHolding(): boolean {
    return this.#again.length > 0 || this.#freshHead < this.#fresh.length
  }

  get heldCount(): number {
    return this.#again.length + this.#fresh.length - this.#freshHead
  }

  get hasAgain(): boolean {
    return this.#again.length > 0
  }

  /** All numbers were given and answered. */
  get isSpent(): boolean {
    return this.#next > numberMax && this.lowest === this.#next
  }

  /** Numbers a write that goes to a pipe now. False: it has to wait. */
  number(operation: Operation): boolean {
    const number = this.#next
    if (this.ticket === undefined || number - this.lowest >= sessionWindow || number > numberMax) return false
    this.#next = number + 1
    operation.session = this
    operation.number = number
    operation.underWay = true
    this.underWay += 1
    return true
  }

  /** Of a numbered operation; called once, by itself. */
  settled(operation: Operation): void {
    if (operation.underWay) {
      operation.underWay = false
      this.underWay -= 1
      this.attempts = 0
    }
    const answered = this.#answered
    const { number } = operation
    if (number === this.lowest) {
      let lowest = number + 1
      while (answered[lowest % sessionWindow] === 1) {
        answered[lowest % sessionWindow] = 0
        lowest += 1
      }
      this.lowest = lowest
    } else {
      answered[number % sessionWindow] = 1
    }
    if (this.isHolding) this.#listener.onRoom(this)
  }

  /** A numbered operation that no pipe has any more, to be sent again. */
  takeBack(operation: Operation): void {
    if (operation.underWay) {
      operation.underWay = false
      this.underWay -= 1
    }
    if (!operation.settled) this.#again.push(operation)
  }

  wait(operation: Operation): void {
    this.#fresh.push(operation)
  }

  /** What is to be sent again, in order; it is with a pipe from now on. */
  takeAgain(): Operation[] {
    const again = this.#again.splice(0).filter(operation => !operation.settled)
    again.sort((a, b) => a.number - b.number)
    for (const operation of again) operation.underWay = true
    this.underWay += again.length
    return again
  }

  /** The first operation that waits, unless it was settled meanwhile. */
  get firstFresh(): Operation | undefined {
    while (this.#freshHead < this.#fresh.length) {
      const operation = this.#fresh[this.#freshHead] as Operation
      if (!operation.settled) return operation
      this.dropFirst()
    }
    return undefined
  }

  dropFirst(): void {
    this.#freshHead += 1
    if (this.#freshHead === this.#fresh.length) {
      this.#fresh = []
      this.#freshHead = 0
    } else if (this.#freshHead >= 1024 && this.#freshHead * 2 > this.#fresh.length) {
      this.#fresh.splice(0, this.#freshHead)
      this.#freshHead = 0
    }
  }

  /** The ticket is gone: what may have happened under it must not be sent under another one. Returns those. */
  renew(): Operation[] {
    this.ticket = undefined
    this.isLost = false
    if (this.isSpent) {
      this.#next = 1
      this.lowest = 1
    }
    const uncertain = this.#again.filter(operation => operation.mayHaveHappened)
    this.#dropAgain(operation => operation.mayHaveHappened)
    return uncertain
  }

  /** Every operation that waits here. */
  held(): Operation[] {
    return [...this.#again, ...this.#fresh.slice(this.#freshHead)]
  }

  /** Writes that wait for the session itself. */
  heldWrites(): Operation[] {
    return this.held().filter(operation => isNumbered(operation.kind))
  }

  /** Forgets what was settled while it waited. */
  sweep(): void {
    this.#dropAgain(operation => operation.settled)
    this.#fresh = this.#fresh.slice(this.#freshHead).filter(operation => !operation.settled)
    this.#freshHead = 0
  }

  #dropAgain(isOver: (operation: Operation) => boolean): void {
    const kept = this.#again.filter(operation => !isOver(operation))
    this.#again.length = 0
    this.#again.push(...kept)
  }
}
