/** Reads of a job's state, brought to the node and the shard that have the partition; so many at once. */
import { invalidArgument, NearstateError } from '../base/errors.ts'
import type { NodeId } from '../base/ids.ts'
import type { Member } from '../membership/cluster-state.ts'
import type { ReadJobStateRequest, ReadJobStateResponse } from '../wire/generated/nearstate/v1/admin.ts'
import type { NodeLinks } from './node-links.ts'
import type { Shards } from './shards.ts'
import type { ViewFeed } from './view-feed.ts'

export interface JobStateReadParts {
  readonly self: NodeId
  readonly feed: Pick<ViewFeed, 'view' | 'reachableMembers'>
  readonly shards: Pick<Shards, 'handles'>
  readonly links: Pick<NodeLinks, 'admin'>
}

const readTimeoutMs = 10_000
/** On their way through this node at once; a page of answers each. */
const readsMax = 1024

export class JobStateReads {
  readonly #parts: JobStateReadParts
  #underWay = 0

  constructor(parts: JobStateReadParts) {
    this.#parts = parts
  }

  /** A call is passed on once; UNAVAILABLE while nobody serves the partition. */
  async read(request: ReadJobStateRequest): Promise<ReadJobStateResponse> {
    if (this.#underWay >= readsMax) {
      const why = `${readsMax} reads of state are on their way through this node, which is the limit`
      throw new NearstateError('RESOURCE_EXHAUSTED', `Cannot read state of job "${request.job}": ${why}; await some of them first`)
    }
    this.#underWay += 1
    try {
      return await this.#route(request)
    } finally {
      this.#underWay -= 1
    }
  }

  async #route(request: ReadJobStateRequest): Promise<ReadJobStateResponse> {
    const { shards, links } = this.#parts
    const { job, partition, forwarded } = request
    const place = placeOf(this.#parts, `Cannot read state of job "${job}"`, partition, forwarded === true)
    if ('shard' in place) return readHere(shards, place.shard, request)
    return links.admin(place.member).readJobState({ ...request, forwarded: true }, { timeoutMs: readTimeoutMs })
  }
}

/** Where a partition's primary is: a shard of this node, or another node, to which a call is passed on once. */
export function placeOf(
  { feed, self }: Pick<JobStateReadParts, 'feed' | 'self'>,
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

async function readHere(shards: Pick<Shards, 'handles'>, id: string, request: ReadJobStateRequest): Promise<ReadJobStateResponse> {
  const { job, stage, partition, key, cursor, limit, keysOnly, live, settled, lastAttempt, upTo } = request
  const shard = shards.handles.find(({ start }) => start.id === id)
  if (shard === undefined) throw new NearstateError('UNAVAILABLE', `Cannot read state of job "${job}": its shard is gone; try again`)
  const { isKnown, attempt, point, value, page } = await shard.request(
    {
      kind: 'readJobState',
      job,
      stage,
      partition,
      cursor,
      limit,
      keysOnly,
      live,
      ...(key === undefined ? {} : { key }),
      ...(settled === undefined ? {} : { settled: { lastAttempt, point: settled } }),
      ...(upTo === undefined ? {} : { upTo }),
    },
    readTimeoutMs,
  )
  return {
    known: isKnown,
    attempt,
    checkpoint: point,
    value: value === undefined ? undefined : Buffer.from(value),
    page: Buffer.from(page ?? []),
  }
}
