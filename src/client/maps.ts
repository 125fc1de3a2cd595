import { type Duration, parseDuration } from '../base/duration.ts'
import { parseByteSize } from '../base/byte-size.ts'
import { invalidArgument } from '../base/errors.ts'
import { formatKeyCodec } from '../keys/key-codec.ts'
import { type AnyKey, defineKey } from '../keys/key-space.ts'
import type { MapDefinition } from '../wire/generated/nearstate/v1/admin.ts'
import type { AdminCalls } from './admin-calls.ts'
import { type CallOptions, checkOptions } from './call-options.ts'

export interface MapOptions {
  /** Default: `string` keys in a space named after the map. */
  readonly key?: AnyKey
  /** Of entries written without one of their own. */
  readonly ttl?: Duration
  readonly maxIdle?: Duration
  /** Primary bytes over the whole cluster (`'512mb'`), enforced per partition as maxBytes / partitions. */
  readonly maxBytes?: number | string
  /** At `maxBytes`: `none` (default) refuses the write, `lru` and `lfu` make room. */
  readonly eviction?: 'none' | 'lru' | 'lfu'
}

export interface MapInfo {
  readonly name: string
  readonly keySpace: string
  readonly keyCodec: string
  /** 0: none. */
  readonly ttlMs: number
  readonly maxIdleMs: number
  readonly maxBytes: number
  readonly eviction: string
  readonly createdAt: number
}

const optionNames = ['key', 'ttl', 'maxIdle', 'maxBytes', 'eviction']
const later = {
  indexes: 'indexes come with the query engine, in a later release',
  journal: 'change journals come in a later release',
  store: 'external stores come in a later release',
  backups: 'the number of backups is a setting of the cluster',
}

/** Definitions of maps: `grid.maps`. */
export class Maps {
  readonly #calls: AdminCalls

  constructor(calls: AdminCalls) {
    this.#calls = calls
  }

  /** Creates a map. The same definition again does nothing; another one under the name is ALREADY_EXISTS. */
  async create(name: string, options: MapOptions = {}, call?: CallOptions): Promise<MapInfo> {
    checkOptions(`map "${name}"`, options, optionNames, later)
    const key = options.key ?? defineKey(name, 'string')
    const { eviction = 'none' } = options
    if (eviction !== 'none' && eviction !== 'lru' && eviction !== 'lfu') {
      throw invalidArgument(`Cannot create map "${name}": eviction is "${String(eviction)}", none, lru or lfu is wanted`)
    }
    const maxBytes = options.maxBytes === undefined ? 0 : parseByteSize(options.maxBytes, 'maxBytes')
    if (eviction !== 'none' && maxBytes === 0) throw invalidArgument(`Cannot create map "${name}": eviction ${eviction} needs maxBytes`)
    const definition: MapDefinition = {
      id: 0,
      name,
      keySpace: key.name,
      keyCodec: formatKeyCodec(key.codec),
      ttlMs: durationOf('ttl', options.ttl),
      maxIdleMs: durationOf('maxIdle', options.maxIdle),
      maxBytes: BigInt(maxBytes),
      eviction,
      createdAtMs: 0n,
    }
    return infoOf(await this.#calls.repeatable((admin, unary) => admin.createMap({ definition }, unary), call))
  }

  /** All maps of users, by name. */
  async list(call?: CallOptions): Promise<readonly MapInfo[]> {
    const { maps } = await this.#calls.repeatable((admin, unary) => admin.listMaps({}, unary), call)
    return maps.map(infoOf)
  }

  /** Removes the map and all its entries. NOT_FOUND when there is none. */
  async destroy(name: string, call?: CallOptions): Promise<void> {
    await this.#calls.once((admin, unary) => admin.destroyMap({ name }, unary), call)
  }
}

const durationOf = (what: string, text: Duration | undefined): bigint => (text === undefined ? 0n : BigInt(parseDuration(text, what)))

const infoOf = (definition: MapDefinition): MapInfo => ({
  name: definition.name,
  keySpace: definition.keySpace,
  keyCodec: definition.keyCodec,
  ttlMs: Number(definition.ttlMs),
  maxIdleMs: Number(definition.maxIdleMs),
  maxBytes: Number(definition.maxBytes),
  eviction: definition.eviction,
  createdAt: Number(definition.createdAtMs),
})
