/** When this primary last heard of each client session. A promotion counts as a contact: it starts with none, and learns them as they are. */
import type { Session, SessionTable } from '../storage/session-table.ts'

export class SessionClock {
  readonly #ttlMs: number
  readonly #contactAtMs = new Map<number, number>()
  #nextLookMs = 0

  constructor(ttlMs: number) {
    this.#ttlMs = ttlMs
  }

  forgetAll(nowMs: number): void {
    this.#contactAtMs.clear()
    this.#nextLookMs = nowMs
  }

  touch(nowMs: number, ticketPosition: number): void {
    this.#contactAtMs.set(ticketPosition, nowMs)
  }

  takeExpired(nowMs: number, sessions: SessionTable): readonly Session[] {
    if (nowMs < this.#nextLookMs) return []
    this.#nextLookMs = nowMs + this.#ttlMs / 8
    const expired: Session[] = []
    for (const session of sessions.all()) {
      const contactAtMs = this.#contactAtMs.get(session.position)
      if (contactAtMs === undefined) this.#contactAtMs.set(session.position, nowMs)
      else if (nowMs - contactAtMs >= this.#ttlMs) expired.push(session)
    }
    for (const { position } of expired) this.#contactAtMs.delete(position)
    return expired
  }

  nextDeadlineMs(sessions: SessionTable): number | undefined {
    return sessions.size === 0 ? undefined : this.#nextLookMs
  }
}
