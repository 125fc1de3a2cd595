/** What a scrape of a node's metrics collects. */
import type { NodeId } from '../base/ids.ts'
import type { ClusterView } from '../membership/cluster-state.ts'
import { lostCount } from '../membership/transitions.ts'
import type { ShardStatsReport } from '../shard/protocol.ts'
import type { NodeFigures, ShardFigures } from '../telemetry/metrics.ts'

export interface FigureSources {
  readonly self: NodeId
  readonly view: ClusterView | undefined
  readonly ready: boolean
  readonly leads: boolean
  readonly shards: readonly ShardStatsReport[]
  readonly userCodeStops: number
  readonly jobs: Readonly<Record<string, number>>
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
      lost: state === undefined ? 0 : lostCount(state),
    },
    shards: sources.shards.map(shardFigures),
    userCodeStops: sources.userCodeStops,
    jobs: sources.jobs,
  }
}

const shardFigures = (report: ShardStatsReport, shard: number): ShardFigures => ({
  shard,
  entries: report.entries,
  bytes: report.bytes,
  operations: report.operations,
  refused: report.refused,
  connections: report.connections,
  quarantinedFunctions: report.quarantinedFunctions.length,
  maps: report.maps,
})
