/**
 * One shard, composed: what it is told and asked by the control thread, over the parts that do the work.
 *
 * Owns: the order of composition and of stopping. Does not: touch Node (shard-worker.ts hands in the network, the timers and
 * the way to the control thread), hold data.
 */
import type { MessagePort } from 'node:worker_threads'
import { unreachable } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { messageOf, NearstateError } from '../base/errors.ts'
import type { NodeId, ShardId } from '../base/ids.ts'
import type { Random } from '../base/random.ts'
import type { ShardMirror } from '../durability/shard-mirror.ts'
import type { ValueCodec } from '../grid/entry-processor.ts'
import { encodeKey } from '../keys/encode-key.ts'
import type { ShardProgress } from '../streaming/assignment.ts'
import type { ReplayOutcome } from '../streaming/execution/replays.ts'
import type { RestorePoint } from '../streaming/master/record.ts'
import type { LocalMaps } from '../streaming/ports.ts'
import { MemoryBudget } from '../storage/memory-budget.ts'
import type { PartitionStore } from '../storage/partition-store.ts'
import type { DataServer, PeerLinks, PeerListener, PeerMessageKind } from '../transport/ports.ts'
import { OperationKind } from '../wire/generated/nearstate/v1/data.ts'
import { decodeValue, encodeValue } from '../wire/value-codec.ts'
import { Admission } from './admission.ts'
import { DataService } from './data-service.ts'
import { errorOf, failureOf } from './failure.ts'
import { Gateway } from './gateway.ts'
import { dropState } from './jobs/drop-state.ts'
import type { JobStateAnswer, ReadJobState } from './jobs/state-reads.ts'
import { type ImportNeeds, importSavepoint } from './jobs/import-savepoint.ts'
import { importPlace } from './jobs/import-place.ts'
import { type ReplayLetters, unansweredMaxMs } from './jobs/job-attempt.ts'
import { ShardStateStore } from './jobs/state-store.ts'
import { Invokes } from './invokes.ts'
import { ShardLocalMaps } from './local-maps.ts'
import { LoopTurn } from './loop-turn.ts'
import { MapCatalog } from './map-catalog.ts'
import { Operations } from './operations.ts'
import { Ownership } from './ownership.ts'
import { Partitions } from './partitions.ts'
import { PeerPipes } from './peer-pipes.ts'
import type { PipeShared } from './pipe.ts'
import { PromiseCellReader } from './promise-cell.ts'
import type {
  Bundle,
  FromShard,
  JobLogLine,
  MirrorStatsReport,
  ShardAnswers,
  ShardCommand,
  ShardLimits,
  ShardRequest,
  ShardStart,
  ShardStatsReport,
  ToShard,
} from './protocol.ts'
import { SingleCalls } from './single-calls.ts'
import { Tenure } from './tenure.ts'
import { Turns, type WorkSource } from './turns.ts'
import type { Slices } from './user-code/slice-task.ts'
import type { UserCode } from './user-code/user-code.ts'

/** The shard's network side, over which it is composed. */
export interface ShardNetwork {
  readonly links: PeerLinks & { addThreadLink(peer: ShardId, port: MessagePort): void }
  serve(server: DataServer): Promise<{ readonly port: number; stop(graceMs: number): Promise<void> }>
}

/** The stream engine on this shard; see jobs/job-host.ts. */
export interface ShardJobs {
  describe(job: string, bundle: Bundle, argsJson: string): Promise<ShardAnswers['describeJob']>
  open(request: Extract<ShardRequest, { kind: 'openJob' }>): Promise<ShardAnswers['openJob']>
  start(request: Extract<ShardRequest, { kind: 'startJob' }>): Promise<void>
  run(job: string, attempt: number): void
  barrier(job: string, attempt: number, n: number, committed: number): Promise<ShardAnswers['barrierJob']>
  savepoint(job: string, attempt: number, n: number, name: string): Promise<ShardAnswers['savepointJob']>
  committed(job: string, attempt: number, n: number, isLast: boolean): void
  drop(job: string, attempt: number, keep: readonly string[]): Promise<readonly number[]>
  read(request: ReadJobState): Promise<JobStateAnswer>
  replay(request: ReplayLetters): readonly ReplayOutcome[]
  stop(job: string, attempt: number): void | Promise<void>
  progress(job: string, attempt: number): ShardProgress
  onExchange(from: ShardId, bytes: Uint8Array): void
  onPeerDown(peer: ShardId): void
  onPeerDrain(peer: ShardId): void
  close(): void | Promise<void>
}

