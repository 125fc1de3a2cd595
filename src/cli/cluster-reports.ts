/** The JSON that `status`, `nodes` and `partitions` print. Stable: other programs read it. */
import type { ClusterDescription } from '../client/cluster-description.ts'
import type { NodeFigures } from '../client/cluster-stats.ts'

export interface StatusReport {
  readonly cluster: string
  /** `lost`: a partition has no replica. `degraded`: a member is missing, or the cluster waits for its first members. */
  readonly state: 'healthy' | 'degraded' | 'lost'
  /** Of the cluster state. */
  readonly version: number
  /** Members that are not dead. */
  readonly nodes: number
  readonly partitions: { readonly total: number; readonly underReplicated: number; readonly migrating: number; readonly lost: number }
  readonly leader: string | null
  readonly coordinator: string
  readonly entries: number
  readonly bytes: number
}

export function statusReport(cluster: ClusterDescription, figures: readonly NodeFigures[]): StatusReport {
  const lost = cluster.partitions.filter(partition => partition.primary === undefined).length
  const live = cluster.members.filter(member => member.status !== 'dead')
  const complete = live.length === cluster.members.length && cluster.partitions.length > 0 && cluster.leader !== undefined
  return {
    cluster: cluster.cluster,
    state: lost > 0 ? 'lost' : complete ? 'healthy' : 'degraded',
    version: cluster.version,
    nodes: live.length,
    partitions: { total: cluster.partitionCount, underReplicated: 0, migrating: 0, lost },
    leader: cluster.leader ?? null,
    coordinator: cluster.coordinator,
    entries: sumOf(figures, 'entries'),
    bytes: sumOf(figures, 'bytes'),
  }
}

export interface NodeReport {
  readonly name: string
  readonly id: string
  readonly pid: number
  readonly status: string
  readonly zone: string
  readonly version: string
  readonly shards: number
  readonly address: string
  readonly http: string
  readonly primaries: number
  readonly backups: number
  readonly entries: number
  readonly bytes: number
  readonly rssBytes: number
  readonly startedAt: number
}

export function nodesReport(cluster: ClusterDescription, figures: readonly NodeFigures[]): readonly NodeReport[] {
  const members = cluster.members.toSorted((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }))
  return members.map(member => {
    const own = figures.filter(node => node.name === member.name && member.status !== 'dead')
    const { name, id, pid, status, zone, version, address, http, startedAt } = member
    return {
      name,
      id,
      pid,
      status,
      zone,
      version,
      shards: member.shards.length,
      address,
      http,
      primaries: cluster.partitions.filter(partition => partition.primary?.node === name).length,
      backups: 0,
      entries: sumOf(own, 'entries'),
      bytes: sumOf(own, 'bytes'),
      rssBytes: own[0]?.rssBytes ?? 0,
      startedAt,
    }
  })
}

export interface PartitionReport {
  readonly partition: number
  readonly epoch: number
  /** null: lost. */
  readonly primary: ShardPlace | null
  readonly backups: readonly ShardPlace[]
  readonly inSync: readonly ShardPlace[]
}
interface ShardPlace {
  readonly node: string
  readonly shard: number
}

export const partitionsReport = (cluster: ClusterDescription): readonly PartitionReport[] =>
  cluster.partitions.map(({ epoch, primary }, partition) => ({
    partition,
    epoch,
    primary: primary ?? null,
    backups: [],
    inSync: primary === undefined ? [] : [primary],
  }))

const sumOf = (nodes: readonly NodeFigures[], field: 'entries' | 'bytes'): number =>
  nodes.flatMap(node => node.shards).reduce((sum, shard) => sum + shard[field], 0)
