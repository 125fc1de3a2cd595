/** What the stream engine needs of the shard that it runs on. */
import type { KeyCodec } from '../keys/key-codec.ts'

/** One map, on the partitions that this shard owns. Keys and values are decoded; values read are shared and read-only. */
export interface LocalMap {
  get(partition: number, key: unknown): unknown
  /** A local write; throws NearstateError RESOURCE_EXHAUSTED when memory is full. */
  set(partition: number, key: unknown, value: unknown): void
}

export interface LocalMaps {
  /** The map of this name, created when it is not there; rejects when its key space is another one. */
  open(name: string, keySpace: string, keyCodec: KeyCodec): Promise<LocalMap>
}
