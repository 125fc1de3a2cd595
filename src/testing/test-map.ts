/** Maps of the grid as plain JavaScript, for jobs that run in a test. Values are frozen: what a job reads is shared and read-only. */
import { NearstateError } from '../base/errors.ts'
import { encodeKey } from '../keys/encode-key.ts'
import type { KeyCodec } from '../keys/key-codec.ts'
import { partitionOfKey } from '../keys/partition-of.ts'
import type { LocalMap } from '../streaming/ports.ts'
import { decodeValue, encodeValue } from '../wire/value-codec.ts'

interface Stored<K, V> {
  readonly key: K
  readonly value: V
}

/** One map, as the job sees it. Keys are those of its key space: texts, numbers, bytes, or lists of them. */
export class TestMap<K = unknown, V = unknown> {
  readonly name: string
  readonly #codec: KeyCodec
  readonly #partitions: number
  readonly #entries = new Map<string, Stored<K, V>>()

  constructor(name: string, codec: KeyCodec, partitions: number) {
    this.name = name
    this.#codec = codec
    this.#partitions = partitions
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: K): V | undefined {
    return this.#entries.get(this.#idOf(key))?.value
  }

  /** Stores a copy of the value, as the grid would. */
  set(key: K, value: V): void {
    this.#entries.set(this.#idOf(key), { key, value: frozen(decodeValue(encodeValue(value))) as V })
  }

  delete(key: K): boolean {
    return this.#entries.delete(this.#idOf(key))
  }

  /** Keys and values, in the order in which the keys were first written. */
  entries(): readonly (readonly [key: K, value: V])[] {
    return [...this.#entries.values()].map(({ key, value }) => [key, value] as const)
  }

  values(): readonly V[] {
    return this.entries().map(([, value]) => value)
  }

  /** What a `lookup` finds, by the key's bytes. */
  find(key: Uint8Array): V | undefined {
    return this.#entries.get(Buffer.from(key).toString('latin1'))?.value
  }

  /** What the engine reads and writes. A key in another partition than its own is a bug of the engine. */
  local(): LocalMap {
    return {
      get: (partition, key) => this.#entries.get(this.#checkedId(partition, key as K))?.value,
      setEncoded: (partition, key, value) =>
        void this.#entries.set(this.#checkedId(partition, key as K), { key: key as K, value: frozen(decodeValue(value)) as V }),
    }
  }

  #idOf(key: K): string {
    return Buffer.from(encodeKey(this.#codec, key)).toString('latin1')
  }

  #checkedId(partition: number, key: K): string {
    const bytes = encodeKey(this.#codec, key)
    const wanted = partitionOfKey(this.#codec, bytes, 0, bytes.length, this.#partitions)
    if (wanted !== partition) {
      throw new NearstateError('INTERNAL', `a key of partition ${wanted} of map "${this.name}" was used in partition ${partition}`)
    }
    return Buffer.from(bytes).toString('latin1')
  }
}

/** The value, with everything in it that can be frozen. */
function frozen(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || Object.isFrozen(value)) return value
  Object.freeze(value)
  for (const part of Object.values(value)) frozen(part)
  return value
}
