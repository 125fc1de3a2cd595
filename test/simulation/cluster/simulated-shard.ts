/**
 * A shard thread: the replicas of all partitions over real stores, and the data service for simulated clients, driven as the
 * production shard drives them: handle what comes in, then take actions and answers once, then set one timer.
 */
import { assert, unreachable } from '../../../src/base/assert.ts'
import type { MapId, NodeId, PartitionId, ShardId } from '../../../src/base/ids.ts'
import type { Random } from '../../../src/base/random.ts'
import type { ClusterView } from '../../../src/membership/cluster-state.ts'
import type { HandOverOrder, Replica, ReplicaRequest } from '../../../src/partitioning/partition-table.ts'
import type { ReplicationMessage } from '../../../src/replication/messages.ts'
import { PartitionReplica } from '../../../src/replication/partition-replica.ts'
import { replicaDefaults, type Answered, type HeldPromise, type RequestId, type Ticket } from '../../../src/replication/replica-port.ts'
import type { ReplicationRules } from '../../../src/replication/rules.ts'
import type { MapStore } from '../../../src/storage/map-store.ts'
import { MemoryBudget } from '../../../src/storage/memory-budget.ts'
import { PartitionStore } from '../../../src/storage/partition-store.ts'
import type { EntryName } from '../checkers/checker.ts'
import type { Actor } from '../engine/actor.ts'
import type { Counters } from '../engine/counters.ts'
import type { Network } from '../engine/network.ts'
import type { Trace } from '../engine/trace.ts'
import type { KeyOperation } from '../history.ts'
import type { CallAnswer, ClientAnswer, ClientOutcome, ClientRequest } from './client-messages.ts'
import type { DriverRules } from './driver-rules.ts'

/** When the clock is read for a read's check; both are right. */
export type ReadCheckMoment = 'evaluation' | 'receipt'

export interface ShardSetting {
  readonly self: Replica
  readonly address: string
  readonly addressOf: (shard: ShardId) => string | undefined
  readonly partitionCount: number
  readonly minInSync: number
  readonly messageMaxBytes: number
  readonly clientSessionTtlMs: number
  readonly rules: ReplicationRules
  readonly driverRules: DriverRules
  readonly readCheck: ReadCheckMoment
  /** Wall time of this host less its monotonic time. */
  readonly wallOffsetMs: () => number
  readonly memoryBytes: number
  readonly heldPromise: (node: NodeId) => HeldPromise | undefined
  readonly onRequest: (request: ReplicaRequest) => void
  /** A caller is told that its write stands. */
  readonly onAcknowledged: (partition: PartitionId, name: EntryName, shard: ShardId) => void
  readonly onStop: (reason: string) => void
  /** It asks for a turn at once, again and again. */
  readonly onSpin: (partition: number) => void
  readonly trueNowMs: () => number
}

interface Waiter {
  readonly from: string
  readonly id: number
  readonly outcome: ClientOutcome
  /** Of a write: what is acknowledged. */
  readonly name: EntryName | undefined
  readonly kind: 'read' | 'write'
}

interface Received {
  readonly from: string
  readonly request: ClientRequest
  readonly receivedAtMs: number
}

const mapId = 1 as MapId
const limits = { maxBytes: 0, eviction: 'none' } as const
const timedMs = 700
const sweepMs = 300
const encoder = new TextEncoder()
const decoder = new TextDecoder()

export class SimulatedShard {
  readonly id: ShardId
  readonly actor: Actor
  readonly replicas: readonly PartitionReplica<Waiter>[]
  readonly #setting: ShardSetting
  readonly #network: Network
  readonly #random: Random
  readonly #counters: Counters
  readonly #trace: Trace
  readonly #budget: MemoryBudget
  #received: Received[] = []
  #isWake = false
  readonly #roles: string[] = []

  constructor(actor: Actor, network: Network, random: Random, counters: Counters, trace: Trace, setting: ShardSetting) {
    this.actor = actor
    this.id = setting.self.shard
    this.#setting = setting
    this.#network = network
    this.#random = random
    this.#counters = counters
    this.#trace = trace
    const budget = new MemoryBudget(setting.memoryBytes)
    this.#budget = budget
    this.replicas = Array.from({ length: setting.partitionCount }, (_, partition) => {
      return new PartitionReplica<Waiter>(
        {
          ...replicaDefaults,
          partition: partition as PartitionId,
          self: setting.self,
          makeStore: () => new PartitionStore(budget, partition),
          heldPromise: setting.heldPromise,
          minInSync: setting.minInSync,
          // Small, so that a run sees windows, retained logs and snapshots of several chunks.
          messageMaxBytes: setting.messageMaxBytes,
          gatherBytes: random.next() < 0.5 ? 0 : 400,
          windowBytes: 4000,
          chunkMaxBytes: 150,
          logRetainBytes: random.next() < 0.5 ? 0 : 1500,
          sessionTtlMs: setting.clientSessionTtlMs,
          sessionWindow: 16,
        },
        setting.rules,
      )
    })
    actor.afterTurn = () => this.#afterTurn()
    actor.onWake(() => {
      this.#isWake = true
      for (const replica of this.replicas) replica.handleTick(actor.nowMs())
    })
    network.attach(setting.address, {
      actor,
      receive: (from, message) => this.#receive(from, message as ReplicationMessage | ClientRequest),
    })
    this.#sweepLater()
  }

