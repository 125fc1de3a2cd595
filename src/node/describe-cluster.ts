/** The cluster state and the figures of shards as the messages of admin.proto. */
import type { ClusterView, Member } from '../membership/cluster-state.ts'
import type { MapDefinition } from '../grid/map-definition.ts'
import { formatKeyCodec, parseKeyCodec } from '../keys/key-codec.ts'
import type { ShardStatsReport } from '../shard/protocol.ts'
import type {
  ClusterDescription,
  Member as MemberMessage,
  MapDefinition as MapMessage,
  NodeStats,
  Partition,
  ShardStats,
} from '../wire/generated/nearstate/v1/admin.ts'
import { uncommittedOf } from './node-figures.ts'
import type { MapSettings } from './map-registry.ts'

export interface Surroundings {
  /** Before there is a state: what the configuration says. */
  readonly cluster: string
  readonly partitionCount: number
  readonly coordinator: string
  readonly valueMaxBytes: number
  readonly backups: number
}

export function describeCluster(view: ClusterView | undefined, around: Surroundings): ClusterDescription {
  const state = view?.state
  return {
    cluster: state?.cluster ?? around.cluster,
    version: BigInt(view?.version ?? 0),
    members: (state?.members ?? []).map(memberMessage),
    leader: state?.leader ?? '',
    partitions: state === undefined ? [] : partitionMessages(state.members, state.partitions),
    partitionCount: state?.partitionCount ?? around.partitionCount,
    coordinator: around.coordinator,
    valueMaxBytes: BigInt(around.valueMaxBytes),
    backups: around.backups,
  }
}

function partitionMessages(members: readonly Member[], partitions: ClusterView['state']['partitions']): Partition[] {
  const places = new Map<string, { readonly primary: number; readonly shard: number }>()
  for (const [primary, member] of members.entries()) {
    for (const [shard, record] of member.shards.entries()) places.set(record.id, { primary, shard })
  }
  return partitions.map(({ epoch, primary, backups, inSync }) => {
    const placed = backups.flatMap(replica => {
      const place = places.get(replica.shard)
      return place === undefined ? [] : [{ ...place, isInSync: inSync.some(({ shard }) => shard === replica.shard) }]
    })
    return {
      epoch: BigInt(epoch),
      ...((primary === undefined ? undefined : places.get(primary.shard)) ?? { primary: -1, shard: 0 }),
      backups: placed.flatMap(place => [place.primary, place.shard]),
      inSync: placed.reduce((bits, { isInSync }, index) => (isInSync ? bits | (1 << index) : bits), 0) >>> 0,
    }
  })
}

const memberMessage = (member: Member): MemberMessage => ({
  name: member.name,
  id: member.id,
  pid: member.pid,
  status: member.status,
  zone: member.zone,
  version: member.version,
  address: member.address,
  http: member.http,
  shards: member.shards.map(({ id, address }) => ({ id, address })),
  startedAtMs: BigInt(Math.round(member.startedAtMs)),
})

export const nodeStats = (name: string, shards: readonly ShardStatsReport[], rssBytes: number): NodeStats => ({
  name,
  shards: shards.map(shardStats),
  rssBytes: BigInt(rssBytes),
})

const shardStats = (report: ShardStatsReport, shard: number): ShardStats => ({
  shard,
  entries: BigInt(report.entries),
  bytes: BigInt(report.bytes),
  maps: report.maps.map(map => ({
    name: map.name,
    entries: BigInt(map.entries),
    bytes: BigInt(map.bytes),
    evicted: BigInt(map.evicted),
    expired: BigInt(map.expired),
  })),
  operations: BigInt(report.operations),
  refused: BigInt(report.refused),
  connections: report.connections,
  copies: report.replicas.flatMap(({ partition, learners }) =>
    learners.map(({ shard: to, progress }) => ({ partition, shard: to, progress })),
  ),
  uncommitted: BigInt(uncommittedOf(report)),
})

export const mapMessage = (definition: MapDefinition): MapMessage => ({
  id: definition.id,
  name: definition.name,
  keySpace: definition.keySpace,
  keyCodec: formatKeyCodec(definition.keyCodec),
  ttlMs: BigInt(definition.ttlMs),
  maxIdleMs: BigInt(definition.maxIdleMs),
  maxBytes: BigInt(definition.maxBytes),
  eviction: definition.eviction,
  createdAtMs: BigInt(definition.createdAtMs),
})

/** Ids and times of creation are ours to give. Empty texts mean the defaults. */
export const settingsOf = (message: MapMessage): MapSettings => ({
  name: message.name,
  keySpace: message.keySpace === '' ? message.name : message.keySpace,
  keyCodec: parseKeyCodec(message.keyCodec === '' ? 'string' : message.keyCodec),
  ttlMs: Number(message.ttlMs),
  maxIdleMs: Number(message.maxIdleMs),
  maxBytes: Number(message.maxBytes),
  // Checked by the registry.
  eviction: (message.eviction === '' ? 'none' : message.eviction) as MapSettings['eviction'],
})
