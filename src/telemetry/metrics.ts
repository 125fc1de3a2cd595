/**
 * Metrics for Prometheus. The only importer of prom-client. Figures are plain numbers elsewhere; a scrape collects them once
 * and copies them in. Names and labels are documented in docs/reference/metrics.md: keep both in step.
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'

/** What a scrape collects from the node. */
export interface NodeFigures {
  readonly ready: boolean
  readonly leader: boolean
  readonly clusterVersion: number
  /** Members by status. */
  readonly members: Readonly<Record<string, number>>
  readonly partitions: {
    readonly total: number
    readonly primary: number
    readonly backup: number
    readonly lost: number
    readonly unavailable: number
    readonly underReplicated: number
    readonly migrating: number
  }
  /** Times, at the pace of heartbeats, that a member within reach had no promise running for this node. */
  readonly promiseMisses: number
  /** What this node has seen since it started. */
  readonly history: { readonly failovers: number; readonly handOvers: number; readonly migrations: number }
  readonly shards: readonly ShardFigures[]
  /** Runs of user code that were stopped because they took too long. */
  readonly userCodeStops: number
  /** Only the leader knows them, elsewhere empty. */
  readonly jobs: readonly JobFigures[]
}

export interface JobFigures {
  readonly name: string
  readonly status: string
  readonly restarts: number
  readonly checkpoints: number
  readonly checkpoint: { readonly at: number; readonly durationMs: number; readonly bytes: number } | null
  readonly stages: readonly {
    readonly name: string
    readonly rowsIn: number
    readonly rowsOut: number
    readonly deadLetters: number
    readonly late: number
    readonly watermark: number | null
    readonly stateBytes: number
    readonly busyMs: number
    readonly blockedMs: number
  }[]
  /** By exchange, the part of its rows that the hottest key takes. */
  readonly hottest: readonly { readonly stage: string; readonly share: number }[]
}

export interface ShardFigures {
  readonly shard: number
  readonly entries: number
  readonly bytes: number
  readonly operations: number
  readonly refused: number
  readonly connections: number
  /** Entries of its primaries that not all in-sync replicas have acknowledged. */
  readonly uncommitted: number
  readonly quarantinedFunctions: number
  readonly maps: readonly {
    readonly name: string
    readonly entries: number
    readonly bytes: number
    readonly evicted: number
    readonly expired: number
  }[]
}

export interface Metrics {
  readonly contentType: string
  /** The text of one scrape. */
  scrape(): Promise<string>
  /** Stops what the process metrics hold on to. */
  close(): void
}

