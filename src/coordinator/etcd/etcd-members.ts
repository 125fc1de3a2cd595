/**
 * The members of an etcd cluster as one thing to call: all calls go to one of them, until it fails.
 *
 * Owns: which member is the current one, and repetition within a deadline.
 * 1. A call that may have been executed is repeated only if its caller says that a second time does no harm.
 * 2. Watches follow: `moved` of the member that they use is aborted when another becomes the current one.
 * 3. Calls end in time: no connection to any member ends a call after two rounds, silence and missing leaders at its deadline.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../../base/clock.ts'
import { type ErrorCode, NearstateError } from '../../base/errors.ts'
import { type EtcdFailure, judgeFailure } from './etcd-failure.ts'
import { type EtcdAccess, EtcdMember } from './etcd-member.ts'
import { type OnTrouble, Trouble } from './trouble.ts'

export interface EtcdMembersOptions extends EtcdAccess {
  /** host:port of each. */
  readonly members: readonly string[]
  readonly onTrouble: OnTrouble
}

export interface EtcdCall<T> {
  /** Completes "Cannot ...". */
  readonly action: string
  /** A second execution does no harm, and answers as well as the first. */
  readonly mayRepeat: boolean
  readonly timeoutMs?: number
  /** Of one attempt, then another member is asked. */
  readonly attemptMs?: number
  readonly run: (member: EtcdMember, options: { readonly deadline: number }) => Promise<T>
}

/** A new leader is elected within about two seconds, with etcd's defaults. */
const callTimeoutMs = 4000
const attemptMs = 2000
const pauseMs = 100
const roundsUnreachedMax = 2
const tokensMax = 2

export class EtcdMembers {
  readonly #members: readonly EtcdMember[]
  readonly #trouble: Trouble
  #index: number
  #moved = new AbortController()
  #isClosed = false

  constructor({ members, onTrouble, ...access }: EtcdMembersOptions) {
    this.#members = members.map(address => new EtcdMember(address, access))
    this.#trouble = new Trouble(`etcd at ${members.join(', ')}`, onTrouble)
    this.#index = Math.floor(Math.random() * members.length)
  }

  get current(): EtcdMember {
    const member = this.#members[this.#index]
    if (member === undefined) throw new RangeError('an etcd cluster has at least one member')
    return member
  }

  /** Aborted when the current member is no longer current, or all is closed. */
  get moved(): AbortSignal {
    return this.#moved.signal
  }

  /** Rejects with NearstateError; UNAVAILABLE: no answer, and unless `mayRepeat` an unknown outcome. */
  async call<T>(call: EtcdCall<T>): Promise<T> {
    const untilMs = systemClock.nowMs() + (call.timeoutMs ?? callTimeoutMs)
    let unreachedCount = 0
    let tokenCount = 0
    for (let attempt = 1; ; attempt += 1) {
      const member = this.current
      const leftMs = Math.max(1, Math.min(call.attemptMs ?? attemptMs, untilMs - systemClock.nowMs()))
      try {
        if (this.#isClosed) throw new Error('No connection established: it was closed')
        const answer = await call.run(member, { deadline: Date.now() + leftMs })
        this.reached()
        return answer
      } catch (error) {
        const failure = judgeFailure(error)
        if (failure.kind === 'refused') throw refusal(call.action, failure, error)
        if (failure.kind === 'tokenEnded') {
          member.forgetToken()
          tokenCount += 1
          if (tokenCount > tokensMax) throw refusal(call.action, { code: 'UNAUTHENTICATED', reason: failure.reason }, error)
          continue
        }
        // In a row: a member that answers, if only that it has no leader, may soon do more.
        unreachedCount = failure.kind === 'unreached' ? unreachedCount + 1 : 0
        this.failed(member, failure)
        const isFinal =
          this.#isClosed ||
          (failure.kind === 'unknown' && !call.mayRepeat) ||
          unreachedCount >= this.#members.length * roundsUnreachedMax ||
          systemClock.nowMs() + pauseMs >= untilMs
        if (isFinal) throw this.#unavailable(call, failure, error)
      }
      if (attempt % this.#members.length === 0) await sleep(pauseMs)
    }
  }

  /** Moves on from a member that has just failed. */
  failed(member: EtcdMember, { reason }: Pick<EtcdFailure, 'reason'>): void {
    if (this.#isClosed || member !== this.current) return
    if (this.#members.length === 1) return
    this.#index = (this.#index + 1) % this.#members.length
    const left = this.#moved
    this.#moved = new AbortController()
    left.abort(new Error(`etcd member ${member.address} failed: ${reason}`))
  }

  reached(): void {
    this.#trouble.end()
  }

  /** By a stream that cannot be made; calls tell it by themselves. */
  unreached(reason: string): void {
    if (!this.#isClosed) this.#trouble.begin(reason)
  }

  close(): void {
    this.#isClosed = true
    this.#moved.abort()
    for (const member of this.#members) member.close()
  }

  #unavailable<T>(call: EtcdCall<T>, { kind, reason }: EtcdFailure, cause: unknown): NearstateError {
    const where = this.#members.map(({ address }) => address).join(', ')
    const outcome = kind === 'unknown' && !call.mayRepeat ? '; it may or may not have happened' : ''
    this.unreached(reason)
    return new NearstateError('UNAVAILABLE', `Cannot ${call.action}: etcd at ${where} does not answer (${reason})${outcome}`, { cause })
  }
}

const refusal = (action: string, { code, reason }: { readonly code: ErrorCode; readonly reason: string }, cause: unknown): NearstateError =>
  new NearstateError(code, `Cannot ${action}: etcd refuses it: ${reason}`, { cause })
