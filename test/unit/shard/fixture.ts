/** Shards without Node: a clock that is moved by hand, turns that are run by hand, a network of loopback links. */
import { ManualClock } from '../../../src/base/clock.ts'
import type { Epoch, MapId, NodeId, ShardId } from '../../../src/base/ids.ts'
import { seededRandom } from '../../../src/base/random.ts'
import type { MapDefinition } from '../../../src/grid/map-definition.ts'
import { encodeKey } from '../../../src/keys/encode-key.ts'
import type { KeyCodec } from '../../../src/keys/key-codec.ts'
import { partitionOfKey } from '../../../src/keys/partition-of.ts'
import type { ClusterView, PartitionRecord } from '../../../src/membership/cluster-state.ts'
import type { ReplicaRequest } from '../../../src/partitioning/partition-table.ts'
import type { Ticket } from '../../../src/replication/replica-port.ts'
import { createPromiseCell, PromiseCellWriter } from '../../../src/shard/promise-cell.ts'
import type {
  EnsureMap,
  FromShard,
  ReplicationSettings,
  ShardAnswers,
  ShardLimits,
  ShardRequest,
  ToShard,
} from '../../../src/shard/protocol.ts'
import { Shard, type AttemptHold, type ShardJobsNeeds } from '../../../src/shard/shard.ts'
import { decodeTicket, encodeTicket } from '../../../src/shard/tickets.ts'
import { Quarantine } from '../../../src/shard/user-code/quarantine.ts'
import { SliceRunner } from '../../../src/shard/user-code/slice-runner.ts'
import { UserCode } from '../../../src/shard/user-code/user-code.ts'
import { providedModules } from '../../../src/shard/user-code/provided-modules.ts'
import { callCellOver, createCallCell } from '../../../src/shard/user-code/call-cell.ts'
import type { DataServer, PeerListener, PeerMessageKind, PipeHandler } from '../../../src/transport/ports.ts'
import { ChunkAssembler } from '../../../src/wire/chunks.ts'
import {
  type OperationBatch,
  OperationKind,
  type OperationOptions,
  type ResultBatch,
  type ResultDetail,
} from '../../../src/wire/generated/nearstate/v1/data.ts'
import { emptyOptions, OperationBuilder } from '../../../src/wire/operations.ts'
import { ResultReader } from '../../../src/wire/results.ts'
import { decodeValue, encodeValue } from '../../../src/wire/value-codec.ts'

export const limits: ShardLimits = {
  memoryMaxBytes: 256 * 1024 * 1024,
  valueMaxBytes: 5_242_880,
  queuedOperationsMax: 10_000,
  messageMaxBytes: 8 * 1024 * 1024,
  sliceMaxMs: 1,
  userCodeTimeLimitMs: 250,
}

export const replication: ReplicationSettings = {
  minInSync: 1,
  leaseMs: 600,
  backupTimeoutMs: 1000,
  logMaxBytes: 64 * 1024 * 1024,
  copyBytesPerSecond: 64 * 1024 * 1024,
  sessionTtlMs: 60_000,
}

export const partitionCount = 12
const wellAheadMs = 1e9

/** Everything that has to happen later, in order, when the test says so. */
export class Later {
  readonly #queue: (() => void)[] = []

  readonly add = (callback: () => void): void => void this.#queue.push(callback)

  get size(): number {
    return this.#queue.length
  }

  /** Runs what is there and what comes of it; true: there was something. */
  run(): void {
    for (let rounds = 0; this.#queue.length > 0; rounds += 1) {
      if (rounds > 100_000) throw new Error('it never ends')
      this.#queue.shift()?.()
    }
  }

  one(): boolean {
    const next = this.#queue.shift()
    next?.()
    return next !== undefined
  }
}

export interface WorldOptions {
  readonly shards?: number
  readonly limits?: Partial<ShardLimits>
  readonly replication?: Partial<ReplicationSettings>
  /** Each partition on the shard after its primary's too. */
  readonly backups?: boolean
  readonly autoCreateMaps?: boolean
  /** Answers asks for maps by itself (default). */
  readonly answersAsks?: boolean
}

