import { describe, expect, test } from 'vitest'
import { NearstateError } from '../../../src/base/errors.ts'
import { ChunkAssembler, chunksOf } from '../../../src/wire/chunks.ts'
import { type ResultBatch, ResultStatus } from '../../../src/wire/generated/nearstate/v1/data.ts'
import { batchTargetBytes, chunkMaxBytes, uploadsMax } from '../../../src/wire/limits.ts'
import { errorOf, ResultReader, ResultWriter } from '../../../src/wire/results.ts'

const only = (batches: readonly ResultBatch[]): ResultBatch => {
  expect(batches).toHaveLength(1)
  return batches[0] as ResultBatch
}
const text = Buffer.from('--value--')

describe('answers', () => {
  test('alike ones of consecutive ids take the shortest form', () => {
    const writer = new ResultWriter()
    for (const id of [0xfffffffe, 0xffffffff, 0]) writer.value(id, text, 2, 7)
    const batch = only(writer.take(3n))
    expect(batch).toMatchObject({
      tableVersion: 3n,
      ids: [],
      firstId: 0xfffffffe,
      count: 3,
      statuses: [ResultStatus.OK],
      valueLengths: [5],
    })
    const reader = new ResultReader(batch)
    expect([0, 1, 2].map(i => reader.idAt(i))).toEqual([0xfffffffe, 0xffffffff, 0])
    expect(reader.values.subarray(reader.valueBounds[2], reader.valueBounds[3]).toString()).toBe('value')
  })

  test('of all kinds come back in their order, with their details', () => {
    const writer = new ResultWriter()
    writer.ok(5)
    writer.value(9, text, 0, 9)
    writer.detail(77n, 1234n)
    writer.absent(1)
    writer.notOwner(2)
    writer.error(3, new NearstateError('FUNCTION_FAILED', 'it threw', { functionStack: 'at line 1' }))
    expect(writer.count).toBe(5)
    const reader = new ResultReader(only(writer.take(0n)))
    const seen = Array.from({ length: reader.count }, (_, i) => [reader.idAt(i), reader.statusAt(i), reader.detailAt(i)?.version])
    expect(seen).toEqual([
      [5, ResultStatus.OK, undefined],
      [9, ResultStatus.OK, 77n],
      [1, ResultStatus.ABSENT, undefined],
      [2, ResultStatus.NOT_OWNER, undefined],
      [3, ResultStatus.ERROR, 0n],
    ])
    const error = errorOf(reader.batch.details[1])
    expect([error.code, error.message, error.functionStack]).toEqual(['FUNCTION_FAILED', 'it threw', 'at line 1'])
    expect(writer.take(0n)).toEqual([])
  })

  test('an empty value is not no value', () => {
    const writer = new ResultWriter()
    writer.value(0, text, 3, 3)
    writer.absent(1)
    const reader = new ResultReader(only(writer.take(0n)))
    expect([reader.statusAt(0), reader.statusAt(1)]).toEqual([ResultStatus.OK, ResultStatus.ABSENT])
  })

  test('a batch ends at its target size', () => {
    const writer = new ResultWriter()
    const large = Buffer.alloc(200 * 1024)
    for (let id = 0; id < 12; id += 1) writer.value(id, large, 0, large.length)
    const batches = writer.take(1n)
    expect(batches.length).toBe(3)
    for (const batch of batches) expect(batch.values.length).toBeLessThanOrEqual(batchTargetBytes)
    expect(batches.flatMap(batch => Array.from({ length: batch.count }, (_, i) => new ResultReader(batch).idAt(i)))).toEqual([
      ...Array(12).keys(),
    ])
  })

  test('the last messages of a stream say so, also without an answer', () => {
    const writer = new ResultWriter()
    expect(writer.takeLast(3n)).toMatchObject([{ tableVersion: 3n, count: 0, last: true }])
    writer.notNow(1)
    writer.sessionUnknown(2)
    const [batch, ...others] = writer.takeLast(3n)
    expect(others).toEqual([])
    expect(batch).toMatchObject({ firstId: 1, count: 2, statuses: [ResultStatus.NOT_NOW, ResultStatus.SESSION_UNKNOWN], last: true })
  })

  test('a code of a newer node is INTERNAL', () => {
    expect(
      errorOf({ index: 0, version: 0n, expiresAtMs: undefined, errorCode: 'NEW', errorMessage: 'm', functionStack: '', chunked: false }),
    ).toMatchObject({
      code: 'INTERNAL',
    })
  })

  test.each<[string, Partial<ResultBatch>]>([
    ['statuses', { count: 3, statuses: [1, 1] }],
    ['no statuses', { count: 3, statuses: [] }],
    ['value lengths', { count: 3, statuses: [1], valueLengths: [1, 1], values: Buffer.alloc(2) }],
    ['values', { count: 3, statuses: [1], valueLengths: [1], values: Buffer.alloc(2) }],
    ['count', { count: 4_000_000_000, statuses: [1] }],
  ])('a broken column of %s is refused', (_, change) => {
    const batch: ResultBatch = {
      tableVersion: 0n,
      ids: [],
      firstId: 0,
      count: 0,
      statuses: [],
      valueLengths: [],
      values: Buffer.alloc(0),
      details: [],
      chunk: undefined,
      last: false,
      ...change,
    }
    expect(() => new ResultReader(batch)).toThrow(/Cannot read/)
  })
})

