/**
 * Placement: which node and shard should hold each partition, as a function of the members and of today's table.
 *
 * Three steps, each a balance of items over bins: replicas over nodes, the role of primary over each partition's replicas, replicas
 * over the shards of their node. The ring only breaks ties: what fits stays where it is.
 *
 * 1. Every node holds between floor and ceil of its share (by shards) of the primaries, and of the replicas as far as a node can hold
 *    only one replica of a partition and a zone only so many.
 * 2. Replicas of a partition are on distinct nodes, and in distinct zones while there are enough zones (else as spread as possible).
 *    A member without a zone is a zone of its own.
 * 3. A node that joins takes replicas only onto itself; when one leaves, only its replicas move.
 * 4. The same input gives the same table, whatever the order of the members.
 *
 * Weights that differ can make 1 and 3 contradict each other; then 2 goes before 1 and 1 before 3.
 */
import { assert } from '../base/assert.ts'
import type { NodeId, ShardId } from '../base/ids.ts'
import { balance, countOf } from './balance.ts'
import { ringRanks } from './ring.ts'
import { quotasOf, zonedQuotas } from './shares.ts'

export interface PlacedReplica {
  readonly node: NodeId
  readonly shard: ShardId
}

export interface Placement {
  /** undefined: the partition has no replica. */
  readonly primary: PlacedReplica | undefined
  readonly backups: readonly PlacedReplica[]
}

export interface PlacementMember {
  readonly node: NodeId
  readonly name: string
  /** Empty: none given. */
  readonly zone: string
  /** At least one; their number is the node's weight. */
  readonly shards: readonly ShardId[]
}

export interface PlacementOptions {
  /** Copies besides the primary; fewer where there are not enough members. */
  readonly backups: number
  /** Only gives places to what has none; nothing that has a living place moves. */
  readonly fillOnly?: boolean
}

/** `today` has one row per partition; rows may be empty, and may name nodes and shards that are no longer there. */
export function placementTarget(
  members: readonly PlacementMember[],
  today: readonly Placement[],
  options: PlacementOptions,
): readonly Placement[] {
  if (members.length === 0) return today.map(() => ({ primary: undefined, backups: [] }))
  return new Planner(members, today, options).plan()
}

class Planner {
  readonly #members: readonly PlacementMember[]
  readonly #today: readonly Placement[]
  readonly #fillOnly: boolean
  readonly #width: number
  readonly #nodeIndex: ReadonlyMap<NodeId, number>
  readonly #ranks: readonly Int32Array[]
  readonly #zoneOf: readonly number[]
  readonly #zoneMax: number
  /** Node of each replica; item = partition * width + i. -1: none. */
  readonly #nodeOf: Int32Array
  /** Today's shard of each item while it stays on its node. */
  readonly #shardOf: (ShardId | undefined)[]

