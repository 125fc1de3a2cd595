/**
 * Protobuf fields straight into one growing buffer, for the messages of the hot path; and plain numbers and bytes, without tags.
 * Writes what the generated code writes, byte for byte: minimal varints, and the caller leaves defaults out.
 */
import { copyInto } from '../base/copy-into.ts'

const firstBytes = 64 * 1024
/** Larger buffers are not kept for the next message. */
const keptMaxBytes = 2 * 1024 * 1024

export class ByteWriter {
  #buffer: Buffer = Buffer.allocUnsafeSlow(firstBytes)
  #end = 0

  begin(): void {
    this.#end = 0
    if (this.#buffer.length > keptMaxBytes) this.#buffer = Buffer.allocUnsafeSlow(firstBytes)
  }

  /** What was written since `begin`: a view, valid until the next `begin`. */
  view(): Buffer {
    return this.#buffer.subarray(0, this.#end)
  }

  uint32(tag: number, value: number): void {
    this.#reserve(10)
    this.#varint(tag)
    this.#varint(value)
  }

  uint64(tag: number, value: bigint): void {
    this.#reserve(15)
    this.#varint(tag)
    let rest = BigInt.asUintN(64, value)
    while (rest > 0x7fffffffn) {
      this.#buffer[this.#end++] = Number(rest & 0x7fn) | 0x80
      rest >>= 7n
    }
    this.#varint(Number(rest))
  }

  bytes(tag: number, value: Uint8Array): void {
    this.#reserve(10 + value.length)
    this.#varint(tag)
    this.#varint(value.length)
    this.#buffer.set(value, this.#end)
    this.#end += value.length
  }

  /** A packed column of uint32. */
  packed(tag: number, values: readonly number[]): void {
    const count = values.length
    let size = 0
    for (let i = 0; i < count; i += 1) {
      const value = values[i] as number
      size += value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : value < 0x10000000 ? 4 : 5
    }
    this.#reserve(10 + size)
    this.#varint(tag)
    this.#varint(size)
    if (size > count) {
      for (let i = 0; i < count; i += 1) this.#varint(values[i] as number)
      return
    }
    const buffer = this.#buffer
    const end = this.#end
    for (let i = 0; i < count; i += 1) buffer[end + i] = values[i] as number
    this.#end = end + count
  }

  /** 0 to 255. */
  byte(value: number): void {
    this.#reserve(1)
    this.#buffer[this.#end++] = value
  }

  /** A whole number from 0 to 2^53 - 1. */
  integer(value: number): void {
    this.#reserve(8)
    let rest = value
    if (rest > 0xffffffff) {
      // Shifts work on 32 bits: the lower 28 go first.
      const low = rest % 0x10000000
      rest = (rest - low) / 0x10000000
      for (let shift = 0; shift < 28; shift += 7) this.#buffer[this.#end++] = ((low >>> shift) & 0x7f) | 0x80
    }
    this.#varint(rest)
  }

  /** 8 bytes, little-endian. */
  float64(value: number): void {
    this.#reserve(8)
    this.#end = this.#buffer.writeDoubleLE(value, this.#end)
  }

  /** `bytes[start..end)`, without its length. */
  raw(bytes: Uint8Array, start: number, end: number): void {
    this.#reserve(end - start)
    this.#end = copyInto(this.#buffer, this.#end, bytes, start, end)
  }

  #varint(value: number): void {
    const buffer = this.#buffer
    let rest = value >>> 0
    while (rest > 0x7f) {
      buffer[this.#end++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    buffer[this.#end++] = rest
  }

  #reserve(bytes: number): void {
    if (this.#end + bytes <= this.#buffer.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#end + bytes, 2 * this.#buffer.length))
    larger.set(this.#buffer.subarray(0, this.#end))
    this.#buffer = larger
  }
}