/** Shards of one cluster that share a clock and a queue of things to come. */
export class World {
  readonly clock = new ManualClock()
  readonly later = new Later()
  readonly shards: TestShard[] = []
  readonly definitions = new Map<string, MapDefinition>()
  readonly asks: { shard: TestShard; id: number; ask: EnsureMap }[] = []
  readonly options: WorldOptions
  view: ClusterView | undefined
  #version = 1
  #nextMapId = 1
  /** Pairs `from>to` whose messages are lost. */
  readonly cut = new Set<string>()
  /** Delays never end. */
  timeStandsStill = false
  /** False: links are full. */
  linksDrain = true
  readonly #timers: { readonly atMs: number; readonly callback: () => void }[] = []

  constructor(options: WorldOptions = {}) {
    this.options = options
    for (let i = 0; i < (options.shards ?? 1); i += 1) this.shards.push(new TestShard(this, `s${i}` as ShardId))
    this.publish(partition => this.shards[partition % this.shards.length])
  }

  get version(): number {
    return this.#version
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { atMs: this.clock.nowMs() + ms, callback }
    this.#timers.push(timer)
    return () => {
      const index = this.#timers.indexOf(timer)
      if (index >= 0) this.#timers.splice(index, 1)
    }
  }

  /** Lets time pass, with the timers that fall due and all that comes of them. */
  pass(ms: number): void {
    const endMs = this.clock.nowMs() + ms
    this.later.run()
    for (let rounds = 0; ; rounds += 1) {
      if (rounds > 100_000) throw new Error('it never ends')
      const next = this.#timers.sort((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined || next.atMs > endMs) break
      this.#timers.shift()
      if (next.atMs > this.clock.nowMs()) this.clock.advance(next.atMs - this.clock.nowMs())
      next.callback()
      this.later.run()
    }
    this.clock.advance(endMs - this.clock.nowMs())
  }

  get one(): TestShard {
    return this.shards[0] as TestShard
  }

  publish(
    primaryOf: (partition: number) => TestShard | undefined,
    to: readonly TestShard[] = this.shards,
    dead: readonly TestShard[] = [],
    more: Partial<PartitionRecord> | ((partition: number) => Partial<PartitionRecord>) = {},
    promisedUntilMs = Number.NEGATIVE_INFINITY,
  ): void {
    this.#version += 1
    const view: ClusterView = {
      version: this.#version,
      state: {
        cluster: 'test',
        partitionCount,
        leader: 'n',
        members: this.shards.map(shard => ({
          name: shard.id,
          id: `node-${shard.id}` as NodeId,
          pid: 1,
          status: dead.includes(shard) ? ('dead' as const) : ('alive' as const),
          zone: '',
          version: '0',
          address: `${shard.id}:1`,
          http: `${shard.id}:2`,
          shards: [{ id: shard.id, address: `${shard.id}:3` }],
          startedAtMs: 0,
        })),
        partitions: Array.from({ length: partitionCount }, (_, partition) => {
          const primary = primaryOf(partition)
          const replica = primary === undefined ? undefined : { node: `node-${primary.id}` as NodeId, shard: primary.id }
          const index = this.shards.findIndex(shard => shard === primary)
          const second = this.options.backups === true ? this.shards[(index + 1) % this.shards.length] : undefined
          const backups = second === undefined || second === primary || dead.includes(second) ? [] : [second.replica]
          return {
            epoch: this.#version as Epoch,
            primary: replica,
            backups,
            inSync: replica === undefined ? [] : [replica, ...backups],
            ...(typeof more === 'function' ? more(partition) : more),
          }
        }),
      },
    }
    const promised = new Float64Array(partitionCount).fill(promisedUntilMs)
    for (const shard of to) {
      const others = this.shards.map((other, slot) => [other.node, slot] as const).filter(([node]) => node !== shard.node)
      shard.tell({ type: 'command', command: { kind: 'view', view, promisedUntilMs: promised, promiseSlots: others } })
      for (const [, slot] of others) shard.promise(slot, this.#version, wellAheadMs)
    }
    this.view = view
  }

  define(name: string, more: Partial<MapDefinition> = {}): MapDefinition {
    const definition: MapDefinition = {
      id: this.#nextMapId as MapId,
      name,
      keySpace: name,
      keyCodec: 'string',
      ttlMs: 0,
      maxIdleMs: 0,
      maxBytes: 0,
      eviction: 'none',
      createdAtMs: 0,
      ...more,
    }
    this.#nextMapId += 1
    this.definitions.set(name, definition)
    return definition
  }

  publishMaps(): void {
    for (const shard of this.shards) shard.tell({ type: 'command', command: { kind: 'maps', definitions: [...this.definitions.values()] } })
  }

  asked(shard: TestShard, id: number, ask: EnsureMap): void {
    this.asks.push({ shard, id, ask })
    if (this.options.answersAsks === false) return
    this.later.add(() => {
      const known = this.definitions.get(ask.name) ?? this.define(ask.name, { keySpace: ask.keySpace, keyCodec: ask.keyCodec })
      shard.tell({ type: 'reply', id, value: known })
    })
  }

  deliver(from: ShardId, to: ShardId, kind: PeerMessageKind, bytes: Uint8Array): boolean {
    if (this.cut.has(`${from}>${to}`)) return this.linksDrain
    const copy = bytes.slice()
    this.later.add(() => this.shards.find(shard => shard.id === to)?.listener?.onPeerMessage(from, kind, copy))
    return this.linksDrain
  }
}

export class TestShard {
  readonly id: ShardId
  readonly world: World
  readonly shard: Shard
  listener: PeerListener | undefined
  server: DataServer | undefined
  readonly logs: string[] = []
  readonly #answers = new Map<number, (message: Extract<FromShard, { type: 'answer' }>) => void>()
  readonly runner: SliceRunner
  readonly requests: ReplicaRequest[] = []
  broken: string | undefined
  readonly #promises: PromiseCellWriter
  needs: ShardJobsNeeds | undefined
  #nextRequest = 1

