/**
 * The coordinator port over the network, to a coordinator served by another process.
 *
 * Watches connect again by themselves, with back-off; then everything is reported anew, and what has vanished meanwhile as deleted.
 * Sessions renew three times per time to live, and go on doing so while the coordinator is out of reach: it tells what has lapsed.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { NearstateError } from '../base/errors.ts'
import { isAborted } from '../base/abort.ts'
import type { CasOutcome, Coordinator, CoordinatorValue, OnReach, Session, WatchListener } from '../membership/coordinator-port.ts'
import { createGrpcClient, type GrpcClient } from '../transport/grpc/client.ts'
import { CoordinatorDefinition, type CoordinatorValue as WireValue } from '../wire/generated/nearstate/v1/coordinator.ts'
import { asBuffer } from './buffers.ts'
import { keepRenewing } from './keep-renewing.ts'

const backOffMinMs = 100
const backOffMaxMs = 2000
const callTimeoutMs = 5000
const renewalTimeoutMinMs = 50

/** Connects at the first call. `address` is host:port. */
export const connectCoordinator = (address: string): Coordinator => new RemoteCoordinator(address)

class RemoteCoordinator implements Coordinator {
  readonly description: string
  readonly #client: GrpcClient<typeof CoordinatorDefinition>
  readonly #stopping = new AbortController()
  readonly #sessions = new Set<RemoteSession>()

  constructor(address: string) {
    this.description = `embedded at ${address}`
    this.#client = createGrpcClient(CoordinatorDefinition, address, { timeoutMs: callTimeoutMs })
  }

  async read(key: string): Promise<CoordinatorValue | undefined> {
    const { value } = await reach(this.#client.read({ key }))
    return value === undefined ? undefined : fromWire(value)
  }

  async list(prefix: string): Promise<readonly CoordinatorValue[]> {
    const { values } = await reach(this.#client.list({ prefix }))
    return values.map(fromWire)
  }

  async compareAndSet(key: string, expectedVersion: number, value: Uint8Array | undefined): Promise<CasOutcome> {
    const { done, version } = await reach(
      this.#client.compareAndSet({ key, expectedVersion: BigInt(expectedVersion), value: value && asBuffer(value) }),
    )
    return { kind: done ? 'done' : 'conflict', version: Number(version) }
  }

  watch(prefix: string, listener: WatchListener): { stop(): void } {
    const stop = new AbortController()
    void this.#follow(prefix, listener, AbortSignal.any([stop.signal, this.#stopping.signal]))
    return { stop: () => stop.abort() }
  }

  async openSession(key: string, value: Uint8Array, ttlMs: number, onReach: OnReach = () => {}): Promise<Session> {
    const { id } = await reach(this.#client.renewSession({ id: '', key, value: asBuffer(value), ttlMs: BigInt(ttlMs) }))
    const session = new RemoteSession(this.#client, id, ttlMs, onReach)
    this.#sessions.add(session)
    void session.lapsed.then(() => this.#sessions.delete(session))
    return session
  }

  async close(): Promise<void> {
    this.#stopping.abort()
    await Promise.all([...this.#sessions].map(session => session.close()))
    this.#client.close()
  }

  async #follow(prefix: string, listener: WatchListener, stop: AbortSignal): Promise<void> {
    const known = new Set<string>()
    let backOffMs = backOffMinMs
    while (!isAborted(stop)) {
      try {
        await this.#followOnce(prefix, listener, known, stop, () => (backOffMs = backOffMinMs))
      } catch {
        // The coordinator cannot be reached, or ended the stream: connect again. Callers of the other methods see the failure.
      }
      await sleep(backOffMs, undefined, { signal: stop }).catch(() => {})
      backOffMs = Math.min(backOffMs * 2, backOffMaxMs)
    }
  }

  async #followOnce(prefix: string, listener: WatchListener, known: Set<string>, stop: AbortSignal, onCaughtUp: () => void): Promise<void> {
    const vanished = new Set(known)
    for await (const { value, deleted, caughtUp } of this.#client.watch({ prefix }, { signal: stop })) {
      if (isAborted(stop)) return
      if (caughtUp) {
        for (const key of vanished) {
          known.delete(key)
          listener.onDelete(key)
        }
        onCaughtUp()
        listener.onCaughtUp?.()
      } else if (value !== undefined && deleted) {
        vanished.delete(value.key)
        if (known.delete(value.key)) listener.onDelete(value.key)
      } else if (value !== undefined) {
        vanished.delete(value.key)
        known.add(value.key)
        listener.onValue(fromWire(value))
      }
    }
  }
}

class RemoteSession implements Session {
  readonly lapsed: Promise<void>
  readonly #client: GrpcClient<typeof CoordinatorDefinition>
  readonly #id: string
  readonly #ttlMs: number
  readonly #ended = new AbortController()

  constructor(client: GrpcClient<typeof CoordinatorDefinition>, id: string, ttlMs: number, onReach: OnReach) {
    this.#client = client
    this.#id = id
    this.#ttlMs = ttlMs
    this.lapsed = new Promise(resolve => this.#ended.signal.addEventListener('abort', () => resolve()))
    void keepRenewing({ ttlMs, ended: this.#ended, onReach, renew: () => this.#renew() })
  }

  async close(): Promise<void> {
    if (isAborted(this.#ended.signal)) return
    this.#ended.abort()
    await this.#client.closeSession({ id: this.#id, key: '', value: Buffer.alloc(0), ttlMs: 0n }, { timeoutMs: 1000 }).catch(() => {
      // Out of reach: it lapses there by itself.
    })
  }

  async #renew(): Promise<boolean> {
    const renewal = { id: this.#id, key: '', value: Buffer.alloc(0), ttlMs: 0n }
    const { lapsed } = await this.#client.renewSession(renewal, { timeoutMs: Math.max(renewalTimeoutMinMs, this.#ttlMs / 3) })
    return !lapsed
  }
}

/** However a call failed to reach the coordinator: the port knows one code for it. */
async function reach<T>(call: Promise<T>): Promise<T> {
  try {
    return await call
  } catch (error) {
    if (error instanceof NearstateError && ['DEADLINE_EXCEEDED', 'CANCELLED', 'OUTCOME_UNKNOWN'].includes(error.code)) {
      throw new NearstateError('UNAVAILABLE', error.message, { cause: error })
    }
    throw error
  }
}

const fromWire = ({ key, value, version }: WireValue): CoordinatorValue => ({ key, value, version: Number(version) })
