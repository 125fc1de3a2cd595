import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodeKey, encodeKeyInto } from '../../../src/keys/encode-key.ts'
import { partitionOfInt64, partitionOfKey } from '../../../src/keys/partition-of.ts'

test('an integer has the partition of its bytes', () => {
  const edges = [0, -0, 1, -1, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), -(2 ** 31) - 1, 2 ** 32, -(2 ** 32), 2 ** 53 - 1, -(2 ** 53 - 1)]
  const integers = fc.oneof(fc.maxSafeInteger(), fc.integer(), fc.constantFrom(...edges))
  fc.assert(
    fc.property(integers, fc.integer({ min: 1, max: 100_000 }), (key, partitions) => {
      const bytes = encodeKey('int64', key)
      expect(partitionOfInt64(key, partitions)).toBe(partitionOfKey('int64', bytes, 0, bytes.length, partitions))
    }),
  )
})

test('an integer is written as its bytes are', () => {
  const buffer = Buffer.alloc(10)
  const integers = fc.oneof(fc.maxSafeInteger(), fc.integer())
  fc.assert(
    fc.property(integers, key => {
      expect(encodeKeyInto('int64', key, buffer, 1)).toBe(8)
      expect(buffer.subarray(1, 9).equals(encodeKey('int64', key))).toBe(true)
    }),
  )
  expect(encodeKeyInto('int64', 1, buffer, 3)).toBe(-1)
})
