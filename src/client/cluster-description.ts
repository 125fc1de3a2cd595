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
  readonly partitions: readonly {
    readonly epoch: number
    readonly primary: { readonly node: string; readonly shard: number } | undefined
  }[]
  readonly partitionCount: number
  readonly valueMaxBytes: number
}

export function describeCluster(wire: WireDescription): ClusterDescription {
  return {
    cluster: wire.cluster,
    version: Number(wire.version),
    leader: wire.leader === '' ? undefined : wire.leader,
    coordinator: wire.coordinator,
    members: wire.members.map(({ startedAtMs, ...member }) => ({ ...member, startedAt: Number(startedAtMs) })),
    partitions: wire.partitions.map(({ epoch, primary, shard }) => {
      const node = wire.members[primary]?.name
      return { epoch: Number(epoch), primary: node === undefined ? undefined : { node, shard } }
    }),
    partitionCount: wire.partitionCount,
    valueMaxBytes: Number(wire.valueMaxBytes),
  }
}
