/**
 * Maps as an attempt of a stream job uses them: local reads and writes on the partitions of its tenure. On one whose term has ended both
 * fail, and with them the attempt. What is read may not be committed yet, and a write returns before it is: what a deposed primary's task
 * made of it counts for nothing.
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
import { okAnswer } from './answers.ts'
import type { HeldPartition } from './held-partition.ts'
import type { Partitions } from './partitions.ts'
import { refusalError } from './refusals.ts'
import type { Tenure } from './tenure.ts'

export interface LocalMapsOptions {
  readonly catalog: MapCatalog
  readonly partitions: Partitions
  readonly tenure: Tenure
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
    const held = this.#options.tenure.held(partition)
    const part = this.#handle.parts[partition] ?? this.#findPart(held)
    if (part === undefined) return undefined
    if (typeof key !== 'object') {
      const copy = this.#copies.unchanged(key, part)
      if (copy !== undefined) return copy
    }
    this.#encodeKey(key)
    if (!part.find(this.#key, 0, this.#keyEnd, this.#options.clock.wallTimeMs())) return undefined
    const { found } = part
    const { version } = found
    const copyKey = this.#copyKey(key)
    const isPlain = found.expiresAtMs === 0 && found.maxIdleMs === 0 && this.#handle.definition.eviction === 'none'
    const copy = this.#copies.find(copyKey, version, isPlain ? part : undefined)
    if (copy !== undefined) return copy
    const value = decodeValue(found.segment, found.valueStart, found.valueEnd)
    this.#copies.put(copyKey, version, value, found.valueEnd - found.valueStart)
    return value
  }

  setEncoded(partition: number, key: unknown, value: Uint8Array): void {
    const { clock, partitions, tenure } = this.#options
    const held = tenure.held(partition)
    const { replica } = held
    if (this.#handle.parts[partition] === undefined) this.#checkThere()
    this.#encodeKey(key)
    const nowMs = clock.nowMs()
    const admission = replica.beginWrite(nowMs)
    if (admission.kind === 'refused') throw refusalError(admission.reason)
    const before = replica.applied
    const part = this.#handle.parts[partition] ?? this.#openPart(held)
    const outcome = part.set(this.#key, 0, this.#keyEnd, value, 0, value.length, unchanged, unchanged, clock.wallTimeMs())
    if (replica.applied === before) replica.cancelWrite()
    else replica.finishWrite(nowMs, undefined, okAnswer)
    if (replica.keepsLog && !replica.gathers) partitions.touch(held)
    if (outcome === Outcome.refused) throw part.refusal
  }

  #findPart(held: HeldPartition): PartitionMap | undefined {
    this.#checkThere()
    return this.#options.partitions.findPart(this.#handle, held)
  }

  #openPart(held: HeldPartition): PartitionMap {
    return this.#options.partitions.openPart(this.#handle, held)
  }

  #checkThere(): void {
    const { name } = this.#handle.definition
    if (this.#options.catalog.find(name) !== this.#handle)
      throw new NearstateError('NOT_FOUND', `Cannot use map "${name}": it was destroyed`)
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
