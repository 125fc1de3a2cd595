import type { ClusterDescription as WireDescription } from '../wire/generated/nearstate/v1/admin.ts'

export interface ClusterMember {
  readonly name: string
  /** Incarnation: fresh for each process start. */
  readonly id: string
  readonly pid: number
  readonly status: string
  readonly zone: string
  readonly version: string
  readonly address: string
  readonly http: string
  readonly shards: readonly { readonly id: string; readonly address: string }[]
  readonly startedAt: number
}

export interface ClusterDescription {
  readonly cluster: string
  /** Version of the cluster state. */
  readonly version: number
  readonly leader: string | undefined
  readonly coordinator: string
  readonly members: readonly ClusterMember[]
  /** In order; `primary` is undefined for a lost partition. Empty while the cluster waits for its first members. */
  readonly partitions: readonly PartitionDescription[]
  readonly partitionCount: number
  /** Copies of each partition on other nodes that there should be. */
  readonly backups: number
  readonly valueMaxBytes: number
}

export interface ShardPlace {
  readonly node: string
  readonly shard: number
}

export interface PartitionDescription {
  readonly epoch: number
  readonly primary: ShardPlace | undefined
  /** The other replicas; `isInSync` is false while one is being filled. */
  readonly backups: readonly (ShardPlace & { readonly isInSync: boolean })[]
}

export function describeCluster(wire: WireDescription): ClusterDescription {
  return {
    cluster: wire.cluster,
    version: Number(wire.version),
    leader: wire.leader === '' ? undefined : wire.leader,
    coordinator: wire.coordinator,
    members: wire.members.map(({ startedAtMs, ...member }) => ({ ...member, startedAt: Number(startedAtMs) })),
    partitions: wire.partitions.map(({ epoch, primary, shard, backups, inSync }) => ({
      epoch: Number(epoch),
      primary: placeOf(wire, primary, shard),
      backups: backupsOf(wire, backups, inSync),
    })),
    backups: wire.backups,
    partitionCount: wire.partitionCount,
    valueMaxBytes: Number(wire.valueMaxBytes),
  }
}

function placeOf({ members }: WireDescription, member: number, shard: number): ShardPlace | undefined {
  const node = members[member]?.name
  return node === undefined ? undefined : { node, shard }
}

/** `pairs`: index of a member and of its shard, each; bit i of `inSync` is of the i-th pair. */
function backupsOf(wire: WireDescription, pairs: readonly number[], inSync: number): PartitionDescription['backups'] {
  return Array.from({ length: Math.floor(pairs.length / 2) }, (_, i) => {
    const place = placeOf(wire, pairs[i * 2] ?? -1, pairs[i * 2 + 1] ?? 0)
    return place === undefined ? [] : [{ ...place, isInSync: ((inSync >>> i) & 1) === 1 }]
  }).flat()
}
