/** Who does what in an attempt: the shards of the table's live members, the primaries of its partitions, the splits spread over the shards. */
import { NearstateError } from '../../base/errors.ts'
import type { ShardId } from '../../base/ids.ts'
import type { Assignment, Layout, Split } from '../assignment.ts'
import type { JobGraph } from './job-graph.ts'

/** What is read of the cluster's view. */
export interface TableView {
  readonly version: number
  readonly state: {
    readonly members: readonly { readonly status: string; readonly shards: readonly { readonly id: ShardId }[] }[]
    readonly partitions: readonly { readonly primary: { readonly shard: ShardId } | undefined }[]
  }
}

/**
 * Where a job runs in the cluster as it stands. Throws PARTITION_LOST when a partition has no primary, UNAVAILABLE when the cluster has
 * not formed or a primary is not alive.
 */
export function layoutOf({ version, state: { members, partitions } }: TableView, job: string): Layout {
  const refuse = (code: 'PARTITION_LOST' | 'UNAVAILABLE', reason: string): NearstateError =>
    new NearstateError(code, `Cannot start job "${job}": ${reason}`)
  if (partitions.length === 0) throw refuse('UNAVAILABLE', 'the cluster has not formed yet')
  const lost = partitions.flatMap((record, partition) => (record.primary === undefined ? [partition] : []))
  if (lost.length > 0) {
    throw refuse(
      'PARTITION_LOST',
      `${lost.length} of ${partitions.length} partitions are lost (the first is ${lost[0]}); recover them first`,
    )
  }
  // One that leaves takes part as long as it is a primary.
  const primaries = new Set(partitions.map(({ primary }) => primary?.shard))
  const takesPart = ({ status, shards: own }: TableView['state']['members'][number]): boolean =>
    status === 'alive' || (status === 'leaving' && own.some(({ id }) => primaries.has(id)))
  const shards = members.filter(takesPart).flatMap(member => member.shards.map(shard => shard.id))
  const indexOf = new Map(shards.map((shard, index) => [shard, index]))
  const owners = partitions.map((record, partition) => {
    const index = record.primary === undefined ? undefined : indexOf.get(record.primary.shard)
    if (index === undefined) throw refuse('UNAVAILABLE', `the primary of partition ${partition} is not alive`)
    return index
  })
  return { tableVersion: version, shards, owners }
}

/** Who reads what. `splits`: per source stage, as its connector listed them or the last checkpoint has them. */
export function assignmentOf(layout: Layout, graph: JobGraph, splits: Readonly<Record<string, readonly Split[]>>): Assignment {
  const sources = graph.stages.filter(stage => stage.source !== undefined).map(stage => stage.name)
  const spread = sources.map((name, index) => [name, spreadSplits(splits[name] ?? [], layout.shards.length, index)] as const)
  return { ...layout, splits: Object.fromEntries(spread) }
}

/**
 * The largest splits (by `bytes` in their descriptor) first, each to the shard with the least to read; each shard reads its
 * splits in the order in which they were listed. `offset` makes several sources begin at different shards.
 */
function spreadSplits(splits: readonly Split[], shardCount: number, offset: number): Split[][] {
  const loads: number[] = Array.from({ length: shardCount }, () => 0)
  const shardOf: number[] = Array.from({ length: splits.length }, () => 0)
  const bySize = splits.map((split, index) => ({ index, size: sizeOf(split) })).sort((a, b) => b.size - a.size || a.index - b.index)
  for (const { index, size } of bySize) {
    let best = offset % shardCount
    for (let i = 1; i < shardCount; i += 1) {
      const candidate = (offset + i) % shardCount
      if ((loads[candidate] as number) < (loads[best] as number)) best = candidate
    }
    loads[best] = (loads[best] as number) + size
    shardOf[index] = best
  }
  return loads.map((_, shard) => splits.filter((_split, index) => shardOf[index] === shard))
}

const sizeOf = (split: Split): number => {
  const bytes = split.descriptor['bytes']
  return typeof bytes === 'number' && bytes > 0 ? bytes : 1
}
