/**
 * Which shard gets an operation, and what becomes of one that was not done.
 *
 * 1. An operation goes to the primary of its partition in the newest description known, or, as gateway, to one shard for all.
 * 2. What a shard refused (NOT_OWNER, NOT_NOW), what was never sent, reads whose stream broke and numbered writes are sent again within
 *    their deadline, after the description has changed or a short, growing wait; a numbered write that may have happened under the same
 *    number. A write without a number that was sent and not answered is OUTCOME_UNKNOWN.
 * 3. A partition without a primary is PARTITION_LOST at once. No partitions yet: the cluster forms; operations wait.
 * 4. One timer serves all deadlines, and runs only while something is unanswered.
 */
import { NearstateError } from '../base/errors.ts'
import { formatKeyCodec } from '../keys/key-codec.ts'
import type { AnyKey } from '../keys/key-space.ts'
import type { ShardConnection } from '../transport/grpc/pipe-client.ts'
import type { ClusterDescription } from '../wire/generated/nearstate/v1/admin.ts'
import { OperationKind } from '../wire/generated/nearstate/v1/data.ts'
import { isNumbered, isWrite } from '../wire/operations.ts'
import type { MapRoute, Operation } from './operation.ts'
import { backoffMs, notNowBackoffMs, type SessionPort, Sessions } from './sessions.ts'
import { type PipeLimits, type PipeOwner, ShardPipe } from './shard-pipe.ts'

export interface RouterOptions {
  readonly routing: 'direct' | 'gateway'
  readonly limits: Omit<PipeLimits, 'valueMaxBytes'>
  readonly connectShard: (address: string) => ShardConnection
  readonly onPipeUp: (address: string) => void
  readonly onPipeDown: (address: string, error: NearstateError) => void
  /** There may be a newer description than the one known. */
  readonly onStale: () => void
}

const sweepEveryMs = 5
/** Deadlines are looked at at every second sweep: that walks all that is unanswered. */
const expireEvery = 2
/** A shard that owes answers and says nothing for so long may have lost its partitions, and the client not have heard of it. */
const silentAfterMs = 1000

interface Parked {
  readonly operation: Operation
  readonly againAtMs: number
}

interface Link {
  readonly connection: ShardConnection
  readonly address: string
  pipe: ShardPipe | undefined
  failures: number
  againAtMs: number
  /** Out of the cluster's reach. */
  isSuspect: boolean
}