describe('values in chunks', () => {
  const large = Buffer.alloc(2 * chunkMaxBytes + 10, 'abc')

  test('a large answer comes as chunks, and then its answer', () => {
    const writer = new ResultWriter()
    writer.ok(1)
    writer.value(2, large, 0, large.length)
    writer.ok(3)
    const batches = writer.take(0n)
    const assembler = new ChunkAssembler(large.length)
    const answered: number[] = []
    for (const batch of batches) {
      if (batch.chunk !== undefined) {
        assembler.accept(batch.chunk)
        continue
      }
      const reader = new ResultReader(batch)
      for (let i = 0; i < reader.count; i += 1) {
        answered.push(reader.idAt(i))
        if (reader.detailAt(i)?.chunked === true) expect(assembler.take(reader.idAt(i)).equals(large)).toBe(true)
      }
    }
    expect(answered).toEqual([1, 2, 3])
    expect(assembler.heldBytes).toBe(0)
  })

  test('one that is too large is refused at its operation and holds nothing meanwhile', () => {
    const assembler = new ChunkAssembler(chunkMaxBytes)
    for (const chunk of chunksOf(1, large)) assembler.accept(chunk)
    expect(assembler.heldBytes).toBe(0)
    expect(() => assembler.take(1)).toThrow(`it is ${large.length} bytes, limit is ${chunkMaxBytes}`)
    expect(() => assembler.take(1)).toThrow('none of its chunks')
  })

  test('incomplete, overfull and empty ones are refused', () => {
    const assembler = new ChunkAssembler(large.length)
    const [first, second] = chunksOf(1, large)
    if (first === undefined || second === undefined) throw new Error('no chunks')
    assembler.accept(first)
    expect(() => assembler.take(1)).toThrow(`${chunkMaxBytes} of ${large.length} bytes came`)
    assembler.accept({ ...first, id: 2, totalBytes: BigInt(chunkMaxBytes) })
    expect(() => assembler.accept({ ...second, id: 2 })).toThrow('Cannot take chunk')
    expect(() => assembler.accept({ ...first, id: 3, data: Buffer.alloc(0) })).toThrow('Cannot take chunk')
  })

  test('their number and their bytes are bounded per stream', () => {
    const many = new ChunkAssembler(1000)
    for (let id = 0; id < uploadsMax; id += 1) many.accept({ id, data: Buffer.alloc(1), totalBytes: 2n })
    expect(() => many.accept({ id: 99, data: Buffer.alloc(1), totalBytes: 2n })).toThrow('which is the limit')
    const huge = new ChunkAssembler(48 * 1024 * 1024)
    huge.accept({ id: 1, data: Buffer.alloc(1), totalBytes: BigInt(48 * 1024 * 1024) })
    expect(() => huge.accept({ id: 2, data: Buffer.alloc(1), totalBytes: BigInt(48 * 1024 * 1024) })).toThrow('are held on this stream')
    huge.clear()
    expect(huge.heldBytes).toBe(0)
  })
})
