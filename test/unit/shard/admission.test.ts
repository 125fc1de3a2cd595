import { describe, expect, test } from 'vitest'
import { Admission } from '../../../src/shard/admission.ts'
import { ChunkAssembler } from '../../../src/wire/chunks.ts'

describe('bytes that wait on a shard', () => {
  const chunk = (id: number, length: number, totalBytes: number) => ({ id, data: Buffer.alloc(length), totalBytes: BigInt(totalBytes) })

  test('are bounded over the uploads of all streams; one without room is refused alone', () => {
    const admission = new Admission(10, 1000)
    const streams = Array.from({ length: 3 }, () => new ChunkAssembler(600, admission.uploads))
    for (const stream of streams) stream.accept(chunk(1, 10, 400))
    expect(() => streams[2]?.take(1)).toThrow(/wait on this shard, limit is/)
    streams[0]?.clear()
    streams[2]?.accept(chunk(2, 400, 400))
    expect(streams[2]?.take(2)).toHaveLength(400)
    expect(admission.admit(1, 1000)).toBeUndefined()
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
