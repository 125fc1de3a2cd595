/** Where what belongs to no key lives: offsets of splits and handles of sinks, in the partition of hash(stage, split or task). */
import { partitionOfKey } from '../../keys/partition-of.ts'

const text = new TextEncoder()

export function homeOf(stage: string, name: string, partitions: number): number {
  const bytes = text.encode(`${stage}\n${name}`)
  return partitionOfKey('string', bytes, 0, bytes.length, partitions)
}

/** A record for its home partition; undefined: a tombstone. */
export interface HomeRecord {
  readonly partition: number
  readonly stage: string
  readonly key: Uint8Array
  readonly value: Uint8Array | undefined
}

/** Record key of a split, and of a sink's handle for barrier n. */
export const splitKey = (split: string): Uint8Array => keyOf(0, split)
export const handleKey = (task: string, attempt: number, n: number): Uint8Array => keyOf(1, `${task}\n${attempt}\n${n}`)

function keyOf(table: number, name: string): Uint8Array {
  const bytes = text.encode(`\0${name}`)
  bytes[0] = table
  return bytes
}
