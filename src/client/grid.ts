import type { NearstateError } from '../base/errors.ts'
import { invalidArgument } from '../base/errors.ts'
import { isSchema, type Schema } from '../base/schema.ts'
import { bundleFile } from '../bundling/bundle-file.ts'
import { type AnyKey, defineKey, type KeySpace } from '../keys/key-space.ts'
import { connectShard } from '../transport/grpc/pipe-client.ts'
import type { ClusterDescription as WireDescription } from '../wire/generated/nearstate/v1/admin.ts'
import { AdminCalls } from './admin-calls.ts'
import { type CallOptions, checkOptions, isAnyReplica, type MapReadOptions } from './call-options.ts'
import { type ClusterDescription, describeCluster } from './cluster-description.ts'
import { type NodeFigures, nodeFigures } from './cluster-stats.ts'
import { GridMap } from './grid-map.ts'
import { type DeadLetter, letterMapName } from './job-letters.ts'
import { Jobs } from './jobs.ts'
import { Maps } from './maps.ts'
import { Router } from './router.ts'
import { Topology } from './topology.ts'

export interface ConnectionEvent {
  /** `connected` and `disconnected`: the cluster's description (control service). `up` and `down`: the stream to one shard; one `down` for each loss. */
  readonly type: 'connected' | 'disconnected' | 'up' | 'down'
  readonly address: string
  readonly error?: NearstateError
}

type Unsubscribe = () => void

const limits = { inFlightMax: 32_768, waitingMax: 262_144, inFlightMaxBytes: 64 * 1024 * 1024 }
/** Deploys and submits compile and load code on every shard. */
const deployTimeoutMs = 30_000

/** A connection to a cluster: the SDK's root. Made by `connect`; one is enough for a process. */
export class Grid {
  readonly maps: Maps
  readonly jobs: Jobs
  readonly functions: {
    /**
     * Bundles a TypeScript or JavaScript file whose default export is `defineFunctions({...})` and loads it on every shard. Replaces all
     * names that an earlier deploy of a file of that name had. Resolves when every live shard has it.
     */
    deploy(file: string, options?: CallOptions): Promise<{ readonly hash: string; readonly names: readonly string[] }>
  }
  readonly cluster: {
    describe(): ClusterDescription
    /** Calls back after each change of members or partitions, until the returned function is called. */
    on(event: 'change', listener: (description: ClusterDescription) => void): Unsubscribe
    /** Live figures of the nodes that answer, collected now. */
    stats(options?: CallOptions): Promise<readonly NodeFigures[]>
    /**
     * Moves everything off a node, which ends when it holds nothing any more; resolves when it has begun, `describe` shows the rest.
     * NOT_FOUND when no such node is within reach.
     */
    leaveNode(name: string, options?: CallOptions): Promise<void>
    /** Gives up the data of all partitions that no node within reach holds: they serve again, empty. Resolves to how many there were. */
    recoverPartitions(consent: { readonly acceptLoss: true }, options?: CallOptions): Promise<number>
  }
  readonly #topology: Topology
  readonly #router: Router
  readonly #timeoutMs: number
  readonly #changeListeners = new Set<(description: ClusterDescription) => void>()
  readonly #connectionListeners = new Set<(event: ConnectionEvent) => void>()
  #closing: Promise<void> | undefined

