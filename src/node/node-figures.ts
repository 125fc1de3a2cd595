/** What a scrape of a node's metrics collects. */
import type { NodeId } from '../base/ids.ts'
import type { ClusterView } from '../membership/cluster-state.ts'
import { availabilityOf } from '../membership/replica-transitions.ts'
import { lostCount } from '../membership/transitions.ts'
import type { ShardStatsReport } from '../shard/protocol.ts'
import type { HistoryCounts } from './cluster-history.ts'
import { copyCount } from './cluster-events.ts'
import type { JobDocumentJson } from './job-record.ts'
import type { StageSkew } from '../streaming/execution/key-skew.ts'
import type { JobFigures, NodeFigures, ShardFigures } from '../telemetry/metrics.ts'

export interface FigureSources {
  readonly self: NodeId
  readonly view: ClusterView | undefined
  readonly ready: boolean
  readonly leads: boolean
  readonly shards: readonly ShardStatsReport[]
  readonly userCodeStops: number
  /** Copies on other nodes that each partition should have. */
  readonly backups: number
  readonly promiseMisses: number
  readonly history: HistoryCounts
  readonly jobs: readonly JobDocumentJson[]
  /** Of a job that runs. */
  readonly skewOf: (job: string) => readonly StageSkew[] | undefined
}

export function nodeFigures(sources: FigureSources): NodeFigures {
  const state = sources.view?.state
  const members: Record<string, number> = {}
  for (const { status } of state?.members ?? []) members[status] = (members[status] ?? 0) + 1
  return {
    ready: sources.ready,
    leader: sources.leads,
    clusterVersion: sources.view?.version ?? 0,
    members,
    partitions: {
      total: state?.partitions.length ?? 0,
      primary: (state?.partitions ?? []).filter(({ primary }) => primary?.node === sources.self).length,
      backup: (state?.partitions ?? []).filter(({ backups }) => backups.some(({ node }) => node === sources.self)).length,
      lost: state === undefined ? 0 : lostCount(state),
      unavailable: state === undefined ? 0 : state.partitions.filter(record => availabilityOf(state, record) === 'unavailable').length,
      underReplicated: (state?.partitions ?? []).filter(({ inSync }) => inSync.length > 0 && inSync.length <= sources.backups).length,
      migrating: state === undefined ? 0 : copyCount(state),
    },
    promiseMisses: sources.promiseMisses,
    history: sources.history,
    shards: sources.shards.map(shardFigures),
    userCodeStops: sources.userCodeStops,
    jobs: sources.jobs.map(job => jobFigures(job, sources.skewOf(job.name) ?? [])),
  }
}

/** Of fewer rows a share says little. */
const sampledMin = 100

const jobFigures = (
  { name, status, restarts, checkpoints, checkpoint, stages }: JobDocumentJson,
  skew: readonly StageSkew[],
): JobFigures => ({
  name,
  status,
  restarts,
  checkpoints,
  checkpoint,
  // Only what runs has figures of stages that move: the others would be series of the past.
  stages: status === 'running' || status === 'restarting' ? stages : [],
  hottest: skew.flatMap(({ stage, sampled, keys }) =>
    keys[0] === undefined || sampled < sampledMin ? [] : [{ stage, share: keys[0].share }],
  ),
})

const shardFigures = (report: ShardStatsReport, shard: number): ShardFigures => ({
  shard,
  entries: report.entries,
  bytes: report.bytes,
  operations: report.operations,
  refused: report.refused,
  connections: report.connections,
  uncommitted: uncommittedOf(report),
  quarantinedFunctions: report.quarantinedFunctions.length,
  maps: report.maps,
})

/** Effects that primaries of a shard wait for their in-sync replicas with. */
export const uncommittedOf = ({ replicas }: ShardStatsReport): number => replicas.reduce((sum, { uncommitted = 0 }) => sum + uncommitted, 0)
