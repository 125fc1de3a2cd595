import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../../src/base/clock.ts'
import { Admission } from '../../../src/shard/admission.ts'
import { ChunkAssembler } from '../../../src/wire/chunks.ts'

describe('bytes that wait on a shard', () => {
  const chunk = (id: number, length: number, totalBytes: number) => ({ id, data: Buffer.alloc(length), totalBytes: BigInt(totalBytes) })

  test('are bounded over the uploads of all streams; one without room is refused alone', () => {
    const admission = new Admission(10, 1000)
    const streams = Array.from({ length: 3 }, () => new ChunkAssembler(600, admission.uploads))
    for (const stream of streams) stream.accept(chunk(1, 10, 400))
    expect(() => streams[2]?.take(1)).toThrow(/held on this shard, limit is/)
    streams[0]?.clear()
    streams[2]?.accept(chunk(2, 400, 400))
    expect(streams[2]?.take(2)).toHaveLength(400)
    expect(admission.admit(1, 1000)).toBeUndefined()
  })

  test('are given back by uploads that were left lying, when others need the room', () => {
    const clock = new ManualClock()
    const admission = new Admission(10, 1000, clock)
    const [left, slow, needy] = Array.from({ length: 3 }, () => new ChunkAssembler(600, admission.uploads)) as [
      ChunkAssembler,
      ChunkAssembler,
      ChunkAssembler,
    ]
    left.accept(chunk(1, 10, 500))
    slow.accept(chunk(1, 10, 400))
    clock.advance(29_000)
    slow.accept(chunk(1, 10, 400))
    needy.accept(chunk(1, 500, 500))
    expect(() => needy.take(1)).toThrow(/limit is/)
    clock.advance(2_000)
    needy.accept(chunk(2, 500, 500))
    expect(needy.take(2)).toHaveLength(500)
    expect(left.heldBytes).toBe(0)
    expect(() => left.take(1)).toThrow(/dropped after 30000 ms/)
    slow.accept(chunk(1, 380, 400))
    expect(slow.take(1)).toHaveLength(400)
    // Everything was given back once.
    needy.accept(chunk(3, 10, 600))
    slow.accept(chunk(3, 10, 400))
    expect(slow.heldBytes).toBe(400)
  })

  test('are bounded over batches, which are refused with their operations', () => {
    const admission = new Admission(10, 1000)
    expect(admission.admit(1, 900)).toBeUndefined()
    expect(admission.admit(2, 200)).toMatchObject({ code: 'RESOURCE_EXHAUSTED' })
    expect(admission.refused).toBe(2)
    admission.releaseBytes(900)
    expect(admission.admit(2, 200)).toBeUndefined()
  })
})
