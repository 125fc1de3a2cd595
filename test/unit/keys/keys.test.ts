import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { affinityOf } from '../../../src/keys/affinity.ts'
import { checkKeyBytes, decodeKey, encodeKey, encodeKeyInto, encodeKeyPrefix, keyMaxBytes } from '../../../src/keys/encode-key.ts'
import { formatKeyCodec, type KeyCodec, parseKeyCodec } from '../../../src/keys/key-codec.ts'
import { defineKey, defineTupleKey } from '../../../src/keys/key-space.ts'
import { murmur2 } from '../../../src/keys/murmur2.ts'
import { partitionOf, partitionOfKey } from '../../../src/keys/partition-of.ts'

const refused = (message: string | RegExp) =>
  expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(message) as unknown })
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

describe('murmur2', () => {
  it.each([
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ])('of "%s" is what Kafka computes', (text, hash) => {
    expect(murmur2(Buffer.from(text))).toBe(hash)
    expect(murmur2(Buffer.from(`xx${text}y`), 2, 2 + Buffer.byteLength(text))).toBe(hash)
  })

  it('gives a partition below the count for every hash', () => {
    expect(partitionOf(-1, 240)).toBe(0x7fffffff % 240)
    expect(partitionOf(-2147483648, 240)).toBe(0)
  })
})

describe('key spaces', () => {
  it('carry name, codec and, for tuples, their first space and their field names', () => {
    const country = defineKey('country', 'string')
    expect(country).toEqual({ name: 'country', codec: 'string' })
    expect(defineTupleKey('country-day', country, { day: 'string', hour: 'int64' })).toEqual({
      name: 'country-day',
      codec: ['tuple', 'string', 'string', 'int64'],
      first: country,
      fields: ['day', 'hour'],
    })
  })

  it('refuse bad names, codecs and fields', () => {
    for (const name of ['', ' a', 'a b', 'x'.repeat(129), '-a', 'a\n'])
      expect(() => defineKey(name, 'string')).toThrow(refused('name is 1 to 128'))
    expect(() => defineKey(7 as unknown as string, 'string')).toThrow(refused('key space number'))
    expect(() => defineKey('a', 'text' as 'string')).toThrow(refused('codec "text"'))
    const first = defineKey('a', 'string')
    expect(() => defineTupleKey('b', first, {})).toThrow(refused('at least one element'))
    expect(() => defineTupleKey('b', first, { x: 'string', 1: 'string' })).toThrow(refused('"1" is a number'))
    expect(() => defineTupleKey('b', first, { x: 'text' as 'string' })).toThrow(refused('tuple\\(string,text\\)'))
  })
})

describe('key codecs', () => {
  it.each(['string', 'int64', 'bytes', 'tuple(string,int64)', 'tuple(tuple(int64,bytes),string,string)'])(
    '%s reads as it is written',
    text => expect(formatKeyCodec(parseKeyCodec(text))).toBe(text),
  )

  it.each([
    '',
    'text',
    'tuple()',
    'tuple(string)',
    'tuple(string,)',
    'tuple(,string)',
    'tuple(string,int64',
    'tuple(string,tuple(string,string))',
    'tuple(tuple(string,string))',
    'string,string',
    `tuple(${Array.from({ length: 17 }, () => 'bytes').join(',')})`,
    `${'tuple('.repeat(6)}string${',string)'.repeat(6)}`,
  ])('"%s" is refused', text => expect(() => parseKeyCodec(text)).toThrow(refused('Cannot read key codec')))
})

