/**
 * De-duplication records of a partition: per client session the results of its last writes.
 *
 * A session's ticket is the name (epoch, position) of the effect that opened it. Changed only by effects; part of the image.
 * Does not: know a clock or the window's size; the effects say what is trimmed and what ends.
 */
import { ResultWindow } from './result-window.ts'

export interface RecordedResult {
  readonly result: Uint8Array
  /** Of the effect that recorded it. */
  readonly position: number
}

/** A session as it travels. */
export interface SessionRecord {
  readonly epoch: number
  readonly position: number
  /** Results up to this number are gone. */
  readonly trimmedTo: number
  readonly results: ReadonlyMap<number, RecordedResult>
}

export interface Session {
  readonly epoch: number
  readonly position: number
  trimmedTo: number
  readonly results: ResultWindow
}

export class SessionTable {
  readonly #sessions = new Map<number, Session>()
  /** The one found last: a write asks for its session twice, and few clients write to a partition at a time. */
  #last: Session | undefined

  get size(): number {
    return this.#sessions.size
  }

  /** Reads what a write of that number will touch, if it is of the session found last; see MapStore.warmIndex. */
  warm(number: number): number {
    const last = this.#last
    return last === undefined ? 0 : last.trimmedTo + last.results.warm(number)
  }

  find(epoch: number, position: number): Session | undefined {
    const last = this.#last
    if (last !== undefined && last.position === position && last.epoch === epoch) return last
    const session = this.#sessions.get(position)
    if (session?.epoch !== epoch) return undefined
    this.#last = session
    return session
  }

  all(): Iterable<Session> {
    return this.#sessions.values()
  }

  /** Keeps what is there: an image may hold the session already. */
  open(epoch: number, position: number): void {
    if (this.find(epoch, position) === undefined)
      this.#sessions.set(position, { epoch, position, trimmedTo: 0, results: new ResultWindow() })
  }

  record(epoch: number, position: number, number: number, result: Uint8Array, at: number, trimTo: number): void {
    const session = this.find(epoch, position)
    if (session !== undefined) recordIn(session, number, result, at, trimTo)
  }

  restore(session: SessionRecord): void {
    this.#last = undefined
    this.#sessions.set(session.position, { ...session, results: new ResultWindow(session.results) })
  }

  close(epoch: number, position: number): void {
    if (this.find(epoch, position) === undefined) return
    this.#sessions.delete(position)
    this.#last = undefined
  }

  clear(): void {
    this.#sessions.clear()
    this.#last = undefined
  }
}

/** As SessionTable.record, of a session at hand. */
export function recordIn(session: Session, number: number, result: Uint8Array, at: number, trimTo: number): void {
  const { results } = session
  if (number > session.trimmedTo) results.set(number, result, at)
  const from = session.trimmedTo + 1
  if (trimTo < from) return
  session.trimmedTo = trimTo
  // Mostly one number; a client may also leave many out.
  if (trimTo - from < results.size) for (let gone = from; gone <= trimTo; gone += 1) results.delete(gone)
  else for (const gone of results.keys()) if (gone <= trimTo) results.delete(gone)
}
