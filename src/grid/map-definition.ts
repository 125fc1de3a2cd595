import { invalidArgument, NearstateError } from '../base/errors.ts'
import type { MapId } from '../base/ids.ts'
import type { KeyCodec } from '../keys/key-codec.ts'
import type { Eviction } from '../storage/map-limits.ts'

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

const nameMaxBytes = 255

/** Why no map can have this name; undefined: one can. */
export function mapNameRefusal(name: string): NearstateError | undefined {
  if (name.length > 0 && Buffer.byteLength(name) <= nameMaxBytes && !/\p{Cc}/u.test(name)) return undefined
  return invalidArgument(
    `Cannot use map name ${JSON.stringify(name.slice(0, nameMaxBytes))}: 1 to ${nameMaxBytes} bytes without control characters are wanted`,
  )
}

/** Why no map can have keys of a space of this name; undefined: one can. */
export function keySpaceNameRefusal(map: string, keySpace: string): NearstateError | undefined {
  if (keySpace.length > 0 && Buffer.byteLength(keySpace) <= nameMaxBytes && !/\p{Cc}/u.test(keySpace)) return undefined
  return invalidArgument(
    `Cannot use map "${map}" with key space ${JSON.stringify(keySpace.slice(0, nameMaxBytes))}: its name has 1 to ${nameMaxBytes} bytes without control characters`,
  )
}

/** Maps whose name begins so are the system's own; users cannot create, write or destroy them. */
const systemMapPrefix = '__'
export const isSystemMap = (name: string): boolean => name.startsWith(systemMapPrefix)
export const systemMapRefusal = (name: string): NearstateError =>
  new NearstateError('PERMISSION_DENIED', `Cannot use map "${name}": names that begin with ${systemMapPrefix} are the system's own`)
/** Bundles of functions and jobs, in chunks: key `<hash>/<chunk number>`, value the chunk's bytes. */
export const bundleMapName = '__bundles'
