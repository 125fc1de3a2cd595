/**
 * Who serves which partition, by the newest cluster state that this shard was given: where an operation goes.
 *
 * Owns: the table version, the primaries, addresses of shards. Does not: know whether this shard may serve now (its replica does), talk.
 *
 * 1. A view older than or equal to the known one changes nothing.
 * 2. Before the first view with partitions nothing is served and every key answers "not owner".
 */
import type { ShardId } from '../base/ids.ts'
import type { ClusterView } from '../membership/cluster-state.ts'

export const serving = { elsewhere: 0, here: 1, lost: 2 } as const

export class Ownership {
  readonly #self: ShardId
  #version = 0
  #wireVersion = 0n
  #rights = new Uint8Array(0)
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

  primaryOf(partition: number): ShardId | undefined {
    return this.#primaries[partition]
  }

  /** host:port of a shard of a member that is not dead. */
  addressOf(shard: ShardId): string | undefined {
    return this.#addresses.get(shard)
  }

  /** Takes a newer view. */
  apply({ version, state }: ClusterView): void {
    if (version <= this.#version) return
    const { partitions, members } = state
    this.#version = version
    this.#wireVersion = BigInt(version)
    this.#primaries = partitions.map(record => record.primary?.shard)
    this.#rights = Uint8Array.from(this.#primaries, primary =>
      primary === undefined ? serving.lost : primary === this.#self ? serving.here : serving.elsewhere,
    )
    this.#addresses = new Map()
    for (const member of members) {
      if (member.status === 'dead') continue
      for (const shard of member.shards) this.#addresses.set(shard.id, shard.address)
    }
  }
}
