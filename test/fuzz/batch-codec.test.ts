import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { NearstateError } from '../../src/base/errors.ts'
import { decodeOperationBatch, decodeResultBatch, encodeOperationBatch, encodeResultBatch } from '../../src/wire/batch-codec.ts'
import { OperationBatch, ResultBatch } from '../../src/wire/generated/nearstate/v1/data.ts'
import { OperationReader } from '../../src/wire/operations.ts'
import { ResultReader } from '../../src/wire/results.ts'
import { decodeValue } from '../../src/wire/value-codec.ts'

const uint32 = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 0xffffffff }))
const uint64 = fc.oneof(fc.bigInt({ min: 0n, max: 1000n }), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }))
const column = fc.array(uint32, { maxLength: 40 })
const bytes = fc.uint8Array({ maxLength: 300 }).map(array => Buffer.from(array))
const chunk = fc.option(fc.record({ id: uint32, data: bytes, totalBytes: uint64 }), { nil: undefined })
const optional64 = fc.option(uint64, { nil: undefined })

const operationBatch: fc.Arbitrary<OperationBatch> = fc.record({
  wireVersion: uint32,
  tableVersion: uint64,
  firstId: uint32,
  maps: fc.array(fc.record({ slot: uint32, name: fc.string(), keySpace: fc.string(), keyCodec: fc.string() }), { maxLength: 3 }),
  kinds: column,
  mapSlots: column,
  keyLengths: column,
  keys: bytes,
  valueLengths: column,
  values: bytes,
  options: fc.array(
    fc.record({
      index: uint32,
      ttlMs: optional64,
      maxIdleMs: optional64,
      ifVersion: optional64,
      function: fc.string(),
      partition: uint32,
      cursor: bytes,
      limit: uint32,
      prefix: bytes,
      keysOnly: fc.boolean(),
      upload: uint32,
      withVersion: fc.boolean(),
      anyReplica: fc.boolean(),
    }),
    { maxLength: 3 },
  ),
  chunk,
  gateway: fc.boolean(),
  sessions: fc.array(fc.record({ partition: uint32, ticket: bytes }), { maxLength: 3 }),
  requestNumbers: column,
  unansweredDistances: column,
})

const resultBatch: fc.Arbitrary<ResultBatch> = fc.record({
  tableVersion: uint64,
  ids: column,
  firstId: uint32,
  count: uint32,
  statuses: column,
  valueLengths: column,
  values: bytes,
  details: fc.array(
    fc.record({
      index: uint32,
      version: uint64,
      expiresAtMs: optional64,
      errorCode: fc.string(),
      errorMessage: fc.string(),
      functionStack: fc.string(),
      chunked: fc.boolean(),
    }),
    { maxLength: 3 },
  ),
  chunk,
  last: fc.boolean(),
})

const generated = (message: { finish(): Uint8Array }): Buffer => Buffer.from(message.finish())

describe('the codec by hand does what the generated one does', () => {
  test('for operations', () => {
    fc.assert(
      fc.property(operationBatch, batch => {
        const expected = generated(OperationBatch.encode(batch))
        expect(encodeOperationBatch(batch).equals(expected)).toBe(true)
        expect(decodeOperationBatch(expected)).toEqual(OperationBatch.decode(expected))
      }),
    )
  })

  test('for results', () => {
    fc.assert(
      fc.property(resultBatch, batch => {
        const expected = generated(ResultBatch.encode(batch))
        expect(encodeResultBatch(batch).equals(expected)).toBe(true)
        expect(decodeResultBatch(expected)).toEqual(ResultBatch.decode(expected))
      }),
    )
  })

  test('for columns that another implementation leaves unpacked, and fields that are not known yet', () => {
    const message = Buffer.from([
      0x28, 1, 0x28, 2, 0x38, 0x80, 0x01, 0xa0, 0x06, 0x96, 0x01, 0xaa, 0x06, 0x02, 9, 9, 0xad, 0x06, 1, 2, 3, 4,
    ])
    expect(decodeOperationBatch(message)).toEqual(OperationBatch.decode(message))
    expect(decodeOperationBatch(message)).toMatchObject({ kinds: [1, 2], keyLengths: [128] })
  })
})

describe('hostile bytes are refused, never believed', () => {
  const readable = (read: () => unknown): void => {
    try {
      read()
    } catch (thrown) {
      if (!(thrown instanceof NearstateError)) throw thrown
      expect(thrown.code).toBe('INVALID_ARGUMENT')
    }
  }

  test('random ones', () => {
    fc.assert(
      fc.property(bytes, message => {
        readable(() => new OperationReader(decodeOperationBatch(message)))
        readable(() => new ResultReader(decodeResultBatch(message)))
        readable(() => decodeValue(message))
      }),
      { numRuns: 2000 },
    )
  })

  test('good ones that were cut or changed', () => {
    fc.assert(
      fc.property(operationBatch, resultBatch, fc.nat(), fc.nat(255), (operations, results, at, byte) => {
        for (const [message, read] of [
          [generated(OperationBatch.encode(operations)), (part: Buffer) => new OperationReader(decodeOperationBatch(part))],
          [generated(ResultBatch.encode(results)), (part: Buffer) => new ResultReader(decodeResultBatch(part))],
        ] as const) {
          if (message.length === 0) continue
          readable(() => read(message.subarray(0, at % message.length)))
          message[at % message.length] = byte
          readable(() => read(message))
        }
      }),
      { numRuns: 500 },
    )
  })
})
