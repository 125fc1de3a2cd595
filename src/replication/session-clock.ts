/** When this primary last heard of each client session. A promotion counts as a contact: it starts with none, and learns them as they are. */
import type { Session, SessionTable } from '../storage/session-table.ts'

export class SessionClock {
  readonly #ttlMs: number
  /** Contacts of the same session are noted this far apart; it lives so much longer for it. */
  readonly #graceMs: number
  readonly #contactAtMs = new Map<number, number>()
  #nextLookMs = 0
  #lastTicket = -1
  /** When the session touched last was. */
  lastTouchMs = 0

  constructor(ttlMs: number) {
    this.#ttlMs = ttlMs
    this.#graceMs = ttlMs / 64
  }

  forgetAll(nowMs: number): void {
    this.#contactAtMs.clear()
    this.#lastTicket = -1
    this.#nextLookMs = nowMs
  }

  touch(nowMs: number, ticketPosition: number): void {
    if (ticketPosition === this.#lastTicket && nowMs - this.lastTouchMs < this.#graceMs) return
    this.#lastTicket = ticketPosition
    this.lastTouchMs = nowMs
    this.#contactAtMs.set(ticketPosition, nowMs)
  }

  takeExpired(nowMs: number, sessions: SessionTable): readonly Session[] {
    if (nowMs < this.#nextLookMs) return []
    this.#nextLookMs = nowMs + this.#ttlMs / 8
    const expired: Session[] = []
    for (const session of sessions.all()) {
      const contactAtMs = this.#contactAtMs.get(session.position)
      if (contactAtMs === undefined) this.#contactAtMs.set(session.position, nowMs)
      else if (nowMs - contactAtMs >= this.#ttlMs + this.#graceMs) expired.push(session)
    }
    for (const { position } of expired) this.#contactAtMs.delete(position)
    if (expired.length > 0) this.#lastTicket = -1
    return expired
  }

  nextDeadlineMs(sessions: SessionTable): number | undefined {
    return sessions.size === 0 ? undefined : this.#nextLookMs
  }
}
