import type { NodeStats as WireStats } from '../wire/generated/nearstate/v1/admin.ts'

export interface MapFigures {
  readonly name: string
  readonly entries: number
  readonly bytes: number
  readonly evicted: number
  readonly expired: number
}

export interface ShardFigures {
  readonly shard: number
  readonly entries: number
  /** Bytes held by the store, slack included. */
  readonly bytes: number
  readonly maps: readonly MapFigures[]
  readonly operations: number
  readonly refused: number
  readonly connections: number
  /** Replicas being filled from primaries of this shard: `shard` is the id of the one that is filled. */
  readonly copies: readonly { readonly partition: number; readonly shard: string /** 0 to 1. */; readonly progress: number }[]
  /** Entries of primaries here that not all in-sync replicas have acknowledged. */
  readonly uncommitted: number
}

export interface NodeFigures {
  readonly name: string
  readonly shards: readonly ShardFigures[]
  readonly rssBytes: number
}

export const nodeFigures = (wire: WireStats): NodeFigures => ({
  name: wire.name,
  rssBytes: Number(wire.rssBytes),
  shards: wire.shards.map(shard => ({
    shard: shard.shard,
    entries: Number(shard.entries),
    bytes: Number(shard.bytes),
    operations: Number(shard.operations),
    refused: Number(shard.refused),
    connections: shard.connections,
    copies: shard.copies,
    uncommitted: Number(shard.uncommitted),
    maps: shard.maps.map(map => ({
      name: map.name,
      entries: Number(map.entries),
      bytes: Number(map.bytes),
      evicted: Number(map.evicted),
      expired: Number(map.expired),
    })),
  })),
})
