/**
 * This node's part in the cluster: what the control thread does around the cores `ReplicatedMembership` and `Promises`. The twin of
 * test/simulation/cluster/simulated-node.ts, which shows that this order of calls is right.
 *
 * Owns: what is done with a newer view, joining and leaving. Does not: decide (the cores), keep the session (session-keeper.ts), write
 * proposals (proposer.ts), pace single peers (heartbeats.ts), move data (shards).
 *
 * 1. A newer view, wherever it comes from, is learned by membership and promises at once, and told to the shards and the rest of the node
 *    within moments. Promises come before the shards: a node stops promising before its shard acts on a promotion.
 * 2. Neither a lapsed session nor a coordinator out of reach ends the node. A table that declares it dead, or does not know it any more,
 *    does: `onDeposed` is called once.
 */
import type { Clock } from '../base/clock.ts'
import { messageOf, NearstateError } from '../base/errors.ts'
import type { NodeId } from '../base/ids.ts'
import type { Random } from '../base/random.ts'
import type { ClusterState, ClusterView, Member } from '../membership/cluster-state.ts'
import type { Coordinator } from '../membership/coordinator-port.ts'
import { recordEnd, recoverPartitions } from '../membership/recovery.ts'
import { beginLeave, isReachable, recordDeath, stayingMembers } from '../membership/replica-transitions.ts'
import { ReplicatedMembership, type ReplicatedMembershipOptions } from '../membership/replicated-membership.ts'
import { findMember, joinMember } from '../membership/transitions.ts'
import type { HandOverOrder, ReplicaRequest } from '../partitioning/partition-table.ts'
import type { FoundMirror } from '../membership/restore-transitions.ts'
import { Promises } from '../replication/promises.ts'
import type { ShardCommand } from '../shard/protocol.ts'
import type { Logger } from '../telemetry/logger.ts'
import type {
  BeatRequest,
  BeatResponse,
  HandOverOrderMessage,
  OrderHandOverResponse,
  ReplicaRequestMessage,
  RequestReplicaResponse,
} from '../wire/generated/nearstate/v1/peer.ts'
import { ClockGuard } from './clock-guard.ts'
import { watchCluster } from './cluster-watch.ts'
import { ClusterWriter } from './cluster-writer.ts'
import { isNews, numberOf, ViewEncoder, viewOf } from './control-messages.ts'
import { type BeatLink, Heartbeats } from './heartbeats.ts'
import { type LeaveProgress, leaveProgress } from './leave-progress.ts'
import { MirrorReports, readReports } from './mirror-reports.ts'
import { pause } from './pause.ts'
import { PromiseSlots } from './promise-slots.ts'
import { Proposer } from './proposer.ts'
import type { HeldJobs } from './hand-over-gate.ts'
import { orderEveryMs, type OrderLink, ReplicaOrders } from './replica-orders.ts'
import { SessionKeeper } from './session-keeper.ts'
import type { ViewFeed } from './view-feed.ts'

/** To another node's control thread. */
export type PeerLink = BeatLink & OrderLink

export interface ClusterDriverOptions {
  readonly coordinator: Coordinator
  readonly feed: ViewFeed
  readonly cluster: string
  readonly partitionCount: number
  readonly self: { readonly id: NodeId; readonly name: string }
  readonly membership: Omit<ReplicatedMembershipOptions, 'self'>
  readonly heartbeatMs: number
  readonly leaseMs: number
  readonly marginMs: number
  readonly leaveTimeoutMs: number
  /** One for all threads of the process. */
  readonly clock: Clock
  readonly random: Random
  readonly promiseCell: SharedArrayBuffer
  readonly linkTo: (member: Member) => PeerLink
  readonly renewLink: (member: Member) => void
  /** What earlier incarnations of this node left in its durable mirror. Absent: it has none. */
  readonly foundMirrors?: () => readonly FoundMirror[]
  /** To every shard of this node. */
  readonly postView: (command: ShardCommand & { readonly kind: 'view' }) => void
  /** To the shard that is to hand over, if it is one of this node. */
  readonly postOrder: (order: HandOverOrder) => void
  readonly jobs: HeldJobs
  /** This node has no part in the cluster any more. */
  readonly onDeposed: (reason: string) => void
  /** Somebody asked that this node leaves. */
  readonly onLeaveAsked: () => void
  readonly log: Logger
}

