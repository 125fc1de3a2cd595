/**
 * A process: a control thread that keeps the node in the cluster (session, heartbeats with promises and votes, the leader's duties),
 * and its shards. The control thread never waits for a shard.
 */
import type { NodeId, PartitionId, ShardId } from '../../../src/base/ids.ts'
import type { Random } from '../../../src/base/random.ts'
import type { ClusterState, ClusterView, Member } from '../../../src/membership/cluster-state.ts'
import { beginLeave, recordDeath } from '../../../src/membership/replica-transitions.ts'
import { type ClusterChange, ReplicatedMembership } from '../../../src/membership/replicated-membership.ts'
import { emptyCluster, findMember, joinMember } from '../../../src/membership/transitions.ts'
import type { HandOverOrder, ReplicaRequest } from '../../../src/partitioning/partition-table.ts'
import type { PromiseMessage } from '../../../src/replication/messages.ts'
import { Promises } from '../../../src/replication/promises.ts'
import type { EntryName } from '../checkers/checker.ts'
import { Actor, type ActorClock } from '../engine/actor.ts'
import type { Counters } from '../engine/counters.ts'
import type { Network } from '../engine/network.ts'
import type { Scheduler } from '../engine/scheduler.ts'
import type { SimulatedCoordinator } from '../engine/simulated-coordinator.ts'
import type { Trace } from '../engine/trace.ts'
import type { SimulationOptions } from '../options.ts'
import type { AllRules } from '../simulation.ts'
import type { ClientAnswer, ClientRequest } from './client-messages.ts'
import { SimulatedShard } from './simulated-shard.ts'

export interface NodeSetting {
  readonly scheduler: Scheduler
  readonly network: Network
  readonly coordinator: SimulatedCoordinator
  readonly random: Random
  readonly counters: Counters
  readonly trace: Trace
  readonly options: SimulationOptions
  readonly rules: AllRules
  readonly host: string
  /** Of the node: that of its host, or of another one's, whose twin it is. */
  readonly name: string
  readonly zone: string
  readonly incarnation: number
  readonly clock: ActorClock
  readonly wallOffsetMs: () => number
  readonly memoryBytes: number
  readonly expectedNodes: number
  readonly onAcknowledged: (partition: PartitionId, name: EntryName, shard: ShardId) => void
  readonly onShardStopped: (shard: ShardId, reason: string) => void
  readonly onShardSpins: (shard: ShardId, partition: number) => void
  /** It has no part in the cluster any more: it left, or was declared dead. */
  readonly onEnd: () => void
}

/** Between control threads. A view that comes with a message is learned before the message. */
type ControlMessage =
  | {
      readonly kind: 'peer'
      readonly message: PromiseMessage
      readonly view: ClusterView | undefined
      readonly suspects: readonly NodeId[]
    }
  | { readonly kind: 'request'; readonly request: ReplicaRequest; readonly silentLeader: string | undefined }
  | { readonly kind: 'order'; readonly order: HandOverOrder }
  | ClientRequest

const sessionTtlMs = 3000
const renewMs = 1000
const heartbeatMs = 250
const orderMs = 500

export const controlAddress = (host: string): string => `${host}:0`

export class SimulatedNode {
  readonly id: NodeId
  readonly name: string
  readonly control: Actor
  readonly shards: readonly SimulatedShard[]
  readonly #setting: NodeSetting
  readonly #membership: ReplicatedMembership
  readonly #promises: Promises
  readonly #knownVersion = new Map<NodeId, number>()
  #isMember = false
  #isEnded = false
  #isWriting = false
  #isLeaving = false
  readonly #watcher
  readonly #shardTakesAtMs = new Map<SimulatedShard, number>()

