/**
 * Which shard gets an operation, and what becomes of one that was not done.
 *
 * 1. An operation goes to the primary of its partition in the newest description known, or, as gateway, to one shard for all.
 * 2. What a shard refused (NOT_OWNER), what was never sent, and reads whose stream broke are sent again within their deadline, after the
 *    description has changed or a short, growing wait. A write that was sent and not answered is OUTCOME_UNKNOWN: never sent again.
 * 3. A partition without a primary is PARTITION_LOST at once. No partitions yet: the cluster forms; operations wait.
 * 4. One timer serves all deadlines, and runs only while something is unanswered.
 */
import { NearstateError } from '../base/errors.ts'
import { formatKeyCodec } from '../keys/key-codec.ts'
import type { AnyKey } from '../keys/key-space.ts'
import type { ShardConnection } from '../transport/grpc/pipe-client.ts'
import type { ClusterDescription } from '../wire/generated/nearstate/v1/admin.ts'
import { isWrite } from '../wire/operations.ts'
import type { MapRoute, Operation } from './operation.ts'
import { type PipeLimits, type PipeOwner, ShardPipe } from './shard-pipe.ts'

export interface RouterOptions {
  readonly routing: 'direct' | 'gateway'
  readonly limits: Omit<PipeLimits, 'valueMaxBytes'>
  readonly connectShard: (address: string) => ShardConnection
  readonly onPipeUp: (address: string) => void
  readonly onPipeDown: (address: string, error: NearstateError) => void
}

const sweepEveryMs = 10
const retryFirstMs = 10
const retryMaxMs = 500

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
  #parked: Parked[] = []
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: RouterOptions) {
    this.#options = options
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
    const shards = new Map<string, string>()
    for (const member of description.members) {
      if (member.status === 'dead') continue
      for (const shard of member.shards) shards.set(shard.id, shard.address)
    }
    this.#primaries = description.partitions.map(partition => description.members[partition.primary]?.shards[partition.shard]?.id)
    this.#pipes = []
    for (const [id, link] of this.#links) {
      if (shards.get(id) === link.address) continue
      this.#links.delete(id)
      link.pipe?.close(new NearstateError('UNAVAILABLE', `the shard at ${link.address} has left the cluster`))
      link.connection.close()
    }
    for (const [id, address] of shards) {
      if (!this.#links.has(id)) {
        const connection = this.#options.connectShard(address)
        this.#links.set(id, { connection, address, pipe: undefined, failures: 0, againAtMs: 0 })
      }
    }
    for (const link of this.#links.values()) if (link.pipe !== undefined) link.pipe.tableVersion = description.version
    const parked = this.#parked
    this.#parked = []
    for (const { operation } of parked) this.resubmit(operation)
  }

  /** Takes a new operation with its bytes. */
  submit(operation: Operation, key: Uint8Array, keyEnd: number, value: Uint8Array | undefined, valueStart: number, valueEnd: number): void {
    if (this.#timer === undefined) this.#timer = setInterval(this.#sweep, sweepEveryMs)
    const pipe = this.#pipes[operation.partition] ?? this.#pipeOf(operation)
    if (pipe !== undefined) {
      pipe.submit(operation, key, 0, keyEnd, value, valueStart, valueEnd)
      return
    }
    if (operation.settled) return
    operation.keys = Buffer.from(key.subarray(0, keyEnd))
    operation.keyEnd = keyEnd
    if (value !== undefined) {
      operation.values = Buffer.from(value.subarray(valueStart, valueEnd))
      operation.valueEnd = operation.values.length
    }
    this.#park(operation)
  }

  resubmit(operation: Operation): void {
    if (operation.settled) return
    const pipe = this.#pipeOf(operation)
    if (pipe !== undefined) pipe.resubmit(operation)
    else if (!operation.settled) this.#park(operation)
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#timer)
    const error = new NearstateError('CANCELLED', 'the client was closed')
    const parked = this.#parked
    this.#parked = []
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
    // Routed by an older table than the one known now: the way is clear at once. Otherwise one of the two has to learn first.
    if (known > operation.tableVersion && known >= tableVersion) this.resubmit(operation)
    else this.#park(operation)
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
      const mayHaveHappened = operation.sent && isWrite(operation.kind) && error.code !== 'UNSUPPORTED_VERSION'
      if (mayHaveHappened) operation.fail(operation.unanswered('UNAVAILABLE', error.message))
      else if (this.#closed || error.code === 'UNSUPPORTED_VERSION' || error.code === 'INVALID_ARGUMENT') operation.fail(error)
      else {
        operation.sent = false
        this.#park(operation)
      }
    }
  }

  onPipeUp(pipe: ShardPipe): void {
    for (const link of this.#links.values()) if (link.pipe === pipe) link.failures = 0
    this.#options.onPipeUp(pipe.address)
  }

  /** The pipe to use now; undefined: none yet, or the operation has been failed. */
  #pipeOf(operation: Operation): ShardPipe | undefined {
    const { partition } = operation
    if (this.#closed) {
      operation.fail(new NearstateError('CANCELLED', 'the client was closed'))
      return undefined
    }
    if (this.#primaries.length === 0) return undefined
    const primary = this.#primaries[partition]
    if (primary === undefined) {
      operation.fail(
        new NearstateError(
          'PARTITION_LOST',
          `Partition ${partition} of map "${operation.route.name}" has no replica left and refuses to serve; give its data up with "nearstate partitions recover --accept-loss"`,
        ),
      )
      return undefined
    }
    const link = this.#options.routing === 'direct' ? this.#links.get(primary) : this.#door()
    if (link === undefined) return undefined
    const pipe = this.#pipeTo(link)
    if (pipe !== undefined) this.#pipes[partition] = pipe
    return pipe
  }

  /** Gateway mode: the first shard that is not known to be unreachable. */
  #door(): Link | undefined {
    let best: Link | undefined
    for (const link of this.#links.values()) {
      if (link.pipe !== undefined) return link
      if (best === undefined || link.failures < best.failures) best = link
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

  #park(operation: Operation): void {
    operation.attempts += 1
    this.#parked.push({ operation, againAtMs: performance.now() + backoffMs(operation.attempts) })
  }

  readonly #sweep = (): void => {
    const nowMs = performance.now()
    let unanswered = 0
    for (const link of this.#links.values()) {
      link.pipe?.expire(nowMs)
      unanswered += link.pipe?.unansweredCount ?? 0
    }
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
    if (unanswered + this.#parked.length === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }
}

const backoffMs = (attempts: number): number => Math.min(retryMaxMs, retryFirstMs * 2 ** Math.min(attempts - 1, 10)) * (0.5 + Math.random())
