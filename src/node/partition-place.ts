/** Where a call for one partition goes: a shard of this node, or the node that has it. */
import { invalidArgument, NearstateError } from '../base/errors.ts'
import type { NodeId } from '../base/ids.ts'
import type { Member } from '../membership/cluster-state.ts'
import type { NodeLinks } from './node-links.ts'
import type { Shards } from './shards.ts'
import type { ViewFeed } from './view-feed.ts'

export interface PartitionParts {
  readonly self: NodeId
  readonly feed: Pick<ViewFeed, 'view' | 'reachableMembers'>
  readonly shards: Pick<Shards, 'handles'>
  readonly links: Pick<NodeLinks, 'admin'>
}

/** Where a partition's primary is: a shard of this node, or another node, to which a call is passed on once. */
export function placeOf(
  { feed, self }: Pick<PartitionParts, 'feed' | 'self'>,
  refusal: string,
  partition: number,
  isForwarded: boolean,
): { readonly shard: string } | { readonly member: Member } {
  const owner = feed.view?.state.partitions[partition]
  if (owner === undefined) throw invalidArgument(`${refusal}: there is no partition ${partition}`)
  const { primary } = owner
  if (primary === undefined) throw new NearstateError('PARTITION_LOST', `${refusal}: partition ${partition} has no replica left`)
  if (primary.node === self) return { shard: primary.shard }
  const member = feed.reachableMembers.find(({ id }) => id === primary.node)
  if (isForwarded || member === undefined)
    throw new NearstateError('UNAVAILABLE', `${refusal}: partition ${partition} is just being moved; try again`)
  return { member }
}