  constructor(endpoints: readonly string[], timeoutMs: number, routing: 'direct' | 'gateway') {
    this.#timeoutMs = timeoutMs
    this.#router = new Router({
      routing,
      limits,
      connectShard,
      onPipeUp: address => this.#report({ type: 'up', address }),
      onPipeDown: (address, error) => this.#report({ type: 'down', address, error }),
      onStale: () => this.#topology.refresh(),
    })
    this.#topology = new Topology(endpoints, {
      onDescription: description => this.#update(description),
      onConnected: address => this.#report({ type: 'connected', address }),
      onDisconnected: (address, error) => this.#report({ type: 'disconnected', address, error }),
    })
    const calls = new AdminCalls(() => this.#topology.admin, timeoutMs)
    this.maps = new Maps(calls)
    this.jobs = new Jobs(calls, deployTimeoutMs, {
      partitionCount: () => this.#router.partitionCount,
      timeoutMs,
      lettersOf: job => this.map<Omit<DeadLetter, 'key'>>(letterMapName(job)),
    })
    this.functions = {
      deploy: async (file, options) => {
        const { code, sourceMap, file: name } = await bundleFile(file)
        const request = { file: name, bundle: Buffer.from(code), sourceMap: Buffer.from(sourceMap) }
        return calls.repeatable((admin, unary) => admin.deployFunctions(request, unary), options, deployTimeoutMs)
      },
    }
    this.cluster = {
      describe: () => describeCluster(this.#description()),
      on: (_event, listener) => {
        this.#changeListeners.add(listener)
        return () => this.#changeListeners.delete(listener)
      },
      stats: async options =>
        (await calls.repeatable((admin, unary) => admin.stats({ local: false }, unary), options)).nodes.map(nodeFigures),
      leaveNode: async (name, options) => {
        await calls.repeatable((admin, unary) => admin.leaveNode({ name }, unary), options)
      },
      recoverPartitions: async ({ acceptLoss }, options) =>
        (await calls.repeatable((admin, unary) => admin.recoverPartitions({ acceptLoss }, unary), options)).recovered,
    }
  }

  /** Called by `connect`. */
  start(): Promise<void> {
    return this.#topology.start(this.#timeoutMs)
  }

  /**
   * A map, by name. Nothing is sent: it is created at its first write unless it is there. `key` is its key space (default: `string`
   * keys in a space named after the map); with a schema, written values are checked and typed. With `readFrom: 'any'` its reads may be
   * answered by backups and be stale, unless a call says otherwise.
   */
  map<V = unknown>(name: string): GridMap<KeySpace<string, string>, V>
  map<S extends AnyKey, V = unknown>(name: string, key: S): GridMap<S, V>
  map<S extends AnyKey, V>(name: string, key: S, value: Schema<V>, options?: MapReadOptions): GridMap<S, V>
  map<S extends AnyKey, V = unknown>(name: string, key: S, value: undefined, options: MapReadOptions): GridMap<S, V>
  map(name: string, key?: AnyKey, value?: Schema<unknown>, options?: MapReadOptions): GridMap<AnyKey, unknown> {
    if (typeof name !== 'string' || name === '') throw invalidArgument('Cannot open a map: its name is a string of at least one character')
    if (value !== undefined && !isSchema(value)) {
      throw invalidArgument(
        `Cannot open map "${name}": the value schema implements no Standard Schema (zod 3.24+, valibot 1+, arktype 2+ ... do)`,
      )
    }
    checkOptions(`map "${name}"`, options, ['readFrom'])
    const readsAny = isAnyReplica(options?.readFrom)
    return new GridMap(this.#router, name, key ?? defineKey(name, 'string'), value, this.#timeoutMs, readsAny)
  }

  /** Connection events, until the returned function is called. */
  on(_event: 'connection', listener: (event: ConnectionEvent) => void): Unsubscribe {
    this.#connectionListeners.add(listener)
    return () => this.#connectionListeners.delete(listener)
  }

  /** Ends all streams. Calls under way fail: writes that were sent with OUTCOME_UNKNOWN, all else with CANCELLED. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#router.close()
      await this.#topology.stop()
    })()
    return this.#closing
  }

  /** Same as `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #description(): WireDescription {
    const { current } = this.#topology
    if (current === undefined) throw invalidArgument('Cannot describe the cluster before connect has resolved')
    return current
  }

  #update(description: WireDescription): void {
    this.#router.update(description)
    if (this.#changeListeners.size === 0) return
    const described = describeCluster(description)
    for (const listener of this.#changeListeners) listener(described)
  }

  #report(event: ConnectionEvent): void {
    for (const listener of this.#connectionListeners) listener(event)
  }
}
