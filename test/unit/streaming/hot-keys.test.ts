/** Which keys are hot: Space-Saving over a sample, against keys of known shares; and the tasks' figures as one. */
import { describe, expect, it } from 'vitest'
import type { KeyCodec } from '../../../src/keys/key-codec.ts'
import { mergeSkew } from '../../../src/streaming/execution/key-skew.ts'
import { Batch } from '../../../src/streaming/operators/batch.ts'
import { HotKeys } from '../../../src/streaming/operators/hot-keys.ts'

const startMs = 60_000_000

/** Rows of these keys, in batches of uneven lengths. */
function counted(
  keyOf: (n: number) => unknown,
  rows: number,
  codec: KeyCodec = 'int64',
  hot = new HotKeys(codec, 0),
  wallTimeMs = startMs,
) {
  for (let n = 0; n < rows; ) {
    const batch = new Batch()
    for (const end = Math.min(rows, n + 1 + ((n * 7) % 200)); n < end; n += 1) batch.push({ n }, 0, -1, keyOf(n), 0)
    hot.take(batch, wallTimeMs)
  }
  return hot
}

const shares = (hot: HotKeys) =>
  new Map(
    hot
      .top(32)
      .map(({ key, count, error }) => [key, { least: (count - error) / hot.sampled(startMs), most: count / hot.sampled(startMs) }]),
  )

/** Numbers in no order, the same every time. */
const mixed = (n: number): number => (Math.imul(n + 1, 0x9e37_79b1) >>> 0) % 1_000_003

describe('hot keys', () => {
  it('samples about one row in 64', () => {
    expect(counted(() => 1, 64_500).sampled(startMs)).toBeGreaterThan(900)
    expect(counted(() => 1, 64_500).sampled(startMs)).toBeLessThan(1100)
  })

  it('finds keys of many rows among thousands of others, each within its bounds', () => {
    // Key -1 has 30 % of the rows, -2 10 %, the others a share in 5000 each.
    const found = shares(counted(n => (n % 10 < 3 ? -1 : n % 10 === 3 ? -2 : mixed(n) % 5000), 640_000))
    const [first, second] = [...found]
    expect(first?.[0]).toBe(-1)
    expect(first?.[1].least).toBeGreaterThan(0.25)
    expect(first?.[1].most).toBeLessThan(0.35)
    expect(second?.[0]).toBe(-2)
    expect(second?.[1].least).toBeGreaterThan(0.05)
    expect(second?.[1].most).toBeLessThan(0.15)
  })

  it('takes no key for hot where all are alike, and keeps to 32 counters and their error', () => {
    const found = shares(counted(n => mixed(n) % 5000, 640_000))
    expect(found.size).toBe(32)
    for (const { least, most } of found.values()) {
      expect(least).toBeLessThan(0.01)
      expect(most - least).toBeLessThanOrEqual(1 / 32)
    }
  })

  it('is not misled by keys that come round in turn, whatever their number', () => {
    for (const keys of [2, 16, 20, 32]) {
      const found = shares(counted(n => n % keys, 640_000))
      expect(found.size).toBe(keys)
      for (const { least } of found.values()) expect(Math.abs(least - 1 / keys)).toBeLessThan(0.02)
    }
  })

  it('forgets: what was hot three minutes ago weighs an eighth', () => {
    const hot = counted(() => 'old', 64_500, 'string')
    const before = hot.sampled(startMs)
    expect(hot.sampled(startMs + 180_000)).toBeCloseTo(before / 8, 6)
    counted(() => 'new', 64_500, 'string', hot, startMs + 180_000)
    const [first, second] = hot.top(2)
    expect([first?.key, second?.key]).toEqual(['new', 'old'])
    expect((second?.count ?? 0) / (first?.count ?? 1)).toBeCloseTo(1 / 8, 1)
  })

  it('tells keys of bytes and of tuples apart by what they hold', () => {
    expect(counted(n => new Uint8Array([n % 2]), 64_500, 'bytes').top(9)).toHaveLength(2)
    expect(counted(n => ['a', n % 3], 64_500, ['tuple', 'string', 'int64']).top(9)).toHaveLength(3)
  })
})

it('the figures of tasks add up: each key is in one task, and its share is of the rows of all', () => {
  const part = (sampled: number, keys: readonly { key: unknown; count: number; error: number }[]) => [
    { stage: 'by id', feeds: ['counts'], sampled, keys },
  ]
  const one = part(300, [
    { key: 'a', count: 200, error: 0 },
    { key: 'b', count: 20, error: 10 },
  ])
  const other = part(100, [{ key: 'c', count: 50, error: 0 }])
  expect(mergeSkew([one, other, part(0, [])])).toEqual([
    {
      stage: 'by id',
      feeds: ['counts'],
      sampled: 400,
      keys: [
        { key: 'a', share: 0.5, atMost: 0.5 },
        { key: 'c', share: 0.125, atMost: 0.125 },
        { key: 'b', share: 0.025, atMost: 0.05 },
      ],
    },
  ])
  expect(mergeSkew([])).toEqual([])
})