  constructor(setting: NodeSetting) {
    this.#setting = setting
    const { scheduler, random, host, incarnation, clock, network, counters, trace, options, rules } = setting
    this.id = `${setting.name}#${incarnation}` as NodeId
    this.name = setting.name
    this.control = new Actor(scheduler, random, this.id, host, clock)
    this.#membership = new ReplicatedMembership(
      {
        self: this.id,
        expectedNodes: setting.expectedNodes,
        backups: options.backups,
        sessionTtlMs,
        silenceMs: 1000,
        leaderSilenceMs: 500,
        movesPerNode: 2,
      },
      rules.membership,
    )
    this.#promises = new Promises({ self: this.id, leaseMs: 600, marginMs: 50 }, rules.replication)
    this.shards = Array.from({ length: options.shardsPerNode }, (_, i) => {
      const shard = `${setting.name}.${i}#${incarnation}` as ShardId
      return new SimulatedShard(new Actor(scheduler, random, shard, host, clock), network, random, counters, trace, {
        self: { node: this.id, shard },
        address: `${host}:${i + 1}`,
        addressOf: id => this.#addressOf(id),
        partitionCount: options.partitions,
        minInSync: options.minInSync,
        messageMaxBytes: options.messageMaxBytes,
        clientSessionTtlMs: options.clientSessionTtlMs,
        rules: rules.replication,
        driverRules: rules.driver,
        readCheck: options.readCheck ?? (random.next() < 0.5 ? 'evaluation' : 'receipt'),
        wallOffsetMs: setting.wallOffsetMs,
        memoryBytes: setting.memoryBytes,
        heldPromise: node => this.#promises.held(node),
        onRequest: request => this.#toControl(() => this.#route(request)),
        onAcknowledged: setting.onAcknowledged,
        onStop: reason => setting.onShardStopped(shard, reason),
        onSpin: partition => setting.onShardSpins(shard, partition),
        trueNowMs: () => scheduler.nowMs,
      })
    })
    network.attach(controlAddress(host), { actor: this.control, receive: (_, message) => this.#receive(message as ControlMessage, _) })
    this.#watcher = {
      actor: this.control,
      onView: (view: ClusterView) => this.#learn(view),
      onSession: ({ name, node }: { readonly name: string; readonly node: string }) =>
        this.#membership.handleSession(this.control.nowMs(), name, node as NodeId),
      onSessionEnd: (name: string) => this.#membership.handleSessionEnd(this.control.nowMs(), name),
    }
  }

  get view(): ClusterView | undefined {
    return this.#membership.view
  }

  start(): void {
    this.control.afterTurn = () => this.#afterTurn()
    this.control.onWake(() => {})
    this.#setting.coordinator.watch(this.#watcher)
    this.#renew()
    this.#beat()
    this.#order()
  }

  /** kill -9, or the end of a process that left. */
  stop(): void {
    this.#isEnded = true
    this.#setting.coordinator.unwatch(this.#watcher)
    this.#setting.network.detach(controlAddress(this.#setting.host))
    this.control.kill()
    for (const shard of this.shards) shard.stop()
  }