const retryMs = 300
/** A table that not all members within reach have made promises about is told to the shards after this time all the same. */
const postWithinMs = 10
/** A leave by failure tells the others so long at the most; they notice by themselves. */
const tellTimeoutMs = 2000
const waitingLogMs = 10_000

export class ClusterDriver {
  readonly #options: ClusterDriverOptions
  readonly #membership: ReplicatedMembership
  readonly #promises: Promises
  readonly #writer: ClusterWriter
  readonly #session: SessionKeeper
  readonly #heartbeats: Heartbeats
  readonly #slots: PromiseSlots
  readonly #views = new ViewEncoder()
  readonly #clockGuard: ClockGuard
  readonly #stopping = new AbortController()
  readonly #watch: ReturnType<typeof watchCluster>
  readonly #proposer: Proposer
  readonly #orders: ReplicaOrders
  readonly #reports: MirrorReports | undefined
  readonly #timers: readonly NodeJS.Timeout[]
  /** There is a view that the shards have not been told of. */
  #postTimer: NodeJS.Timeout | undefined
  #isMember = false
  /** When timers ran last. */
  #turnAtMs: number
  #leaving: 'no' | 'asked' | 'gone' = 'no'

  constructor(options: ClusterDriverOptions) {
    this.#options = options
    const { self, coordinator, leaseMs, marginMs, clock, random, log, heartbeatMs } = options
    this.#membership = new ReplicatedMembership({ ...options.membership, self: self.id })
    this.#promises = new Promises({ self: self.id, leaseMs, marginMs })
    this.#writer = new ClusterWriter(options)
    this.#slots = new PromiseSlots(options.promiseCell)
    this.#clockGuard = new ClockGuard(clock)
    this.#turnAtMs = clock.nowMs()
    this.#session = new SessionKeeper({
      coordinator,
      ...self,
      ttlMs: options.membership.sessionTtlMs,
      clock,
      random,
      onReach: isOut => this.#membership.handleCoordinator(this.#nowMs, isOut),
      log,
    })
    this.#heartbeats = new Heartbeats({
      self: self.id,
      clock,
      membership: this.#membership,
      promises: this.#promises,
      views: this.#views,
      leaseMs,
      linkTo: options.linkTo,
      renewLink: options.renewLink,
      onView: view => this.#learn(view),
      onPromise: node => {
        this.#slots.publish(node, this.#promises.held(node))
        this.#postIfPromised()
      },
      onReset: () => this.#proposer.lookSoon(),
    })
    this.#proposer = new Proposer({
      membership: this.#membership,
      writer: this.#writer,
      clock,
      random,
      onLook: () => this.#noteStandstill(),
      isMember: () => this.#isMember,
      onSuspects: () => this.#heartbeats.beat(),
      onWritten: view => this.#learn(view),
      log,
    })
    this.#orders = new ReplicaOrders({
      self: self.id,
      clock,
      membership: this.#membership,
      linkTo: options.linkTo,
      postOrder: options.postOrder,
      jobs: options.jobs,
      onRequest: () => this.#proposer.lookSoon(),
    })
    const { foundMirrors } = options
    this.#reports = foundMirrors === undefined ? undefined : new MirrorReports({ coordinator, self, found: foundMirrors, log })
    this.#watch = watchCluster(coordinator, {
      onView: view => this.#learn(view),
      onSetBack: () => this.#tellSetBack(),
      onSession: (name, node) => {
        this.#membership.handleSession(this.#nowMs, name, node)
        this.#proposer.lookSoon()
      },
      onSessionEnd: name => {
        this.#membership.handleSessionEnd(this.#nowMs, name)
        this.#proposer.lookSoon()
      },
      onMirrors: (name, report) => {
        this.#membership.handleMirrors(name, report)
        this.#proposer.lookSoon()
      },
    })
    this.#timers = [setInterval(() => this.#beat(), heartbeatMs), setInterval(() => this.#orders.give(), orderEveryMs)]
  }

  get leads(): boolean {
    const state = this.#membership.view?.state
    const self = state === undefined ? undefined : findMember(state, this.#options.self.id)
    return this.#isMember && self !== undefined && isReachable(self) && state?.leader === self.name
  }

  /** For metrics: see Heartbeats. */
  get promiseMisses(): number {
    return this.#heartbeats.misses
  }

  /** Opens the session and enters the cluster state. Waits for a coordinator out of reach, and while an older session of the name lapses. */
  async join(self: Member): Promise<void> {
    const { log, coordinator, membership } = this.#options
    await this.#waitForCoordinator()
    await this.#session.open()
    // Before it is a member: whoever decides about lost partitions then knows what it has.
    await this.#reports?.changed()
    const view = await this.#joinState(self)
    this.#learn(view)
    log.info('joined the cluster', {
      version: view.version,
      members: view.state.members.length,
      coordinator: coordinator.description,
      sessionTtlMs: membership.sessionTtlMs,
    })
  }

  // From other nodes.

  async beat(request: BeatRequest): Promise<BeatResponse> {
    if (request.view !== undefined && isNews(request.view, this.#membership.view)) this.#learn(viewOf(request.view))
    if (this.#stopping.signal.aborted) throw stopped(this.#options.self.name)
    const nowMs = this.#nowMs
    const from = request.from as NodeId
    const version = numberOf(request.version, 'version')
    this.#membership.handleHeard(nowMs, from)
    this.#membership.handleVotes(nowMs, from, request.suspects as NodeId[])
    this.#heartbeats.handleBeat(from, version)
    const answer = this.#promises.handleHeartbeat(nowMs, {
      kind: 'heartbeat',
      from,
      to: request.to as NodeId,
      version,
      sentAtMs: request.sentAtMs,
    })
    if (answer === undefined) {
      throw new NearstateError(
        'NOT_FOUND',
        `the process with the id ${request.to} has ended; node "${this.#options.self.name}" is another one now`,
      )
    }
    this.#proposer.lookSoon()
    const { view } = this.#membership
    return {
      ...answer,
      version: BigInt(answer.version),
      view: view !== undefined && view.version > version ? this.#views.encode(view) : undefined,
      suspects: [...this.#membership.suspects(nowMs)],
    }
  }

  async requestReplica(message: ReplicaRequestMessage): Promise<RequestReplicaResponse> {
    this.#orders.handleRequest(message)
    return {}
  }

  async orderHandOver(message: HandOverOrderMessage): Promise<OrderHandOverResponse> {
    this.#orders.handleOrder(message)
    return {}
  }

  /** From a shard of this node. */
  routeRequest(request: ReplicaRequest): void {
    if (!this.#stopping.signal.aborted) this.#orders.route(request)
  }

  /** What was found in this node's durable mirror has changed. */
  reportMirrors(): void {
    if (this.#isMember) void this.#reports?.changed()
  }

  // From operators.

  /** Gives up the data of the partitions that nobody within reach holds; answers how many there were. */
  async recoverPartitions(): Promise<number> {
    const { log, coordinator } = this.#options
    const mirrors = await readReports(coordinator)
    let recovered = 0
    const view = await this.#writer.update('recover partitions', state => {
      const recovery = recoverPartitions(state, mirrors)
      recovered = recovery.restored + recovery.recovered
      if (recovery.restored > 0)
        log.warn('partitions are taken from the furthest durable mirror that is there, which may lack their end', {
          partitions: recovery.restored,
        })
      if (recovery.declaredDead.length > 0)
        log.warn('declared dead by an operator, with the data that they alone hold', { members: recovery.declaredDead.join(', ') })
      return recovery.state
    })
    this.#learn(view)
    return recovered
  }

  /** That node is to leave; it ends by itself when it holds nothing any more. NOT_FOUND when no such node is within reach. */
  async askToLeave(name: string): Promise<void> {
    const view = await this.#writer.update(`let node "${name}" leave`, state => {
      const member = state.members.find(other => other.name === name && isReachable(other))
      if (member === undefined) throw new NearstateError('NOT_FOUND', `Cannot let node "${name}" leave: no such node is within reach`)
      if (member.status === 'leaving') return state
      if (stayingMembers(state).every(other => other === member)) {
        throw new NearstateError(
          'INVALID_ARGUMENT',
          `Cannot let node "${name}" leave: no other node could take its partitions over; stop it if its data may go`,
        )
      }
      return beginLeave(state, member.id)
    })
    this.#learn(view)
  }

  /**
   * Before the shards stop: hands the primaries over, waits until the copies are elsewhere, for `leaveTimeoutMs` at the most. Does not
   * wait where nobody could take them over.
   */
  async leave(): Promise<void> {
    const { leaveTimeoutMs } = this.#options
    if (!this.#isMember || this.#stopping.signal.aborted) return
    this.#leaving = 'asked'
    const deadline = new AbortController()
    const timer = setTimeout(() => deadline.abort(), leaveTimeoutMs)
    try {
      await this.#untilMoved(deadline)
    } finally {
      clearTimeout(timer)
      deadline.abort()
    }
  }

  async #untilMoved(deadline: AbortController): Promise<void> {
    const { self, log, leaveTimeoutMs, feed } = this.#options
    let told = ''
    while (this.#leftOf() !== 'gone' && !deadline.signal.aborted && !this.#stopping.signal.aborted) {
      const { primaries, copies, canMove } = this.#leaveProgress()
      if (!canMove) {
        if (copies > 0)
          log.warn('there is no other copy of what this node holds, and nobody to take it over: it goes with the node', { copies })
        return
      }
      if (`${primaries} ${copies}` !== told) log.info('leaving', { primariesToHandOver: primaries, copiesToRestore: copies })
      told = `${primaries} ${copies}`
      // A member that is suspected just now has to come back first.
      if (this.#memberOf(self.id)?.status !== 'leaving') await this.#beginLeave(deadline.signal)
      if (this.#leftOf() !== 'gone') await Promise.race([feed.next(deadline.signal), pause(1000, deadline.signal)])
    }
    if (this.#leftOf() === 'gone') log.info('everything is held by others; leaving')
    else log.warn('the time to leave is over; what this node alone holds is lost', { leaveTimeoutMs })
  }

  /** `failure`, and a leave that was not finished, record that this incarnation has ended; `quiet` tells nobody. */
  async stop(cause: 'quiet' | 'left' | 'failure'): Promise<void> {
    const { self, log } = this.#options
    const state = this.#membership.view?.state
    const wasMember = this.#isMember
    this.#halt()
    if (cause === 'quiet') return this.#session.close(true)
    // Where nobody stays the table is left as it is: it says who held what.
    const isLast = state === undefined || !state.members.some(member => member.id !== self.id && isReachable(member))
    const isUnheard = isLast || (cause === 'left' && !leaveProgress(state, self.id).canMove)
    try {
      if (wasMember && !isUnheard)
        await within(
          tellTimeoutMs,
          this.#writer.update('leave', before => (cause === 'left' ? recordEnd : recordDeath)(before, self.id)),
        )
      await within(tellTimeoutMs, this.#session.close())
    } catch (error) {
      log.warn('the end of this node could not be recorded; the others notice it', { reason: messageOf(error) })
    }
  }

  get #nowMs(): number {
    return this.#options.clock.nowMs()
  }

  /** A function, since the compiler takes the field for constant once it was looked at. */
  #leftOf(): 'no' | 'asked' | 'gone' {
    return this.#leaving
  }

  #leaveProgress(): LeaveProgress {
    return leaveProgress((this.#membership.view as ClusterView).state, this.#options.self.id)
  }

  async #beginLeave(deadline: AbortSignal): Promise<void> {
    const { self, log } = this.#options
    try {
      this.#learn(await this.#writer.update('leave', before => beginLeave(before, self.id), deadline))
    } catch (error) {
      log.warn('cannot leave in order yet; trying again', { reason: messageOf(error) })
    }
  }

  #memberOf(id: NodeId): Member | undefined {
    const state = this.#membership.view?.state
    return state === undefined ? undefined : findMember(state, id)
  }

  #halt(): void {
    this.#stopping.abort()
    this.#isMember = false
    this.#reports?.stop()
    this.#proposer.stop()
    clearTimeout(this.#postTimer)
    for (const timer of this.#timers) clearInterval(timer)
    this.#watch.stop()
    this.#heartbeats.stop()
  }

  async #waitForCoordinator(): Promise<void> {
    const { log, coordinator } = this.#options
    const tell = (): void => log.warn('waiting for the coordinator, which cannot be reached', { coordinator: coordinator.description })
    const first = setTimeout(tell, 2000)
    const timer = setInterval(tell, waitingLogMs)
    try {
      await Promise.race([
        this.#watch.caughtUp,
        new Promise(resolve => this.#stopping.signal.addEventListener('abort', resolve, { once: true })),
      ])
    } finally {
      clearTimeout(first)
      clearInterval(timer)
    }
    if (this.#stopping.signal.aborted) throw stopped(this.#options.self.name)
  }

  /** One compare-and-set: an older incarnation under the name has ended for certain, this one is there. */
  async #joinState(self: Member): Promise<ClusterView> {
    const { log, random } = this.#options
    const join = (state: ClusterState): ClusterState => {
      if (findMember(state, self.id) !== undefined) return state
      this.#checkMirrors(state)
      const older = state.members.find(({ name }) => name === self.name)
      return joinMember(older === undefined ? state : recordDeath(state, older.id), self, this.#options)
    }
    for (;;) {
      try {
        return await this.#writer.update('join', join, this.#stopping.signal)
      } catch (error) {
        if (this.#stopping.signal.aborted) throw stopped(self.name)
        if (!(error instanceof NearstateError && error.code === 'UNAVAILABLE')) throw error
        log.warn('cannot join yet; trying again', { reason: messageOf(error) })
        await pause(retryMs * (1 + random.next()), this.#stopping.signal)
      }
    }
  }

  /** A cluster that is new to the coordinator is no place for the data of an earlier one, and would have it removed in the end. */
  #checkMirrors({ partitions }: ClusterState): void {
    const copies = this.#options.foundMirrors?.().length ?? 0
    if (partitions.length > 0 || copies === 0) return
    const { name } = this.#options.self
    throw new NearstateError(
      'INVALID_ARGUMENT',
      `Node "${name}" cannot join: its durable mirror holds ${copies} partitions of an earlier cluster, and the coordinator knows of none. Let the coordinator have its state back, or move the mirror away`,
    )
  }

  /** Invariant 1. */
  #learn(view: ClusterView): void {
    const known = this.#membership.view
    if (this.#stopping.signal.aborted || (known !== undefined && view.version <= known.version)) return
    const { self } = this.#options
    const nowMs = this.#nowMs
    this.#membership.handleView(nowMs, view)
    this.#promises.handleTable(view.version, view.state.partitions)
    this.#promises.forget(nowMs, node => findMember(view.state, node) !== undefined)
    this.#slots.handleNodes(view.state.members.map(({ id }) => id).filter(id => id !== self.id))
    if (this.#hasEnded(findMember(view.state, self.id))) return
    this.#heartbeats.beat()
    this.#proposer.lookSoon()
    this.#postTimer ??= setTimeout(() => this.#post(), postWithinMs)
    this.#postIfPromised()
  }

  /**
   * The shards learn a table when the promises about it are there, so that reads need not wait for them: until then they go on by the
   * promises about the table before.
   */
  #postIfPromised(): void {
    const view = this.#membership.view
    if (this.#postTimer === undefined || view === undefined) return
    const others = view.state.members.filter(member => member.id !== this.#options.self.id && isReachable(member))
    if (others.every(({ id }) => (this.#promises.held(id)?.version ?? 0) >= view.version)) this.#post()
  }

  #post(): void {
    clearTimeout(this.#postTimer)
    this.#postTimer = undefined
    const { view } = this.#membership
    if (view === undefined || this.#stopping.signal.aborted) return
    this.#options.postView({
      kind: 'view',
      view,
      promisedUntilMs: Float64Array.from(view.state.partitions, (_, partition) => this.#promises.promisedUntilMs(partition)),
      promiseSlots: this.#slots.entries(),
    })
    this.#options.feed.offer(view)
    this.#orders.give()
  }

  /** Invariant 2. */
  #hasEnded(self: Member | undefined): boolean {
    const wasMember = this.#isMember
    this.#isMember = self !== undefined && self.status !== 'dead'
    if (self?.status === 'leaving' && this.#leaving === 'no') this.#options.onLeaveAsked()
    if (this.#isMember || (self === undefined && !wasMember)) return false
    if (self === undefined && this.#leaving === 'asked') {
      this.#leaving = 'gone'
      return false
    }
    this.#halt()
    this.#options.onDeposed(
      'the cluster counts this process as dead (another one has its name, or an operator gave it up); what it held is held by others or lost',
    )
    return true
  }

  /** The data goes on being served by the table that all know; nothing that is written from here on could be trusted. */
  #tellSetBack(): void {
    const { coordinator, log } = this.#options
    log.error(
      'the coordinator has lost the state of this cluster, or holds an older one; this node serves on with the table that it knows, and no fail-over, join or leave can happen. Start no node now: it would form an empty cluster. Export the data, stop all nodes, clear the coordinator, start again (docs/guides/etcd.md, "Backup")',
      { coordinator: coordinator.description, version: this.#membership.view?.version },
    )
  }

  /** A thread that got no turn for long finds everybody silent, though their beats wait to be read. */
  #noteStandstill(): void {
    const nowMs = this.#nowMs
    const { heartbeatMs, membership } = this.#options
    if (nowMs - this.#turnAtMs > heartbeatMs + membership.silenceMs / 2) this.#membership.handleStandstill(nowMs)
    this.#turnAtMs = nowMs
  }

  #beat(): void {
    this.#noteStandstill()
    if (this.#clockGuard.hasSlept()) {
      this.#options.log.warn('the machine has slept; promises held by this node are dropped')
      this.#promises.dropHeld()
      this.#slots.clear()
    }
    this.#heartbeats.countMisses()
    this.#heartbeats.beat()
  }
}

const stopped = (name: string): NearstateError => new NearstateError('CANCELLED', `node "${name}" was stopped`)

/** Rejects with UNAVAILABLE after `ms`; the work goes on unseen. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
  work.catch(() => {}) // seen below, or given up
  const done = new AbortController()
  try {
    const outcome = await Promise.race([work, pause(ms, done.signal).then(() => 'late')])
    if (outcome === 'late') throw new NearstateError('UNAVAILABLE', `no answer within ${ms} ms`)
  } finally {
    done.abort()
  }
}
