/**
 * How an entry remembers its use, in one word, and which of some sampled entries is given up.
 *
 *   lru   the moment of the last access, in units of 16 ms (a distance of more than two years is taken for a short one)
 *   lfu   minutes << 8 | counter: the counter grows with the logarithm of accesses and falls by one each minute without
 *
 * Sampling (as Redis does) costs the same whatever the size, needs no list through all entries, and comes close to the real order.
 */
import type { Random } from '../base/random.ts'
import type { Eviction } from './map-limits.ts'

export const evictionSamples = 8
const lruUnitMs = 16
const lfuMinuteMs = 60_000
const lfuFirstCount = 5
/** Accesses that double the counter's cost: with 10, a million accesses fill it. */
const lfuLogFactor = 10

export function firstAccess(eviction: Eviction, wallTimeMs: number): number {
  return eviction === 'lfu' ? (minuteOf(wallTimeMs) << 8) | lfuFirstCount : Math.floor(wallTimeMs / lruUnitMs) | 0
}

export function nextAccess(eviction: Eviction, access: number, wallTimeMs: number, random: Random): number {
  if (eviction !== 'lfu') return Math.floor(wallTimeMs / lruUnitMs) | 0
  const count = lfuCount(access, wallTimeMs)
  const grows = count < 255 && random.next() * (Math.max(0, count - lfuFirstCount) * lfuLogFactor + 1) < 1
  return (minuteOf(wallTimeMs) << 8) | (grows ? count + 1 : count)
}

/** The greater, the sooner the entry is given up. */
export function evictionRank(eviction: Eviction, access: number, wallTimeMs: number): number {
  if (eviction === 'lfu') return 255 - lfuCount(access, wallTimeMs)
  return ((Math.floor(wallTimeMs / lruUnitMs) | 0) - access) >>> 0
}

const minuteOf = (wallTimeMs: number): number => Math.floor(wallTimeMs / lfuMinuteMs) & 0xffffff

function lfuCount(access: number, wallTimeMs: number): number {
  const minutes = (minuteOf(wallTimeMs) - (access >>> 8)) & 0xffffff
  return Math.max(0, (access & 0xff) - (minutes > 0x800000 ? 0 : minutes))
}
