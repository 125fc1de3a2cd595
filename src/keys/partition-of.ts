/** Key -> partition: what every client and every shard must agree on. */
import { affinityOf, plainAffinityEnd } from './affinity.ts'
import type { KeyCodec } from './key-codec.ts'
import { murmur2, murmur2OfInt64 } from './murmur2.ts'

/** The partition of a murmur2 hash of an affinity key, as Kafka's default partitioner picks it. */
export const partitionOf = (hash: number, count: number): number => (hash & 0x7fffffff) % count

/** The partition of the encoded key at bytes[start, end). */
export function partitionOfKey(codec: KeyCodec, bytes: Uint8Array, start: number, end: number, count: number): number {
  if (typeof codec === 'string') return partitionOf(murmur2(bytes, start, end), count)
  const plainEnd = plainAffinityEnd(codec, bytes, start, end)
  if (plainEnd >= 0) return partitionOf(murmur2(bytes, start, plainEnd), count)
  return partitionOf(murmur2(affinityOf(codec, bytes.subarray(start, end))), count)
}

/** The same as `partitionOfKey` of the encoded key, for codec int64 and a safe integer. */
export const partitionOfInt64 = (key: number, count: number): number => partitionOf(murmur2OfInt64(key), count)
