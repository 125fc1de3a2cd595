/**
 * Heartbeats to the other members: "I live, I suspect these", the newer table where the other is behind, and promises in return.
 *
 * Owns: the pace per peer, what each is known to know, when a connection is made anew. Does not: keep the interval (cluster-driver.ts).
 *
 * 1. A connection that is refused or reset, and not re-made at once, makes a suspect; silence does only after `silenceMs`.
 * 2. At most `pendingMax` beats to a peer are under way; what comes up meanwhile is one more when one of them ends.
 * 3. A peer that answers nothing for `deafMs` is called on a new connection: the old one may be waiting out the back-off of a network
 *    that was cut.
 */
import type { Clock } from '../base/clock.ts'
import { NearstateError } from '../base/errors.ts'
import type { NodeId } from '../base/ids.ts'
import type { ClusterView, Member } from '../membership/cluster-state.ts'
import type { ReplicatedMembership } from '../membership/replicated-membership.ts'
import type { Promises } from '../replication/promises.ts'
import type { BeatRequest, BeatResponse } from '../wire/generated/nearstate/v1/peer.ts'
import { isNews, numberOf, type ViewEncoder, viewOf } from './control-messages.ts'
import type { CallOptions } from './node-control.ts'

export interface BeatLink {
  beat(request: BeatRequest, options: CallOptions): Promise<BeatResponse>
}

export interface HeartbeatsOptions {
  readonly self: NodeId
  readonly clock: Clock
  readonly membership: ReplicatedMembership
  readonly promises: Promises
  readonly views: ViewEncoder
  readonly leaseMs: number
  readonly linkTo: (member: Member) => BeatLink
  readonly renewLink: (member: Member) => void
  /** A view that came with an answer; before anything else of it. */
  readonly onView: (view: ClusterView) => void
  /** The promise held of that node may have changed. */
  readonly onPromise: (node: NodeId) => void
  /** A connection was reset: somebody may be suspected now. */
  readonly onReset: () => void
}

interface Peer {
  knownVersion: number
  pending: number
  isDue: boolean
  heardAtMs: number
}

const pendingMax = 4
const deafMs = 2000

export class Heartbeats {
  readonly #options: HeartbeatsOptions
  readonly #peers = new Map<NodeId, Peer>()
  #isStopped = false
  #misses = 0

  constructor(options: HeartbeatsOptions) {
    this.#options = options
  }

  /** How often, at the pace of the interval, a member within reach had no promise running. */
  get misses(): number {
    return this.#misses
  }

  /** To all members that may live. */
  beat(): void {
    const members = this.#options.membership.view?.state.members ?? []
    const others = members.filter(({ id, status }) => id !== this.#options.self && status !== 'dead')
    for (const id of this.#peers.keys()) if (!others.some(member => member.id === id)) this.#peers.delete(id)
    for (const member of others) this.#beatTo(member)
  }

  /** At the pace of the interval. */
  countMisses(): void {
    const { membership, promises, self, clock } = this.#options
    const nowMs = clock.nowMs()
    for (const { id, status } of membership.view?.state.members ?? []) {
      if (id === self || status === 'dead' || status === 'suspect') continue
      if ((promises.held(id)?.untilMs ?? 0) < nowMs) this.#misses += 1
    }
  }

  /** What a beat of a peer says of itself. */
  handleBeat(from: NodeId, version: number): void {
    const peer = this.#peers.get(from)
    if (peer === undefined) return
    peer.knownVersion = Math.max(peer.knownVersion, version)
  }

  stop(): void {
    this.#isStopped = true
  }

  #beatTo(member: Member): void {
    const peer = this.#peerOf(member)
    if (peer.pending >= pendingMax) {
      peer.isDue = true
      return
    }
    void this.#exchange(member, peer, false)
  }

  async #exchange(member: Member, peer: Peer, isSecondTry: boolean): Promise<void> {
    const { clock, membership, promises, views, linkTo, leaseMs } = this.#options
    const { view } = membership
    if (this.#isStopped || view === undefined) return
    const nowMs = clock.nowMs()
    const { version, sentAtMs } = promises.heartbeat(nowMs, member.id)
    peer.isDue = false
    peer.pending += 1
    try {
      const answer = await linkTo(member).beat(
        {
          from: this.#options.self,
          to: member.id,
          version: BigInt(version),
          sentAtMs,
          view: peer.knownVersion < view.version ? views.encode(view) : undefined,
          suspects: [...membership.suspects(nowMs)],
        },
        { timeoutMs: leaseMs },
      )
      peer.pending -= 1
      if (!this.#isStopped) this.#answered(member, peer, answer)
    } catch (error) {
      peer.pending -= 1
      if (!this.#isStopped) await this.#failed(member, peer, error, isSecondTry)
    }
    if (peer.isDue && this.#peers.get(member.id) === peer) this.#beatTo(member)
  }

  #answered(member: Member, peer: Peer, answer: BeatResponse): void {
    const { clock, membership, promises, onView, onPromise } = this.#options
    if (answer.view !== undefined && isNews(answer.view, membership.view)) onView(viewOf(answer.view))
    const nowMs = clock.nowMs()
    const from = answer.from as NodeId
    if (from !== member.id) return
    const version = numberOf(answer.version, 'version')
    peer.heardAtMs = nowMs
    peer.knownVersion = Math.max(peer.knownVersion, version)
    membership.handleHeard(nowMs, from)
    membership.handleVotes(nowMs, from, answer.suspects as NodeId[])
    promises.handleAnswer(nowMs, {
      kind: 'heartbeatAnswer',
      from,
      to: answer.to as NodeId,
      version,
      sentAtMs: answer.sentAtMs,
      promised: answer.promised,
    })
    onPromise(from)
  }

  async #failed(member: Member, peer: Peer, error: unknown, isSecondTry: boolean): Promise<void> {
    const { clock, membership, renewLink, onReset } = this.#options
    const code = error instanceof NearstateError ? error.code : 'INTERNAL'
    // NOT_FOUND: another incarnation listens there now.
    if (code === 'UNAVAILABLE' && !isSecondTry) return this.#exchange(member, peer, true)
    if (code === 'UNAVAILABLE' || code === 'NOT_FOUND') {
      membership.handleReset(clock.nowMs(), member.id)
      onReset()
    } else if (clock.nowMs() - peer.heardAtMs >= deafMs) {
      peer.heardAtMs = clock.nowMs()
      renewLink(member)
    }
  }

  #peerOf({ id }: Member): Peer {
    const known = this.#peers.get(id)
    if (known !== undefined) return known
    const peer = { knownVersion: 0, pending: 0, isDue: false, heardAtMs: this.#options.clock.nowMs() }
    this.#peers.set(id, peer)
    return peer
  }
}
