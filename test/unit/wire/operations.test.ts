import { describe, expect, test } from 'vitest'
import { decodeOperationBatch, encodeOperationBatch } from '../../../src/wire/batch-codec.ts'
import { type OperationBatch, OperationKind } from '../../../src/wire/generated/nearstate/v1/data.ts'
import { emptyBatch, emptyOptions, OperationBuilder, OperationReader } from '../../../src/wire/operations.ts'

const key = Buffer.from('key')
const value = Buffer.from('value')

const append = (builder: OperationBuilder, kind: number, slot: number, withValue: boolean, options = false): void => {
  builder.append(
    kind,
    slot,
    key,
    0,
    key.length,
    withValue ? value : undefined,
    0,
    value.length,
    options ? { ...emptyOptions(), ttlMs: 5n } : undefined,
  )
}

describe('what a builder wrote a reader reads', () => {
  test('operations of one kind on one map take the short form', () => {
    const builder = new OperationBuilder()
    for (let i = 0; i < 3; i += 1) append(builder, OperationKind.SET, 4, true, i === 1)
    const batch = builder.take(7, 9n)
    expect(batch).toMatchObject({ kinds: [OperationKind.SET], mapSlots: [4], firstId: 7, tableVersion: 9n })
    const reader = new OperationReader(batch)
    expect(reader.count).toBe(3)
    expect([0, 1, 2].map(i => [reader.kindAt(i), reader.slotAt(i), reader.idAt(i), reader.optionsAt(i)?.ttlMs])).toEqual([
      [OperationKind.SET, 4, 7, undefined],
      [OperationKind.SET, 4, 8, 5n],
      [OperationKind.SET, 4, 9, undefined],
    ])
    expect(reader.keys.subarray(reader.keyBounds[2], reader.keyBounds[3])).toEqual(key)
    expect(reader.values.subarray(reader.valueBounds[2], reader.valueBounds[3])).toEqual(value)
  })

  test('mixed operations, and ids that pass 2^32', () => {
    const builder = new OperationBuilder()
    append(builder, OperationKind.GET, 0, false)
    append(builder, OperationKind.SET, 1, true)
    append(builder, OperationKind.GET, 0, false)
    const reader = new OperationReader(builder.take(0xffffffff, 0n))
    expect([0, 1, 2].map(i => reader.idAt(i))).toEqual([0xffffffff, 0, 1])
    expect([0, 1, 2].map(i => reader.kindAt(i))).toEqual([OperationKind.GET, OperationKind.SET, OperationKind.GET])
    expect(Array.from(reader.valueBounds)).toEqual([0, 0, 5, 5])
  })

  test('a batch that was taken is not touched by the next one', () => {
    const builder = new OperationBuilder()
    append(builder, OperationKind.SET, 0, true)
    const first = builder.take(0, 0n)
    builder.append(OperationKind.SET, 0, Buffer.from('XXX'), 0, 3, Buffer.from('YYYYY'), 0, 5, undefined)
    builder.take(1, 0n)
    expect([first.keys.toString(), first.values.toString(), first.keyLengths]).toEqual(['key', 'value', [3]])
  })

  test('gets and reads carry no values at all', () => {
    const builder = new OperationBuilder()
    append(builder, OperationKind.GET, 0, false)
    expect(builder.take(0, 0n).valueLengths).toEqual([])
  })
})