  constructor(members: readonly PlacementMember[], today: readonly Placement[], options: PlacementOptions) {
    // Code units, not locale: the same everywhere.
    this.#members = [...members].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
    assert(new Set(members.map(member => member.name)).size === members.length, 'members have distinct names')
    assert(
      members.every(member => member.shards.length > 0),
      'every member has a shard',
    )
    this.#today = today
    this.#fillOnly = options.fillOnly ?? false
    this.#width = Math.min(options.backups + 1, members.length)
    this.#nodeIndex = new Map(this.#members.map((member, index) => [member.node, index]))
    this.#ranks = ringRanks(
      this.#members.map(member => ({ name: member.name, weight: member.shards.length })),
      today.length,
    )
    const zones = [...new Set(this.#members.map(zoneName))]
    this.#zoneOf = this.#members.map(member => zones.indexOf(zoneName(member)))
    this.#zoneMax = this.#replicasPerZone(zones.length)
    this.#nodeOf = new Int32Array(today.length * this.#width).fill(-1)
    this.#shardOf = Array.from({ length: this.#nodeOf.length }, () => undefined)
  }

  plan(): readonly Placement[] {
    this.#keepToday()
    this.#spreadReplicas()
    const primaryOf = this.#choosePrimaries()
    const shardOf = this.#spreadOverShards(primaryOf)
    return this.#today.map((_, partition) => {
      const items = this.#itemsOf(partition).filter(item => this.#nodeOf[item] !== -1)
      const replica = (item: number): PlacedReplica => ({
        node: (this.#members[this.#nodeOf[item] as number] as PlacementMember).node,
        shard: shardOf[item] as ShardId,
      })
      const primary = items.find(item => this.#nodeOf[item] === primaryOf[partition])
      return {
        primary: primary === undefined ? undefined : replica(primary),
        backups: items.filter(item => item !== primary).map(replica),
      }
    })
  }

  /** The least number that lets every partition find its replicas. */
  #replicasPerZone(zones: number): number {
    const sizes = Array.from({ length: zones }, (_, zone) => this.#zoneOf.filter(other => other === zone).length)
    let max = 1
    while (sizes.reduce((sum, size) => sum + Math.min(size, max), 0) < this.#width) max += 1
    return max
  }

  #itemsOf(partition: number): readonly number[] {
    return Array.from({ length: this.#width }, (_, i) => partition * this.#width + i)
  }

  #holds(partition: number, node: number): boolean {
    const first = partition * this.#width
    return this.#nodeOf.subarray(first, first + this.#width).includes(node)
  }

  #keepToday(): void {
    const load = this.#members.map(() => 0)
    for (const replica of this.#today.flatMap(replicasOf)) {
      const node = this.#nodeIndex.get(replica.node)
      if (node !== undefined) load[node] = (load[node] as number) + 1
    }
    const relativeLoad = (replica: PlacedReplica): number => {
      const node = this.#nodeIndex.get(replica.node) as number
      return (load[node] as number) / (this.#members[node] as PlacementMember).shards.length
    }
    for (const [partition, placement] of this.#today.entries()) {
      const living = replicasOf(placement).filter(replica => this.#nodeIndex.has(replica.node))
      while (living.length > this.#width) {
        // The primary stays; of the backups the one on the fullest node goes.
        const rest = living.slice(1)
        const fullest = rest.reduce((a, b) => (relativeLoad(b) >= relativeLoad(a) ? b : a))
        living.splice(living.indexOf(fullest), 1)
        const node = this.#nodeIndex.get(fullest.node) as number
        load[node] = (load[node] as number) - 1
      }
      for (const [i, replica] of living.entries()) this.#keep(partition, i, replica)
    }
  }

  #keep(partition: number, i: number, replica: PlacedReplica): void {
    const item = partition * this.#width + i
    const node = this.#nodeIndex.get(replica.node) as number
    if (!this.#fillOnly && !this.#admits(item, -1, node)) return
    this.#nodeOf[item] = node
    if ((this.#members[node] as PlacementMember).shards.includes(replica.shard)) this.#shardOf[item] = replica.shard
  }

  /** Invariant 2. */
  #admits(item: number, from: number, to: number): boolean {
    const zone = this.#zoneOf[to] as number
    let inZone = from >= 0 && this.#zoneOf[from] === zone ? -1 : 0
    const first = item - (item % this.#width)
    for (let other = first; other < first + this.#width; other += 1) {
      const node = this.#nodeOf[other] as number
      if (node === to) return false
      if (node >= 0 && this.#zoneOf[node] === zone) inZone += 1
    }
    return inZone < this.#zoneMax
  }

  #spreadReplicas(): void {
    const partitions = this.#today.length
    const homeOf = this.#nodeOf.slice()
    const held = countOf(this.#nodeOf, this.#members.length)
    const claimants = this.#members.map((member, node) => ({
      weight: member.shards.length,
      cap: partitions,
      held: held[node] as number,
    }))
    const zones = [...new Set(this.#zoneOf)].map(zone => {
      const members = [...this.#zoneOf.keys()].filter(node => this.#zoneOf[node] === zone)
      return { members, cap: partitions * Math.min(members.length, this.#zoneMax) }
    })
    const shardFill = new Map<ShardId | undefined, number>()
    for (const shard of this.#shardOf) shardFill.set(shard, (shardFill.get(shard) ?? 0) + 1)
    const primaries = this.#primaryNeeds()
    balance(
      {
        binOf: this.#nodeOf,
        quotas: zonedQuotas(partitions * this.#width, claimants, zones),
        admits: (item, from, to) => this.#admits(item, from, to),
        cost: (item, from) => (from >= 0 && homeOf[item] === from ? 1 : 0),
        preference: (item, from, to) => {
          const partition = Math.floor(item / this.#width)
          const rank = (this.#ranks[partition] as Int32Array)[to] as number
          if (from < 0) return rank
          // A node that comes new to a partition should be able to become its primary where primaries are too many.
          const helps = this.#width > 1 && primaries.surplus[primaries.nodeOf[partition] as number] ? 0 : 100_000
          const fill = Math.min(99, shardFill.get(this.#shardOf[item]) ?? 0)
          return helps + (99 - fill) * 1000 + rank
        },
      },
      this.#fillOnly,
    )
    for (let item = 0; item < homeOf.length; item += 1) if (homeOf[item] !== this.#nodeOf[item]) this.#shardOf[item] = undefined
  }

  /** Today's primaries, and the nodes that have more of them than their share. */
  #primaryNeeds(): { readonly nodeOf: readonly number[]; readonly surplus: readonly boolean[] } {
    const nodeOf = this.#today.map(({ primary }) => (primary === undefined ? -1 : (this.#nodeIndex.get(primary.node) ?? -1)))
    const held = countOf(nodeOf, this.#members.length)
    const quotas = quotasOf(
      this.#today.length,
      this.#members.map((member, node) => ({ weight: member.shards.length, cap: this.#today.length, held: held[node] as number })),
    )
    return { nodeOf, surplus: held.map((count, node) => count > (quotas[node] as number)) }
  }

  /** Node of each partition's primary; -1 where it has no replica. */
  #choosePrimaries(): Int32Array {
    const home = this.#primaryNeeds().nodeOf
    const heldToday = this.#today.map(placement => new Set(replicasOf(placement).map(replica => this.#nodeIndex.get(replica.node))))
    const primaryOf = Int32Array.from(home, (node, partition) => (node >= 0 && this.#holds(partition, node) ? node : -1))
    const replicas = countOf(this.#nodeOf, this.#members.length)
    const held = countOf(primaryOf, this.#members.length)
    const claimants = this.#members.map((member, node) => ({
      weight: member.shards.length,
      cap: replicas[node] as number,
      held: held[node] as number,
    }))
    balance(
      {
        binOf: primaryOf,
        quotas: quotasOf(this.#today.length, claimants),
        admits: (partition, _, to) => this.#holds(partition, to),
        cost: (partition, from) => (from >= 0 && home[partition] === from ? 1 : 0),
        // Without a primary, one that has the data is better; else a replica that is new takes over the role with the data.
        preference: (partition, from, to) => {
          const known = heldToday[partition]?.has(to) ?? false
          return (known === from < 0 ? 0 : 1000) + ((this.#ranks[partition] as Int32Array)[to] as number)
        },
      },
      this.#fillOnly,
    )
    return primaryOf
  }

  /** Shard of each item: primaries even over the shards of their node, then backups so that all replicas are. */
  #spreadOverShards(primaryOf: Int32Array): readonly (ShardId | undefined)[] {
    const shardOf = [...this.#shardOf]
    for (const [node, member] of this.#members.entries()) {
      const items = [...this.#nodeOf.keys()].filter(item => this.#nodeOf[item] === node)
      const isPrimary = (item: number): boolean => primaryOf[Math.floor(item / this.#width)] === node
      const spread = (list: readonly number[], movable: (item: number) => boolean): void => {
        const home = Int32Array.from(list, item => member.shards.indexOf(shardOf[item] as ShardId))
        const held = countOf(home, member.shards.length)
        const bins = home.slice()
        balance(
          {
            binOf: bins,
            quotas: quotasOf(
              list.length,
              held.map(count => ({ weight: 1, cap: list.length, held: count })),
            ),
            admits: at => movable(list[at] as number),
            cost: (at, from) => (from >= 0 && home[at] === from ? 1 : 0),
            preference: (_, __, to) => to,
          },
          this.#fillOnly,
        )
        for (const [at, item] of list.entries()) shardOf[item] = member.shards[bins[at] as number]
      }
      spread(items.filter(isPrimary), () => true)
      spread(items, item => !isPrimary(item))
    }
    return shardOf
  }
}

/** A member without a zone is a zone of its own. */
const zoneName = (member: PlacementMember): string => (member.zone === '' ? `node ${member.name}` : `zone ${member.zone}`)

export const replicasOf = ({ primary, backups }: Placement): readonly PlacedReplica[] =>
  primary === undefined ? backups : [primary, ...backups]
