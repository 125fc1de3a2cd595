/**
 * Protobuf fields out of a message, for the messages of the hot path, and plain numbers and bytes, without tags. Byte fields are views
 * of the message, not copies.
 */
import { invalidArgument } from '../base/errors.ts'

export class ByteReader {
  #bytes: Buffer
  at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** Goes on with another message, from its start. */
  begin(bytes: Buffer): void {
    this.#bytes = bytes
    this.at = 0
  }

  get done(): boolean {
    return this.at >= this.#bytes.length
  }

  uint32(): number {
    const bytes = this.#bytes
    let at = this.at
    let byte = bytes[at++]
    if (byte === undefined) throw cutShort(this.#bytes.length)
    if (byte < 0x80) {
      this.at = at
      return byte
    }
    let value = byte & 0x7f
    // A varint has up to 10 bytes; what does not fit into 32 bits is cut off, as protobuf has it.
    for (let shift = 7; shift < 70; shift += 7) {
      byte = bytes[at++]
      if (byte === undefined) throw cutShort(this.#bytes.length)
      if (shift < 32) value |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        this.at = at
        return value >>> 0
      }
    }
    throw invalidArgument('Cannot read message: a varint is longer than 10 bytes')
  }

  uint64(): bigint {
    const bytes = this.#bytes
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[this.at++]
      if (byte === undefined) throw cutShort(this.#bytes.length)
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asUintN(64, value)
    }
    throw invalidArgument('Cannot read message: a varint is longer than 10 bytes')
  }

  byte(): number {
    const byte = this.#bytes[this.at]
    if (byte === undefined) throw cutShort(this.#bytes.length)
    this.at += 1
    return byte
  }

  /** A whole number from 0 to 2^53 - 1. */
  integer(): number {
    const bytes = this.#bytes
    let value = 0
    let scale = 1
    for (let i = 0; i < 8; i += 1) {
      const byte = bytes[this.at++]
      if (byte === undefined) throw cutShort(bytes.length)
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break
        return value
      }
      scale *= 128
    }
    throw invalidArgument('Cannot read message: a number is larger than 2^53 - 1')
  }

  /** 8 bytes, little-endian. */
  float64(): number {
    const { at } = this
    this.#advance(8)
    return this.#bytes.readDoubleLE(at)
  }

  /** Skips so many bytes; returns where they start. */
  span(length: number): number {
    const { at } = this
    this.#advance(length)
    return at
  }

  bytes(): Buffer {
    const start = this.#span()
    return this.#bytes.subarray(start, this.at)
  }

  /** A packed column (tag's wire type 2) or one element of an unpacked one. */
  column(tag: number, into: number[]): void {
    if ((tag & 7) === 0) {
      into.push(this.uint32())
      return
    }
    const start = this.#span()
    const end = this.at
    const bytes = this.#bytes
    let at = start
    while (at < end) {
      const byte = bytes[at] as number
      if (byte < 0x80) {
        at += 1
        into.push(byte)
      } else {
        this.at = at
        into.push(this.uint32())
        at = this.at
      }
    }
    this.at = at
    if (at !== end) throw invalidArgument('Cannot read message: a column ends within an element')
  }

  skip(tag: number): void {
    switch (tag & 7) {
      case 0:
        this.uint64()
        return
      case 1:
        this.#advance(8)
        return
      case 2:
        this.#span()
        return
      case 5:
        this.#advance(4)
        return
      default:
        throw invalidArgument(`Cannot read message: field ${tag >>> 3} has wire type ${tag & 7}`)
    }
  }

  /** Start of a length-delimited field; `at` is then its end. */
  #span(): number {
    const length = this.uint32()
    const start = this.at
    this.#advance(length)
    return start
  }

  #advance(length: number): void {
    this.at += length
    if (this.at > this.#bytes.length) throw cutShort(this.#bytes.length)
  }
}

const cutShort = (length: number): Error => invalidArgument(`Cannot read message: a field goes on beyond its ${length} bytes`)
