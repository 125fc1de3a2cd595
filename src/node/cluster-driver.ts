/**
 * This node's part in the membership: joins under its name, keeps its session, proposes what the leader has to, leaves.
 *
 * Owns: the watches of the cluster state and of the sessions, this node's session, every compare-and-set of the cluster state here.
 * Does not: decide what to propose and what a transition does (membership).
 * 1. Whoever holds the session of a name is that name: an older incarnation under it is dead, its session having lapsed.
 * 2. A node whose session lapsed, or that is declared dead, must stop: `onDeposed` is called once.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { messageOf, NearstateError } from '../base/errors.ts'
import type { NodeId } from '../base/ids.ts'
import { type ClusterState, type ClusterView, coordinatorKeys, type Member } from '../membership/cluster-state.ts'
import { decodeClusterState, encodeClusterState } from '../membership/cluster-state-codec.ts'
import type { Coordinator, Session } from '../membership/coordinator-port.ts'
import { Membership, type MembershipChange } from '../membership/membership.ts'
import { emptyCluster, findMember, isLive, joinMember, leaveMember, lostCount, markDead, recoverLost } from '../membership/transitions.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { ViewFeed } from './view-feed.ts'
import { decodeJson, encodeJson } from './watched-table.ts'

export interface ClusterDriverOptions {
  readonly coordinator: Coordinator
  readonly feed: ViewFeed
  readonly cluster: string
  readonly partitionCount: number
  readonly expectedNodes: number
  readonly sessionTtlMs: number
  readonly self: { readonly id: NodeId; readonly name: string }
  readonly clock: Clock
  readonly onDeposed: (reason: string) => void
  readonly log: Logger
}

const attemptsMax = 100
/** After a proposal that could not be written; what is seen meanwhile leads to another look at once. */
const retryMs = 500
/** After losing a race: the newer state comes by the watch meanwhile. */
const conflictRetryMs = 50

interface SessionValue {
  readonly id: NodeId
}

export class ClusterDriver {
  readonly #options: ClusterDriverOptions
  readonly #membership: Membership
  readonly #watches: readonly { stop(): void }[]
  readonly #caughtUp: Promise<unknown>
  #session: Session | undefined
  #joined = false
  #stopped = false
  #timer: NodeJS.Timeout | undefined
  #proposing = false

  constructor(options: ClusterDriverOptions) {
    this.#options = options
    const { self, expectedNodes, sessionTtlMs, feed } = options
    this.#membership = new Membership({ self: self.id, expectedNodes, sessionTtlMs })
    const cluster = this.#watchCluster()
    const sessions = this.#watchSessions()
    this.#watches = [cluster, sessions]
    this.#caughtUp = Promise.all([cluster.caughtUp, sessions.caughtUp])
    feed.onChange(view => this.#changed(view))
  }

  get leads(): boolean {
    const view = this.#options.feed.view
    return this.#joined && view?.state.leader === this.#options.self.name && this.#isMember(view)
  }

  /** Opens the session and enters the cluster state; waits while an older incarnation's session is still there. */
  async join(self: Member): Promise<void> {
    const { log, coordinator, sessionTtlMs } = this.#options
    await this.#caughtUp
    this.#session = await this.#openSession(self)
    void this.#session.lapsed.then(() => this.#deposed("this node's session in the coordinator has lapsed"))
    const view = await this.update('join', state => {
      const older = state.members.find(member => member.name === self.name && member.id !== self.id)
      return joinMember(older === undefined ? state : markDead(state, older.id), self, this.#options)
    })
    this.#joined = true
    log.info('joined the cluster', {
      version: view.version,
      members: view.state.members.length,
      coordinator: coordinator.description,
      sessionTtlMs,
    })
    this.#lookSoon(0)
  }

  /** One change of the cluster state, tried again while others are faster. `change` answers the same object for "nothing to do". */
  async update(action: string, change: (state: ClusterState) => ClusterState): Promise<ClusterView> {
    const { coordinator, cluster, partitionCount } = this.#options
    for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
      const stored = await coordinator.read(coordinatorKeys.cluster)
      const state = stored === undefined ? emptyCluster(cluster, partitionCount) : decodeClusterState(stored.value)
      const next = change(state)
      if (next === state && stored !== undefined) return this.#offer({ version: stored.version, state })
      const written = await this.#write(stored?.version ?? 0, next)
      if (written !== undefined) return written
    }
    throw new NearstateError('UNAVAILABLE', `Cannot ${action}: ${attemptsMax} attempts in a row met another change of the cluster state`)
  }

  /** Gives up the data of all lost partitions; answers how many there were. */
  async recoverLost(): Promise<number> {
    let recovered = 0
    await this.update('recover partitions', state => {
      recovered = lostCount(state)
      return recoverLost(state)
    })
    return recovered
  }

  /** Takes this node out. `quietly`: the whole cluster stops, state and session stay as they are, and nobody mourns. */
  async leave(quietly: boolean): Promise<void> {
    const { log } = this.#options
    const wasJoined = this.#joined
    this.#halt()
    if (quietly) return
    try {
      if (wasJoined) await this.#leaveState()
      await this.#session?.close()
    } catch (error) {
      log.warn('could not leave in order; the others notice when the session lapses', { reason: messageOf(error) })
    }
  }

  async #leaveState(): Promise<void> {
    const { self, feed, log } = this.#options
    const held = (feed.view?.state.partitions ?? []).filter(({ primary }) => primary?.node === self.id).length
    if (held > 0)
      log.warn('leaving: these partitions have no other copy and are lost, unless the whole cluster stops', { partitions: held })
    await this.update('leave', state => leaveMember(state, self.id))
  }

