import type { MapId } from '../base/ids.ts'
import type { KeyCodec } from '../keys/key-codec.ts'

export type Eviction = 'none' | 'lru' | 'lfu'

/** What a map is: fixed when it is created, the same on every shard, kept by the coordinator under `maps/<name>`. */
export interface MapDefinition {
  readonly id: MapId
  readonly name: string
  /** Identity of the key space: a client or job that brings another one is refused. */
  readonly keySpace: string
  readonly keyCodec: KeyCodec
  /** Default time to live of an entry; 0: none. */
  readonly ttlMs: number
  readonly maxIdleMs: number
  /** Primary bytes over the whole cluster, enforced per partition as maxBytes / partitions; 0: no limit of its own. */
  readonly maxBytes: number
  /** What happens at `maxBytes`: `none` refuses the write with RESOURCE_EXHAUSTED. */
  readonly eviction: Eviction
  readonly createdAtMs: number
}

/** Maps whose name begins so are the system's own; users cannot create, write or destroy them. */
export const systemMapPrefix = '__'
/** Bundles of functions and jobs, in chunks: key `<hash>/<chunk number>`, value the chunk's bytes. */
export const bundleMapName = '__bundles'
