/**
 * The order of a client's numbered writes where some of them were refused: a write that comes after a refused one is not done before it.
 *
 * Owns: of one stream, by session, the numbers that the client will send again. Does not: refuse, answer.
 *
 * A client sends writes ahead. When one is refused for now (NOT_NOW, NOT_OWNER) and the shard begins to serve, those behind it are on
 * their way already, and only the shard can keep them from passing. It refuses them too; the client sends all of them again, in order.
 *
 * 1. Of a session there is a range from `first` to `last`, the lowest and the highest number refused since a write was taken. A write
 *    must wait while a number of the range, below its own, is one that the client has not given up (is not below its lowest unanswered).
 * 2. A refused number at or below `first` is one that was sent again: a new range begins with it.
 * 3. A write that is taken ends the range: the client sends in order, so nothing refused is on its way behind it any more.
 * 4. Bound: `rangesMax` sessions. Above it the ones longest known are forgotten, most likely those of clients that have gone.
 */
import type { Ticket } from '../replication/replica-port.ts'

const rangesMax = 16_384

interface Range {
  readonly epoch: number
  first: number
  last: number
}

export class RefusedWrites {
  /** By partition, then by the position in the session's ticket. */
  readonly #ranges = new Map<number, Map<number, Range>>()
  #count = 0

  get isEmpty(): boolean {
    return this.#count === 0
  }

  /** Whether the client is going to send one before this write again. */
  mustWait(partition: number, ticket: Ticket, number: number, lowestUnanswered: number): boolean {
    const range = this.#find(partition, ticket)
    return range !== undefined && range.first < number && lowestUnanswered <= Math.min(range.last, number - 1)
  }

  refused(partition: number, ticket: Ticket, number: number): void {
    const range = this.#find(partition, ticket)
    if (range === undefined) {
      this.#add(partition, ticket, number)
    } else if (number <= range.first) {
      range.first = number
      range.last = number
    } else if (number > range.last) {
      range.last = number
    }
  }

  taken(partition: number, ticket: Ticket): void {
    if (this.#find(partition, ticket) === undefined) return
    const ofPartition = this.#ranges.get(partition)
    ofPartition?.delete(ticket.position)
    if (ofPartition?.size === 0) this.#ranges.delete(partition)
    this.#count -= 1
  }

  #find(partition: number, { epoch, position }: Ticket): Range | undefined {
    const range = this.#ranges.get(partition)?.get(position)
    return range?.epoch === epoch ? range : undefined
  }

  #add(partition: number, { epoch, position }: Ticket, number: number): void {
    if (this.#count >= rangesMax) this.#forgetSome()
    let ofPartition = this.#ranges.get(partition)
    if (ofPartition === undefined) {
      ofPartition = new Map()
      this.#ranges.set(partition, ofPartition)
    }
    // Of two sessions that began at the same position one is lost, with its log.
    if (!ofPartition.has(position)) this.#count += 1
    ofPartition.set(position, { epoch, first: number, last: number })
  }

  #forgetSome(): void {
    for (const [partition, ofPartition] of this.#ranges) {
      this.#ranges.delete(partition)
      this.#count -= ofPartition.size
      return
    }
  }
}