  #halt(): void {
    this.#stopped = true
    this.#joined = false
    clearTimeout(this.#timer)
    for (const watch of this.#watches) watch.stop()
  }

  async #openSession(self: Member): Promise<Session> {
    const { coordinator, sessionTtlMs, log } = this.#options
    const value = encodeJson({ id: self.id, pid: self.pid, address: self.address })
    const patience = AbortSignal.timeout(sessionTtlMs * 2 + 2000)
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await coordinator.openSession(coordinatorKeys.session(self.name), value, sessionTtlMs)
      } catch (error) {
        const taken = error instanceof NearstateError && (error.code === 'ALREADY_EXISTS' || error.code === 'CONFLICT')
        if (!taken || this.#stopped) throw error
        if (patience.aborted) {
          throw new NearstateError('ALREADY_EXISTS', `Cannot join as "${self.name}": a live node has that name; choose another with name`, {
            cause: error,
          })
        }
        if (attempt === 0) log.info('waiting for the session of an earlier process under this name to lapse', { name: self.name })
        await sleep(100)
      }
    }
  }

  #watchCluster(): { stop(): void; readonly caughtUp: Promise<void> } {
    const caughtUp = Promise.withResolvers<void>()
    const watch = this.#options.coordinator.watch(coordinatorKeys.cluster, {
      onValue: ({ key, value, version }) => {
        if (key === coordinatorKeys.cluster) this.#offer({ version, state: decodeClusterState(value) })
      },
      onDelete: () => {},
      onCaughtUp: () => caughtUp.resolve(),
    })
    return { stop: () => watch.stop(), caughtUp: caughtUp.promise }
  }

  #watchSessions(): { stop(): void; readonly caughtUp: Promise<void> } {
    const caughtUp = Promise.withResolvers<void>()
    const nameOf = (key: string): string => key.slice(coordinatorKeys.sessionPrefix.length)
    const watch = this.#options.coordinator.watch(coordinatorKeys.sessionPrefix, {
      onValue: ({ key, value }) => {
        this.#membership.handleSession(this.#nowMs, nameOf(key), decodeJson<SessionValue>(value).id)
        this.#lookSoon(0)
      },
      onDelete: key => {
        this.#membership.handleSessionEnd(this.#nowMs, nameOf(key))
        this.#lookSoon(0)
      },
      onCaughtUp: () => caughtUp.resolve(),
    })
    return { stop: () => watch.stop(), caughtUp: caughtUp.promise }
  }

  get #nowMs(): number {
    return this.#options.clock.nowMs()
  }

  #offer(view: ClusterView): ClusterView {
    this.#membership.handleView(this.#nowMs, view)
    this.#options.feed.offer(view)
    return view
  }

  async #write(expectedVersion: number, state: ClusterState): Promise<ClusterView | undefined> {
    const outcome = await this.#options.coordinator.compareAndSet(coordinatorKeys.cluster, expectedVersion, encodeClusterState(state))
    return outcome.kind === 'done' ? this.#offer({ version: outcome.version, state }) : undefined
  }

  #isMember(view: ClusterView): boolean {
    const member = findMember(view.state, this.#options.self.id)
    return member !== undefined && isLive(member)
  }

  #changed(view: ClusterView): void {
    if (this.#joined && !this.#isMember(view)) this.#deposed('the cluster has declared this node dead')
    else this.#lookSoon(0)
  }

  #deposed(reason: string): void {
    if (this.#stopped) return
    this.#halt()
    this.#options.onDeposed(reason)
  }

  #lookSoon(delayMs: number): void {
    if (this.#stopped || !this.#joined || this.#proposing) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#look(), delayMs)
  }

  /** Writes what this node has to propose, if anything. One at a time; looks again afterwards. */
  async #look(): Promise<void> {
    const proposal = this.#membership.propose(this.#nowMs)
    if (proposal === undefined) {
      const deadline = this.#membership.nextDeadlineMs(this.#nowMs)
      if (deadline !== undefined) this.#lookSoon(Math.max(1, deadline - this.#nowMs))
      return
    }
    this.#proposing = true
    let againInMs = 0
    try {
      const written = await this.#write(proposal.expectedVersion, proposal.state)
      if (written === undefined) againInMs = conflictRetryMs
      else for (const change of proposal.changes) this.#tell(change)
    } catch (error) {
      againInMs = retryMs
      if (!this.#stopped) this.#options.log.warn('the cluster state could not be changed; trying again', { reason: messageOf(error) })
    } finally {
      this.#proposing = false
      this.#lookSoon(againInMs)
    }
  }

  #tell(change: MembershipChange): void {
    const { log } = this.#options
    switch (change.kind) {
      case 'dead':
        return log.warn('a member is dead: its session has ended', { member: change.name, lostPartitions: change.lostPartitions })
      case 'leader':
        return log.info('leading the cluster', { leader: change.name })
      case 'formed':
        return log.info('the cluster has formed', { nodes: change.nodes, partitions: change.partitions })
    }
  }
}