  constructor(world: World, id: ShardId) {
    this.world = world
    this.id = id
    const promiseCell = createPromiseCell()
    this.#promises = new PromiseCellWriter(promiseCell)
    const { clock, later } = world
    const quarantine = new Quarantine()
    const runner: SliceRunner = new SliceRunner({
      cell: callCellOver(createCallCell()),
      quarantine,
      nowMs: () => clock.nowMs(),
      sliceMaxMs: 1,
      timeLimitMs: 250,
      wake: () => later.add(() => runner.slice()),
      afterTurn: callback => later.add(callback),
      onCutOff: () => {},
      lost: message => {
        throw new Error(message)
      },
    })
    this.runner = runner
    this.shard = new Shard({
      start: {
        nodeName: `node-${id}`,
        node: `node-${id}` as NodeId,
        replication: { ...replication, ...world.options.replication },
        promiseCell,
        index: 0,
        id,
        host: 'localhost',
        port: 0,
        limits: { ...limits, ...world.options.limits },
        autoCreateMaps: world.options.autoCreateMaps ?? true,
        callCell: createCallCell(),
      },
      clock,
      random: seededRandom(1),
      userCode: new UserCode(runner, quarantine, { modules: providedModules, console: {} }),
      createNetwork: listener => {
        this.listener = listener
        return {
          links: {
            send: (to, kind, bytes) => world.deliver(id, to, kind, bytes),
            addThreadLink: () => {},
            stop: () => Promise.resolve(),
          },
          serve: server => {
            this.server = server
            return Promise.resolve({ port: 1, stop: () => Promise.resolve() })
          },
        }
      },
      createJobs: needs => {
        this.needs = needs
        return {
          describe: () => Promise.reject(new Error('no jobs')),
          open: () => Promise.reject(new Error('no jobs')),
          start: () => Promise.reject(new Error('no jobs')),
          run: () => {},
          barrier: () => Promise.reject(new Error('no jobs')),
          committed: () => {},
          drop: () => Promise.resolve([]),
          read: () => Promise.reject(new Error('no jobs')),
          replay: () => [],
          savepoint: () => Promise.reject(new Error('no jobs')),
          stop: () => {},
          progress: () => ({ status: 'ready', stages: [] }),
          onExchange: () => {},
          onPeerDown: () => {},
          onPeerDrain: () => {},
          close: () => {},
        }
      },
      send: message => this.#receive(message),
      later: later.add,
      after: (ms, callback) => world.after(ms, callback),
      delay: ms =>
        new Promise(resolve => {
          if (!world.timeStandsStill) later.add(() => (clock.advance(ms), resolve()))
        }),
    })
    void this.shard.serve()
  }

