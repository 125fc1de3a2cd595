/**
 * Maps as stream jobs use them: local reads and writes on the partitions that this shard serves.
 *
 * Owns: the decoded copies of hot values, within a byte budget per map. A copy counts only with its entry's present version
 * (grid/decoded-cache.ts), so a write by anybody, expiry and eviction are seen at once. Values read are shared: read-only.
 */
import { NearstateError } from '../base/errors.ts'
import type { Clock } from '../base/clock.ts'
import { DecodedCache } from '../grid/decoded-cache.ts'
import { Outcome, type PartitionMap, unchanged } from '../grid/partition-map.ts'
import { encodeKey, encodeKeyInto } from '../keys/encode-key.ts'
import { formatKeyCodec, type KeyCodec } from '../keys/key-codec.ts'
import type { LocalMap, LocalMaps } from '../streaming/ports.ts'
import { decodeValue } from '../wire/value-codec.ts'
import { keySpaceRefusal, type MapCatalog, type MapHandle } from './map-catalog.ts'
import { type Ownership, serving } from './ownership.ts'
import type { Partitions } from './partitions.ts'

export interface LocalMapsOptions {
  readonly catalog: MapCatalog
  readonly partitions: Partitions
  readonly ownership: Ownership
  readonly clock: Clock
  /** Decoded copies per map, at most; above it the coldest half goes. */
  readonly cacheMaxBytes: number
}

export class ShardLocalMaps implements LocalMaps {
  readonly #options: LocalMapsOptions

  constructor(options: LocalMapsOptions) {
    this.#options = options
  }

  async open(name: string, keySpace: string, keyCodec: KeyCodec): Promise<LocalMap> {
    const { catalog } = this.#options
    if (catalog.find(name) === undefined) {
      await new Promise<void>((resolve, reject) => {
        const refusal = catalog.ensure({ name, keySpace, keyCodec }, false, error => (error === undefined ? resolve() : reject(error)))
        if (refusal !== undefined) reject(refusal)
      })
    }
    const handle = catalog.find(name)
    if (handle === undefined) throw new NearstateError('NOT_FOUND', `Cannot open map "${name}": it was destroyed meanwhile`)
    const refusal = keySpaceRefusal(handle, keySpace, formatKeyCodec(keyCodec))
    if (refusal !== undefined) throw refusal
    return new ShardLocalMap(this.#options, handle)
  }
}

/** Longer keys are encoded into a buffer of their own. */
const scratchBytes = 4096

class ShardLocalMap implements LocalMap {
  readonly #options: LocalMapsOptions
  readonly #handle: MapHandle
  readonly #codec: KeyCodec
  readonly #copies: DecodedCache
  readonly #scratch = Buffer.allocUnsafeSlow(scratchBytes)
  // The key under way.
  #key: Uint8Array = this.#scratch
  #keyEnd = 0

  constructor(options: LocalMapsOptions, handle: MapHandle) {
    this.#options = options
    this.#handle = handle
    this.#codec = handle.definition.keyCodec
    this.#copies = new DecodedCache(options.cacheMaxBytes)
  }

  get(partition: number, key: unknown): unknown {
    const part = this.#handle.parts[partition]
    if (part === undefined) {
      this.#checkUsable(partition)
      return undefined
    }
    this.#encodeKey(key)
    if (!part.find(this.#key, 0, this.#keyEnd, this.#options.clock.wallTimeMs())) return undefined
    const { found } = part
    const { version } = found
    const copyKey = this.#copyKey(key)
    const copy = this.#copies.find(copyKey, version)
    if (copy !== undefined) return copy
    const value = decodeValue(found.segment, found.valueStart, found.valueEnd)
    this.#copies.put(copyKey, version, value, found.valueEnd - found.valueStart)
    return value
  }

  setEncoded(partition: number, key: unknown, value: Uint8Array): void {
    const part = this.#handle.parts[partition] ?? this.#openPart(partition)
    this.#encodeKey(key)
    const wallTimeMs = this.#options.clock.wallTimeMs()
    const outcome = part.set(this.#key, 0, this.#keyEnd, value, 0, value.length, unchanged, unchanged, wallTimeMs)
    if (outcome === Outcome.refused) throw part.refusal
  }

  #openPart(partition: number): PartitionMap {
    this.#checkUsable(partition)
    return this.#options.partitions.openPart(this.#handle, partition)
  }

  #checkUsable(partition: number): void {
    const { ownership, catalog } = this.#options
    const { name } = this.#handle.definition
    if (ownership.rightTo(partition) !== serving.here)
      throw new NearstateError('UNAVAILABLE', `Cannot use map "${name}" here: partition ${partition} is not served by this shard any more`)
    if (catalog.find(name) !== this.#handle) throw new NearstateError('NOT_FOUND', `Cannot use map "${name}": it was destroyed`)
  }

  #encodeKey(key: unknown): void {
    const length = encodeKeyInto(this.#codec, key, this.#scratch, 0)
    this.#key = length >= 0 ? this.#scratch : encodeKey(this.#codec, key)
    this.#keyEnd = length >= 0 ? length : this.#key.length
  }

  /** What tells keys apart in a Map: a string or number itself, else its bytes. */
  #copyKey(key: unknown): unknown {
    return typeof key === 'object' ? Buffer.from(this.#key.buffer, this.#key.byteOffset, this.#keyEnd).toString('latin1') : key
  }
}
