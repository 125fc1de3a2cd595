import { describe, expect, it } from 'vitest'
import { JobStateReads } from '../../../src/node/job-state-reads.ts'
import type { PartitionParts } from '../../../src/node/partition-place.ts'
import type { ReadJobState } from '../../../src/shard/jobs/state-reads.ts'
import type { ReadJobStateRequest } from '../../../src/wire/generated/nearstate/v1/admin.ts'

const request: ReadJobStateRequest = {
  job: 'job',
  stage: 'sums',
  partition: 0,
  key: undefined,
  cursor: Buffer.alloc(0),
  limit: 0,
  keysOnly: false,
  live: false,
  settled: undefined,
  lastAttempt: 0,
  upTo: undefined,
  forwarded: undefined,
}

/** Partition 0 is here, 1 on a node within reach, 2 on one that is not, 3 is lost. */
function node(answer: (read: ReadJobState) => Promise<unknown>) {
  const passedOn: ReadJobStateRequest[] = []
  const primaries = [{ node: 'me', shard: 's0' }, { node: 'other', shard: 's1' }, { node: 'gone', shard: 's2' }, undefined]
  const parts = {
    self: 'me',
    feed: { view: { state: { partitions: primaries.map(primary => ({ primary })) } }, reachableMembers: [{ id: 'me' }, { id: 'other' }] },
    shards: { handles: [{ start: { id: 's0' }, request: answer }] },
    links: {
      admin: () => ({
        readJobState: async (read: ReadJobStateRequest) => {
          passedOn.push(read)
          return 'of the other'
        },
      }),
    },
  } as unknown as PartitionParts
  return { reads: new JobStateReads(parts), passedOn }
}

describe('reads of state through a node', () => {
  it('are answered by the shard that has the partition, here or on another node', async () => {
    const { reads, passedOn } = node(async () => ({ isKnown: true, attempt: 2, point: { attempt: 2, n: 5 }, value: Uint8Array.of(1) }))
    expect(await reads.read(request)).toMatchObject({ known: true, attempt: 2, checkpoint: { n: 5 }, value: Buffer.of(1) })
    expect(await reads.read({ ...request, partition: 1 })).toBe('of the other')
    expect(passedOn).toEqual([{ ...request, partition: 1, forwarded: true }])
  })

  it('say why nobody answers', async () => {
    const { reads } = node(async () => undefined)
    await expect(reads.read({ ...request, partition: 2 })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    await expect(reads.read({ ...request, partition: 3 })).rejects.toMatchObject({ code: 'PARTITION_LOST' })
    await expect(reads.read({ ...request, partition: 9 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(reads.read({ ...request, partition: 1, forwarded: true })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })

  it('are refused beyond a limit, and taken again when others are done', async () => {
    const held = Promise.withResolvers<unknown>()
    const { reads } = node(() => held.promise)
    const many = Array.from({ length: 1024 }, () => reads.read(request))
    await expect(reads.read(request)).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' })
    held.resolve({ isKnown: false, attempt: 0, point: { attempt: 0, n: 0 } })
    await Promise.all(many)
    expect(await reads.read(request)).toMatchObject({ known: false })
  })
})
