/**
 * One node's part in the life of a replicated cluster: whom it suspects, and, when it is the leader's turn, what it proposes.
 *
 * Owns: the last view, the suspicion, requests waiting for the leader, the way of this node's own requests.
 * Does not: read or write the coordinator, send, keep time. In: `handle...`. Out: `suspects` (with every heartbeat), `propose` (a state and
 * the version that it replaces), `orders`, `routeRequest`.
 *
 * 1. Leadership needs no lease: whoever proposes, the compare-and-set decides; a deposed leader's fails.
 * 2. It judges nobody dead, for that loses data, and what it knows of sessions may be old: whoever takes a name over records, with the
 *    change that makes it a member, that the one before has ended.
 * 3. A leader that lets a request go unanswered for `leaderSilenceMs` is passed over by the next member in order, whom the asker tells.
 */
import type { NodeId } from '../base/ids.ts'
import type { HandOverOrder, ReplicaRequest } from '../partitioning/partition-table.ts'
import type { ClusterState, ClusterView, Member } from './cluster-state.ts'
import { MigrationSteps } from './migration-steps.ts'
import { decideRequest, formCluster, isReachable, reachableMembers, returnMember, suspectMember } from './replica-transitions.ts'
import { type MirrorReport, restoreFromMirrors } from './restore-transitions.ts'
import { everyMembershipRule, type MembershipRules } from './rules.ts'
import { Suspicion } from './suspicion.ts'
import { findMember, hasFormed, lostCount, takeLeadership } from './transitions.ts'

export interface ReplicatedMembershipOptions {
  readonly self: NodeId
  readonly expectedNodes: number
  readonly backups: number
  readonly sessionTtlMs: number
  /** 1000 */
  readonly silenceMs: number
  /** 500 */
  readonly leaderSilenceMs: number
  /** 2 */
  readonly movesPerNode: number
}

export type ClusterChange =
  | { readonly kind: 'leader'; readonly name: string }
  | { readonly kind: 'suspect'; readonly name: string }
  | { readonly kind: 'returned'; readonly name: string }
  | { readonly kind: 'formed'; readonly nodes: number; readonly partitions: number }
  | { readonly kind: 'request'; readonly request: ReplicaRequest }
  /** Lost partitions that are taken from durable mirrors. */
  | { readonly kind: 'restored'; readonly partitions: number }
  /** Learners in, surplus replicas out, members that have left. */
  | { readonly kind: 'moves' }

export interface ClusterProposal {
  readonly expectedVersion: number
  readonly state: ClusterState
  /** Not empty. */
  readonly changes: readonly ClusterChange[]
}

export class ReplicatedMembership {
  readonly #options: ReplicatedMembershipOptions
  readonly #rules: MembershipRules
  readonly #suspicion: Suspicion
  readonly #steps: MigrationSteps
  /** Asked of this node as leader: the last of each partition and kind. */
  readonly #requests = new Map<string, ReplicaRequest>()
  /** This node's own requests: since when each is unanswered. */
  readonly #askedSinceMs = new Map<string, { readonly sinceMs: number; readonly request: ReplicaRequest }>()
  /** By name of the node. */
  readonly #mirrors = new Map<string, MirrorReport>()
  #silentLeader: string | undefined
  #coordinatorOut = false
  #view: ClusterView | undefined

  constructor(options: ReplicatedMembershipOptions, rules: MembershipRules = everyMembershipRule) {
    this.#options = options
    this.#rules = rules
    this.#suspicion = new Suspicion(options)
    this.#steps = new MigrationSteps(options)
  }

  get view(): ClusterView | undefined {
    return this.#view
  }

