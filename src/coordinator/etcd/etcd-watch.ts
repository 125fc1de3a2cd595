/**
 * One watch of the keys under a prefix, on whichever member is the current one.
 *
 *     list, report values, deletions, caught up -> stream from the revision behind the list -> (broken) stream from where it was
 *        ^                                                                                        |
 *        +------- that revision is compacted, or lies in the future (etcd was restored) ----------+
 *
 * 1. The place in the history moves by reported changes only: progress messages of etcd 3.4 may overtake changes.
 * 2. A key is reported as deleted only if it was reported before.
 * 3. The stream is read one message after the other: a slow listener slows the stream, nothing piles up here.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { IDuplexStream, IEvent, IKeyValue, IWatchRequest, IWatchResponse } from 'etcd3'
import { isAborted } from '../../base/abort.ts'
import { NearstateError } from '../../base/errors.ts'
import type { CoordinatorValue, WatchListener } from '../../membership/coordinator-port.ts'
import { judgeFailure } from './etcd-failure.ts'
import type { EtcdMembers } from './etcd-members.ts'
import type { KeySpace } from './key-space.ts'
import { type OnTrouble, Trouble } from './trouble.ts'

const backOffMinMs = 100
const backOffMaxMs = 500
/** A stream that breaks now and then, as at each change of leader, is no trouble. */
const failuresUntold = 3
/** From asking for a stream to its first message. */
const createTimeoutMs = 5000

type WatchStream = IDuplexStream<IWatchRequest, IWatchResponse> & AsyncIterable<IWatchResponse>

export interface EtcdWatchOptions {
  readonly members: EtcdMembers
  readonly keys: KeySpace
  readonly prefix: string
  readonly listener: WatchListener
  readonly stop: AbortSignal
  readonly onTrouble: OnTrouble
}

/** Where the watch is in the history of its etcd cluster. */
interface Place {
  readonly clusterId: string
  /** The last one whose changes are reported. */
  revision: bigint
}

export class EtcdWatch {
  readonly #members: EtcdMembers
  readonly #keys: KeySpace
  readonly #prefix: string
  readonly #listener: WatchListener
  readonly #stop: AbortSignal
  readonly #trouble: Trouble
  readonly #known = new Set<string>()
  #place: Place | undefined

  constructor({ members, keys, prefix, listener, stop, onTrouble }: EtcdWatchOptions) {
    this.#members = members
    this.#keys = keys
    this.#prefix = prefix
    this.#listener = listener
    this.#stop = stop
    this.#trouble = new Trouble(`the watch of "${prefix}"`, onTrouble)
  }

  /** Until stopped. Never rejects: what goes wrong is tried again, and told as trouble. */
  async follow(): Promise<void> {
    let failures = 0
    while (!isAborted(this.#stop)) {
      try {
        this.#place ??= await this.#reportAll()
        await this.#stream(this.#place, () => (failures = 0))
      } catch (error) {
        failures += 1
        this.#tellTrouble(error, failures)
      }
      const backOffMs = Math.min(backOffMinMs * 2 ** failures, backOffMaxMs)
      await sleep(backOffMs, undefined, { signal: this.#stop }).catch(() => {})
    }
  }

  /** That etcd does not answer is told once for all watches and calls; what concerns this watch alone, by itself. */
  #tellTrouble(error: unknown, failures: number): void {
    if (isAborted(this.#stop) || failures < failuresUntold) return
    if (error instanceof NearstateError) {
      if (error.code !== 'UNAVAILABLE') this.#trouble.begin(error.message)
      return
    }
    const { kind, reason } = judgeFailure(error)
    if (kind === 'unreached' || kind === 'leaderless') this.#members.unreached(reason)
    else this.#trouble.begin(reason)
  }

  async #reportAll(): Promise<Place> {
    const { header, kvs } = await this.#members.call({
      action: `watch "${this.#prefix}"`,
      mayRepeat: true,
      run: (member, options) => member.kv.range(this.#keys.under(this.#prefix), options),
    })
    const values = kvs.map(kv => valueOf(this.#keys, kv)).sort((a, b) => a.version - b.version)
    const vanished = new Set(this.#known)
    for (const value of values) {
      vanished.delete(value.key)
      this.#put(value)
    }
    for (const key of vanished) this.#delete(key)
    this.#tell(() => this.#listener.onCaughtUp?.())
    return { clusterId: header.cluster_id, revision: BigInt(header.revision) }
  }

  async #stream(place: Place, onCreated: () => void): Promise<void> {
    const member = this.#members.current
    const ended = AbortSignal.any([this.#stop, this.#members.moved])
    const stream = (await member.watches.watch()) as WatchStream
    // Also after this function has ended: a cancelled stream fails, and nobody else hears it.
    stream.on('error', () => {})
    const cancel = (): void => stream.cancel()
    const patience = setTimeout(cancel, createTimeoutMs)
    ended.addEventListener('abort', cancel)
    try {
      if (isAborted(ended)) return
      stream.write({ create_request: { ...this.#keys.under(this.#prefix), start_revision: String(place.revision + 1n) } })
      for await (const answer of stream) {
        if (isAborted(ended)) return
        if (answer.canceled || isOtherHistory(place, answer)) return this.#losePlace(answer)
        if (answer.created) {
          clearTimeout(patience)
          this.#trouble.end()
          this.#members.reached()
          onCreated()
        }
        for (const event of answer.events) this.#apply(place, event)
      }
    } catch (error) {
      if (isAborted(ended)) return
      const failure = judgeFailure(error)
      if (failure.kind === 'tokenEnded') member.forgetToken()
      this.#members.failed(member, failure)
      throw error
    } finally {
      clearTimeout(patience)
      ended.removeEventListener('abort', cancel)
      stream.cancel()
    }
  }

  /** The stream cannot go on from here: all is listed again. */
  #losePlace({ canceled, compact_revision, cancel_reason }: IWatchResponse): void {
    this.#place = undefined
    if (canceled && compact_revision === '0') throw new Error(`etcd ended it: ${cancel_reason}`)
  }

  #apply(place: Place, { type, kv }: IEvent): void {
    // The definitions write it in capitals, the types of the library do not.
    if (type.toLowerCase() === 'delete') this.#delete(this.#keys.own(kv.key))
    else this.#put(valueOf(this.#keys, kv))
    place.revision = BigInt(kv.mod_revision)
  }

  #put(value: CoordinatorValue): void {
    this.#known.add(value.key)
    this.#tell(() => this.#listener.onValue(value))
  }

  #delete(key: string): void {
    if (this.#known.delete(key)) this.#tell(() => this.#listener.onDelete(key))
  }

  #tell(report: () => void): void {
    if (!isAborted(this.#stop)) report()
  }
}

/** A member that has not seen our revision: it lags behind, or etcd has begun anew from older data. */
const isOtherHistory = ({ clusterId, revision }: Place, { created, header }: IWatchResponse): boolean =>
  created && (header.cluster_id !== clusterId || BigInt(header.revision) < revision)

export const valueOf = (keys: KeySpace, { key, value, mod_revision }: IKeyValue): CoordinatorValue => ({
  key: keys.own(key),
  value: new Uint8Array(value),
  version: Number(mod_revision),
})
