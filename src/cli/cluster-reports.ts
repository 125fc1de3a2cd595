/** The JSON that `status`, `nodes` and `partitions` print. Stable: other programs read it. */
import type { ClusterDescription, ClusterMember, PartitionDescription, ShardPlace } from '../client/cluster-description.ts'
import type { NodeFigures } from '../client/cluster-stats.ts'

export interface StatusReport {
  readonly cluster: string
  /**
   * `lost`: a partition has no replica. `degraded`: a member is out of reach, a partition has fewer copies in sync than it should, or the
   * cluster waits for its first members.
   */
  readonly state: 'healthy' | 'degraded' | 'lost'
  /** Of the cluster state. */
  readonly version: number
  /** Members within reach. */
  readonly nodes: number
  readonly partitions: {
    readonly total: number
    /** Fewer copies in sync than `backups` asks for. */
    readonly underReplicated: number
    /** Copies are being built. */
    readonly migrating: number
    /** Served again as soon as a node that is out of reach is back. */
    readonly unavailable: number
    readonly lost: number
  }
  readonly leader: string | null
  readonly coordinator: string
  readonly entries: number
  readonly bytes: number
}

export function statusReport(cluster: ClusterDescription, figures: readonly NodeFigures[]): StatusReport {
  const { members, partitions, backups } = cluster
  const reachable = new Set(members.filter(isReachable).map(({ name }) => name))
  const count = (holds: (partition: PartitionDescription) => boolean): number => partitions.filter(holds).length
  const lost = count(({ primary }) => primary === undefined)
  const underReplicated = count(partition => partition.primary !== undefined && copiesInSync(partition) < backups + 1)
  const unavailable = count(({ primary }) => primary !== undefined && !reachable.has(primary.node))
  const isComplete = reachable.size === members.length && partitions.length > 0 && cluster.leader !== undefined
  return {
    cluster: cluster.cluster,
    state: lost > 0 ? 'lost' : isComplete && underReplicated === 0 ? 'healthy' : 'degraded',
    version: cluster.version,
    nodes: reachable.size,
    partitions: {
      total: cluster.partitionCount,
      underReplicated,
      migrating: count(partition => partition.backups.some(backup => !backup.isInSync && reachable.has(backup.node))),
      unavailable,
      lost,
    },
    leader: cluster.leader ?? null,
    coordinator: cluster.coordinator,
    entries: sumOf(figures, 'entries'),
    bytes: sumOf(figures, 'bytes'),
  }
}

const isReachable = ({ status }: ClusterMember): boolean => status !== 'dead' && status !== 'suspect'
const copiesInSync = ({ backups }: PartitionDescription): number => 1 + backups.filter(({ isInSync }) => isInSync).length

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
      backups: cluster.partitions.filter(partition => partition.backups.some(backup => backup.node === name)).length,
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
  /** Hold every acknowledged write. */
  readonly inSync: readonly ShardPlace[]
  /** A copy is being built there; `progress` from 0 to 1. */
  readonly migration?: { readonly to: ShardPlace; readonly progress: number }
}

export function partitionsReport(cluster: ClusterDescription, figures: readonly NodeFigures[]): readonly PartitionReport[] {
  const shardIds = new Map(cluster.members.flatMap(({ name, shards }) => shards.map(({ id }, index) => [`${name} ${index}`, id] as const)))
  const copies = figures.flatMap(node => node.shards.flatMap(shard => shard.copies))
  return cluster.partitions.map(({ epoch, primary, backups }, partition) => {
    const filled = backups.find(({ isInSync }) => !isInSync)
    const shard = filled === undefined ? undefined : shardIds.get(`${filled.node} ${filled.shard}`)
    const progress = copies.find(copy => copy.partition === partition && copy.shard === shard)?.progress ?? 0
    const inSync = backups.filter(({ isInSync }) => isInSync)
    return {
      partition,
      epoch,
      primary: primary ?? null,
      backups: backups.map(placeOnly),
      inSync: primary === undefined ? [] : [primary, ...inSync.map(placeOnly)],
      ...(filled === undefined ? {} : { migration: { to: placeOnly(filled), progress } }),
    }
  })
}

const placeOnly = ({ node, shard }: ShardPlace): ShardPlace => ({ node, shard })

const sumOf = (nodes: readonly NodeFigures[], field: 'entries' | 'bytes'): number =>
  nodes.flatMap(node => node.shards).reduce((sum, shard) => sum + shard[field], 0)

/** How far a node that leaves is. */
export interface LeaveReport {
  /** It is no member any more. */
  readonly isGone: boolean
  readonly primaries: number
  /** Replicas that it holds, primaries included. */
  readonly copies: number
}

export function leaveReport(cluster: ClusterDescription, id: string): LeaveReport {
  const member = cluster.members.find(other => other.id === id && other.status !== 'dead')
  if (member === undefined) return { isGone: true, primaries: 0, copies: 0 }
  const isHere = ({ node }: ShardPlace): boolean => node === member.name
  const primaries = cluster.partitions.filter(({ primary }) => primary !== undefined && isHere(primary)).length
  return { isGone: false, primaries, copies: primaries + cluster.partitions.filter(({ backups }) => backups.some(isHere)).length }
}