  get mirrors(): readonly MirrorReport[] {
    return [...this.#mirrors.values()]
  }

  /** A state read from the coordinator or told by another node; ignored unless newer. */
  handleView(nowMs: number, view: ClusterView): void {
    if (this.#view !== undefined && view.version <= this.#view.version) return
    if (view.state.leader !== this.#silentLeader) this.#silentLeader = undefined
    this.#view = view
    this.#suspicion.handleMembers(
      nowMs,
      view.state.members.filter(({ status }) => status !== 'dead'),
    )
    const isCurrent = ({ partition, epoch }: ReplicaRequest): boolean => (view.state.partitions[partition]?.epoch ?? 0) <= epoch
    if (this.#rules.requestsBoundToEpoch) for (const [key, request] of this.#requests) if (!isCurrent(request)) this.#requests.delete(key)
    for (const [key, { request }] of this.#askedSinceMs) if (!isCurrent(request)) this.#askedSinceMs.delete(key)
  }

  handleSession(nowMs: number, nodeName: string, node: NodeId): void {
    this.#suspicion.handleSession(nodeName, node)
    if (this.#view !== undefined)
      this.#suspicion.handleMembers(
        nowMs,
        this.#view.state.members.filter(({ status }) => status !== 'dead'),
      )
  }

  handleSessionEnd(nowMs: number, nodeName: string): void {
    this.#suspicion.handleSessionEnd(nowMs, nodeName)
  }

  /** The coordinator cannot be reached, or can again. */
  handleCoordinator(nowMs: number, isOut: boolean): void {
    this.#coordinatorOut = isOut
    this.#suspicion.handleCoordinator(nowMs, isOut)
  }

  /** Anything came from that incarnation's control thread. */
  handleHeard(nowMs: number, node: NodeId): void {
    this.#suspicion.handleHeard(nowMs, node)
  }

  /** This node's control thread stood still until now: others may have spoken, unheard. */
  handleStandstill(nowMs: number): void {
    this.#suspicion.handleStandstill(nowMs)
  }

  /** The connection to it was reset and could not be made again at once. */
  handleReset(_nowMs: number, node: NodeId): void {
    this.#suspicion.handleReset(node)
  }

  /** The suspects that came with another node's heartbeat. */
  handleVotes(nowMs: number, from: NodeId, suspects: readonly NodeId[]): void {
    this.#suspicion.handleVotes(nowMs, from, suspects)
  }

  /** What a node found on its disk when it started; undefined: it says no more. */
  handleMirrors(nodeName: string, report: MirrorReport | undefined): void {
    if (report === undefined) this.#mirrors.delete(nodeName)
    else this.#mirrors.set(nodeName, report)
  }

  /** A request for the leader. `silentLeader`: the asker says that this leader did not answer it. */
  handleRequest(_nowMs: number, request: ReplicaRequest, silentLeader?: string): void {
    this.#requests.set(`${request.kind} ${request.partition}`, request)
    if (silentLeader !== undefined && silentLeader === this.#view?.state.leader) this.#silentLeader = silentLeader
  }

  /** Whom this node suspects, for its heartbeats. */
  suspects(nowMs: number): readonly NodeId[] {
    const members = this.#view?.state.members ?? []
    return members.filter(({ id, status }) => status !== 'dead' && this.#suspicion.isSilent(nowMs, id)).map(({ id }) => id)
  }

  /** Where a request of this node's shards goes now. undefined: nobody leads. */
  routeRequest(nowMs: number, request: ReplicaRequest): { readonly to: NodeId; readonly silentLeader: string | undefined } | undefined {
    if (this.#view === undefined) return undefined
    const { state } = this.#view
    const key = `${request.kind} ${request.partition} ${request.epoch}`
    const asked = this.#askedSinceMs.get(key) ?? { sinceMs: nowMs, request }
    this.#askedSinceMs.set(key, asked)
    const inTurn = inTurnOf(state).filter(isReachable)
    if (inTurn.length === 0) return undefined
    const silences = Math.floor((nowMs - asked.sinceMs) / this.#options.leaderSilenceMs)
    const to = inTurn[silences % inTurn.length] as Member
    return { to: to.id, silentLeader: to.name === state.leader ? undefined : state.leader }
  }

  /** The next state, if it is this node's business to propose one. */
  propose(nowMs: number): ClusterProposal | undefined {
    if (this.#view === undefined || this.#leaderInTurn(nowMs, this.#view.state)?.id !== this.#options.self) return undefined
    const { version } = this.#view
    const changes: ClusterChange[] = []
    let state = takeLeadership(this.#view.state, this.#options.self)
    if (state !== this.#view.state && state.leader !== undefined) changes.push({ kind: 'leader', name: state.leader })
    state = this.#judgeMembers(nowMs, state, changes)
    if (!hasFormed(state)) {
      state = formCluster(state, this.#options.expectedNodes, this.#options.backups)
      if (hasFormed(state)) changes.push({ kind: 'formed', nodes: state.members.length, partitions: state.partitionCount })
    }
    state = this.#decideRequests(state, changes)
    state = this.#restore(state, changes)
    const moved = this.#steps.step(state, this.#view.state)
    if (moved !== state) changes.push({ kind: 'moves' })
    return changes.length === 0 ? undefined : { expectedVersion: version, state: moved, changes }
  }

  /**
   * Hand-overs to order, if this node leads; sent to their `from` node, again about every 500 ms. None while the coordinator is out: a
   * primary that stopped for one could not go on before it is back.
   */
  orders(): readonly HandOverOrder[] {
    if (this.#coordinatorOut) return []
    const state = this.#view?.state
    if (state === undefined || state.leader === undefined) return []
    return findMember(state, this.#options.self)?.name === state.leader ? this.#steps.orders(state) : []
  }

  /** When `propose` or `suspects` may answer differently without any input. */
  nextDeadlineMs(nowMs: number): number | undefined {
    return this.#suspicion.nextDeadlineMs(nowMs)
  }

  #judgeMembers(nowMs: number, before: ClusterState, changes: ClusterChange[]): ClusterState {
    let state = before
    // Everybody is judged by the members that were within reach before.
    const reachable = reachableMembers(before)
    for (const member of before.members) {
      const { id, name, status } = member
      if (status === 'dead') continue
      if (this.#suspicion.isGone(nowMs, id, reachable)) {
        if (status === 'suspect') continue
        state = suspectMember(state, id, this.#rules)
        changes.push({ kind: 'suspect', name })
      } else if (status === 'suspect' && !this.#suspicion.isSilent(nowMs, id)) {
        state = returnMember(state, id, this.#rules)
        changes.push({ kind: 'returned', name })
      }
    }
    return state
  }

  #restore(before: ClusterState, changes: ClusterChange[]): ClusterState {
    const state = restoreFromMirrors(before, this.mirrors)
    if (state !== before) changes.push({ kind: 'restored', partitions: lostCount(before) - lostCount(state) })
    return state
  }

  #decideRequests(before: ClusterState, changes: ClusterChange[]): ClusterState {
    let state = before
    for (const request of this.#requests.values()) {
      const next = decideRequest(state, request, this.#rules)
      if (next !== state) changes.push({ kind: 'request', request })
      state = next
    }
    // Without the rule a request would be carried out for ever.
    if (!this.#rules.requestsBoundToEpoch) this.#requests.clear()
    return state
  }

  #leaderInTurn(nowMs: number, state: ClusterState): Member | undefined {
    const reachable = reachableMembers(state)
    const candidates = inTurnOf(state).filter(
      member =>
        (isReachable(member) || member.id === this.#options.self) &&
        member.status !== 'dead' &&
        !this.#suspicion.isGone(nowMs, member.id, reachable),
    )
    const next = candidates[0]
    return next !== undefined && next.name === this.#silentLeader && next.id !== this.#options.self ? candidates[1] : next
  }
}

/** From the leader on, in order of joining, round the end. */
function inTurnOf(state: ClusterState): readonly Member[] {
  const at = Math.max(
    0,
    state.members.findIndex(({ name }) => name === state.leader),
  )
  return [...state.members.slice(at), ...state.members.slice(0, at)]
}