/** An attempt's hold of partitions: it ends with the term of their primary. */
export interface AttemptHold {
  readonly maps: LocalMaps
  createStateStore(attempt: number, restore: RestorePoint): ShardStateStore
  importSavepoint(needs: ImportNeeds): Promise<void>
}

export interface ShardJobsNeeds {
  readonly self: ShardId
  /** What an attempt uses of these partitions from now on. Throws UNAVAILABLE while this shard does not serve them all. */
  hold(job: string, partitions: readonly number[]): AttemptHold
  /** Removes the state that this attempt, or an older one, has left in the partitions that this shard serves; but for some stages. */
  dropState(job: string, attempt: number, keep: readonly string[]): Promise<readonly number[]>
  /** Of a partition that this shard serves; else throws UNAVAILABLE. */
  storeOf(partition: number): PartitionStore
  delay(ms: number): Promise<void>
  /** For how long some backup of this shard's partitions has left something unanswered. */
  unansweredMs(): number
  /** The value of an entry, whichever shard has it; undefined: there is none. */
  find(map: string, key: Uint8Array): Promise<unknown>
  readonly slices: Slices
  readonly userCode: UserCode
  readonly clock: Clock
  /** False: taken, and the link is above its high-water mark until onPeerDrain. */
  sendExchange(to: ShardId, bytes: Uint8Array): boolean
  log(level: 'info' | 'warn' | 'error', message: string, fields?: Readonly<Record<string, string | number>>): void
  jobLog(job: string, line: JobLogLine): void
}

export interface ShardOptions {
  readonly start: ShardStart
  readonly clock: Clock
  readonly random: Random
  readonly userCode: UserCode
  /** Absent: nothing is kept on disk. */
  readonly mirror?: ShardMirror
  createNetwork(listener: PeerListener, addressOf: (shard: ShardId) => string | undefined): ShardNetwork
  createJobs(needs: ShardJobsNeeds): ShardJobs
  /** To the control thread. */
  send(message: FromShard): void
  /** Calls back after other events had their turn. */
  later(callback: () => void): void
  /** Calls back once after so many milliseconds; answers how to give that up. */
  after(ms: number, callback: () => void): () => void
  delay(ms: number): Promise<void>
}

const valueCodec: ValueCodec = { encode: encodeValue, decode: decodeValue }
/** Between two looks at backups that are slow to answer. */
const breathMs = 5
/** Decoded copies for jobs, per map and shard: a share of the store's memory within these bounds. */
const copiesShare = 1 / 64
const copiesMaxBytes = 64 * 1024 * 1024
/** For the end of the mirror, also where operations get none. */
const mirrorGraceMs = 1000
/** Operations and uploads that wait, over all clients: beside the memory for data. */
const queuedMaxBytesOf = ({ valueMaxBytes, memoryMaxBytes }: ShardLimits): number =>
  Math.max(256 * 1024 * 1024, 4 * valueMaxBytes, memoryMaxBytes / 8)

function mirrorStats({ backlogBytes, lastSyncedAtMs, trouble }: ShardMirror): MirrorStatsReport {
  return { backlogBytes, lastSyncedAtMs, ...(trouble === undefined ? {} : { trouble }) }
}

export class Shard implements PeerListener {
  readonly #options: ShardOptions
  readonly #ownership: Ownership
  readonly #catalog: MapCatalog
  readonly #partitions: Partitions
  readonly #admission: Admission
  readonly #turn: LoopTurn
  readonly #turns: Turns
  readonly #network: ShardNetwork
  readonly #gateway: Gateway
  readonly #peerPipes: PeerPipes
  readonly #calls: SingleCalls
  readonly #data: DataService
  readonly #jobs: ShardJobs
  readonly #sweeper: WorkSource
  /** Where the promises of each other node stand in the promise cell. */
  #promiseSlots: ReadonlyMap<NodeId, number> = new Map()
  #viewVersion = 0
  /** Of this turn of the loop. */
  #frames: { readonly from: ShardId; readonly bytes: Uint8Array }[] = []
  #server: { stop(graceMs: number): Promise<void> } | undefined

