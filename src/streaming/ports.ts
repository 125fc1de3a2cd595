/** What the stream engine needs of the shard that it runs on. */
import type { KeyCodec } from '../keys/key-codec.ts'

/** One map, on the partitions that this shard owns. Values read are shared and read-only. */
export interface LocalMap {
  get(partition: number, key: unknown): unknown
  /**
   * A local write of a value that was encoded where user code may run; throws NearstateError RESOURCE_EXHAUSTED when memory is full.
   */
  setEncoded(partition: number, key: unknown, value: Uint8Array): void
}

export interface LocalMaps {
  /** The map of this name, created when it is not there; rejects when its key space is another one. */
  open(name: string, keySpace: string, keyCodec: KeyCodec): Promise<LocalMap>
}
