/** Reads of a job's state, and replays of its dead letters, brought to the node and the shard that have the partition; so many at once. */
import { NearstateError } from '../base/errors.ts'
import type {
  ReadJobStateRequest,
  ReadJobStateResponse,
  ReplayDeadLettersRequest,
  ReplayDeadLettersResponse,
} from '../wire/generated/nearstate/v1/admin.ts'
import { replayLetters } from './job-replays.ts'
import { type PartitionParts, placeOf } from './partition-place.ts'
import type { Shards } from './shards.ts'

const readTimeoutMs = 10_000
/** On their way through this node at once; a page of answers each. */
const callsMax = 1024

export class JobStateReads {
  readonly #parts: PartitionParts
  #underWay = 0

  constructor(parts: PartitionParts) {
    this.#parts = parts
  }

  /** A call is passed on once; UNAVAILABLE while nobody serves the partition. */
  read(request: ReadJobStateRequest): Promise<ReadJobStateResponse> {
    return this.#counted(`Cannot read state of job "${request.job}"`, () => this.#route(request))
  }

  /** The same for dead letters that are to be replayed; see job-replays.ts. */
  replay(request: ReplayDeadLettersRequest): Promise<ReplayDeadLettersResponse> {
    return this.#counted(`Cannot replay dead letters of job "${request.job}"`, () => replayLetters(this.#parts, request))
  }

  async #counted<T>(refusal: string, call: () => Promise<T>): Promise<T> {
    if (this.#underWay >= callsMax) {
      const why = `${callsMax} calls for states and dead letters are on their way through this node, which is the limit`
      throw new NearstateError('RESOURCE_EXHAUSTED', `${refusal}: ${why}; await some of them first`)
    }
    this.#underWay += 1
    try {
      return await call()
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