  leave(): void {
    if (!this.#isMember || this.#isLeaving) return
    this.#isLeaving = true
    this.control.deliver(() => this.#update('leave', state => beginLeave(state, this.id)))
  }

  /** Another process is gone, and nobody listens where it was. */
  handleReset(node: NodeId, shards: readonly ShardId[]): void {
    this.control.deliver(() => this.#membership.handleReset(this.control.nowMs(), node))
    for (const shard of this.shards) shard.actor.deliver(() => shards.forEach(other => shard.handleReset(other)))
  }

  /** One change of the state by this node, tried until it is written, or there is nothing to do. */
  update(cause: string, change: (state: ClusterState) => ClusterState): void {
    this.control.deliver(() => this.#update(cause, change))
  }

  #update(cause: string, change: (state: ClusterState) => ClusterState): void {
    const { coordinator, options } = this.#setting
    const again = (): void => this.control.after(50 + this.#setting.random.next() * 100, () => this.#update(cause, change))
    coordinator.read(this.control, stored => {
      if (stored === undefined) return again()
      const state = stored.view?.state ?? emptyCluster('simulated', options.partitions)
      const next = change(state)
      if (next === state) return
      coordinator.compareAndSet(this.control, stored.view?.version ?? 0, next, [cause], outcome => {
        if (outcome.kind !== 'done') again()
      })
    })
  }

  #renew(): void {
    const { coordinator, name, host, counters } = this.#setting
    coordinator.renewSession(this.control, { name, node: this.id }, sessionTtlMs, isAlive => {
      this.#membership.handleCoordinator(this.control.nowMs(), isAlive === undefined)
      if (isAlive === false && name !== host) counters.add('twin.refused')
      if (isAlive === true && !this.#isMember) {
        this.#isMember = true
        this.#update('join', state => this.#joined(state))
      }
      // Nothing depends on the session but others' patience; one that lapsed is opened anew.
      this.control.after(isAlive === true ? renewMs : 100, () => this.#renew())
    })
  }

  #joined(state: ClusterState): ClusterState {
    const { host, name, zone, options, rules } = this.#setting
    const older = state.members.find(member => member.name === name && member.id !== this.id)
    const member: Member = {
      name,
      id: this.id,
      pid: 1,
      status: 'alive',
      zone,
      version: '0',
      address: controlAddress(host),
      http: '',
      shards: this.shards.map(({ id }, i) => ({ id, address: `${host}:${i + 1}` })),
      startedAtMs: 0,
    }
    if (state.members.some(other => other.id === this.id)) return state
    const settled = older === undefined ? state : recordDeath(state, older.id, rules.membership)
    return joinMember(settled, member, { cluster: 'simulated', partitionCount: options.partitions })
  }

  #learn(view: ClusterView): void {
    const nowMs = this.control.nowMs()
    if (this.view !== undefined && view.version <= this.view.version) return
    const wasKnown = this.view !== undefined && findMember(this.view.state, this.id) !== undefined
    this.#membership.handleView(nowMs, view)
    this.#promises.handleTable(view.version, view.state.partitions)
    this.#promises.forget(nowMs, node => findMember(view.state, node) !== undefined)
    const self = findMember(view.state, this.id)
    if ((wasKnown && self === undefined) || self?.status === 'dead') {
      if (self === undefined && this.#isLeaving) this.#setting.counters.add('node.left')
      if (!this.#isEnded) this.#setting.onEnd()
      return
    }
    const until = view.state.partitions.map((_, partition) => this.#promises.promisedUntilMs(partition))
    for (const shard of this.shards) {
      this.#toShard(shard, () =>
        shard.actor.deliver(() => shard.handleView(view, partition => until[partition] ?? Number.NEGATIVE_INFINITY)),
      )
    }
    this.#heartbeats()
  }

  #beat(): void {
    this.control.after(heartbeatMs, () => {
      this.#heartbeats()
      this.#beat()
    })
  }

  #heartbeats(): void {
    const nowMs = this.control.nowMs()
    const suspects = this.#membership.suspects(nowMs)
    for (const { id, status, address } of this.view?.state.members ?? []) {
      if (id === this.id || status === 'dead') continue
      const isBehind = (this.#knownVersion.get(id) ?? 0) < (this.view?.version ?? 0)
      this.#send(address, {
        kind: 'peer',
        message: this.#promises.heartbeat(nowMs, id),
        view: isBehind ? this.#viewByLuck() : undefined,
        suspects,
      })
    }
  }

  /** A table does not always come along; the protocol must not need it to. */
  #viewByLuck(): ClusterView | undefined {
    return this.#setting.random.next() < this.#setting.options.viewPart ? this.view : undefined
  }

