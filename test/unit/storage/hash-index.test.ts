import { describe, expect, test } from 'vitest'
import { randomInteger, seededRandom } from '../../../src/base/random.ts'
import { HashIndex } from '../../../src/storage/hash-index.ts'
import { hashKey } from '../../../src/storage/key-hash.ts'
import { MemoryBudget } from '../../../src/storage/memory-budget.ts'

const lowest = -0x80000000

function content(index: HashIndex): string[] {
  const seen: string[] = []
  let previous = lowest
  index.walk(lowest, (hash, location) => {
    expect(hash).toBeGreaterThanOrEqual(previous)
    previous = hash
    seen.push(`${hash}:${location}`)
    return true
  })
  return seen.sort()
}

/** Hashes that crowd: many equal ones, the two ends of the range, and few homes. */
const crowds = {
  'equal hashes': (next: number): number => next % 3,
  'the end of the range': (next: number): number => 0x7fffffff - (next % 40),
  'the start of the range': (next: number): number => lowest + (next % 40),
  'all over': (next: number): number => Math.imul(next, 0x9e3779b1),
}

describe.each(Object.entries(crowds))('an index of hashes that are %s', (_, hashOf) => {
  test('holds what was put in and not removed, in order, at every step of its growing and shrinking', () => {
    const budget = new MemoryBudget(1 << 30)
    const index = new HashIndex(budget)
    const random = seededRandom(4)
    const model = new Map<number, number>()
    for (let location = 1; location <= 3000; location += 1) {
      const grows = location % 1500 < 1000
      if (random.next() < (grows ? 0.9 : 0.1) || model.size === 0) {
        const hash = hashOf(randomInteger(random, 2 ** 31))
        index.insert(hash, location)
        model.set(location, hash)
      } else {
        const [oldest, hash] = [...model].at(randomInteger(random, model.size)) as [number, number]
        index.remove(hash, oldest)
        model.delete(oldest)
      }
      if (location % 61 === 0) expect(content(index)).toEqual([...model].map(([at, hash]) => `${hash}:${at}`).sort())
      expect(index.entries).toBe(model.size)
      expect(budget.usedBytes).toBe(index.bytes)
    }
    for (const [location, hash] of model) index.remove(hash, location)
    expect(budget.usedBytes).toBe(0)
  })
})

test('growing to a hundred thousand entries never holds much more than it needs', () => {
  const index = new HashIndex(new MemoryBudget(1 << 30))
  for (let i = 1; i <= 100_000; i += 1) {
    index.insert(Math.imul(i, 0x9e3779b1), i)
    // 8 bytes a cell at a load of at least 1 / 1.5, and the next table while entries move.
    if (i > 1000 && i % 50 === 0) expect(index.bytes / i).toBeLessThan(8 * (1 / 0.56 + 1.5 / 0.56))
  }
  expect(index.bytes / 100_000).toBeLessThan(8 / 0.55)
})

describe('the hash of keys', () => {
  test('spreads short numbered keys, long common prefixes and binary counters over the whole range', () => {
    const kinds: ((i: number) => Buffer)[] = [
      i => Buffer.from(String(i)),
      i => Buffer.from(`customer:with:a:long:prefix:${i}`),
      i => Buffer.from(new Uint32Array([i]).buffer),
      i => Buffer.from(new BigInt64Array([BigInt(i)]).buffer).reverse(),
    ]
    for (const keyOf of kinds) {
      const buckets = Array.from({ length: 256 }, () => 0)
      for (let i = 0; i < 25_600; i += 1) {
        const key = keyOf(i)
        const bucket = hashKey(key, 0, key.length) >>> 24
        buckets[bucket] = (buckets[bucket] as number) + 1
      }
      // 100 expected each, standard deviation 10.
      expect(Math.min(...buckets)).toBeGreaterThan(55)
      expect(Math.max(...buckets)).toBeLessThan(150)
    }
  })

  test('depends on the bytes alone, not on where they lie', () => {
    const key = Buffer.from('0123456789')
    const within = Buffer.from('xx0123456789yy')
    expect(hashKey(within, 2, 12)).toBe(hashKey(key, 0, 10))
    expect(hashKey(key, 0, 9)).not.toBe(hashKey(key, 0, 10))
  })
})