describe('numbers of writes', () => {
  const ticket = Buffer.alloc(16, 7)

  test('are 0 for what has none, and absent when nothing has one', () => {
    const builder = new OperationBuilder()
    append(builder, OperationKind.GET, 0, false)
    append(builder, OperationKind.SET, 0, true)
    builder.number(300, 2)
    append(builder, OperationKind.GET, 0, false)
    append(builder, OperationKind.DELETE, 0, false)
    builder.number(1, 0)
    append(builder, OperationKind.GET, 0, false)
    const batch = builder.take(0, 0n)
    batch.sessions = [{ partition: 3, ticket }]
    const reader = new OperationReader(decodeOperationBatch(Buffer.from(encodeOperationBatch(batch))))
    expect([0, 1, 2, 3, 4].map(i => reader.numberAt(i))).toEqual([0, 300, 0, 1, 0])
    expect([0, 1, 2, 3, 4].map(i => reader.distanceAt(i))).toEqual([0, 2, 0, 0, 0])
    expect(reader.sessions).toEqual([{ partition: 3, ticket }])
    append(builder, OperationKind.GET, 0, false)
    const plain = builder.take(0, 0n)
    expect([plain.requestNumbers, plain.unansweredDistances, new OperationReader(plain).numberAt(0)]).toEqual([[], [], 0])
  })

  test.each<[string, Partial<OperationBatch>, RegExp]>([
    ['for some operations only', { requestNumbers: [1], unansweredDistances: [0] }, /1 request numbers and 1 .* for 2/],
    ['without distances', { requestNumbers: [1, 2] }, /2 request numbers and 0/],
    ['whose lowest unanswered one would be 0', { requestNumbers: [1, 2], unansweredDistances: [0, 2] }, /number 2.*lies 2 below/],
    ['of a ticket that is none', { sessions: [{ partition: 0, ticket: Buffer.alloc(15) }] }, /15 bytes, 16/],
  ])('%s are refused', (_, change, message) => {
    const builder = new OperationBuilder()
    append(builder, OperationKind.DELETE, 0, false)
    append(builder, OperationKind.DELETE, 0, false)
    expect(() => new OperationReader({ ...builder.take(0, 0n), ...change })).toThrow(message)
  })
})

describe('a broken batch is refused with what is wrong', () => {
  const batch = (change: Partial<OperationBatch>): OperationBatch => ({
    ...emptyBatch(),
    kinds: [OperationKind.GET, OperationKind.GET],
    mapSlots: [0],
    keyLengths: [1, 2],
    keys: Buffer.from('abc'),
    ...change,
  })
  test.each<[string, Partial<OperationBatch>, RegExp]>([
    ['too few kinds', { kinds: [1, 1, 1] }, /kinds has 3 elements for 2/],
    ['no kinds', { kinds: [] }, /kinds has 0 elements/],
    ['too many slots', { mapSlots: [1, 2, 3] }, /map_slots/],
    ['keys too short', { keys: Buffer.from('ab') }, /keys pass 2/],
    ['keys too long', { keys: Buffer.from('abcd') }, /sum up to 3, but 4/],
    ['lengths that overflow', { keyLengths: [0xffffffff, 0xffffffff] }, /keys pass 3/],
    ['values without lengths', { values: Buffer.from('x') }, /sum up to 0, but 1/],
    ['an unknown kind', { kinds: [1, 14] }, /kind 14.*newer/],
    ['kind zero', { kinds: [0] }, /kind 0/],
    ['a set without a value', { kinds: [OperationKind.SET] }, /SET.*carries no value/],
    ['a get without a key', { keyLengths: [0, 3] }, /GET.*no key/],
    ['a scan with a key', { kinds: [OperationKind.SCAN] }, /SCAN.*a key/],
    ['options beyond the end', { options: [{ ...emptyOptions(2) }] }, /options of operation 2/],
    ['options out of order', { options: [emptyOptions(1), emptyOptions(0)] }, /options of operation 0/],
    ['options twice', { options: [emptyOptions(1), emptyOptions(1)] }, /options of operation 1/],
  ])('%s', (_, change, message) => {
    expect(() => new OperationReader(batch(change))).toThrow(message)
  })

  test('nothing is wrong with the batch that they were made of', () => {
    expect(new OperationReader(batch({})).count).toBe(2)
    expect(new OperationReader(emptyBatch()).count).toBe(0)
  })
})
