/**
 * The embedded coordinator: versioned values in the memory of one process, for one machine. `served.ts` lets other processes use it.
 *
 * Owns: values, their versions, sessions and watches. Without a file it keeps nothing: it ends with its process, and so does the cluster.
 * One counter numbers all writes, so that a key that was deleted never gets an old version back.
 *
 * Listeners are called one after the other in the order of the writes, never from within the call that writes; a watch opened in the
 * meantime starts with the values of its own moment.
 */
import { type Clock, systemClock } from '../base/clock.ts'
import { NearstateError } from '../base/errors.ts'
import type { CasOutcome, Coordinator, CoordinatorValue, Session, WatchListener } from '../membership/coordinator-port.ts'
import type { CoordinatorFile } from './coordinator-file.ts'
import { SessionTable } from './session-table.ts'

export interface EmbeddedCoordinatorOptions {
  readonly clock?: Clock
  readonly description?: string
  /** Where all values but the sessions are kept. */
  readonly file?: CoordinatorFile
}

interface Watch {
  readonly prefix: string
  readonly listener: WatchListener
  isOpen: boolean
}

/** Memory of all values together. More is refused: the coordinator holds descriptions, not data. */
const totalMaxBytes = 64 * 1024 * 1024

export class EmbeddedCoordinator implements Coordinator {
  readonly description: string
  readonly #values = new Map<string, CoordinatorValue>()
  readonly #watches = new Set<Watch>()
  readonly #sessions: SessionTable
  readonly #file: CoordinatorFile | undefined
  readonly #sessionKeys = new Set<string>()
  #lastVersion = 0
  #totalBytes = 0
  #isClosed = false
  #sweep: NodeJS.Timeout | undefined

  constructor(options: EmbeddedCoordinatorOptions = {}) {
    this.description = options.description ?? 'embedded'
    this.#sessions = new SessionTable(options.clock ?? systemClock)
    this.#file = options.file
    const kept = options.file?.load()
    if (kept === undefined) return
    this.#lastVersion = kept.lastVersion
    for (const value of kept.values) {
      this.#values.set(value.key, value)
      this.#totalBytes += value.value.length
    }
  }

  async read(key: string): Promise<CoordinatorValue | undefined> {
    this.#assertOpen('read a value')
    return this.#values.get(key)
  }

  async list(prefix: string): Promise<readonly CoordinatorValue[]> {
    this.#assertOpen('list values')
    return this.#under(prefix)
  }

  async compareAndSet(key: string, expectedVersion: number, value: Uint8Array | undefined): Promise<CasOutcome> {
    this.#assertOpen('write a value')
    const version = this.#values.get(key)?.version ?? 0
    if (version !== expectedVersion) return { kind: 'conflict', version }
    return { kind: 'done', version: this.#write(key, value) }
  }

  watch(prefix: string, listener: WatchListener): { stop(): void } {
    this.#assertOpen('watch values')
    const watch: Watch = { prefix, listener, isOpen: true }
    this.#watches.add(watch)
    for (const value of this.#under(prefix)) deliver(watch, () => listener.onValue(value))
    deliver(watch, () => listener.onCaughtUp?.())
    return {
      stop: () => {
        watch.isOpen = false
        this.#watches.delete(watch)
      },
    }
  }

  async openSession(key: string, value: Uint8Array, ttlMs: number): Promise<Session> {
    const id = this.startSession(key, value, ttlMs)
    const renewal = setInterval(() => this.renewSession(id), ttlMs / 3)
    renewal.unref()
    const lapsed = this.#sessions.ended(id).finally(() => clearInterval(renewal))
    return { lapsed, close: async () => this.endSession(id) }
  }

  /** A session that the caller renews by `renewSession`. ALREADY_EXISTS while there is a value under the key. */
  startSession(key: string, value: Uint8Array, ttlMs: number): string {
    this.#assertOpen('open a session')
    this.sweepSessions()
    if (this.#values.has(key)) throw new NearstateError('ALREADY_EXISTS', `Cannot open session "${key}": another process holds it`)
    this.#sessionKeys.add(key)
    this.#write(key, value)
    this.#sweep ??= setInterval(() => this.sweepSessions(), 100).unref()
    return this.#sessions.open(key, ttlMs)
  }

  /** False: it has lapsed, or never was. */
  renewSession(id: string): boolean {
    this.sweepSessions()
    return !this.#isClosed && this.#sessions.renew(id)
  }

  endSession(id: string): void {
    const key = this.#sessions.end(id)
    if (key === undefined || this.#isClosed) return
    this.#write(key, undefined)
    this.#sessionKeys.delete(key)
  }

  /** Ends the sessions whose time has passed. Runs by itself several times a second. */
  sweepSessions(): void {
    for (const id of this.#sessions.overdue()) this.endSession(id)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#sweep)
    for (const watch of this.#watches) watch.isOpen = false
    this.#watches.clear()
    this.#sessions.endAll()
  }

  #under(prefix: string): readonly CoordinatorValue[] {
    return [...this.#values.values()].filter(({ key }) => key.startsWith(prefix)).sort((a, b) => a.version - b.version)
  }

  #write(key: string, value: Uint8Array | undefined): number {
    const before = this.#values.get(key)?.value.length ?? 0
    const total = this.#totalBytes - before + (value?.length ?? 0)
    if (total > totalMaxBytes) {
      throw new NearstateError(
        'RESOURCE_EXHAUSTED',
        `Cannot write "${key}" to the coordinator: all values would be ${total} bytes, limit is ${totalMaxBytes}`,
      )
    }
    this.#keep(key, value)
    this.#totalBytes = total
    if (value === undefined) {
      if (!this.#values.delete(key)) return 0
      this.#notify(key, watch => watch.listener.onDelete(key))
      return 0
    }
    this.#lastVersion += 1
    const stored = { key, value: new Uint8Array(value), version: this.#lastVersion }
    this.#values.set(key, stored)
    this.#notify(key, watch => watch.listener.onValue(stored))
    return stored.version
  }

  /** Before the change counts. */
  #keep(key: string, value: Uint8Array | undefined): void {
    if (this.#file === undefined || this.#sessionKeys.has(key)) return
    const lastVersion = this.#lastVersion + (value === undefined ? 0 : 1)
    const values = [...this.#values.values()].filter(other => other.key !== key && !this.#sessionKeys.has(other.key))
    if (value !== undefined) values.push({ key, value, version: lastVersion })
    this.#file.save({ lastVersion, values })
  }

  #notify(key: string, call: (watch: Watch) => void): void {
    for (const watch of this.#watches) if (key.startsWith(watch.prefix)) deliver(watch, () => call(watch))
  }

  #assertOpen(action: string): void {
    if (this.#isClosed) throw new NearstateError('UNAVAILABLE', `Cannot ${action}: the coordinator is closed`)
  }
}

/** Microtasks run in the order in which they are queued. */
function deliver(watch: Watch, call: () => void): void {
  queueMicrotask(() => {
    if (watch.isOpen) call()
  })
}