  get node(): NodeId {
    return `node-${this.id}` as NodeId
  }

  get replica(): { readonly node: NodeId; readonly shard: ShardId } {
    return { node: this.node, shard: this.id }
  }

  /** What the node of the shard of that number promises from now on. */
  promise(slot: number, version: number, untilMs: number): void {
    this.#promises.publish(slot, { version, untilMs })
  }

  tell(message: ToShard): void {
    this.shard.receive(message)
  }

  /** A control request. Its answer comes once the world's queue has run. */
  async ask<R extends ShardRequest>(request: R): Promise<ShardAnswers[R['kind']]> {
    const id = this.#nextRequest
    this.#nextRequest += 1
    const answer = new Promise<Extract<FromShard, { type: 'answer' }>>(resolve => this.#answers.set(id, resolve))
    this.tell({ type: 'request', id, request })
    const message = await settled(this.world, answer)
    if (message.failure !== undefined) throw Object.assign(new Error(message.failure.message), message.failure)
    return message.value as ShardAnswers[R['kind']]
  }

  connect(gateway = false): TestClient {
    return new TestClient(this, gateway)
  }

  #receive(message: FromShard): void {
    if (message.type === 'ensureMap') this.world.asked(this, message.id, message.ask)
    else if (message.type === 'answer') this.#answers.get(message.id)?.(message)
    else if (message.type === 'log') this.logs.push(message.message)
    else if (message.type === 'replicaRequest') this.requests.push(message.request)
    else if (message.type === 'broken') this.broken = message.reason
  }
}

/** Runs the world's queue between microtasks until the promise has settled. */
export async function settled<T>(world: World, promise: Promise<T>): Promise<T> {
  const state = { isDone: false }
  const mark = (): void => void (state.isDone = true)
  promise.then(mark, mark)
  for (let rounds = 0; !state.isDone; rounds += 1) {
    if (rounds > 10_000) throw new Error('it never settles')
    world.later.run()
    await Promise.resolve()
  }
  return promise
}

export interface Answer {
  readonly status: 'ok' | 'absent' | 'notOwner' | 'error' | 'sessionUnknown' | 'notNow'
  readonly bytes: Buffer
  readonly detail: ResultDetail | undefined
}

const statuses: readonly string[] = ['', 'ok', 'absent', 'notOwner', 'error', 'sessionUnknown', 'notNow']

/** A client of one pipe that speaks the wire by hand. */
export class TestClient {
  readonly answers = new Map<number, Answer>()
  readonly order: number[] = []
  readonly batches: ResultBatch[] = []
  failure: Error | undefined
  paused = false
  reads = true
  gateway: boolean
  readonly pipe: PipeHandler
  readonly #shard: TestShard
  readonly #chunks = new ChunkAssembler(64 * 1024 * 1024)
  readonly #slots = new Map<string, number>()
  #newMaps: OperationBatch['maps'] = []
  #builder = new OperationBuilder()
  #greeted = false
  #nextId = 0
  tableVersion = 0n
  #sessions: OperationBatch['sessions'] = []

  constructor(shard: TestShard, gateway: boolean) {
    this.gateway = gateway
    this.#shard = shard
    const { server } = shard
    if (server === undefined) throw new Error('the shard does not serve')
    this.pipe = server.openPipe({
      send: results => {
        this.#take(results)
        return this.reads
      },
      pause: () => void (this.paused = true),
      resume: () => void (this.paused = false),
      fail: error => void (this.failure = error),
    })
  }

  map(name: string, keySpace = name, codec = 'string'): number {
    const known = this.#slots.get(name)
    if (known !== undefined) return known
    const slot = this.#slots.size
    this.#slots.set(name, slot)
    this.#newMaps.push({ slot, name, keySpace, keyCodec: codec })
    return slot
  }

