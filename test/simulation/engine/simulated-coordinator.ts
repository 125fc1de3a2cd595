/**
 * A strongly consistent coordinator on the simulated network: one versioned cluster state, sessions with a TTL, watches.
 *
 * Faults: an outage (no call is answered; what was in hand may or may not have been done), a lost answer (a CAS that was done and says
 * "unreachable"), slow watches. After an outage every session counts as fresh for one TTL.
 * The state travels as bytes, as in production.
 */
import type { Random } from '../../../src/base/random.ts'
import { decodeClusterState, encodeClusterState } from '../../../src/membership/cluster-state-codec.ts'
import type { ClusterState, ClusterView } from '../../../src/membership/cluster-state.ts'
import type { Actor } from './actor.ts'
import type { Counters } from './counters.ts'
import type { Network } from './network.ts'
import type { Scheduler } from './scheduler.ts'

export type SimulatedCas =
  | { readonly kind: 'done'; readonly version: number }
  | { readonly kind: 'conflict' }
  | { readonly kind: 'unreachable' }

export interface SessionValue {
  readonly name: string
  /** Incarnation of the node. */
  readonly node: string
}

interface Watcher {
  readonly actor: Actor
  onView(view: ClusterView): void
  onSession(session: SessionValue): void
  onSessionEnd(name: string): void
}

interface SessionRecord {
  readonly value: SessionValue
  expiresAtMs: number
}

export const coordinatorHost = 'coordinator'
const callTimeoutMs = 700

export class SimulatedCoordinator {
  /** Looks at every change at the moment at which it becomes true. */
  onChange: (before: ClusterView | undefined, after: ClusterView, causes: readonly string[]) => void = () => {}
  /** A name is about to be given to that incarnation. */
  onSession: (session: SessionValue) => void = () => {}
  lostAnswers = 0
  readonly #scheduler: Scheduler
  readonly #random: Random
  readonly #counters: Counters
  readonly #network: Network
  #bytes: Uint8Array | undefined
  #view: ClusterView | undefined
  #isDown = false
  readonly #sessions = new Map<string, SessionRecord>()
  readonly #watchers = new Set<Watcher>()

  constructor(scheduler: Scheduler, random: Random, counters: Counters, network: Network) {
    this.#scheduler = scheduler
    this.#random = random
    this.#counters = counters
    this.#network = network
  }

  /** The truth, for checkers. */
  get view(): ClusterView | undefined {
    return this.#view
  }

  get isDown(): boolean {
    return this.#isDown
  }

  goDown(): void {
    this.#isDown = true
  }

  comeBack(sessionTtlMs: number): void {
    this.#isDown = false
    for (const record of this.#sessions.values()) record.expiresAtMs = this.#scheduler.nowMs + sessionTtlMs
    // A watch that was broken reports everything again.
    for (const watcher of this.#watchers) this.#reportAll(watcher)
  }

  watch(watcher: Watcher): void {
    this.#watchers.add(watcher)
    this.#reportAll(watcher)
  }

  unwatch(watcher: Watcher): void {
    this.#watchers.delete(watcher)
  }

  /** undefined: it could not be reached. */
  read(actor: Actor, answer: (view: { readonly view: ClusterView | undefined } | undefined) => void): void {
    this.#call<{ readonly view: ClusterView | undefined } | undefined>(actor, answer, undefined, () => ({ view: this.#view }))
  }

  compareAndSet(
    actor: Actor,
    expectedVersion: number,
    state: ClusterState,
    causes: readonly string[],
    answer: (outcome: SimulatedCas) => void,
  ): void {
    const bytes = encodeClusterState(state)
    this.#call<SimulatedCas>(actor, answer, { kind: 'unreachable' }, () => {
      const version = this.#view?.version ?? 0
      if (version !== expectedVersion) {
        this.#counters.add('coordinator.conflict')
        return { kind: 'conflict' }
      }
      this.#write(version + 1, bytes, causes)
      return { kind: 'done', version: version + 1 }
    })
  }

