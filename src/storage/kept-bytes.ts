/**
 * Copies of borrowed bytes, one behind the other in blocks: a log keeps them without an object for each.
 *
 * A block lives as long as anything in it is referred to, so things that go at very different times do not share one of these.
 * Blocks grow from 1 to 8 KiB, so that who keeps little holds little; what is larger than an eighth of a block has one of its own.
 */
import { copyInto } from '../base/copy-into.ts'

const blockMinBytes = 1024
const blockMaxBytes = 8 * 1024
const sharedPart = 1 / 8

export class KeptBytes {
  /** Where `keep` and `reserve` put the last bytes. */
  block = new Uint8Array(0)
  #used = 0
  #nextBytes = blockMinBytes

  /** Copies the bytes, and answers where they begin in `block`. */
  keep(bytes: Uint8Array, start: number, end: number): number {
    const at = this.reserve(end - start)
    copyInto(this.block, at, bytes, start, end)
    return at
  }

  /** Its own view of the copied bytes. */
  copy(bytes: Uint8Array): Uint8Array {
    const at = this.keep(bytes, 0, bytes.length)
    return this.block.subarray(at, at + bytes.length)
  }

  /** Room for so many bytes in one block: where it begins in `block`. */
  reserve(length: number): number {
    if (this.#used + length <= this.block.length) {
      this.#used += length
      return this.#used - length
    }
    this.block = new Uint8Array(length > this.#nextBytes * sharedPart ? length : this.#nextBytes)
    this.#used = length
    this.#nextBytes = Math.min(blockMaxBytes, this.#nextBytes * 2)
    return 0
  }
}