  #order(): void {
    this.control.after(orderMs, () => {
      for (const order of this.#membership.orders()) {
        const member = findMember(this.view?.state ?? emptyCluster('', 0), order.from.node)
        if (member !== undefined) this.#sendOrHandle(member, { kind: 'order', order })
      }
      this.#order()
    })
  }

  #route(request: ReplicaRequest): void {
    const way = this.#membership.routeRequest(this.control.nowMs(), request)
    const member = way === undefined || this.view === undefined ? undefined : findMember(this.view.state, way.to)
    if (way === undefined || member === undefined) return
    this.#sendOrHandle(member, { kind: 'request', request, silentLeader: way.silentLeader })
  }

  #sendOrHandle(member: Member, message: ControlMessage): void {
    if (member.id === this.id) this.#receive(message, member.address)
    else this.#send(member.address, message)
  }

  #send(address: string, message: ControlMessage): void {
    const { network, host } = this.#setting
    network.send({ address: controlAddress(host), host }, address, message)
  }

  #receive(message: ControlMessage, from: string): void {
    const nowMs = this.control.nowMs()
    switch (message.kind) {
      case 'peer': {
        if (message.view !== undefined) this.#learn(message.view)
        const peer = message.message
        if (this.#isEnded) return
        this.#membership.handleHeard(nowMs, peer.from)
        this.#membership.handleVotes(nowMs, peer.from, message.suspects)
        this.#knownVersion.set(peer.from, Math.max(this.#knownVersion.get(peer.from) ?? 0, peer.version))
        if (peer.kind === 'heartbeatAnswer') return this.#promises.handleAnswer(nowMs, peer)
        const answer = this.#promises.handleHeartbeat(nowMs, peer)
        if (answer === undefined) return
        this.#setting.counters.add(answer.promised ? 'promise.given' : 'promise.refused')
        const view = (this.view?.version ?? 0) > peer.version ? this.#viewByLuck() : undefined
        return this.#send(from, { kind: 'peer', message: answer, view, suspects: this.#membership.suspects(nowMs) })
      }
      case 'request':
        return this.#membership.handleRequest(nowMs, message.request, message.silentLeader)
      case 'order': {
        const shard = this.shards.find(({ id }) => id === message.order.from.shard)
        this.#setting.counters.add('order.handOver')
        if (shard !== undefined) this.#toShard(shard, () => shard.actor.deliver(() => shard.handleOrder(message.order)))
        return
      }
      case 'topology': {
        const answer: ClientAnswer = { kind: 'answer', id: message.id, outcome: { kind: 'topology', view: this.view } }
        this.#setting.network.send({ address: controlAddress(this.#setting.host), host: this.#setting.host }, from, answer)
        return
      }
      case 'call':
      case 'openSession':
        return
    }
  }

  /** In order; a thread that is busy takes it later. */
  #toShard(shard: SimulatedShard, run: () => void): void {
    const { scheduler, random, options } = this.#setting
    const { part, maxMs } = options.threadLag
    const delayMs = random.next() < part ? random.next() * maxMs : 0.01 + random.next() * 0.05
    const atMs = Math.max(scheduler.nowMs + delayMs, this.#shardTakesAtMs.get(shard) ?? 0)
    this.#shardTakesAtMs.set(shard, atMs)
    scheduler.at(atMs, run)
  }

  #toControl(run: () => void): void {
    this.#setting.scheduler.after(0.01 + this.#setting.random.next() * 0.05, () => this.control.deliver(run))
  }

  #addressOf(shard: ShardId): string | undefined {
    return this.view?.state.members.flatMap(({ shards }) => shards).find(({ id }) => id === shard)?.address
  }

  #afterTurn(): void {
    if (this.#isEnded) return
    const nowMs = this.control.nowMs()
    if (!this.#isWriting) this.#propose(nowMs)
    this.control.wakeAt(this.#membership.nextDeadlineMs(nowMs))
  }

  #propose(nowMs: number): void {
    if (!this.#isMember) return
    const proposal = this.#membership.propose(nowMs)
    if (proposal === undefined) return
    this.#isWriting = true
    const { coordinator } = this.#setting
    coordinator.compareAndSet(this.control, proposal.expectedVersion, proposal.state, proposal.changes.map(nameOf), outcome => {
      if (outcome.kind === 'done') {
        this.#isWriting = false
        return this.#learn({ version: outcome.version, state: proposal.state })
      }
      // The newer state comes in by the watch; until then the same proposal would fail again.
      this.control.after(outcome.kind === 'conflict' ? 20 : 200, () => {
        this.#isWriting = false
      })
    })
  }
}

const nameOf = (change: ClusterChange): string => (change.kind === 'request' ? `request.${change.request.kind}` : change.kind)
