/** What has to happen to come from one table to another. Order and pace are the business of who carries it out. */
import { assert } from '../../../src/base/assert.ts'
import type { PartitionId } from '../../../src/base/ids.ts'
import { type PlacedReplica, type Placement, replicasOf } from '../../../src/partitioning/placement.ts'

export interface Migration {
  readonly partition: PartitionId
  /** Replicas to build, before anything is taken away. */
  readonly add: readonly PlacedReplica[]
  /** The role of primary passes from a replica (undefined: there is none) to another. */
  readonly handOver: { readonly from: PlacedReplica | undefined; readonly to: PlacedReplica } | undefined
  /** Replicas to free, last. */
  readonly remove: readonly PlacedReplica[]
}

/** One row for each partition whose replicas or primary differ. Another shard of the same node is another replica. */
export function migrationPlan(today: readonly Placement[], target: readonly Placement[]): readonly Migration[] {
  assert(today.length === target.length, 'both tables have the same partitions')
  const plan: Migration[] = []
  for (const [index, from] of today.entries()) {
    const to = target[index] as Placement
    const add = missing(replicasOf(to), replicasOf(from))
    const remove = missing(replicasOf(from), replicasOf(to))
    const handOver = to.primary === undefined || isSame(from.primary, to.primary) ? undefined : { from: from.primary, to: to.primary }
    if (add.length > 0 || remove.length > 0 || handOver !== undefined) {
      plan.push({ partition: index as PartitionId, add, handOver, remove })
    }
  }
  return plan
}

const missing = (wanted: readonly PlacedReplica[], from: readonly PlacedReplica[]): readonly PlacedReplica[] =>
  wanted.filter(replica => !from.some(other => isSame(other, replica)))

const isSame = (a: PlacedReplica | undefined, b: PlacedReplica | undefined): boolean => a?.node === b?.node && a?.shard === b?.shard