  /** Adds an operation to the batch; answers its id. */
  add(
    kind: number,
    map: string,
    key: unknown,
    value?: unknown,
    options: Partial<OperationOptions> = {},
    codec: KeyCodec = 'string',
  ): number {
    const keyBytes = key === undefined ? new Uint8Array(0) : key instanceof Uint8Array ? key : encodeKey(codec, key)
    const bytes = value === undefined ? undefined : value instanceof Uint8Array ? value : encodeValue(value)
    const slot = this.map(map)
    const given = Object.keys(options).length === 0 ? undefined : { ...emptyOptions(), ...options }
    const index = this.#builder.append(kind, slot, keyBytes, 0, keyBytes.length, bytes, 0, bytes?.length ?? 0, given)
    return this.#nextId + index
  }

  /** Numbers the operation added last. */
  number(number: number, distance = 0): void {
    this.#builder.number(number, distance)
  }

  declare(partition: number, ticket: Ticket): void {
    this.#sessions.push({ partition, ticket: encodeTicket(ticket) })
  }

  /** A session at the partition, opened and declared. */
  openSession(partition: number): Ticket {
    const answer = this.call(OperationKind.OPEN_SESSION, 'm', undefined, undefined, { partition })
    if (answer.status !== 'ok') throw new Error(`no session: ${answer.status}`)
    const ticket = decodeTicket(answer.bytes)
    this.declare(partition, ticket)
    return ticket
  }

  batch(): OperationBatch {
    const count = this.#builder.count
    const batch = this.#builder.take(this.#nextId, this.tableVersion)
    this.#nextId += count
    batch.maps = this.#newMaps
    batch.gateway = this.gateway
    batch.sessions = this.#sessions
    this.#sessions = []
    this.#newMaps = []
    if (!this.#greeted) batch.wireVersion = 1
    this.#greeted = true
    return batch
  }

  /** Sends what was added, without running anything but what the shard does at once. */
  flush(): void {
    this.pipe.handleBatch(this.batch())
  }

  /** One operation and its answer, everything that comes of it included. */
  call(
    kind: number,
    map: string,
    key: unknown,
    value?: unknown,
    options: Partial<OperationOptions> = {},
    codec: KeyCodec = 'string',
  ): Answer {
    const id = this.add(kind, map, key, value, options, codec)
    this.flush()
    this.#shard.world.later.run()
    return this.answer(id)
  }

  answer(id: number): Answer {
    const answer = this.answers.get(id)
    if (answer === undefined) throw new Error(`operation ${id} has no answer`)
    return answer
  }

  value(answer: Answer): unknown {
    return answer.bytes.length === 0 ? undefined : decodeValue(answer.bytes)
  }

  #take(results: ResultBatch): void {
    this.batches.push(results)
    if (results.chunk !== undefined) return this.#chunks.accept(results.chunk)
    const reader = new ResultReader(results)
    for (let i = 0; i < reader.count; i += 1) {
      const id = reader.idAt(i)
      if (this.answers.has(id)) throw new Error(`operation ${id} has two answers`)
      const detail = reader.detailAt(i)
      const bytes =
        detail?.chunked === true ? this.#chunks.take(id) : reader.values.subarray(reader.valueBounds[i], reader.valueBounds[i + 1])
      this.answers.set(id, { status: statuses[reader.statusAt(i)] as Answer['status'], bytes: Buffer.from(bytes), detail })
      this.order.push(id)
    }
  }
}

/** A string key of the map in the partition. */
export function keyIn(partition: number, n = 0): string {
  for (let i = 0, seen = 0; ; i += 1) {
    const key = `k${i}`
    const bytes = Buffer.from(key)
    if (partitionOfKey('string', bytes, 0, bytes.length, partitionCount) !== partition) continue
    if (seen === n) return key
    seen += 1
  }
}

/** What an attempt has of these partitions; default: of all that the shard serves. */
export function holdOf(shard: TestShard, partitions?: readonly number[]): AttemptHold {
  const { needs } = shard
  if (needs === undefined) throw new Error('the shard has no jobs')
  const serves = (partition: number): boolean => {
    try {
      needs.hold('job', [partition])
      return true
    } catch {
      return false
    }
  }
  return needs.hold('job', partitions ?? Array.from({ length: partitionCount }, (_, partition) => partition).filter(serves))
}