describe('encoding', () => {
  const cases: readonly (readonly [KeyCodec, unknown, string])[] = [
    ['string', 'aé', '61c3a9'],
    ['int64', 1, '0000000000000001'],
    ['int64', -1, 'ffffffffffffffff'],
    ['int64', Number.MAX_SAFE_INTEGER, '001fffffffffffff'],
    ['int64', Number.MIN_SAFE_INTEGER, 'ffe0000000000001'],
    ['bytes', Uint8Array.of(0, 1), '0001'],
    [['tuple', 'string', 'string'], ['a\0', 'b\0'], '6100ff00016200'],
    [['tuple', 'int64', 'string'], [1, ''], '8000000000000001'],
    [['tuple', 'string', 'int64'], ['a', -1], '6100017fffffffffffffff'],
    [['tuple', ['tuple', 'string', 'string'], 'bytes'], [['a', 'b'], Uint8Array.of(7)], '6100ff0162000107'],
  ]
  it.each(cases)('of %s %j is fixed, and decodes to the key', (codec, key, bytes) => {
    const encoded = encodeKey(codec, key)
    expect(hex(encoded)).toBe(bytes)
    expect(decodeKey(codec, encoded)).toEqual(key)
    checkKeyBytes(codec, encoded, 0, encoded.length)
    const room = Buffer.alloc(encoded.length + 2)
    expect(encodeKeyInto(codec, key, room, 2)).toBe(encoded.length)
    expect(hex(room.subarray(2))).toBe(bytes)
    expect(decodeKey(codec, room, 2)).toEqual(key)
    expect(encodeKeyInto(codec, key, room, 3)).toBe(-1)
  })

  it('of a tuple is the same wherever it is written', () => {
    const codec: KeyCodec = ['tuple', 'string', 'int64', 'string']
    const text = fc.oneof(fc.string({ maxLength: 50 }), fc.string({ unit: fc.constantFrom('a', '\0', 'é', '~'), maxLength: 5 }))
    fc.assert(
      fc.property(text, fc.maxSafeInteger(), text, fc.nat(120), (first, integer, last, size) => {
        fc.pre(first !== '')
        const key = [first, integer, last]
        const encoded = encodeKey(codec, key)
        const room = Buffer.alloc(size)
        const length = encodeKeyInto(codec, key, room, 0)
        expect(length).toBe(encoded.length <= size ? encoded.length : -1)
        if (length >= 0) expect(hex(room.subarray(0, length))).toBe(hex(encoded))
      }),
    )
  })

  it('refuses other types, and never shows the key', () => {
    expect(() => encodeKey('string', 5)).toThrow(refused('a string is wanted, got number'))
    expect(() => encodeKey('int64', 'secret')).toThrow(refused(/an integer \(number\) is wanted, got string$/))
    expect(() => encodeKey('int64', 1n)).toThrow(refused('got bigint'))
    expect(() => encodeKey('bytes', null)).toThrow(refused('a Uint8Array is wanted, got null'))
    expect(() => encodeKey(['tuple', 'string', 'string'], ['a'])).toThrow(refused('an array of 2 elements is wanted, got an array of 1'))
    expect(() => encodeKey(['tuple', 'string', 'string'], ['a', undefined])).toThrow(refused('got undefined'))
    expect(() => encodeKeyInto('string', {}, Buffer.alloc(9), 0)).toThrow(refused('got object'))
  })

  it.each([2 ** 53, -(2 ** 53), 1.5, Number.NaN, Number.POSITIVE_INFINITY])('refuses %d as an int64', key =>
    expect(() => encodeKey('int64', key)).toThrow(refused('from -\\(2\\^53 - 1\\)')),
  )

  it('refuses strings with half of a surrogate pair, which would all become one key', () => {
    for (const key of ['\ud800', `${'x'.repeat(50)}\udc00`]) {
      expect(() => encodeKey('string', key)).toThrow(refused('surrogate'))
      expect(() => encodeKeyInto('string', key, Buffer.alloc(99), 0)).toThrow(refused('surrogate'))
    }
  })

  it('refuses empty keys and empty first elements', () => {
    expect(() => encodeKey('string', '')).toThrow(refused('empty key'))
    expect(() => encodeKeyInto('string', '', Buffer.alloc(9), 0)).toThrow(refused('empty key'))
    expect(() => encodeKey('bytes', new Uint8Array(0))).toThrow(refused('empty key'))
    expect(() => encodeKey(['tuple', 'string', 'string'], ['', 'a'])).toThrow(refused('empty key'))
    expect(() => decodeKey('string', Buffer.alloc(4), 2, 2)).toThrow(refused('empty key'))
  })

  it('refuses keys of 64 KiB and more, counted in bytes', () => {
    expect(encodeKey('string', 'x'.repeat(keyMaxBytes)).length).toBe(keyMaxBytes)
    expect(() => encodeKey('string', 'x'.repeat(keyMaxBytes + 1))).toThrow(refused('65536 bytes: the limit is 65535'))
    expect(() => encodeKeyInto('string', 'é'.repeat(40_000), Buffer.alloc(99_999), 0)).toThrow(refused('80000 bytes'))
    expect(() => decodeKey('bytes', new Uint8Array(keyMaxBytes + 1))).toThrow(refused('65536 bytes'))
  })

  it('refuses to decode bytes that it cannot have written', () => {
    const bad: readonly (readonly [KeyCodec, string])[] = [
      ['string', 'ff'],
      ['int64', '00'],
      ['int64', '7fffffffffffffff'],
      [['tuple', 'string', 'string'], '6161'],
      [['tuple', 'string', 'string'], '000161'],
      [['tuple', 'string', 'string'], '61000261'],
      [['tuple', 'string', 'string'], '6100'],
      [['tuple', 'int64', 'int64'], '8000000000000001'],
      [['tuple', 'int64', 'int64'], '80000000'],
      [['tuple', 'int64', 'int64'], '8000000000000001800000000000000100'],
    ]
    for (const [codec, text] of bad) {
      const bytes = Buffer.from(text, 'hex')
      expect(() => decodeKey(codec, bytes), `${formatKeyCodec(codec)} ${text}`).toThrow(refused('Cannot'))
      expect(() => checkKeyBytes(codec, bytes, 0, bytes.length)).toThrow(refused('Cannot'))
    }
  })

  it('accepts a replacement character that is really there', () => expect(decodeKey('string', Buffer.from('a\ufffd'))).toBe('a\ufffd'))

  it('hands out copies of bytes', () => {
    const source = Buffer.from([1, 2, 3])
    const key = decodeKey('bytes', source) as Uint8Array
    const encoded = encodeKey('bytes', source)
    source[0] = 9
    expect([key[0], encoded[0]]).toEqual([1, 1])
  })
})

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 6 }),
  fc.string({ unit: fc.constantFrom('\0', '\x01', 'a', '\u{ffff}', '😀') }),
)
const bytes = fc.uint8Array({ maxLength: 5 })
const scalars = { string: text, int64: fc.maxSafeInteger(), bytes }
type Case = readonly [KeyCodec, readonly unknown[]]
const tupleCase: fc.Arbitrary<Case> = fc
  .array(fc.constantFrom('string', 'int64', 'bytes'), { minLength: 2, maxLength: 4 })
  .chain(codecs =>
    fc.tuple(fc.constant<KeyCodec>(['tuple', ...codecs]), fc.tuple(...codecs.map(codec => scalars[codec] as fc.Arbitrary<unknown>))),
  )
  .filter(([codec, key]) => codec[1] === 'int64' || (key[0] as { length: number }).length > 0)