  /** Opens or renews; answers whether it lives. */
  renewSession(actor: Actor, value: SessionValue, ttlMs: number, answer: (isAlive: boolean | undefined) => void): void {
    this.#call<boolean | undefined>(actor, answer, undefined, () => {
      const record = this.#sessions.get(value.name)
      if (record !== undefined && record.value.node !== value.node) {
        // The session of another incarnation stands until it lapses.
        return false
      }
      if (record === undefined) {
        this.onSession(value)
        this.#sessions.set(value.name, { value, expiresAtMs: this.#scheduler.nowMs + ttlMs })
        for (const watcher of this.#watchers) this.#tell(watcher, () => watcher.onSession(value))
        this.#sweepLater(value.name, ttlMs)
      } else record.expiresAtMs = this.#scheduler.nowMs + ttlMs
      return true
    })
  }

  closeSession(actor: Actor, value: SessionValue): void {
    this.#call(
      actor,
      () => {},
      undefined,
      () => {
        if (this.#sessions.get(value.name)?.value.node === value.node) this.#endSession(value.name)
        return undefined
      },
    )
  }

  #sweepLater(name: string, ms: number): void {
    this.#scheduler.after(ms, () => {
      const record = this.#sessions.get(name)
      if (record === undefined) return
      const leftMs = record.expiresAtMs - this.#scheduler.nowMs
      if (this.#isDown) this.#sweepLater(name, 500)
      else if (leftMs > 0) this.#sweepLater(name, leftMs + 1)
      else {
        this.#counters.add('coordinator.sessionLapsed')
        this.#endSession(name)
      }
    })
  }

  #endSession(name: string): void {
    this.#sessions.delete(name)
    for (const watcher of this.#watchers) this.#tell(watcher, () => watcher.onSessionEnd(name))
  }

  #call<T>(actor: Actor, answer: (result: T) => void, unreachable: T, run: () => T): void {
    const { host } = actor
    let isAnswered = false
    const reply = (result: T): void => {
      if (isAnswered) return
      isAnswered = true
      actor.deliver(() => answer(result))
    }
    this.#scheduler.after(callTimeoutMs, () => reply(unreachable))
    this.#scheduler.after(this.#delayMs(), () => {
      if (this.#isDown || this.#network.isCut(host, coordinatorHost)) return
      const result = run()
      const isLost = this.lostAnswers > 0 && this.#random.next() < 0.5
      if (isLost) {
        this.lostAnswers -= 1
        this.#counters.add('coordinator.answerLost')
        return
      }
      this.#scheduler.after(this.#delayMs(), () => {
        if (!this.#network.isCut(coordinatorHost, host)) reply(result)
      })
    })
  }

  #write(version: number, bytes: Uint8Array, causes: readonly string[]): void {
    const before = this.#view
    this.#bytes = bytes
    this.#view = { version, state: decodeClusterState(bytes) }
    this.#counters.add('coordinator.write')
    this.onChange(before, this.#view, causes)
    for (const watcher of this.#watchers) this.#tellView(watcher)
  }

  #tellView(watcher: Watcher): void {
    const view = this.#view
    if (view !== undefined) this.#tell(watcher, () => watcher.onView(view))
  }

  #reportAll(watcher: Watcher): void {
    this.#tellView(watcher)
    for (const { value } of this.#sessions.values()) this.#tell(watcher, () => watcher.onSession(value))
  }

  /** A watch is a stream: what cannot be told now is told when the way is open again. */
  #tell(watcher: Watcher, report: () => void): void {
    const isSlow = this.#random.next() < 0.02
    this.#scheduler.after(isSlow ? this.#random.next() * 400 : this.#delayMs(), () => {
      if (!this.#watchers.has(watcher) || watcher.actor.isDead) return
      if (this.#isDown || this.#network.isCut(coordinatorHost, watcher.actor.host)) {
        this.#scheduler.after(250, () => {
          if (this.#watchers.has(watcher)) this.#tell(watcher, report)
        })
      } else watcher.actor.deliver(report)
    })
  }

  #delayMs(): number {
    return 0.5 + this.#random.next() * 2
  }

  /** Bytes of the state, as stored. */
  get stateBytes(): number {
    return this.#bytes?.length ?? 0
  }
}
