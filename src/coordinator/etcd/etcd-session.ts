/**
 * A session in etcd: a key that belongs to a lease, and the lease renewed three times in its time to live.
 *
 * 1. It has lapsed when etcd says so: the lease is gone, or the key is not the lease's any more (an operator deleted it).
 *    Silence is not the end. etcd ends no lease while it has no leader, and a new leader gives each lease its whole time again,
 *    so after an outage of any length the session is usually still there.
 * 2. The lease has an id that is chosen here, so opening can be repeated after an unknown outcome without a second lease, and a key
 *    that is found is known to be ours or not.
 */
import { randomBytes } from 'node:crypto'
import { CompareResult, CompareTarget, type IDuplexStream, type ILeaseKeepAliveRequest, type ILeaseKeepAliveResponse } from 'etcd3'
import { isAborted } from '../../base/abort.ts'
import { NearstateError } from '../../base/errors.ts'
import type { OnReach, Session } from '../../membership/coordinator-port.ts'
import { keepRenewing } from '../keep-renewing.ts'
import type { EtcdMember } from './etcd-member.ts'
import type { EtcdMembers } from './etcd-members.ts'

export interface EtcdSessionOptions {
  readonly members: EtcdMembers
  /** As people know it. */
  readonly key: string
  /** As etcd knows it. */
  readonly storedKey: Buffer
  readonly value: Buffer
  readonly ttlMs: number
  readonly onReach: OnReach
}

const closeTimeoutMs = 1000
const renewalTimeoutMinMs = 200

/** ALREADY_EXISTS while there is a value under the key. */
export async function openEtcdSession(options: EtcdSessionOptions): Promise<EtcdSession> {
  const lease = newLeaseId()
  try {
    await grant(options, lease)
    if (await putIfFree(options, lease)) return new EtcdSession(options, lease)
  } catch (error) {
    void revoke(options.members, lease)
    throw error
  }
  void revoke(options.members, lease)
  throw new NearstateError('ALREADY_EXISTS', `Cannot open session "${options.key}": another process holds it`)
}

export class EtcdSession implements Session {
  readonly lapsed: Promise<void>
  readonly #options: EtcdSessionOptions
  readonly #lease: string
  readonly #ended = new AbortController()

  constructor(options: EtcdSessionOptions, lease: string) {
    this.#options = options
    this.#lease = lease
    this.lapsed = new Promise(resolve => this.#ended.signal.addEventListener('abort', () => resolve()))
    const { ttlMs, onReach } = options
    void keepRenewing({ ttlMs, ended: this.#ended, onReach, renew: () => this.#renew() })
  }

  async close(): Promise<void> {
    if (isAborted(this.#ended.signal)) return
    this.#ended.abort()
    await revoke(this.#options.members, this.#lease)
  }

  /** False: it has lapsed. */
  async #renew(): Promise<boolean> {
    const { members, key, storedKey, ttlMs } = this.#options
    const attemptMs = Math.max(renewalTimeoutMinMs, ttlMs / 3)
    const call = { action: `renew session "${key}"`, mayRepeat: true, attemptMs, timeoutMs: attemptMs * 2 }
    const leftSeconds = await members.call({ ...call, run: (member, options) => keepAlive(member, this.#lease, options) })
    if (leftSeconds <= 0) return false
    const range = { key: storedKey, keys_only: true }
    const { kvs } = await members.call({ ...call, run: (member, options) => member.kv.range(range, options) })
    return kvs[0]?.lease === this.#lease
  }
}

/** 63 random bits, above 0. */
const newLeaseId = (): string => String((randomBytes(8).readBigUInt64BE() >> 1n) | 1n)

async function grant({ members, key, ttlMs }: EtcdSessionOptions, lease: string): Promise<void> {
  const request = { ID: lease, TTL: Math.max(1, Math.ceil(ttlMs / 1000)) }
  await members.call({
    action: `open session "${key}"`,
    mayRepeat: true,
    run: async (member, options) => {
      try {
        await member.leases.leaseGrant(request, options)
      } catch (error) {
        // By an earlier attempt: nobody else chooses this id.
        if (!(error instanceof Error && error.message.includes('lease already exists'))) throw error
      }
    },
  })
}

async function putIfFree({ members, key, storedKey, value }: EtcdSessionOptions, lease: string): Promise<boolean> {
  const { succeeded, responses } = await members.call({
    action: `open session "${key}"`,
    mayRepeat: true,
    run: (member, options) =>
      member.kv.txn(
        {
          compare: [{ key: storedKey, target: CompareTarget.Mod, result: CompareResult.Equal, mod_revision: 0 }],
          success: [{ request_put: { key: storedKey, value, lease } }],
          failure: [{ request_range: { key: storedKey, keys_only: true } }],
        },
        options,
      ),
  })
  return succeeded || responses[0]?.response_range.kvs[0]?.lease === lease
}

/** Seconds left, 0 when the lease is gone. */
async function keepAlive(member: EtcdMember, lease: string, options: { readonly deadline: number }): Promise<number> {
  const stream: IDuplexStream<ILeaseKeepAliveRequest, ILeaseKeepAliveResponse> = await member.leases.leaseKeepAlive(options)
  try {
    return await new Promise<number>((resolve, reject) => {
      stream.on('data', ({ TTL }) => resolve(Number(TTL)))
      stream.on('error', reject)
      stream.on('end', () => reject(new Error('etcd ended the renewal without an answer')))
      stream.write({ ID: lease })
    })
  } finally {
    // Fails the stream, which still has its listener.
    stream.cancel()
  }
}

async function revoke(members: EtcdMembers, lease: string): Promise<void> {
  const call = { action: 'close a session', mayRepeat: true, timeoutMs: closeTimeoutMs, attemptMs: closeTimeoutMs / 2 }
  await members.call({ ...call, run: (member, options) => member.leases.leaseRevoke({ ID: lease }, options) }).catch(() => {
    // Out of reach, or gone already: it lapses by itself.
  })
}
