/** Key -> partition -> shard. Integers are hashed as they are; strings that were seen lately are not encoded and hashed again. */
import { encodeKey, encodeKeyInto, keyMaxBytes } from '../../keys/encode-key.ts'
import type { KeyCodec } from '../../keys/key-codec.ts'
import { partitionOfInt64, partitionOfKey } from '../../keys/partition-of.ts'

/** Keys remembered; at the bound all are forgotten. */
const rememberedMax = 65_536

const scratch = Buffer.allocUnsafeSlow(keyMaxBytes)

export class Router {
  readonly self: number
  readonly owners: readonly number[]
  readonly #codec: KeyCodec
  readonly #isInt64: boolean
  readonly #remembered = new Map<string, number>()

  constructor(codec: KeyCodec, self: number, owners: readonly number[]) {
    this.#codec = codec
    this.#isInt64 = codec === 'int64'
    this.self = self
    this.owners = owners
  }

  /** Throws NearstateError INVALID_ARGUMENT for a key of another type. */
  partitionOf(key: unknown): number {
    if (this.#isInt64 && Number.isSafeInteger(key)) return partitionOfInt64(key as number, this.owners.length)
    const isText = typeof key === 'string'
    if (isText) {
      const known = this.#remembered.get(key)
      if (known !== undefined) return known
    }
    const length = encodeKeyInto(this.#codec, key, scratch, 0)
    const bytes = length < 0 ? encodeKey(this.#codec, key) : scratch
    const partition = partitionOfKey(this.#codec, bytes, 0, length < 0 ? bytes.length : length, this.owners.length)
    if (isText) {
      if (this.#remembered.size === rememberedMax) this.#remembered.clear()
      this.#remembered.set(key, partition)
    }
    return partition
  }
}
