/**
 * Which partitions this shard serves, by the newest cluster state it was given.
 *
 * Owns: the table version, the serving right per partition, who serves the others.
 * Does not: create or drop stores (partition-set), talk to anybody.
 *
 * 1. A view older than or equal to the known one changes nothing.
 * 2. Before the first view with partitions nothing is served and every key answers "not owner".
 */
import type { ShardId } from '../base/ids.ts'
import type { ClusterView } from '../membership/cluster-state.ts'

export const serving = { elsewhere: 0, here: 1, lost: 2 } as const

export interface OwnershipChange {
  readonly adopted: readonly number[]
  readonly dropped: readonly number[]
}

export class Ownership {
  readonly #self: ShardId
  #version = 0
  #wireVersion = 0n
  #rights = new Uint8Array(0)
  #epochs: readonly number[] = []
  #primaries: readonly (ShardId | undefined)[] = []
  #addresses = new Map<ShardId, string>()

  constructor(self: ShardId) {
    this.#self = self
  }

  get partitionCount(): number {
    return this.#rights.length
  }

  /** The table version as the wire has it. */
  get wireTableVersion(): bigint {
    return this.#wireVersion
  }

  /** One of `serving`; the partition is in range. */
  rightTo(partition: number): number {
    return this.#rights[partition] as number
  }

  epochOf(partition: number): number {
    return this.#epochs[partition] ?? 0
  }

  primaryOf(partition: number): ShardId | undefined {
    return this.#primaries[partition]
  }

  /** host:port of a shard of a member that is not dead. */
  addressOf(shard: ShardId): string | undefined {
    return this.#addresses.get(shard)
  }

  /** Takes a newer view; answers which partitions this shard must begin and cease to serve. */
  apply(view: ClusterView): OwnershipChange {
    const adopted: number[] = []
    const dropped: number[] = []
    if (view.version <= this.#version && this.#version > 0) return { adopted, dropped }
    const { partitions, members } = view.state
    const rights = new Uint8Array(partitions.length)
    for (let partition = 0; partition < partitions.length; partition += 1) {
      const primary = partitions[partition]?.primary
      rights[partition] = primary === undefined ? serving.lost : primary.shard === this.#self ? serving.here : serving.elsewhere
      const had = this.#rights[partition] === serving.here
      if (rights[partition] === serving.here && !had) adopted.push(partition)
      if (rights[partition] !== serving.here && had) dropped.push(partition)
    }
    for (let partition = partitions.length; partition < this.#rights.length; partition += 1) {
      if (this.#rights[partition] === serving.here) dropped.push(partition)
    }
    this.#version = view.version
    this.#wireVersion = BigInt(view.version)
    this.#rights = rights
    this.#epochs = partitions.map(record => record.epoch)
    this.#primaries = partitions.map(record => record.primary?.shard)
    this.#addresses = new Map()
    for (const member of members) {
      if (member.status === 'dead') continue
      for (const shard of member.shards) this.#addresses.set(shard.id, shard.address)
    }
    return { adopted, dropped }
  }
}
