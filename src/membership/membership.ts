/**
 * One node's view of who is there, and what it should propose to the coordinator now.
 *
 * Owns: the last cluster state seen, the sessions seen, since when a member's session is missing.
 * Does not: read or write the coordinator, keep time. Input: `handle...`; output: `propose` (a state and the version that it replaces),
 * to be written by compare-and-set. After a conflict the newer state comes in by itself, and the node proposes again.
 *
 * A member is gone when the session of its incarnation was there and has ended, or has been missing for one TTL: state and sessions are
 * watched apart, so a member may be seen before its session.
 * Only the leader proposes. When the leader is gone, the next member in order that is not gone takes over in the same step.
 */
import type { NodeId } from '../base/ids.ts'
import type { ClusterState, ClusterView, Member } from './cluster-state.ts'
import { assignInitial, findMember, hasFormed, isLive, liveMembers, lostCount, markDead, takeLeadership } from './transitions.ts'

export interface MembershipOptions {
  readonly self: NodeId
  /** Members that must have joined before the partitions are given out. */
  readonly expectedNodes: number
  readonly sessionTtlMs: number
}

export type MembershipChange =
  | { readonly kind: 'dead'; readonly name: string; readonly lostPartitions: number }
  | { readonly kind: 'leader'; readonly name: string }
  | { readonly kind: 'formed'; readonly nodes: number; readonly partitions: number }

export interface Proposal {
  readonly expectedVersion: number
  readonly state: ClusterState
  /** What it changes, for the log. Not empty. */
  readonly changes: readonly MembershipChange[]
}

export class Membership {
  readonly #options: MembershipOptions
  #view: ClusterView | undefined
  /** Incarnation that each name's session belongs to. */
  readonly #sessions = new Map<string, NodeId>()
  /** Incarnations of members whose session has ended. */
  readonly #ended = new Set<NodeId>()
  /** Since when a member is known without ever a session of its incarnation. */
  readonly #missingSinceMs = new Map<NodeId, number>()

  constructor(options: MembershipOptions) {
    this.#options = options
  }

  /** A state read from the coordinator; an older one than the last is ignored. */
  handleView(nowMs: number, view: ClusterView): void {
    if (this.#view !== undefined && view.version < this.#view.version) return
    this.#view = view
    for (const id of this.#ended) if (findMember(view.state, id) === undefined) this.#ended.delete(id)
    this.#noteMissing(nowMs)
  }

  /** The session of that node's incarnation is there. */
  handleSession(nowMs: number, nodeName: string, node: NodeId): void {
    const before = this.#sessions.get(nodeName)
    if (before !== undefined && before !== node) this.#ended.add(before)
    this.#sessions.set(nodeName, node)
    this.#ended.delete(node)
    this.#noteMissing(nowMs)
  }

  /** The session under that name has ended. */
  handleSessionEnd(nowMs: number, nodeName: string): void {
    const node = this.#sessions.get(nodeName)
    if (node !== undefined) this.#ended.add(node)
    this.#sessions.delete(nodeName)
    this.#noteMissing(nowMs)
  }

  /** Incarnations are fresh, so one that is not in the state now may still join: only members count. */
  isGone(nowMs: number, member: Member): boolean {
    if (member.id === this.#options.self) return false
    if (this.#sessions.get(member.name) === member.id) return false
    const since = this.#missingSinceMs.get(member.id)
    return this.#ended.has(member.id) || (since !== undefined && nowMs - since >= this.#options.sessionTtlMs)
  }

  /** The next state, if it is this node's business to propose one. */
  propose(nowMs: number): Proposal | undefined {
    if (this.#view === undefined) return undefined
    const { version, state } = this.#view
    const present = liveMembers(state).filter(member => !this.isGone(nowMs, member))
    if (this.#leaderInTurn(state, present)?.id !== this.#options.self) return undefined
    const changes: MembershipChange[] = []
    let next = takeLeadership(state, this.#options.self)
    if (next.leader !== undefined && next !== state) changes.push({ kind: 'leader', name: next.leader })
    for (const member of liveMembers(state)) {
      if (present.includes(member)) continue
      const lostBefore = lostCount(next)
      next = markDead(next, member.id)
      changes.push({ kind: 'dead', name: member.name, lostPartitions: lostCount(next) - lostBefore })
    }
    if (!hasFormed(next)) {
      next = assignInitial(next, this.#options.expectedNodes)
      if (hasFormed(next)) changes.push({ kind: 'formed', nodes: liveMembers(next).length, partitions: next.partitionCount })
    }
    return changes.length === 0 ? undefined : { expectedVersion: version, state: next, changes }
  }

  /** When `propose` may answer differently without any input; undefined: never. */
  nextDeadlineMs(nowMs: number): number | undefined {
    const deadlines = [...this.#missingSinceMs.values()].map(since => since + this.#options.sessionTtlMs).filter(at => at > nowMs)
    return deadlines.length === 0 ? undefined : Math.min(...deadlines)
  }

  #leaderInTurn(state: ClusterState, present: readonly Member[]): Member | undefined {
    const at = state.members.findIndex(({ name }) => name === state.leader)
    const inTurn = [...state.members.slice(Math.max(at, 0)), ...state.members.slice(0, Math.max(at, 0))]
    return inTurn.find(member => present.includes(member))
  }

  #noteMissing(nowMs: number): void {
    const missing = (this.#view?.state.members ?? []).filter(
      member => isLive(member) && this.#sessions.get(member.name) !== member.id && !this.#ended.has(member.id),
    )
    for (const id of this.#missingSinceMs.keys()) if (!missing.some(member => member.id === id)) this.#missingSinceMs.delete(id)
    for (const member of missing) if (!this.#missingSinceMs.has(member.id)) this.#missingSinceMs.set(member.id, nowMs)
  }
}