  /** From the control thread: a table, with the last promises given to earlier primaries. */
  handleView(view: ClusterView, promisedUntilMs: (partition: number) => number): void {
    for (const [partition, record] of view.state.partitions.entries()) {
      this.replicas[partition]?.handleRecord(this.actor.nowMs(), view.version, record, promisedUntilMs(partition))
    }
  }

  handleOrder(order: HandOverOrder): void {
    this.replicas[order.partition]?.handleOrder(this.actor.nowMs(), order)
  }

  handleReset(shard: ShardId): void {
    for (const replica of this.replicas) replica.handleReset(this.actor.nowMs(), shard)
  }

  mayAnswerReads(partition: PartitionId): boolean {
    return this.replicas[partition]?.hasRight(this.actor.nowMs()) ?? false
  }

  stop(): void {
    this.#network.detach(this.#setting.address)
    this.actor.kill()
  }

  #receive(from: string, message: ReplicationMessage | ClientRequest): void {
    switch (message.kind) {
      case 'call':
      case 'openSession': {
        const received = { from, request: message, receivedAtMs: this.actor.nowMs() }
        if (this.#random.next() < 0.5) return this.#execute(received)
        // In the next turn, with whatever else has come by then.
        this.#received.push(received)
        if (this.#received.length === 1) this.actor.after(this.#random.next(), () => this.#drain())
        return
      }
      case 'topology':
        return
      case 'append':
      case 'appended':
      case 'hello':
      case 'served':
      case 'chunk':
      case 'chunkTaken':
        this.#counters.add(`message.${message.kind}`)
        this.#trace.add(this.#setting.trueNowMs(), this.id, () => describeMessage(message))
        this.replicas[message.partition]?.handleMessage(this.actor.nowMs(), message)
        if (message.kind === 'append' && this.#budget.usedBytes > this.#budget.limitBytes) this.#counters.add('backup.overLimit')
        return
      default:
        return unreachable(message)
    }
  }

  #drain(): void {
    const received = this.#received
    this.#received = []
    for (const one of received) this.#execute(one)
  }

  #execute({ from, request, receivedAtMs }: Received): void {
    if (request.kind === 'topology') return
    const replica = this.replicas[request.partition]
    if (replica === undefined) return
    if (request.kind === 'openSession') return this.#openSession(replica, from, request.id)
    if (request.isAny) return this.#getAny(replica, from, request.id, request.key)
    if (request.operation.kind === 'get') {
      return this.#get(replica, from, request.id, request.key, this.#readTimeMs(receivedAtMs))
    }
    const ticket = request.ticket
    const id: RequestId | undefined = ticket === undefined ? undefined : { ticket: parseTicket(ticket.ticket), number: ticket.number }
    const admission = replica.beginWrite(this.actor.nowMs(), id, ticket?.lowestUnanswered)
    switch (admission.kind) {
      case 'refused':
        return this.#refuse(from, request.id, admission.reason)
      case 'recorded':
        this.#counters.add('write.recordedResult')
        return replica.wait('write', admission.position, {
          from,
          id: request.id,
          outcome: { kind: 'done', answer: JSON.parse(decoder.decode(admission.result)) as CallAnswer },
          name: undefined,
          kind: 'write',
        })
      case 'execute': {
        const answer = this.#write(replica, request.key, request.operation)
        const position = replica.finishWrite(this.actor.nowMs(), id, encoder.encode(JSON.stringify(answer)))
        const name = { epoch: replica.epoch, position }
        this.#trace.add(
          this.#setting.trueNowMs(),
          this.id,
          () => `writes p${request.partition} ${name.epoch}/${position}: ${request.key} ${JSON.stringify(request.operation)}`,
        )
        replica.wait('write', position, { from, id: request.id, outcome: { kind: 'done', answer }, name, kind: 'write' })
      }
    }
  }

  #readTimeMs(receivedAtMs: number): number {
    if (!this.#setting.rules.readCheckAfterReceipt) return this.actor.loopTurnAtMs
    return this.#setting.readCheck === 'receipt' ? receivedAtMs : this.actor.nowMs()
  }

  #openSession(replica: PartitionReplica<Waiter>, from: string, id: number): void {
    const opened = replica.openSession(this.actor.nowMs())
    if (opened.kind === 'opened') {
      const outcome: ClientOutcome = { kind: 'opened', ticket: formatTicket(opened.ticket) }
      const name = { epoch: replica.epoch, position: opened.position }
      return replica.wait('write', opened.position, { from, id, outcome, name, kind: 'write' })
    }
    assert(opened.kind === 'refused', 'opening a session is refused or done')
    this.#refuse(from, id, opened.reason)
  }

  #get(replica: PartitionReplica<Waiter>, from: string, id: number, key: string, nowMs: number): void {
    const admission = replica.beginRead(nowMs)
    if (admission.kind === 'refused') return this.#refuse(from, id, admission.reason)
    const value = this.#current(replica, encoder.encode(key))
    const waiter = { from, id, outcome: { kind: 'done', answer: { kind: 'value', value } }, name: undefined, kind: 'read' } as const
    replica.wait('read', replica.applied, waiter)
  }

  /** As production: a backup with what it has applied; a primary whatever it holds, promises or not. */
  #getAny(replica: PartitionReplica<Waiter>, from: string, id: number, key: string): void {
    const { role } = replica
    if (role !== 'backup' && role !== 'primary') return this.#refuse(from, id, 'notPrimary')
    this.#counters.add(`read.any.${role}`)
    const keyBytes = encoder.encode(key)
    const map = replica.store.findMap(mapId)
    const value = map?.find(keyBytes, 0, keyBytes.length, this.#wallTimeMs(), false) === 'found' ? valueOf(map) : undefined
    this.#reply(from, id, { kind: 'done', answer: { kind: 'value', value } })
  }

  #write(replica: PartitionReplica<Waiter>, key: string, operation: KeyOperation): CallAnswer {
    const keyBytes = encoder.encode(key)
    if (replica.store.findMap(mapId) === undefined) replica.append({ kind: 'openMap', map: mapId, limits })
    const before = this.#current(replica, keyBytes)
    switch (operation.kind) {
      case 'swap':
        if (!this.#put(replica, keyBytes, operation.value, operation.isTimed)) return { kind: 'full' }
        return { kind: 'value', value: before }
      case 'remove':
        if (before !== undefined)
          replica.append({ kind: 'remove', map: mapId, key: keyBytes, keyStart: 0, keyEnd: keyBytes.length, reason: 'deleted' })
        return { kind: 'value', value: before }
      case 'compare': {
        const isDone = before === operation.expected
        if (isDone && !this.#put(replica, keyBytes, operation.value, false)) return { kind: 'full' }
        return { kind: 'compared', isDone, was: before }
      }
      case 'get':
      case 'giveUp':
        throw new Error(`assertion failed: ${operation.kind} is no write`)
    }
  }

  /** False: there is no room for it here. */
  #put(replica: PartitionReplica<Waiter>, key: Uint8Array, value: string, isTimed: boolean): boolean {
    const bytes = encoder.encode(value)
    const map = replica.store.findMap(mapId)
    assert(map !== undefined, 'the map is opened before')
    if (map.admitPut(key, 0, key.length, bytes.length, isTimed, false, unreachableEviction) !== 'admitted') {
      this.#counters.add('write.full')
      return false
    }
    const wallTimeMs = this.#wallTimeMs()
    replica.append({
      kind: 'put',
      map: mapId,
      key,
      keyStart: 0,
      keyEnd: key.length,
      value: bytes,
      valueStart: 0,
      valueEnd: bytes.length,
      expiresAtMs: isTimed ? wallTimeMs + timedMs : 0,
      maxIdleMs: 0,
      wallTimeMs,
    })
    return true
  }

  /** The value, after removing it if its time is over. */
  #current(replica: PartitionReplica<Waiter>, key: Uint8Array): string | undefined {
    const map = replica.store.findMap(mapId)
    if (map === undefined) return undefined
    const lookup = map.find(key, 0, key.length, this.#wallTimeMs())
    if (lookup === 'expired') {
      this.#counters.add('read.expired')
      if (this.#setting.driverRules.expiryIsAnEffect) {
        replica.append({ kind: 'remove', map: mapId, key, keyStart: 0, keyEnd: key.length, reason: 'expired' })
      }
      return undefined
    }
    return lookup === 'absent' ? undefined : valueOf(map)
  }

  #wallTimeMs(): number {
    return Math.floor(this.actor.nowMs() + this.#setting.wallOffsetMs())
  }

  #sweepLater(): void {
    this.actor.after(sweepMs, () => {
      for (const replica of this.replicas) {
        if (replica.role !== 'primary' || !replica.isServing(this.actor.nowMs()) || !this.#setting.driverRules.expiryIsAnEffect) continue
        replica.store.advanceExpiry(this.#wallTimeMs(), 64, effect => {
          this.#counters.add('sweep.expired')
          replica.append(effect)
        })
      }
      this.#sweepLater()
    })
  }

  #afterTurn(): void {
    const nowMs = this.actor.nowMs()
    let deadlineMs: number | undefined
    for (const [partition, replica] of this.replicas.entries()) {
      for (const answered of replica.takeAnswered()) this.#answer(partition as PartitionId, answered)
      for (const action of replica.takeActions(nowMs)) {
        switch (action.kind) {
          case 'send':
            this.#send(action.to, action.message)
            break
          case 'request':
            this.#counters.add(`request.${action.request.kind}`)
            this.#setting.onRequest(action.request)
            break
          case 'storeReplaced':
            this.#counters.add('replica.storeReplaced')
            break
          case 'serving':
            this.#counters.add(action.serving ? 'replica.serves' : 'replica.stopsServing')
            this.#trace.add(
              this.#setting.trueNowMs(),
              this.id,
              () => `p${partition} ${action.serving ? 'serves' : 'stops serving'} (epoch ${replica.epoch})`,
            )
            break
          case 'stop':
            return this.#setting.onStop(action.reason)
          default:
            unreachable(action)
        }
      }
      // Taking actions may commit (a primary alone), so there may be more to answer.
      for (const answered of replica.takeAnswered()) this.#answer(partition as PartitionId, answered)
      this.#noteRole(partition, replica)
      const next = replica.nextDeadlineMs(nowMs)
      if (this.#isWake && next !== undefined && next <= nowMs) this.#setting.onSpin(partition)
      if (next !== undefined && (deadlineMs === undefined || next < deadlineMs)) deadlineMs = next
    }
    this.#isWake = false
    this.actor.wakeAt(deadlineMs)
  }

  #noteRole(partition: number, replica: PartitionReplica<Waiter>): void {
    const { role } = replica
    const before = this.#roles[partition] ?? 'absent'
    if (before === role) return
    this.#roles[partition] = role
    this.#counters.add(`role.${before}.${role}`)
    this.#trace.add(
      this.#setting.trueNowMs(),
      this.id,
      () => `p${partition} is ${role}, was ${before} (epoch ${replica.epoch}, applied ${replica.applied}, committed ${replica.committed})`,
    )
  }

  #answer(partition: PartitionId, { waiter, outcome }: Answered<Waiter>): void {
    if (outcome === 'unknown') {
      this.#counters.add(`answer.unknown.${waiter.kind}`)
      return this.#reply(
        waiter.from,
        waiter.id,
        waiter.kind === 'read' ? { kind: 'refused', reason: 'deposed' } : { kind: 'outcomeUnknown' },
      )
    }
    if (waiter.name !== undefined) this.#setting.onAcknowledged(partition, waiter.name, this.id)
    this.#reply(waiter.from, waiter.id, waiter.outcome)
  }

  #refuse(from: string, id: number, reason: string): void {
    this.#counters.add(`refused.${reason}`)
    if (reason === 'sessionUnknown') return this.#reply(from, id, { kind: 'sessionUnknown' })
    if (reason === 'outcomeUnknown') return this.#reply(from, id, { kind: 'outcomeUnknown' })
    this.#reply(from, id, { kind: 'refused', reason })
  }

  #reply(to: string, id: number, outcome: ClientOutcome): void {
    const answer: ClientAnswer = { kind: 'answer', id, outcome }
    this.#network.send({ address: this.#setting.address, host: this.actor.host }, to, answer)
  }

  #send(to: ShardId, message: ReplicationMessage): void {
    const address = this.#setting.addressOf(to)
    if (address !== undefined) this.#network.send({ address: this.#setting.address, host: this.actor.host }, address, message)
  }
}

const unreachableEviction = (): never => {
  throw new Error('assertion failed: a map without eviction evicts')
}

/** Without effects and rows. */
function describeMessage(message: ReplicationMessage): string {
  const { kind, partition, epoch, from, to, ...rest } = message as ReplicationMessage & { readonly [key: string]: unknown }
  const text = JSON.stringify(rest, (key: string, value: unknown) => {
    if (key === 'effects' || key === 'record' || key === 'sentAtMs') return undefined
    if (key === 'entries') return (value as readonly EntryName[]).map(one => `${one.epoch}/${one.position}`)
    return value
  })
  return `takes ${kind} p${partition}@${epoch} of ${from} for ${to}: ${text}`
}

function valueOf(map: MapStore): string {
  const { segment, valueStart, valueEnd } = map.found
  return decoder.decode(segment.subarray(valueStart, valueEnd))
}

const formatTicket = (ticket: Ticket): string => `${ticket.epoch}/${ticket.position}`

function parseTicket(text: string): Ticket {
  const [epoch, position] = text.split('/').map(Number)
  assert(epoch !== undefined && position !== undefined, 'a ticket is epoch/position')
  return { epoch, position }
}