export function createMetrics(collect: () => Promise<NodeFigures>): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const gauge = (name: string, help: string, labels: readonly string[] = []): Gauge =>
    new Gauge({ name: `nearstate_${name}`, help, labelNames: [...labels], registers: [registry] })
  const counter = (name: string, help: string, labels: readonly string[]): Counter =>
    new Counter({ name: `nearstate_${name}`, help, labelNames: [...labels], registers: [registry] })

  const ready = gauge('ready', 'The node has joined and serves: 1 or 0.')
  const leader = gauge('leader', 'The node is the leader: 1 or 0.')
  const version = gauge('cluster_version', 'Version of the cluster state that the node knows.')
  const members = gauge('members', 'Members of the cluster.', ['status'])
  const partitions = gauge(
    'partitions',
    'Partitions: all, those this node is primary or backup of; in the cluster: lost, unavailable, with fewer copies in sync than wanted, copies being built.',
    ['state'],
  )
  const lag = gauge('replication_lag_entries', 'Entries of primaries that not all in-sync replicas have acknowledged.', ['shard'])
  const misses = counter(
    'promise_misses_total',
    'Heartbeat intervals in which a member within reach had no promise running for this node.',
    [],
  )
  const failovers = counter('failovers_total', 'Partitions whose backup was promoted, as this node has seen.', [])
  const handOvers = counter('hand_overs_total', 'Partitions whose primary was handed over, as this node has seen.', [])
  const migrations = counter('migrations_total', 'Copies of partitions that were built, as this node has seen.', [])
  const entries = gauge('entries', 'Entries held.', ['shard'])
  const bytes = gauge('store_bytes', 'Bytes held by the store, slack included.', ['shard'])
  const connections = gauge('connections', 'Open client pipes.', ['shard'])
  const quarantined = gauge('quarantined_functions', 'Functions that were stopped three times and do not run until deployed again.', [
    'shard',
  ])
  const operations = counter('operations_total', 'Operations answered.', ['shard'])
  const refused = counter('operations_refused_total', 'Operations refused before any work because a limit was reached.', ['shard'])
  const mapEntries = gauge('map_entries', 'Entries of a map.', ['shard', 'map'])
  const mapBytes = gauge('map_bytes', 'Bytes of keys and values of a map.', ['shard', 'map'])
  const mapEvicted = counter('map_evicted_total', 'Entries removed to stay under maxBytes.', ['shard', 'map'])
  const mapExpired = counter('map_expired_total', 'Entries removed because their time was over.', ['shard', 'map'])
  const stops = counter('user_code_stops_total', 'Runs of user code stopped at userCodeTimeLimit.', [])
  const jobs = gauge('jobs', 'Jobs; on the leader only.', ['status'])

  const ofJob = ['job']
  const jobRestarts = counter('job_restarts_total', 'Attempts of a job that followed a loss or a failure; on the leader only.', ofJob)
  const jobCheckpoints = counter('job_checkpoints_total', 'Checkpoints of a job that were committed; on the leader only.', ofJob)
  const checkpointSeconds = gauge('job_checkpoint_seconds', 'How long the last checkpoint of a job took; on the leader only.', ofJob)
  const checkpointBytes = gauge('job_checkpoint_bytes', 'State written for the last checkpoint of a job; on the leader only.', ofJob)
  const checkpointAge = gauge('job_checkpoint_age_seconds', 'Time since the last checkpoint of a job; on the leader only.', ofJob)
  const ofStage = ['job', 'stage']
  const stageRowsIn = counter('job_rows_in_total', 'Rows that came to a stage of a job; on the leader only.', ofStage)
  const stageRowsOut = counter('job_rows_out_total', 'Rows that a stage of a job handed on; on the leader only.', ofStage)
  const stageDead = counter('job_dead_letters_total', 'Rows of a stage that went to dead letters; on the leader only.', ofStage)
  const stageLate = counter('job_late_rows_total', 'Rows of a stage that came too late; on the leader only.', ofStage)
  const stageState = gauge('job_state_bytes', 'State that a stage of a job keeps in memory; on the leader only.', ofStage)
  const stageLag = gauge('job_watermark_lag_seconds', 'How far the watermark of a stage is behind the clock; on the leader only.', ofStage)
  const stageBusy = counter('job_busy_seconds_total', 'Work that began at a stage, of all its tasks; on the leader only.', ofStage)
  const stageBlocked = counter(
    'job_blocked_seconds_total',
    'Time in which tasks of a stage waited for what is behind it; on the leader only.',
    ofStage,
  )
  const hottestShare = gauge(
    'job_hottest_key_share',
    'Part of the rows of a keyBy that its hottest key takes; on the leader only.',
    ofStage,
  )
  const jobMetrics = [jobRestarts, jobCheckpoints, checkpointSeconds, checkpointBytes, checkpointAge]
  const stageMetrics = [stageRowsIn, stageRowsOut, stageDead, stageLate, stageState, stageLag, stageBusy, stageBlocked, hottestShare]

  const setJob = ({ name: job, restarts, checkpoints, checkpoint, stages, hottest }: JobFigures): void => {
    jobRestarts.inc({ job }, restarts)
    jobCheckpoints.inc({ job }, checkpoints)
    if (checkpoint !== null) {
      checkpointSeconds.set({ job }, checkpoint.durationMs / 1000)
      checkpointBytes.set({ job }, checkpoint.bytes)
      checkpointAge.set({ job }, Math.max(0, Date.now() - checkpoint.at) / 1000)
    }
    for (const { stage, share } of hottest) hottestShare.set({ job, stage }, share)
    for (const stage of stages) {
      const labels = { job, stage: stage.name }
      stageRowsIn.inc(labels, stage.rowsIn)
      stageRowsOut.inc(labels, stage.rowsOut)
      stageDead.inc(labels, stage.deadLetters)
      stageLate.inc(labels, stage.late)
      stageState.set(labels, stage.stateBytes)
      if (stage.watermark !== null) stageLag.set(labels, (Date.now() - stage.watermark) / 1000)
      stageBusy.inc(labels, stage.busyMs / 1000)
      stageBlocked.inc(labels, stage.blockedMs / 1000)
    }
  }

  const setShard = (figures: ShardFigures): void => {
    const shard = String(figures.shard)
    entries.set({ shard }, figures.entries)
    bytes.set({ shard }, figures.bytes)
    connections.set({ shard }, figures.connections)
    lag.set({ shard }, figures.uncommitted)
    quarantined.set({ shard }, figures.quarantinedFunctions)
    operations.inc({ shard }, figures.operations)
    refused.inc({ shard }, figures.refused)
    for (const map of figures.maps) {
      const labels = { shard, map: map.name }
      mapEntries.set(labels, map.entries)
      mapBytes.set(labels, map.bytes)
      mapEvicted.inc(labels, map.evicted)
      mapExpired.inc(labels, map.expired)
    }
  }

  const setAll = (figures: NodeFigures): void => {
    // Labels that are gone (a destroyed map, a dead member) must not linger; counters are set anew from the shards' own totals.
    for (const metric of [members, partitions, entries, bytes, connections, quarantined, operations, refused, mapEntries, mapBytes])
      metric.reset()
    for (const metric of [mapEvicted, mapExpired, stops, jobs, lag, misses, failovers, handOvers, migrations]) metric.reset()
    ready.set(figures.ready ? 1 : 0)
    leader.set(figures.leader ? 1 : 0)
    version.set(figures.clusterVersion)
    for (const [status, count] of Object.entries(figures.members)) members.set({ status }, count)
    for (const [state, count] of Object.entries(figures.partitions)) partitions.set({ state }, count)
    misses.inc(figures.promiseMisses)
    failovers.inc(figures.history.failovers)
    handOvers.inc(figures.history.handOvers)
    migrations.inc(figures.history.migrations)
    for (const shard of figures.shards) setShard(shard)
    stops.inc(figures.userCodeStops)
    for (const metric of [...jobMetrics, ...stageMetrics]) metric.reset()
    for (const job of figures.jobs) {
      jobs.inc({ status: job.status })
      setJob(job)
    }
  }

  return {
    contentType: registry.contentType,
    async scrape() {
      setAll(await collect())
      return registry.metrics()
    },
    close: () => registry.clear(),
  }
}
