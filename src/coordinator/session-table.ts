/**
 * Sessions of the embedded coordinator: which key each one holds, when it lapses, and who waits for its end.
 * Time in which this process stood still does not count against them: nobody could have renewed.
 */
import { randomUUID } from 'node:crypto'
import type { Clock } from '../base/clock.ts'

interface OpenSession {
  readonly key: string
  readonly ttlMs: number
  deadlineMs: number
  readonly ended: PromiseWithResolvers<void>
}

/** Checks come several times a second; a longer time between two of them means that the process stood still. */
const standstillMs = 1000

export class SessionTable {
  readonly #clock: Clock
  #lastCheckMs: number
  readonly #open = new Map<string, OpenSession>()

  constructor(clock: Clock) {
    this.#clock = clock
    this.#lastCheckMs = clock.nowMs()
  }

  open(key: string, ttlMs: number): string {
    const id = randomUUID()
    this.#open.set(id, { key, ttlMs, deadlineMs: this.#clock.nowMs() + ttlMs, ended: Promise.withResolvers() })
    return id
  }

  renew(id: string): boolean {
    const session = this.#open.get(id)
    if (session === undefined) return false
    session.deadlineMs = this.#clock.nowMs() + session.ttlMs
    return true
  }

  /** Sessions whose time has passed. */
  overdue(): readonly string[] {
    const nowMs = this.#clock.nowMs()
    const sinceMs = nowMs - this.#lastCheckMs
    this.#lastCheckMs = nowMs
    if (sinceMs > standstillMs) for (const session of this.#open.values()) session.deadlineMs += sinceMs
    return [...this.#open].filter(([, { deadlineMs }]) => deadlineMs <= nowMs).map(([id]) => id)
  }

  /** The key that the session held; undefined if there is no such session (any more). */
  end(id: string): string | undefined {
    const session = this.#open.get(id)
    this.#open.delete(id)
    session?.ended.resolve()
    return session?.key
  }

  endAll(): void {
    for (const id of this.#open.keys()) this.end(id)
  }

  ended(id: string): Promise<void> {
    return this.#open.get(id)?.ended.promise ?? Promise.resolve()
  }
}
