/**
 * This node's session in the coordinator: opened, and opened anew whenever it lapses, until the node stops.
 *
 * Owns: the session, back-off, whether the coordinator can be reached. Does not: end the node. A lapsed session makes others suspect it,
 * no more; no answer depends on it.
 *
 * 1. Whoever holds the session of a name is that name. A process that finds it held waits for two times to live, in which the session of
 *    one that was killed lapses, and is refused then. It never takes a session away: a process that was only stopped may go on.
 * 2. The coordinator counts as out of reach from the moment that the session could not be renewed for its time to live, or not opened,
 *    until it can. A session may outlive the outage: the coordinator says whether it has lapsed.
 */
import { isAborted } from '../base/abort.ts'
import type { Clock } from '../base/clock.ts'
import { messageOf, NearstateError } from '../base/errors.ts'
import type { NodeId } from '../base/ids.ts'
import type { Random } from '../base/random.ts'
import { coordinatorKeys } from '../membership/cluster-state.ts'
import type { Coordinator, Session } from '../membership/coordinator-port.ts'
import type { Logger } from '../telemetry/logger.ts'
import { pause } from './pause.ts'
import { decodeJson, encodeJson } from './watched-table.ts'

export interface SessionKeeperOptions {
  readonly coordinator: Coordinator
  readonly name: string
  readonly id: NodeId
  readonly ttlMs: number
  readonly clock: Clock
  readonly random: Random
  readonly onReach: (isOut: boolean) => void
  readonly log: Logger
}

export interface SessionValue {
  readonly id: NodeId
}

const backOffMinMs = 100
const backOffMaxMs = 2000
const heldRetryMs = 100

export class SessionKeeper {
  readonly #options: SessionKeeperOptions
  readonly #stopping = new AbortController()
  #session: Session | undefined
  #isOut = false

  constructor(options: SessionKeeperOptions) {
    this.#options = options
  }

  /** Resolves with the first session; ALREADY_EXISTS when a live process has the name. Waits for a coordinator that is out of reach. */
  async open(): Promise<void> {
    const session = await this.#openOne(this.#options.ttlMs * 2)
    void this.#keep(session)
  }

  /** Ends the session, so that another process can take the name at once. `quietly`: leaves it to lapse. */
  async close(quietly = false): Promise<void> {
    this.#stopping.abort()
    if (!quietly) await this.#session?.close()
  }

  async #keep(first: Session): Promise<void> {
    const { log } = this.#options
    const stopped = new Promise<void>(resolve => this.#stopping.signal.addEventListener('abort', () => resolve(), { once: true }))
    for (let session = first; ; ) {
      this.#session = session
      await Promise.race([session.lapsed, stopped])
      if (isAborted(this.#stopping.signal)) return
      log.warn("this node's session in the coordinator has lapsed; opening another", {})
      try {
        session = await this.#openOne(Number.POSITIVE_INFINITY)
      } catch {
        return // stopped
      }
    }
  }

  async #openOne(patienceMs: number): Promise<Session> {
    const { coordinator, name, id, ttlMs, clock, random } = this.#options
    const value = encodeJson({ id } satisfies SessionValue)
    let heldSinceMs: number | undefined
    let backOffMs = backOffMinMs
    for (;;) {
      if (isAborted(this.#stopping.signal)) throw new NearstateError('CANCELLED', `node "${name}" was stopped before it had joined`)
      try {
        const session = await coordinator.openSession(coordinatorKeys.session(name), value, ttlMs, outBecause => this.#reach(outBecause))
        if (isAborted(this.#stopping.signal)) await session.close()
        this.#reach(undefined)
        return session
      } catch (error) {
        if (isHeld(error)) {
          this.#reach(undefined)
          heldSinceMs ??= clock.nowMs()
          if (clock.nowMs() - heldSinceMs > patienceMs) throw this.#nameTaken(error)
          if (clock.nowMs() - heldSinceMs < heldRetryMs) await this.#tellWhoHolds()
          await pause(heldRetryMs, this.#stopping.signal)
          continue
        }
        if (!isOutOfReach(error)) throw error
        this.#reach(messageOf(error))
        await pause(backOffMs * (0.5 + random.next()), this.#stopping.signal)
        backOffMs = Math.min(backOffMs * 2, backOffMaxMs)
      }
    }
  }

  async #tellWhoHolds(): Promise<void> {
    const { coordinator, name, id, log } = this.#options
    const held = await coordinator.read(coordinatorKeys.session(name)).catch(() => undefined)
    const isOwn = held !== undefined && decodeJson<SessionValue>(held.value).id === id
    log.info(isOwn ? 'waiting for the lapsed session to end' : 'waiting for the session of an earlier process under this name to lapse', {
      name,
    })
  }

  #nameTaken(cause: unknown): NearstateError {
    const { name } = this.#options
    return new NearstateError('ALREADY_EXISTS', `Cannot join as "${name}": a live node has that name; choose another with name`, { cause })
  }

  #reach(outBecause: string | undefined): void {
    const { coordinator, onReach, log } = this.#options
    const isOut = outBecause !== undefined
    if (isOut === this.#isOut || isAborted(this.#stopping.signal)) return
    this.#isOut = isOut
    if (isOut) {
      log.warn('the coordinator cannot be reached; data is served all the same, changes of members and jobs wait', {
        coordinator: coordinator.description,
        reason: outBecause,
      })
    } else log.info('the coordinator can be reached again', { coordinator: coordinator.description })
    onReach(isOut)
  }
}

const isHeld = (error: unknown): boolean =>
  error instanceof NearstateError && (error.code === 'ALREADY_EXISTS' || error.code === 'CONFLICT')
const isOutOfReach = (error: unknown): boolean =>
  error instanceof NearstateError && ['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'OUTCOME_UNKNOWN'].includes(error.code)