export class Router implements PipeOwner {
  readonly #options: RouterOptions
  readonly #links = new Map<string, Link>()
  #description: ClusterDescription | undefined
  /** Shard id of each partition's primary; undefined: lost. */
  #primaries: (string | undefined)[] = []
  /** The pipe of each partition, when it is known to be up; the fast path. */
  #pipes: (ShardPipe | undefined)[] = []
  readonly #routes = new Map<string, MapRoute>()
  /** Shard ids of each partition's in-sync replicas within reach. */
  #replicas: (readonly string[])[] = []
  #turn = 0
  readonly #sessions: Sessions
  #parked: Parked[] = []
  #sweeps = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: RouterOptions) {
    this.#options = options
    const port: SessionPort = {
      pipeOf: operation => this.#pipeOf(operation),
      send: operation => this.#send(operation),
      onHeld: partition => {
        this.#pipes[partition] = undefined
      },
      onFree: (partition, pipe) => {
        if (!pipe.isDown) this.#pipes[partition] = pipe
      },
    }
    this.#sessions = new Sessions(port)
  }

  get partitionCount(): number {
    return this.#description?.partitionCount ?? 0
  }

  get valueMaxBytes(): number {
    return Number(this.#description?.valueMaxBytes ?? 0n)
  }

  /** The same object for the same map, however often it is asked for: pipes number maps by it. */
  routeOf(name: string, key: AnyKey): MapRoute {
    const keyCodecText = formatKeyCodec(key.codec)
    const identity = JSON.stringify([name, key.name, keyCodecText])
    let route = this.#routes.get(identity)
    if (route === undefined) {
      route = { name, keySpace: key.name, keyCodec: key.codec, keyCodecText }
      this.#routes.set(identity, route)
    }
    return route
  }

  update(description: ClusterDescription): void {
    this.#description = description
    const shards = new Map<string, { readonly address: string; readonly isSuspect: boolean }>()
    for (const member of description.members) {
      if (member.status === 'dead') continue
      for (const { id, address } of member.shards) shards.set(id, { address, isSuspect: member.status === 'suspect' })
    }
    const idOf = (member: number, shard: number): string | undefined => description.members[member]?.shards[shard]?.id
    this.#primaries = description.partitions.map(partition => idOf(partition.primary, partition.shard))
    this.#replicas = description.partitions.map(({ primary, shard, backups, inSync }) => {
      const ids = [idOf(primary, shard)]
      for (let i = 0; 2 * i < backups.length; i += 1) {
        if (((inSync >>> i) & 1) === 1) ids.push(idOf(backups[2 * i] as number, backups[2 * i + 1] as number))
      }
      return ids.filter(id => id !== undefined).filter(id => shards.get(id)?.isSuspect === false)
    })
    this.#pipes = []
    this.#updateLinks(shards)
    const parked = this.#parked
    this.#parked = []
    for (const { operation } of parked) this.resubmit(operation)
    this.#sessions.tableChanged()
  }

  #updateLinks(shards: ReadonlyMap<string, { readonly address: string; readonly isSuspect: boolean }>): void {
    const version = this.#description?.version ?? 0n
    const primaries = new Set(this.#primaries)
    const hasOthers = [...shards.values()].some(({ isSuspect }) => !isSuspect)
    for (const [id, link] of this.#links) {
      const shard = shards.get(id)
      link.isSuspect = shard?.isSuspect === true
      if (shard?.address === link.address) {
        if (link.pipe !== undefined) link.pipe.tableVersion = version
        // What a shard out of reach owes is asked for elsewhere, once others serve its partitions.
        const isNeeded = this.#options.routing === 'gateway' ? !hasOthers : primaries.has(id)
        if (link.isSuspect && !isNeeded) link.pipe?.close(new NearstateError('UNAVAILABLE', `the shard at ${link.address} is out of reach`))
        continue
      }
      this.#links.delete(id)
      link.pipe?.close(new NearstateError('UNAVAILABLE', `the shard at ${link.address} has left the cluster`))
      link.connection.close()
    }
    for (const [id, { address, isSuspect }] of shards) {
      if (this.#links.has(id)) continue
      this.#links.set(id, {
        connection: this.#options.connectShard(address),
        address,
        pipe: undefined,
        failures: 0,
        againAtMs: 0,
        isSuspect,
      })
    }
  }

  /** Takes a new operation with its bytes. */
  submit(operation: Operation, key: Uint8Array, keyEnd: number, value: Uint8Array | undefined, valueStart: number, valueEnd: number): void {
    if (this.#timer === undefined) this.#timer = setInterval(this.#sweep, sweepEveryMs)
    const pipe = this.#pipes[operation.partition]
    if (pipe !== undefined && !operation.fromAny && (!isNumbered(operation.kind) || this.#sessions.number(operation))) {
      pipe.submit(operation, key, 0, keyEnd, value, valueStart, valueEnd)
      return
    }
    if (this.#parked.length + this.#sessions.heldCount >= this.#options.limits.waitingMax) {
      operation.fail(this.#tooMany())
      return
    }
    operation.keys = Buffer.from(key.subarray(0, keyEnd))
    operation.keyEnd = keyEnd
    if (value !== undefined) {
      operation.values = Buffer.from(value.subarray(valueStart, valueEnd))
      operation.valueEnd = operation.values.length
    }
    this.#route(operation)
  }

  /** Sends again what was put off. */
  resubmit(operation: Operation): void {
    if (operation.kind === OperationKind.OPEN_SESSION) this.#send(operation)
    else this.#route(operation)
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#timer)
    const error = new NearstateError('CANCELLED', 'the client was closed')
    const parked = this.#parked
    this.#parked = []
    this.#sessions.close(error)
    for (const { operation } of parked) operation.fail(error)
    for (const link of this.#links.values()) {
      link.pipe?.close(error)
      link.connection.close()
    }
    this.#links.clear()
    this.#pipes = []
  }

  onNotOwner(operation: Operation, tableVersion: bigint): void {
    const known = this.#description?.version ?? 0n
    if (tableVersion > known) this.#options.onStale()
    // Routed by an older table than the one known now: the way is clear at once. Otherwise one of the two has to learn first.
    const isClear = operation.fromAny || (known > operation.tableVersion && known >= tableVersion)
    this.#sendAgain(operation, isClear ? atOnce : backoffMs)
  }

  onNotNow(operation: Operation): void {
    this.#sendAgain(operation, operation.fromAny ? atOnce : notNowBackoffMs)
  }

  onTryAgain(operation: Operation): void {
    this.#sendAgain(operation, operation.fromAny ? atOnce : backoffMs)
  }

  onSessionUnknown(operation: Operation): void {
    this.#sessions.onUnknown(operation)
  }

  onPipeDown(pipe: ShardPipe, operations: readonly Operation[], error: NearstateError): void {
    this.#pipes = []
    // One loss is told once, however often it is dialled in vain.
    let isNews = true
    for (const link of this.#links.values()) {
      if (link.pipe !== pipe) continue
      link.pipe = undefined
      link.failures += 1
      isNews = link.failures === 1
      link.againAtMs = performance.now() + backoffMs(link.failures)
    }
    if (!this.#closed && isNews) this.#options.onPipeDown(pipe.address, error)
    for (const operation of operations) {
      const isOver = this.#closed || error.code === 'UNSUPPORTED_VERSION' || error.code === 'INVALID_ARGUMENT'
      const mayHaveHappened = operation.sent && isWrite(operation.kind) && error.code !== 'UNSUPPORTED_VERSION'
      // What broke the stream for another reason than that the shard went away may be this very write.
      const isRepeatable = operation.number > 0 && error.code === 'UNAVAILABLE'
      if (mayHaveHappened && (isOver || !isRepeatable)) operation.fail(operation.unanswered('UNAVAILABLE', error.message))
      else if (isOver) operation.fail(error)
      else {
        operation.mayHaveHappened ||= mayHaveHappened
        operation.sent = false
        this.#sendAgain(operation, backoffMs)
      }
    }
  }

  onPipeUp(pipe: ShardPipe): void {
    for (const link of this.#links.values()) if (link.pipe === pipe) link.failures = 0
    this.#options.onPipeUp(pipe.address)
  }

  /** Sends an operation that has its own bytes, or keeps it until it can be sent. */
  #route(operation: Operation): void {
    if (operation.settled) return
    if (operation.fromAny) {
      const pipe = this.#anyPipe(operation)
      if (pipe !== undefined) {
        pipe.resubmit(operation)
        return
      }
      operation.fromAny = false
    }
    if (!this.#sessions.submit(operation)) this.#send(operation)
  }

  #send(operation: Operation): void {
    if (operation.settled) return
    const pipe = this.#pipeOf(operation)
    if (pipe === undefined) {
      if (!operation.settled) this.#park(operation, backoffMs)
      return
    }
    if (this.#sessions.mayUse(operation.partition, pipe)) this.#pipes[operation.partition] = pipe
    pipe.resubmit(operation)
  }

  /** `afterMs`: of the number of times that it was put off, how long to wait. */
  #sendAgain(operation: Operation, afterMs: (attempts: number) => number): void {
    if (operation.session !== undefined) {
      this.#sessions.sendAgain(operation, afterMs)
      return
    }
    operation.fromAny = false
    if (afterMs === atOnce) this.resubmit(operation)
    else this.#park(operation, afterMs)
  }

  /** The pipe to use now; undefined: none yet, or the operation has been failed. */
  #pipeOf(operation: Operation): ShardPipe | undefined {
    const { partition } = operation
    if (this.#closed) {
      const closed = 'the client was closed'
      operation.fail(operation.mayHaveHappened ? operation.unanswered('UNAVAILABLE', closed) : new NearstateError('CANCELLED', closed))
      return undefined
    }
    if (this.#primaries.length === 0) return undefined
    const primary = this.#primaries[partition]
    if (primary === undefined) {
      const lost = `Partition ${partition} of map "${operation.route.name}" has no replica left and refuses to serve; give its data up with "nearstate partitions recover --accept-loss"`
      operation.fail(operation.mayHaveHappened ? operation.unanswered('UNAVAILABLE', lost) : new NearstateError('PARTITION_LOST', lost))
      return undefined
    }
    const link = this.#options.routing === 'direct' ? this.#links.get(primary) : this.#door()
    return link === undefined ? undefined : this.#pipeTo(link)
  }

  /** The pipe to one of the partition's replicas, in turn; undefined: none is within reach. */
  #anyPipe({ partition }: Operation): ShardPipe | undefined {
    if (this.#closed || this.#options.routing === 'gateway') return undefined
    const replicas = this.#replicas[partition] ?? []
    for (let i = 0; i < replicas.length; i += 1) {
      this.#turn = (this.#turn + 1) % replicas.length
      const link = this.#links.get(replicas[this.#turn] as string)
      const pipe = link === undefined ? undefined : this.#pipeTo(link)
      if (pipe !== undefined) return pipe
    }
    return undefined
  }

  /** Gateway mode: the first shard that is not known to be unreachable. */
  #door(): Link | undefined {
    let best: Link | undefined
    for (const link of this.#links.values()) {
      if (link.pipe !== undefined) return link
      if (best === undefined || rank(link) < rank(best)) best = link
    }
    return best
  }

  #pipeTo(link: Link): ShardPipe | undefined {
    if (link.pipe !== undefined) return link.pipe
    if (performance.now() < link.againAtMs) return undefined
    const limits = { ...this.#options.limits, valueMaxBytes: this.valueMaxBytes }
    link.pipe = new ShardPipe(link.address, this.#options.routing === 'gateway', pipe => link.connection.openPipe(pipe), this, limits)
    link.pipe.tableVersion = this.#description?.version ?? 0n
    return link.pipe
  }

  #park(operation: Operation, afterMs: (attempts: number) => number): void {
    operation.attempts += 1
    this.#parked.push({ operation, againAtMs: performance.now() + afterMs(operation.attempts) })
  }

  #tooMany(): NearstateError {
    return new NearstateError(
      'RESOURCE_EXHAUSTED',
      `Cannot send: ${this.#options.limits.waitingMax} calls wait for their partitions, which is the limit; await some of them first`,
    )
  }

  readonly #sweep = (): void => {
    const nowMs = performance.now()
    this.#sweeps += 1
    for (const { pipe } of this.#links.values()) {
      if (pipe === undefined) continue
      if (this.#sweeps % expireEvery === 0) pipe.expire(nowMs)
      if (pipe.isSilent(nowMs, silentAfterMs)) this.#options.onStale()
    }
    if (!this.#sessions.isIdle) this.#sessions.sweep(nowMs)
    if (this.#parked.length > 0) {
      const parked = this.#parked
      this.#parked = []
      for (const entry of parked) {
        const { operation } = entry
        if (operation.settled) continue
        if (operation.deadlineMs <= nowMs)
          operation.fail(operation.unanswered('DEADLINE_EXCEEDED', 'no shard could take it within the time-out'))
        else if (entry.againAtMs <= nowMs) this.resubmit(operation)
        else this.#parked.push(entry)
      }
    }
    let unanswered = this.#parked.length
    for (const { pipe } of this.#links.values()) unanswered += pipe?.unansweredCount ?? 0
    if (unanswered === 0 && this.#sessions.isIdle) {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }
}

/** Which door to try first. */
const rank = ({ isSuspect, failures }: Link): number => (isSuspect ? 1e6 : 0) + failures

const atOnce = (): number => 0