const compareElement = (a: unknown, b: unknown): number => {
  if (typeof a === 'number') return Math.sign(a - (b as number))
  return typeof a === 'string' ? Buffer.compare(Buffer.from(a), Buffer.from(b as string)) : Buffer.compare(a as Uint8Array, b as Uint8Array)
}

describe('tuples', () => {
  it('decode to what was encoded', () =>
    fc.assert(
      fc.property(tupleCase, ([codec, key]) => {
        expect(decodeKey(codec, encodeKey(codec, key))).toEqual(key)
      }),
    ))

  it('sort as bytes as they sort element by element', () =>
    fc.assert(
      fc.property(
        fc.constantFrom<KeyCodec>(['tuple', 'string', 'int64', 'bytes']),
        fc.tuple(text, scalars.int64, bytes),
        fc.tuple(text, scalars.int64, bytes),
        (codec, a, b) => {
          fc.pre(a[0] !== '' && b[0] !== '')
          const wanted = [0, 1, 2].map(i => compareElement(a[i], b[i])).find(order => order !== 0) ?? 0
          expect(Buffer.compare(encodeKey(codec, a), encodeKey(codec, b))).toBe(wanted)
        },
      ),
      { numRuns: 500 },
    ))

  it('live in the partition of their first element, nested or not', () =>
    fc.assert(
      fc.property(tupleCase, ([codec, key]) => {
        const first = codec[1] as KeyCodec
        const alone = encodeKey(first, key[0])
        const whole = encodeKey(codec, key)
        const nested: KeyCodec = ['tuple', codec, 'int64']
        const outer = encodeKey(nested, [key, 5])
        expect(hex(affinityOf(codec, whole))).toBe(hex(alone))
        expect(hex(affinityOf(nested, outer))).toBe(hex(alone))
        const partition = partitionOfKey(first, alone, 0, alone.length, 240)
        const shifted = Buffer.concat([Buffer.from([9, 0, 1]), whole, Buffer.from([0, 1])])
        expect(partitionOfKey(codec, shifted, 3, 3 + whole.length, 240)).toBe(partition)
        expect(partitionOfKey(nested, outer, 0, outer.length, 240)).toBe(partition)
      }),
    ))

  it('with a prefix begin with its bytes, and others do not', () => {
    const codec: KeyCodec = ['tuple', 'string', 'string']
    const prefix = encodeKeyPrefix(codec, ['UK'])
    expect(hex(encodeKey(codec, ['UK', '2011'])).startsWith(hex(prefix))).toBe(true)
    expect(hex(encodeKey(codec, ['UKX', '2011'])).startsWith(hex(prefix))).toBe(false)
    expect(hex(encodeKeyPrefix('string', 'ab'))).toBe('6162')
    expect(() => encodeKeyPrefix('int64', 5)).toThrow(refused('int64 have none'))
    expect(() => encodeKeyPrefix(codec, ['a', 'b', 'c'])).toThrow(refused('first 1 to 2 elements'))
  })
})

describe('hostile bytes', () => {
  it('are decoded or refused with INVALID_ARGUMENT, and what is decoded encodes to the same bytes', () =>
    fc.assert(
      fc.property(
        fc.constantFrom<KeyCodec>(
          'string',
          'int64',
          'bytes',
          ['tuple', 'string', 'int64'],
          ['tuple', ['tuple', 'bytes', 'string'], 'string'],
        ),
        fc.uint8Array({ maxLength: 24 }),
        (codec, hostile) => {
          let key: unknown
          try {
            key = decodeKey(codec, hostile)
          } catch (error) {
            expect(error).toEqual(refused('Cannot'))
            return
          }
          expect(hex(encodeKey(codec, key))).toBe(hex(hostile))
        },
      ),
      { numRuns: 1000 },
    ))
})
