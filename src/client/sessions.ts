/**
 * The sessions that a client's writes are numbered in, so that a write that is sent again takes effect once: one per partition, opened
 * before the first write to it, the same on whatever shard the partition lives.
 *
 * Owns: opening, opening anew, when what waits goes on. Does not: choose shards (router), know numbers (partition-session.ts).
 *
 * 1. A ticket is replaced only when no write is with a pipe; what may have happened under the old one fails with OUTCOME_UNKNOWN.
 * 2. Writes go to another pipe only when none is with the one before.
 * 3. Bound: all that waits here together with what the router has parked is at most `waitingMax`; above it new calls are refused.
 */
import { NearstateError } from '../base/errors.ts'
import { OperationKind } from '../wire/generated/nearstate/v1/data.ts'
import { ticketBytes } from '../wire/limits.ts'
import { emptyOptions, isNumbered } from '../wire/operations.ts'
import { Operation } from './operation.ts'
import { PartitionSession } from './partition-session.ts'
import type { ShardPipe } from './shard-pipe.ts'

export interface SessionPort {
  /** The pipe that operations of the partition go to now. undefined: none yet, or the operation has been failed. */
  pipeOf(operation: Operation): ShardPipe | undefined
  /** Sends it without regard to what waits for its partition. */
  send(operation: Operation): void
  /** Something waits for the partition: no operation may pass it. */
  onHeld(partition: number): void
  /** Nothing waits any more; operations may go straight to the pipe. */
  onFree(partition: number, pipe: ShardPipe): void
}

const notNowFirstMs = 5
const notNowMaxMs = 100
const backoffFirstMs = 10
const backoffMaxMs = 500

/** After a shard said NOT_NOW: it will soon. */
export const notNowBackoffMs = (attempts: number): number => Math.min(notNowMaxMs, notNowFirstMs * 2 ** Math.min(attempts - 1, 10))
/** After anything else: the table has to change, or a stream to be made. */
export const backoffMs = (attempts: number): number =>
  Math.min(backoffMaxMs, backoffFirstMs * 2 ** Math.min(attempts - 1, 10)) * (0.5 + Math.random())

export class Sessions {
  readonly #port: SessionPort
  readonly #sessions: (PartitionSession | undefined)[] = []
  readonly #holding = new Set<PartitionSession>()

  constructor(port: SessionPort) {
    this.#port = port
  }

  get heldCount(): number {
    let count = 0
    for (const session of this.#holding) count += session.heldCount
    return count
  }

  get isIdle(): boolean {
    return this.#holding.size === 0
  }

  /** Numbers a write that goes to its pipe at once. False: `submit` it. */
  number(operation: Operation): boolean {
    return this.#sessions[operation.partition]?.number(operation) === true
  }

  /** Whether all operations of the partition may go straight to that pipe from now on. */
  mayUse(partition: number, pipe: ShardPipe): boolean {
    const session = this.#sessions[partition]
    if (session === undefined) return true
    if (session.isHolding || (session.underWay > 0 && session.pipe !== pipe)) return false
    session.pipe = pipe
    return true
  }

  /** Takes an operation that may have to wait; it holds its own bytes. False: it has no part in a session and nothing is before it. */
  submit(operation: Operation): boolean {
    let session = this.#sessions[operation.partition]
    if (session === undefined) {
      if (!isNumbered(operation.kind)) return false
      session = new PartitionSession(operation.partition, this)
      this.#sessions[operation.partition] = session
    } else if (!session.isHolding && !isNumbered(operation.kind)) return false
    session.wait(operation)
    this.#hold(session)
    this.#advance(session)
    return true
  }

  /** A numbered write that was not done, or of which that is not known. */
  sendAgain(operation: Operation, afterMs: (attempts: number) => number): void {
    const { session } = operation
    if (session === undefined) return
    if (!session.hasAgain) {
      session.attempts += 1
      session.againAtMs = performance.now() + afterMs(session.attempts)
    }
    this.#takeBack(session, operation)
  }

  /** The shard does not know the ticket, and has done nothing now. */
  onUnknown(operation: Operation): void {
    const { session } = operation
    if (session === undefined) return
    session.isLost = true
    if (operation.mayHaveHappened) {
      operation.fail(sessionEnded(operation))
      return
    }
    this.#takeBack(session, operation)
  }

  onRoom(session: PartitionSession): void {
    this.#advance(session)
  }

  /** The table is another one: what waited for that goes on. */
  tableChanged(): void {
    for (const session of Array.from(this.#holding)) {
      session.againAtMs = 0
      this.#advance(session)
    }
  }

  sweep(nowMs: number): void {
    for (const session of Array.from(this.#holding)) {
      // One that fails makes room; the others past their time must not go there.
      session.isAdvancing = true
      for (const operation of session.held()) {
        if (operation.deadlineMs <= nowMs)
          operation.fail(operation.unanswered('DEADLINE_EXCEEDED', 'no shard could take it within the time-out'))
      }
      session.isAdvancing = false
      session.sweep()
      this.#advance(session)
    }
  }

  close(error: NearstateError): void {
    for (const session of this.#holding) {
      session.isAdvancing = true
      for (const operation of session.held()) {
        operation.fail(operation.mayHaveHappened ? operation.unanswered('UNAVAILABLE', error.message) : error)
      }
    }
    this.#holding.clear()
  }

  #takeBack(session: PartitionSession, operation: Operation): void {
    session.takeBack(operation)
    this.#hold(session)
    // What the pipe has not sent yet must not leave before this one.
    for (const unsent of session.pipe?.takeWaiting(session) ?? []) session.takeBack(unsent)
    this.#advance(session)
  }

  #hold(session: PartitionSession): void {
    if (!session.isHolding) return
    this.#holding.add(session)
    this.#port.onHeld(session.partition)
  }

  /** Sends what can be sent. */
  #advance(session: PartitionSession): void {
    if (session.isAdvancing) return
    session.isAdvancing = true
    const pipe = this.#sendAgain(session) ? this.#sendFresh(session) : undefined
    session.isAdvancing = false
    if (session.isHolding) return
    this.#holding.delete(session)
    if (pipe !== undefined) this.#port.onFree(session.partition, pipe)
  }

