/**
 * The parts of a node behind its ports, made and wired: shards with their watchdog, registries, the job master, the membership.
 *
 * Owns: who knows whom. Does not: listen, join or stop (run-node.ts). `stops` is given what must end if a later part cannot start.
 */
import { monotonicClock, systemClock } from '../base/clock.ts'
import { NearstateError } from '../base/errors.ts'
import type { NodeId, ShardId } from '../base/ids.ts'
import { randomId, systemRandom } from '../base/random.ts'
import type { Config } from '../config/config.ts'
import { promiseMarginMs } from '../config/relations.ts'
import { connectorOf } from '../connectors/registry.ts'
import { bundleMapName } from '../grid/map-definition.ts'
import type { Member } from '../membership/cluster-state.ts'
import type { Coordinator } from '../membership/coordinator-port.ts'
import { createPromiseCell } from '../shard/promise-cell.ts'
import { createCallCell } from '../shard/user-code/call-cell.ts'
import type { Logger } from '../telemetry/logger.ts'
import { BundleStore } from './bundle-store.ts'
import { ClusterDriver } from './cluster-driver.ts'
import { ClusterHistory } from './cluster-history.ts'
import { Functions } from './functions.ts'
import { JobLogs } from './job-logs.ts'
import { JobMaster } from './job-master.ts'
import { createLocalControl } from './local-control.ts'
import { MapRegistry } from './map-registry.ts'
import type { NodeControl } from './node-control.ts'
import { NodeLinks } from './node-links.ts'
import { openPersistence } from './open-persistence.ts'
import { Shards, type ShardsOptions } from './shards.ts'
import type { StopStack } from './stop-stack.ts'
import { systemMapOf } from './system-map.ts'
import { ViewFeed } from './view-feed.ts'
import { Watchdog } from './watchdog.ts'

export interface PartsOptions {
  readonly id: NodeId
  readonly config: Config
  readonly coordinator: Coordinator
  /** The node cannot go on. */
  readonly fail: (error: Error) => void
  /** Somebody asked that this node leaves. */
  readonly leave: () => void
  readonly stops: StopStack
  readonly log: Logger
}

export interface NodeParts {
  readonly feed: ViewFeed
  readonly maps: MapRegistry
  readonly shards: Shards
  readonly watchdog: Watchdog
  readonly functions: Functions
  readonly jobs: JobMaster
  readonly jobLogs: JobLogs
  readonly links: NodeLinks
  readonly control: NodeControl
  readonly controlOf: (member: Member) => NodeControl
  readonly driver: ClusterDriver
  readonly history: ClusterHistory
}

const { wallTimeMs } = systemClock

export async function createParts(options: PartsOptions): Promise<NodeParts> {
  const { id, config, coordinator, stops, log } = options
  const feed = new ViewFeed()
  const promiseCell = createPromiseCell()
  const jobLogs = new JobLogs(wallTimeMs)
  let driver: ClusterDriver | undefined
  const { maps, shards } = await startShards(options, promiseCell, {
    onReplicaRequest: request => driver?.routeRequest(request),
    onFound: () => driver?.reportMirrors(),
    onJobLog: (shard, job, line) => jobLogs.add(job, line, shard),
  })
  const watchdog = watch(options, shards)
  stops.push(() => watchdog.stop())
  await watchdog.start()

  const bundles = new BundleStore(systemMapOf(shards, bundleMapName))
  const links = new NodeLinks(config.messageMaxBytes)
  stops.push(() => links.stop())
  const functions = new Functions({ coordinator, shards, bundles, wallTimeMs, isUsedByJob: hash => jobs.uses(hash), log })
  stops.push(() => functions.stop())
  const control = createLocalControl({ shards, maps, functions, bundles })
  const controlOf = (member: Member): NodeControl => (member.id === id ? control : links.control(member))
  const jobs = new JobMaster({
    coordinator,
    bundles,
    view: () => feed.view,
    controlOf,
    describe: (job, bundle, argsJson) => shards.any.request({ kind: 'describeJob', job, bundle, argsJson }),
    connectorOf,
    isDeployed: hash => functions.isDeployed(hash),
    mapOf: name => maps.find(name),
    createsMaps: config.autoCreateMaps,
    createId: () => randomId(systemRandom),
    clock: monotonicClock,
    log,
    tell: (job, line) => jobLogs.add(job, line),
  })
  stops.push(() => jobs.close())
  const made = createDriver(options, { feed, shards, links, jobs, promiseCell })
  driver = made
  stops.push(() => made.stop('quiet')) // when a later part cannot start; nothing is left to do after an orderly stop
  const history = new ClusterHistory()
  feed.onChange(({ state }) => {
    history.handleState(state)
    links.onView(state)
    jobs.onView(made.leads)
  })
  return { feed, maps, shards, watchdog, functions, jobs, jobLogs, links, control, controlOf, driver: made, history }
}

