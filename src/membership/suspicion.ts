/**
 * Who is gone, as far as one node can tell.
 *
 * Owns: when each node was last heard, which votes others sent, which sessions are there. Does not: know the leader, change anything.
 * A node is treated as gone when more than half of the other members within reach report it, or its session has lapsed.
 * Suspicion may be wrong: it costs a fail-over, never data.
 */
import type { NodeId } from '../base/ids.ts'
import type { Member } from './cluster-state.ts'

export interface SuspicionOptions {
  readonly self: NodeId
  readonly silenceMs: number
  readonly sessionTtlMs: number
}

interface Vote {
  readonly atMs: number
  readonly suspects: ReadonlySet<NodeId>
}

export class Suspicion {
  readonly #options: SuspicionOptions
  readonly #heardAtMs = new Map<NodeId, number>()
  readonly #votes = new Map<NodeId, Vote>()
  readonly #sessions = new Map<string, NodeId>()
  /** Since when a known member has no session. */
  readonly #sessionMissingSinceMs = new Map<NodeId, number>()
  #coordinatorOut = false
  /** Since when the coordinator is within reach again; the end of a session that it tells of before it has been so for long may be its own doing. */
  #coordinatorBackMs = Number.NEGATIVE_INFINITY

  constructor(options: SuspicionOptions) {
    this.#options = options
  }

  handleMembers(nowMs: number, members: readonly Member[]): void {
    const known = new Set(members.map(({ id }) => id))
    for (const map of [this.#heardAtMs, this.#votes, this.#sessionMissingSinceMs]) {
      for (const id of map.keys()) if (!known.has(id)) map.delete(id)
    }
    for (const member of members) {
      if (!this.#heardAtMs.has(member.id)) this.#heardAtMs.set(member.id, nowMs)
      if (this.#sessions.get(member.name) === member.id) this.#sessionMissingSinceMs.delete(member.id)
      else if (!this.#sessionMissingSinceMs.has(member.id)) this.#sessionMissingSinceMs.set(member.id, nowMs)
    }
  }

  handleSession(nodeName: string, node: NodeId): void {
    this.#sessions.set(nodeName, node)
    this.#sessionMissingSinceMs.delete(node)
  }

  /** Its time to live is over already: no waiting, unless the coordinator itself was away. */
  handleSessionEnd(nowMs: number, nodeName: string): void {
    const node = this.#sessions.get(nodeName)
    this.#sessions.delete(nodeName)
    const sinceMs = this.#coordinatorOut ? nowMs : Math.max(nowMs - this.#options.sessionTtlMs, this.#coordinatorBackMs)
    if (node !== undefined) this.#sessionMissingSinceMs.set(node, sinceMs)
  }

  /** After an outage of the coordinator every session counts as fresh for one time to live. */
  handleCoordinator(nowMs: number, isOut: boolean): void {
    if (this.#coordinatorOut && !isOut) this.#coordinatorBackMs = nowMs
    this.#coordinatorOut = isOut
    for (const id of this.#sessionMissingSinceMs.keys()) this.#sessionMissingSinceMs.set(id, nowMs)
  }

  handleHeard(nowMs: number, node: NodeId): void {
    this.#heardAtMs.set(node, nowMs)
  }

  /** This node itself stood still until now: that says nothing of the others. */
  handleStandstill(nowMs: number): void {
    for (const [node, heardAtMs] of this.#heardAtMs) {
      if (heardAtMs !== Number.NEGATIVE_INFINITY) this.#heardAtMs.set(node, nowMs)
    }
  }

  handleReset(node: NodeId): void {
    this.#heardAtMs.set(node, Number.NEGATIVE_INFINITY)
  }

  handleVotes(nowMs: number, from: NodeId, suspects: readonly NodeId[]): void {
    this.#votes.set(from, { atMs: nowMs, suspects: new Set(suspects) })
  }

  isSilent(nowMs: number, node: NodeId): boolean {
    if (node === this.#options.self) return false
    const heardAtMs = this.#heardAtMs.get(node)
    return heardAtMs !== undefined && nowMs - heardAtMs >= this.#options.silenceMs
  }

  /** Nobody waits for a coordinator that is away. */
  hasLapsed(nowMs: number, node: NodeId): boolean {
    const since = this.#sessionMissingSinceMs.get(node)
    return node !== this.#options.self && !this.#coordinatorOut && since !== undefined && nowMs - since >= this.#options.sessionTtlMs
  }

  /** `reachable`: members neither suspected nor dead in the table. */
  isGone(nowMs: number, node: NodeId, reachable: readonly Member[]): boolean {
    if (node === this.#options.self) return false
    return this.hasLapsed(nowMs, node) || this.#isOutvoted(nowMs, node, reachable)
  }

  #isOutvoted(nowMs: number, node: NodeId, reachable: readonly Member[]): boolean {
    const others = reachable.filter(({ id }) => id !== node)
    const votes = others.filter(({ id }) => {
      if (id === this.#options.self) return this.isSilent(nowMs, node)
      const vote = this.#votes.get(id)
      return vote !== undefined && nowMs - vote.atMs < this.#options.silenceMs && vote.suspects.has(node)
    })
    return votes.length * 2 > others.length
  }

  nextDeadlineMs(nowMs: number): number | undefined {
    const { silenceMs, sessionTtlMs, self } = this.#options
    const silences = [...this.#heardAtMs].filter(([id]) => id !== self).map(([, at]) => at + silenceMs)
    const lapses = this.#coordinatorOut ? [] : [...this.#sessionMissingSinceMs.values()].map(at => at + sessionTtlMs)
    const ahead = [...silences, ...lapses].filter(at => at > nowMs)
    return ahead.length === 0 ? undefined : Math.min(...ahead)
  }
}
