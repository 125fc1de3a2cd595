/**
 * The shards of this node: started together, linked pairwise by threads, told the same things.
 *
 * Owns: the handles. A shard that dies takes the node down: `onDeath` is called once and the node stops in an orderly way.
 */
import { MessageChannel } from 'node:worker_threads'
import type { NodeId, ShardId } from '../base/ids.ts'
import type { FoundCopy } from '../durability/found-copy.ts'
import type { MapDefinition } from '../grid/map-definition.ts'
import type { ShardRecord } from '../membership/cluster-state.ts'
import type { HandOverOrder, ReplicaRequest } from '../partitioning/partition-table.ts'
import type { FoundMirror } from '../membership/restore-transitions.ts'
import type {
  EnsureMap,
  JobLogLine,
  ReplicationSettings,
  ShardAnswers,
  ShardCommand,
  ShardLimits,
  ShardPersistence,
  ShardRequest,
} from '../shard/protocol.ts'
import type { Logger } from '../telemetry/logger.ts'
import { portInUseOr } from './port-in-use.ts'
import { ShardHandle } from './shard-handle.ts'

export interface ShardsOptions {
  readonly node: NodeId
  readonly nodeName: string
  readonly host: string
  readonly count: number
  /** Port of shard 0; 0: any free ports. */
  readonly portBase: number
  readonly limits: ShardLimits
  readonly autoCreateMaps: boolean
  readonly replication: ReplicationSettings
  /** Where each keeps what it holds; absent: nowhere. */
  readonly persistenceOf?: (shard: number) => ShardPersistence
  /** Of the node; the same for all its shards. */
  readonly promiseCell: SharedArrayBuffer
  readonly createId: () => ShardId
  /** Memory that the watchdog and the shard's user code share. */
  readonly createCallCell: () => SharedArrayBuffer
  readonly ensureMap: (ask: EnsureMap) => Promise<MapDefinition>
  readonly onReplicaRequest: (request: ReplicaRequest) => void
  readonly onJobLog: (shard: number, job: string, line: JobLogLine) => void
  /** Some shard's mirror changed what it says that earlier incarnations left. */
  readonly onFound: () => void
  readonly onDeath: (shard: number, reason: string) => void
  readonly log: Logger
}

export class Shards {
  readonly handles: readonly ShardHandle[]
  readonly records: readonly ShardRecord[]

  readonly #found: ReadonlyMap<ShardId, readonly FoundCopy[]>

  private constructor(handles: readonly ShardHandle[], records: readonly ShardRecord[], found: ReadonlyMap<ShardId, readonly FoundCopy[]>) {
    this.handles = handles
    this.records = records
    this.#found = found
  }

  /** What earlier incarnations of this node left in the durable mirrors, and which shard can read it. */
  get found(): readonly FoundMirror[] {
    return [...this.#found].flatMap(([at, copies]) =>
      copies.map(({ partition, node, shard, givenUp, last, whole, complete }) => ({
        partition,
        of: { node: node as NodeId, shard: shard as ShardId },
        givenUp,
        last,
        whole,
        complete,
        at,
      })),
    )
  }

  /** Starts all workers and waits until each serves. When one cannot, the others are stopped and its error is thrown. */
  static async start(options: ShardsOptions): Promise<Shards> {
    const found = new Map<ShardId, readonly FoundCopy[]>()
    const handles = Array.from({ length: options.count }, (_, index) => startShard(options, index, found))
    try {
      const ports = await Promise.all(handles.map(handle => handle.ready.catch(error => Promise.reject(startFailure(error, handle)))))
      linkThreads(handles)
      const records = handles.map((handle, i) => ({ id: handle.start.id, address: `${options.host}:${ports[i]}` }))
      return new Shards(handles, records, found)
    } catch (error) {
      await Promise.all(handles.map(handle => handle.stop(0)))
      throw error
    }
  }

  broadcast(command: ShardCommand): void {
    for (const handle of this.handles) handle.command(command)
  }

  /** To the shard that the order is for; none of this node: dropped. */
  order(order: HandOverOrder): void {
    this.handles.find(handle => handle.start.id === order.from.shard)?.command({ kind: 'handOver', order })
  }

  /** The same request to every shard; answers in order of shards. */
  requestAll<R extends ShardRequest>(request: R, timeoutMs?: number): Promise<ShardAnswers[R['kind']][]> {
    return Promise.all(this.handles.map(handle => handle.request(request, timeoutMs)))
  }

  /** For work that any shard can do. */
  get any(): ShardHandle {
    return this.handles[0] as ShardHandle
  }

  async stop(graceMs: number): Promise<void> {
    await Promise.all(this.handles.map(handle => handle.stop(graceMs)))
  }
}

const startFailure = (error: unknown, { start: { index, host, port } }: ShardHandle): unknown =>
  portInUseOr(error, `shard ${index}`, host, port, 'shardPortBase')

function startShard(options: ShardsOptions, index: number, found: Map<ShardId, readonly FoundCopy[]>): ShardHandle {
  const id = options.createId()
  return new ShardHandle({
    start: {
      node: options.node,
      nodeName: options.nodeName,
      index,
      id,
      host: options.host,
      port: options.portBase === 0 ? 0 : options.portBase + index,
      limits: options.limits,
      autoCreateMaps: options.autoCreateMaps,
      replication: options.replication,
      ...(options.persistenceOf === undefined ? {} : { persistence: options.persistenceOf(index) }),
      promiseCell: options.promiseCell,
      callCell: options.createCallCell(),
    },
    ensureMap: options.ensureMap,
    onReplicaRequest: options.onReplicaRequest,
    onJobLog: (job, line) => options.onJobLog(index, job, line),
    onFound: copies => {
      found.set(id, copies)
      options.onFound()
    },
    onDeath: reason => options.onDeath(index, reason),
    log: options.log,
  })
}

function linkThreads(handles: readonly ShardHandle[]): void {
  for (const [i, left] of handles.entries()) {
    for (const right of handles.slice(i + 1)) {
      const { port1, port2 } = new MessageChannel()
      left.command({ kind: 'threadLink', peer: right.start.id, port: port1 }, [port1])
      right.command({ kind: 'threadLink', peer: left.start.id, port: port2 }, [port2])
    }
  }
}
