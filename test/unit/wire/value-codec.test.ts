import { describe, expect, test } from 'vitest'
import { NearstateError } from '../../../src/base/errors.ts'
import { decodeValue, encodeShared, encodeValue } from '../../../src/wire/value-codec.ts'
import { nestingMax } from '../../../src/wire/value-nesting.ts'

const there = (value: unknown): unknown => decodeValue(encodeValue(value))

const nested = (depth: number): unknown => {
  let value: unknown = 1
  for (let i = 0; i < depth; i += 1) value = i % 2 === 0 ? [value] : { a: value, b: 'text' }
  return value
}

const refused = (what: () => unknown): string => {
  try {
    what()
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(NearstateError)
    expect((thrown as NearstateError).code).toBe('INVALID_ARGUMENT')
    return (thrown as NearstateError).message
  }
  throw new Error('nothing was refused')
}

describe('a value comes back as it was', () => {
  test.each(
    [
      null,
      undefined,
      true,
      0,
      -1,
      1.5,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.MAX_SAFE_INTEGER,
      Number.MIN_SAFE_INTEGER,
      '',
      'grüße 🎉',
      'x'.repeat(100_000),
      5n,
      -(2n ** 63n),
      2n ** 200n,
      [],
      [1, 'two', [3]],
      {},
      { a: undefined, b: null, constructor: 1, toString: 'text' },
      new Date('2011-10-27T12:12:00.123Z'),
      new Date(-5),
      new Set([1, 'two']),
      new Float32Array([1.5, -0.25]),
      new BigInt64Array([1n]),
      Buffer.from('bytes'),
      Buffer.alloc(0),
      Buffer.alloc(300, 7),
      new Uint8Array([1, 2, 3]),
      /a+b/gi,
    ].map(value => ({ value })),
  )('$value', ({ value }) => {
    expect(there(value)).toEqual(value)
    expect(there({ within: [value] })).toEqual({ within: [value] })
  })

  test('what changes is what the documentation says', () => {
    expect(Object.is(there(-0), 0)).toBe(true)
    expect(there(new Map([['a', 1]]))).toEqual({ a: 1 })
    expect(
      there(
        new (class Point {
          x = 1
        })(),
      ),
    ).toEqual({ x: 1 })
    expect(
      there(
        new (class Point {
          toJSON = () => 'its own form'
        })(),
      ),
    ).toBe('its own form')
    expect(there('\ud800')).not.toBe('\ud800')
    expect(Object.getPrototypeOf(there(JSON.parse('{"__proto__":{"admin":true}}')))).toBe(Object.prototype)
  })
})

test('bytes and what was made of them share no memory', () => {
  const source = { bytes: Buffer.from('before'), array: new Uint8Array([1]) }
  const encoded = encodeValue(source)
  source.bytes.write('after!')
  const decoded = decodeValue(encoded) as typeof source
  const alone = encodeValue(Buffer.from('before'))
  const top = decodeValue(alone) as Buffer
  encoded.fill(0)
  alone.fill(0)
  expect(decoded.bytes.toString()).toBe('before')
  expect(decoded.array).toEqual(new Uint8Array([1]))
  expect(top.toString()).toBe('before')
})

test('a value is read from the middle of other bytes', () => {
  const bytes = Buffer.concat([Buffer.from([0xc1, 0xc1]), encodeValue({ a: [1, 'x'] }), Buffer.from([0xc1])])
  expect(decodeValue(bytes, 2, bytes.length - 1)).toEqual({ a: [1, 'x'] })
})

test('scratch bytes may be used without a copy, again and again', () => {
  for (const value of ['small', 'x'.repeat(3_000_000), { a: 1 }]) {
    const { bytes, start, end } = encodeShared(value)
    expect(decodeValue(bytes, start, end)).toEqual(value)
    expect(end - start).toBe(encodeValue(value).length)
  }
})

describe('refused', () => {
  test('functions and symbols', () => {
    refused(() => encodeValue(() => 1))
    refused(() => encodeValue({ a: Symbol('s') }))
    // The encoder works on after a refusal.
    expect(there({ a: 1 })).toEqual({ a: 1 })
  })

  test('what contains itself', () => {
    const loop: { self?: unknown } = {}
    loop.self = loop
    expect(refused(() => encodeValue(loop))).toContain('contains itself')
  })

  test('deep nesting, alike for the writer and the reader', () => {
    expect(there(nested(nestingMax))).toEqual(nested(nestingMax))
    expect(refused(() => encodeValue(nested(nestingMax + 1)))).toContain(String(nestingMax))
    expect(refused(() => decodeValue(Buffer.alloc(100_000, 0x91)))).toContain(String(nestingMax))
  })

  test('bytes that are cut short, at every place', () => {
    const bytes = encodeValue({
      name: 'Ann',
      at: new Date(1),
      list: [1, 2, 300],
      bytes: Buffer.alloc(40),
      set: new Set(['a']),
      big: 2n ** 70n,
    })
    for (let length = 0; length < bytes.length; length += 1) refused(() => decodeValue(bytes.subarray(0, length)))
  })

  test('bytes left over, and lengths that promise more than there is', () => {
    refused(() => decodeValue(Buffer.from('c0c0', 'hex')))
    refused(() => decodeValue(Buffer.from('dd7fffffff01', 'hex')))
    refused(() => decodeValue(Buffer.from('df7fffffff01', 'hex')))
    refused(() => decodeValue(Buffer.from('dbffffffff61', 'hex')))
  })
})
