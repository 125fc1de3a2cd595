/** Dead letters to be replayed, brought to the node and the shard that have their rows' partition. */
import { NearstateError } from '../base/errors.ts'
import type { LetterId } from '../streaming/execution/replays.ts'
import type { DeadLetterEntry, ReplayDeadLettersRequest, ReplayDeadLettersResponse } from '../wire/generated/nearstate/v1/admin.ts'
import { type PartitionParts, placeOf } from './partition-place.ts'

const replayTimeoutMs = 10_000

/** A call is passed on once; UNAVAILABLE while nobody serves the partition, or no attempt runs there. */
export async function replayLetters(parts: PartitionParts, request: ReplayDeadLettersRequest): Promise<ReplayDeadLettersResponse> {
  const { job, partition, letters, forgets, forwarded } = request
  const refusal = `Cannot replay dead letters of job "${job}"`
  const place = placeOf(parts, refusal, partition, forwarded === true)
  if (!('shard' in place))
    return parts.links.admin(place.member).replayDeadLetters({ ...request, forwarded: true }, { timeoutMs: replayTimeoutMs })
  const shard = parts.shards.handles.find(({ start }) => start.id === place.shard)
  if (shard === undefined) throw new NearstateError('UNAVAILABLE', `${refusal}: its shard is gone; try again`)
  const outcomes = await shard.request(
    {
      kind: 'replayLetters',
      job,
      partition,
      letters: letters.map(letter => ({ ...idOf(letter), value: letter.value })),
      forgets: forgets.map(idOf),
    },
    replayTimeoutMs,
  )
  return {
    outcomes: outcomes.map(({ kind }) => kind),
    reasons: outcomes.map(outcome => (outcome.kind === 'refused' ? outcome.reason : '')),
  }
}

const idOf = ({ key, version }: DeadLetterEntry): LetterId => ({ key, version: Number(version) })