  /** False: what comes after has to wait. */
  #sendAgain(session: PartitionSession): boolean {
    if (session.isLost || session.isSpent) {
      if (session.underWay > 0) return false
      for (const operation of session.renew()) operation.fail(sessionEnded(operation))
    }
    if (!session.hasAgain) return true
    if (session.underWay > 0 || session.againAtMs > performance.now()) return false
    for (const first of session.heldWrites()) {
      if (first.settled) continue
      if (!this.#isOpen(session, first)) return false
      const pipe = this.#port.pipeOf(first)
      if (pipe === undefined) {
        if (first.settled) continue
        return false
      }
      session.pipe = pipe
      for (const operation of session.takeAgain()) pipe.resubmit(operation)
      return true
    }
    return true
  }

  /** The pipe that the last one went to. */
  #sendFresh(session: PartitionSession): ShardPipe | undefined {
    let last: ShardPipe | undefined
    for (let operation = session.firstFresh; operation !== undefined; operation = session.firstFresh) {
      const numbered = isNumbered(operation.kind)
      if (numbered && !this.#isOpen(session, operation)) return last
      const pipe = this.#port.pipeOf(operation)
      if (pipe === undefined) {
        if (operation.settled) continue
        return last
      }
      if (session.underWay > 0 && session.pipe !== pipe) return last
      if (numbered && !session.number(operation)) return last
      session.pipe = pipe
      last = pipe
      session.dropFirst()
      pipe.resubmit(operation)
    }
    return last
  }

  /** False: it is being opened. */
  #isOpen(session: PartitionSession, first: Operation): boolean {
    if (session.ticket !== undefined) return true
    if (session.isOpening || session.againAtMs > performance.now()) return false
    session.isOpening = true
    const { route, partition, deadlineMs } = first
    const options = { ...emptyOptions(), partition }
    const opened = (ticket: unknown): void => {
      session.isOpening = false
      session.ticket = ticket as Buffer
      this.#advance(session)
    }
    const refused = (error: unknown): void => {
      session.isOpening = false
      this.#onRefused(session, error as NearstateError)
    }
    this.#port.send(new Operation(OperationKind.OPEN_SESSION, route, partition, options, deadlineMs, readTicket, opened, refused))
    return false
  }

  #onRefused(session: PartitionSession, error: NearstateError): void {
    session.attempts += 1
    session.againAtMs = performance.now() + backoffMs(session.attempts)
    // Others may have more time than the one that it was opened for.
    if (error.code !== 'DEADLINE_EXCEEDED' && error.code !== 'UNAVAILABLE') {
      const wasAdvancing = session.isAdvancing
      session.isAdvancing = true
      for (const operation of session.heldWrites()) operation.fail(error)
      session.isAdvancing = wasAdvancing
    }
    this.#advance(session)
  }
}

const sessionEnded = (operation: Operation): NearstateError =>
  operation.unanswered('UNAVAILABLE', 'the session that it was sent in has ended')

function readTicket(_absent: boolean, bytes: Buffer, start: number, end: number): Buffer {
  if (end - start !== ticketBytes) {
    throw new NearstateError('INTERNAL', `Cannot open a session: its ticket has ${end - start} bytes, ${ticketBytes} are wanted`)
  }
  return Buffer.from(bytes.subarray(start, end))
}