async function startShards(
  { id, config, coordinator, fail, stops, log }: PartsOptions,
  promiseCell: SharedArrayBuffer,
  told: Pick<ShardsOptions, 'onReplicaRequest' | 'onFound' | 'onJobLog'>,
): Promise<{ maps: MapRegistry; shards: Shards }> {
  let shards: Shards | undefined
  const maps = new MapRegistry({
    coordinator,
    partitionCount: config.partitions,
    wallTimeMs,
    onChange: (name, definition) => shards?.broadcast({ kind: 'map', name, definition }),
  })
  stops.push(() => maps.stop())
  const persistenceOf = openPersistence(config, stops, log)
  shards = await Shards.start({
    node: id,
    nodeName: config.name,
    host: config.host,
    count: config.shards,
    portBase: config.shardPortBase,
    limits: {
      memoryMaxBytes: Math.floor(config.memoryMaxBytes / config.shards),
      valueMaxBytes: config.valueMaxBytes,
      queuedOperationsMax: config.queuedOperationsMax,
      messageMaxBytes: config.messageMaxBytes,
      sliceMaxMs: config.sliceMaxMs,
      userCodeTimeLimitMs: config.userCodeTimeLimitMs,
    },
    autoCreateMaps: config.autoCreateMaps,
    replication: {
      minInSync: config.minInSync,
      leaseMs: config.replicaLeaseMs,
      backupTimeoutMs: config.backupTimeoutMs,
      logMaxBytes: config.replicationLogMaxBytes,
      copyBytesPerSecond: config.migrationBandwidthBytes,
      sessionTtlMs: config.requestSessionTtlMs,
    },
    ...(persistenceOf === undefined ? {} : { persistenceOf }),
    promiseCell,
    createId: () => randomId(systemRandom) as ShardId,
    createCallCell,
    ensureMap: ask => maps.ensure(ask),
    ...told,
    onDeath: (shard, reason) => fail(new NearstateError('INTERNAL', `shard ${shard} has died: ${reason}`)),
    log,
  })
  const started = shards
  stops.push(() => started.stop(0))
  started.broadcast({ kind: 'maps', definitions: maps.definitions })
  return { maps, shards: started }
}

const watch = ({ config, log }: PartsOptions, shards: Shards): Watchdog =>
  new Watchdog({
    timeLimitMs: config.userCodeTimeLimitMs,
    workers: shards.handles.map(({ worker, start }) => ({ worker, callCell: start.callCell })),
    onGivenUp: index => {
      log.error('a shard runs user code that cannot be stopped, and is ended', { shard: index })
      void shards.handles[index]?.worker.terminate()
    },
    onTrouble: (index, message) => log.warn('user code could not be stopped yet; trying again', { shard: index, reason: message }),
  })

interface DriverParts {
  readonly feed: ViewFeed
  readonly shards: Shards
  readonly links: NodeLinks
  readonly jobs: JobMaster
  readonly promiseCell: SharedArrayBuffer
}

const createDriver = (options: PartsOptions, { feed, shards, links, jobs, promiseCell }: DriverParts): ClusterDriver => {
  const { id, config, coordinator, fail, leave, log } = options
  return new ClusterDriver({
    coordinator,
    feed,
    cluster: config.cluster,
    partitionCount: config.partitions,
    self: { id, name: config.name },
    membership: {
      expectedNodes: config.expectedNodes,
      backups: config.backups,
      sessionTtlMs: config.coordinatorSessionTtlMs,
      silenceMs: config.suspicionSilenceMs,
      leaderSilenceMs: 500,
      movesPerNode: 2,
    },
    heartbeatMs: config.heartbeatMs,
    leaseMs: config.replicaLeaseMs,
    marginMs: promiseMarginMs,
    leaveTimeoutMs: config.leaveTimeoutMs,
    clock: monotonicClock,
    random: systemRandom,
    promiseCell,
    linkTo: member => links.peer(member),
    ...(config.persistenceDir === '' ? {} : { foundMirrors: () => shards.found }),
    renewLink: member => links.renewPeer(member),
    postView: command => shards.broadcast(command),
    postOrder: order => shards.order(order),
    jobs,
    onDeposed: reason => fail(new NearstateError('UNAVAILABLE', reason)),
    onLeaveAsked: leave,
    log,
  })
}
