/**
 * The coordinator port on etcd, version 3.4 or later, with one member or several.
 *
 * A version is the revision of etcd at the last write of the key: one number for all keys, so a deleted key never gets an old one
 * back. Compare-and-set is a transaction on it. Watches and sessions come back by themselves after an outage of any length.
 */
import { CompareResult, CompareTarget, type IRequestOp } from 'etcd3'
import { isAborted } from '../../base/abort.ts'
import { NearstateError } from '../../base/errors.ts'
import type { CasOutcome, Coordinator, CoordinatorValue, OnReach, Session, WatchListener } from '../../membership/coordinator-port.ts'
import type { EtcdAccess } from './etcd-member.ts'
import { EtcdMembers } from './etcd-members.ts'
import { type EtcdSession, openEtcdSession } from './etcd-session.ts'
import { EtcdWatch, valueOf } from './etcd-watch.ts'
import { KeySpace } from './key-space.ts'
import type { OnTrouble } from './trouble.ts'

export interface EtcdOptions extends EtcdAccess {
  /** host:port of the members; all of them, so that any may fail. */
  readonly members: readonly string[]
  /** Keys are `/nearstate/<cluster>/...`. */
  readonly cluster: string
  /** Told once when something does not work any more, and once when it does again. */
  readonly onTrouble?: OnTrouble
}

/** Connects at the first call. */
export const connectEtcd = (options: EtcdOptions): Coordinator => new EtcdCoordinator(options)

class EtcdCoordinator implements Coordinator {
  readonly description: string
  readonly #members: EtcdMembers
  readonly #keys: KeySpace
  readonly #onTrouble: OnTrouble
  readonly #stopping = new AbortController()
  readonly #sessions = new Set<EtcdSession>()

  constructor({ cluster, onTrouble = () => {}, ...access }: EtcdOptions) {
    this.description = `etcd at ${access.members.join(', ')}`
    this.#onTrouble = onTrouble
    this.#members = new EtcdMembers({ ...access, onTrouble })
    this.#keys = new KeySpace(cluster)
  }

  async read(key: string): Promise<CoordinatorValue | undefined> {
    const request = { key: this.#keys.stored(key) }
    const { kvs } = await this.#members.call({
      action: `read "${key}"`,
      mayRepeat: true,
      run: (member, options) => member.kv.range(request, options),
    })
    return kvs[0] && valueOf(this.#keys, kvs[0])
  }

  async list(prefix: string): Promise<readonly CoordinatorValue[]> {
    const { kvs } = await this.#members.call({
      action: `list "${prefix}"`,
      mayRepeat: true,
      run: (member, options) => member.kv.range(this.#keys.under(prefix), options),
    })
    return kvs.map(kv => valueOf(this.#keys, kv)).sort((a, b) => a.version - b.version)
  }

  async compareAndSet(key: string, expectedVersion: number, value: Uint8Array | undefined): Promise<CasOutcome> {
    const storedKey = this.#keys.stored(key)
    const write: IRequestOp =
      value === undefined ? { request_delete_range: { key: storedKey } } : { request_put: { key: storedKey, value: Buffer.from(value) } }
    const request = {
      compare: [{ key: storedKey, target: CompareTarget.Mod, result: CompareResult.Equal, mod_revision: expectedVersion }],
      success: [write],
      failure: [{ request_range: { key: storedKey, keys_only: true } }],
    }
    const { succeeded, header, responses } = await this.#members.call({
      action: `write "${key}" (${value?.length ?? 0} bytes)`,
      mayRepeat: false,
      run: (member, options) => member.kv.txn(request, options),
    })
    if (!succeeded) return { kind: 'conflict', version: Number(responses[0]?.response_range.kvs[0]?.mod_revision ?? 0) }
    return { kind: 'done', version: value === undefined ? 0 : Number(header.revision) }
  }

  watch(prefix: string, listener: WatchListener): { stop(): void } {
    this.#assertOpen('watch values')
    const stop = new AbortController()
    const watch = new EtcdWatch({
      members: this.#members,
      keys: this.#keys,
      prefix,
      listener,
      stop: AbortSignal.any([stop.signal, this.#stopping.signal]),
      onTrouble: this.#onTrouble,
    })
    void watch.follow()
    return { stop: () => stop.abort() }
  }

  async openSession(key: string, value: Uint8Array, ttlMs: number, onReach: OnReach = () => {}): Promise<Session> {
    this.#assertOpen('open a session')
    const storedKey = this.#keys.stored(key)
    const session = await openEtcdSession({ members: this.#members, key, storedKey, value: Buffer.from(value), ttlMs, onReach })
    if (isAborted(this.#stopping.signal)) void session.close()
    this.#assertOpen('open a session')
    this.#sessions.add(session)
    void session.lapsed.then(() => this.#sessions.delete(session))
    return session
  }

  async close(): Promise<void> {
    this.#stopping.abort()
    await Promise.all([...this.#sessions].map(session => session.close()))
    this.#members.close()
  }

  #assertOpen(action: string): void {
    if (isAborted(this.#stopping.signal)) throw new NearstateError('UNAVAILABLE', `Cannot ${action}: the coordinator is closed`)
  }
}