  constructor(options: ShardOptions) {
    const { start, clock, random, userCode } = options
    const { limits } = start
    this.#options = options
    this.#ownership = new Ownership(start.id)
    this.#turn = new LoopTurn(options.later)
    this.#catalog = new MapCatalog({
      autoCreateMaps: start.autoCreateMaps,
      sendAsk: (id, ask) => options.send({ type: 'ensureMap', id, ask }),
      onDropped: handle => this.#partitions.dropMap(handle),
    })
    const promises = new PromiseCellReader(start.promiseCell)
    this.#partitions = new Partitions({
      self: { node: start.node, shard: start.id },
      limits,
      replication: start.replication,
      budget: new MemoryBudget(limits.memoryMaxBytes),
      clock,
      catalog: this.#catalog,
      random: () => random.next(),
      heldPromise: node => {
        const slot = this.#promiseSlots.get(node)
        return slot === undefined ? undefined : promises.read(slot, this.#viewVersion)
      },
      send: (to, bytes) => void this.#network.links.send(to, 'replication', bytes),
      later: this.#turn.last,
      after: options.after,
      ...(options.mirror === undefined ? {} : { durable: { mirror: options.mirror, copies: start.persistence?.copies ?? 1 } }),
      onRequest: request => options.send({ type: 'replicaRequest', request }),
      onFoundChanged: found => options.send({ type: 'found', found }),
      info: (message, fields) => this.#log('info', message, fields),
      onBroken: reason => this.#break(reason),
      warn: (message, fields) => this.#log('warn', message, fields),
    })
    this.#admission = new Admission(limits.queuedOperationsMax, queuedMaxBytesOf(limits))
    this.#turns = new Turns({ clock, sliceMaxMs: limits.sliceMaxMs, later: this.#turn.work, mayWait: () => this.#turn.isBusy })
    this.#network = options.createNetwork(this, shard => this.#ownership.addressOf(shard))
    this.#gateway = new Gateway(this.#network.links, this.#ownership, limits.valueMaxBytes)
    const invokes = new Invokes(userCode, valueCodec, clock)
    const shared: PipeShared = {
      clock,
      turns: this.#turns,
      admission: this.#admission,
      ownership: this.#ownership,
      operations: new Operations({ catalog: this.#catalog, partitions: this.#partitions, invokes, clock }),
      gateway: this.#gateway,
      valueMaxBytes: limits.valueMaxBytes,
      pausedAbove: Math.max(1, Math.floor(limits.queuedOperationsMax / 4)),
    }
    this.#calls = new SingleCalls(shared, options.delay)
    this.#data = new DataService(shared, this.#calls)
    this.#peerPipes = new PeerPipes(shared, this.#network.links, message => this.#log('warn', message))
    this.#jobs = options.createJobs({
      self: start.id,
      hold: (job, partitions) => this.#hold(job, partitions),
      dropState: (job, attempt, keep) => dropState({ job, attempt, keep, partitions: this.#partitions, clock, later: options.later }),
      storeOf: partition => this.#servedStore(partition),
      delay: options.delay,
      unansweredMs: () => this.#partitions.unansweredMs(clock.nowMs()),
      find: (map, key) => this.#find(map, key),
      slices: userCode.slices,
      userCode,
      clock,
      sendExchange: (to, bytes) => this.#network.links.send(to, 'exchange', bytes),
      log: (level, message, fields) => this.#log(level, message, fields),
      jobLog: (job, line) => this.#options.send({ type: 'jobLog', job, line }),
    })
    this.#sweeper = {
      work: deadlineMs => this.#partitions.sweep(clock.wallTimeMs(), () => clock.nowMs() >= deadlineMs),
    }
  }

  /** Begins to serve; answers the port. */
  async serve(): Promise<number> {
    const server = await this.#network.serve(this.#data)
    this.#server = server
    return server.port
  }

  /** Of these partitions the mirror has come further. */
  handleDurable(partitions: readonly number[]): void {
    this.#partitions.handleDurable(partitions)
  }

  /** Looks for entries past their time, in slices. To be called every now and then. */
  sweepExpired(): void {
    this.#turns.requestLater(this.#sweeper)
  }

  receive(message: ToShard): void {
    switch (message.type) {
      case 'command':
        return this.#command(message.command)
      case 'request':
        void this.#answer(message.id, message.request)
        return
      case 'reply':
        return this.#catalog.answer(message.id, message.value, message.failure === undefined ? undefined : errorOf(message.failure))
      default:
        return unreachable(message)
    }
  }

  onPeerMessage(from: ShardId, kind: PeerMessageKind, bytes: Uint8Array): void {
    switch (kind) {
      case 'exchange':
        return this.#jobs.onExchange(from, bytes)
      case 'operations':
        return this.#peerPipes.handleOperations(from, bytes)
      case 'results':
        return this.#gateway.handleResults(from, bytes)
      case 'replication':
        this.#frames.push({ from, bytes })
        if (this.#frames.length === 1) this.#turn.first(this.#takeFrames)
        return
      default:
        return unreachable(kind)
    }
  }

  onPeerDown(peer: ShardId): void {
    this.#takeFrames()
    this.#partitions.peerDown(peer)
    this.#gateway.peerDown(peer)
    this.#peerPipes.peerDown(peer)
    this.#jobs.onPeerDown(peer)
  }

  onPeerDrain(peer: ShardId): void {
    this.#gateway.peerDrained(peer)
    this.#peerPipes.peerDrained(peer)
    this.#jobs.onPeerDrain(peer)
  }

  #hold(job: string, wanted: readonly number[]): AttemptHold {
    const { clock, later, start } = this.#options
    const parts = { partitions: this.#partitions, tenure: new Tenure(job, this.#partitions, wanted), clock }
    const breathe = async (): Promise<void> => {
      await new Promise<void>(resolve => later(resolve))
      while (this.#partitions.unansweredMs(clock.nowMs()) > unansweredMaxMs) await this.#options.delay(breathMs)
    }
    const cacheMaxBytes = Math.min(copiesMaxBytes, start.limits.memoryMaxBytes * copiesShare)
    return {
      maps: new ShardLocalMaps({ ...parts, catalog: this.#catalog, cacheMaxBytes }),
      createStateStore: (attempt, restore) => new ShardStateStore({ ...parts, job, attempt, restore, later, breathe }),
      importSavepoint: needs => importSavepoint(needs, { ...importPlace(parts), breathe }),
    }
  }

  #servedStore(partition: number): PartitionStore {
    const held = this.#partitions.find(partition)
    if (held?.isServing === true && held.replica.isServing(this.#options.clock.nowMs())) return held.replica.store
    throw new NearstateError('UNAVAILABLE', `Cannot read partition ${partition} here: it is not served by this shard; ask again`)
  }

  #command(command: ShardCommand): void {
    switch (command.kind) {
      case 'view': {
        this.#promiseSlots = new Map(command.promiseSlots)
        this.#viewVersion = command.view.version
        this.#ownership.apply(command.view)
        this.#partitions.handleView(command.view, command.promisedUntilMs)
        this.#gateway.viewChanged()
        return
      }
      case 'handOver':
        return this.#partitions.handleOrder(command.order)
      case 'maps':
        return this.#catalog.replaceAll(command.definitions)
      case 'map':
        return this.#catalog.replace(command.name, command.definition)
      case 'threadLink':
        return this.#network.links.addThreadLink(command.peer, command.port)
      default:
        return unreachable(command)
    }
  }

  async #answer(id: number, request: ShardRequest): Promise<void> {
    try {
      this.#options.send({ type: 'answer', id, value: await this.#request(request) })
    } catch (error) {
      if (!(error instanceof NearstateError)) this.#log('error', `request ${request.kind} failed: ${messageOf(error)}`)
      this.#options.send({ type: 'answer', id, value: undefined, failure: failureOf(error) })
    }
  }

  #request(request: ShardRequest): unknown {
    switch (request.kind) {
      case 'loadFunctions':
        return this.#options.userCode.loadFunctions(request.file, request.bundle).then(names => ({ names }))
      case 'systemGet':
      case 'systemSet':
      case 'systemDelete':
        return this.#systemCall(request)
      case 'describeJob':
        return this.#jobs.describe(request.job, request.bundle, request.argsJson)
      case 'openJob':
        return this.#jobs.open(request)
      case 'startJob':
        return this.#jobs.start(request).then(() => null)
      case 'runJob':
        this.#jobs.run(request.job, request.attempt)
        return null
      case 'barrierJob':
        return this.#jobs.barrier(request.job, request.attempt, request.n, request.committed)
      case 'commitJob':
        this.#jobs.committed(request.job, request.attempt, request.n, request.isLast)
        return null
      case 'dropJob':
        return this.#jobs.drop(request.job, request.attempt, request.keep)
      case 'readJobState':
        return this.#jobs.read(request)
      case 'replayLetters':
        return this.#jobs.replay(request)
      case 'savepointJob':
        return this.#jobs.savepoint(request.job, request.attempt, request.n, request.savepoint)
      case 'stopJob':
        return Promise.resolve(this.#jobs.stop(request.job, request.attempt)).then(() => null)
      case 'jobProgress':
        return this.#jobs.progress(request.job, request.attempt)
      case 'stats':
        return this.#stats()
      case 'stop':
        return this.#stop(request.graceMs)
      default:
        return unreachable(request)
    }
  }

  async #systemCall(request: Extract<ShardRequest, { kind: 'systemGet' | 'systemSet' | 'systemDelete' }>): Promise<unknown> {
    const key = encodeKey('string', request.key)
    const call = { map: request.map, key, as: 'system' } as const
    switch (request.kind) {
      case 'systemGet': {
        const { isAbsent, value } = await this.#calls.call({ ...call, kind: OperationKind.GET })
        return { value: isAbsent ? undefined : value }
      }
      case 'systemSet':
        await this.#calls.call({ ...call, kind: OperationKind.SET, value: request.value })
        return null
      case 'systemDelete':
        await this.#calls.call({ ...call, kind: OperationKind.DELETE })
        return null
      default:
        return unreachable(request)
    }
  }

  async #find(map: string, key: Uint8Array): Promise<unknown> {
    const { isAbsent, value } = await this.#calls.call({ map, key, as: 'user', kind: OperationKind.GET })
    return isAbsent ? undefined : decodeValue(value)
  }

  #stats(): ShardStatsReport {
    return {
      entries: this.#partitions.entries,
      bytes: this.#partitions.bytes,
      maps: this.#partitions.mapStats(),
      operations: this.#admission.operations,
      refused: this.#admission.refused,
      connections: this.#data.connections,
      quarantinedFunctions: this.#options.userCode.quarantined,
      replicas: this.#partitions.replicaReports(),
      ...(this.#options.mirror === undefined ? {} : { mirror: mirrorStats(this.#options.mirror) }),
    }
  }

  /** New work is refused, what is under way is answered for at most `graceMs`, then everything is closed. */
  async #stop(graceMs: number): Promise<null> {
    this.#data.finishPipes()
    this.#peerPipes.finish()
    await Promise.race([this.#admission.stop(), this.#options.delay(graceMs)])
    await this.#jobs.close()
    this.#data.endPipes()
    // Before the server, which waits for its streams to end: those of the peers are some of them.
    await this.#network.links.stop()
    await this.#server?.stop(graceMs)
    await this.#closeMirror(graceMs)
    this.#partitions.release()
    return null
  }

  /** What does not get to the disk in time is there as after a kill. */
  async #closeMirror(graceMs: number): Promise<void> {
    if (this.#options.mirror === undefined) return
    const closed = await Promise.race([
      this.#partitions.closeMirror(true).then(() => true),
      this.#options.delay(Math.max(graceMs, mirrorGraceMs)).then(() => false),
    ])
    if (closed) return
    this.#log('error', 'the durable mirror could not be written in time; this node stops as if it had been killed')
    await this.#partitions.closeMirror(false)
  }

  readonly #takeFrames = (): void => {
    const frames = this.#frames
    this.#frames = []
    for (const { from, bytes } of frames) this.#handleReplication(from, bytes)
  }

  #handleReplication(from: ShardId, bytes: Uint8Array): void {
    try {
      this.#partitions.handleReplication(from, bytes)
    } catch (error) {
      if (!(error instanceof NearstateError)) throw error
      // Lost, for the sender: it says so again, and gives this replica up in the end.
      this.#log('warn', `dropped what replicas of a peer said: ${error.message}`, { from })
    }
  }

  /** Nothing is served or answered any more; the control thread ends the node. */
  #break(reason: string): void {
    this.#log('error', `the replication protocol is broken, this shard's data must not be used: ${reason}`)
    void this.#admission.stop()
    this.#data.endPipes()
    this.#options.send({ type: 'broken', reason })
  }

  #log(level: 'info' | 'warn' | 'error', message: string, fields: Readonly<Record<string, string | number>> = {}): void {
    this.#options.send({ type: 'log', level, message, fields })
  }
}
