/**
 * Values above 256 KiB, cut into messages and put together again. Owns both directions of both ends; knows no streams.
 * A value that is declared larger than allowed, or for which the shard has no room now, is refused at its first chunk, keeps no
 * bytes, and its operation gets the error.
 */
import type { Clock } from '../base/clock.ts'
import { formatByteSize } from '../base/byte-size.ts'
import { invalidArgument, NearstateError } from '../base/errors.ts'
import type { Chunk } from './generated/nearstate/v1/data.ts'
import { chunkMaxBytes, uploadsMax, uploadsMaxBytes } from './limits.ts'

/** Views of the value, in order. */
export function chunksOf(id: number, value: Uint8Array): Chunk[] {
  const chunks: Chunk[] = []
  for (let start = 0; start < value.length; start += chunkMaxBytes) {
    const part = value.subarray(start, Math.min(start + chunkMaxBytes, value.length))
    chunks.push({ id, data: Buffer.from(part.buffer, part.byteOffset, part.length), totalBytes: BigInt(value.length) })
  }
  return chunks
}

interface Upload {
  bytes: Buffer
  filled: number
  refusal: NearstateError | undefined
  touchedAtMs: number
}

/** Where room is short, an upload of which nothing was heard for so long is dropped. */
const idleMaxMs = 30_000

/**
 * The room that the uploads of many streams share. When it is short, those that their clients have left lying make room; while it is not,
 * they do no harm.
 */
export class UploadBudget {
  readonly #maxBytes: number
  readonly #clock: Clock
  readonly #holders = new Set<ChunkAssembler>()
  #heldBytes = 0

  constructor(maxBytes: number, clock: Clock) {
    this.#maxBytes = maxBytes
    this.#clock = clock
  }

  nowMs(): number {
    return this.#clock.nowMs()
  }

  /** undefined: taken. */
  take(holder: ChunkAssembler, bytes: number): NearstateError | undefined {
    if (this.#heldBytes + bytes > this.#maxBytes) this.#dropIdle()
    if (this.#heldBytes + bytes > this.#maxBytes) {
      return new NearstateError(
        'RESOURCE_EXHAUSTED',
        `Cannot take ${formatByteSize(bytes)}: ${formatByteSize(this.#heldBytes)} of uploads are held on this shard, limit is ${formatByteSize(this.#maxBytes)}; send less at a time`,
      )
    }
    this.#heldBytes += bytes
    this.#holders.add(holder)
    return undefined
  }

  give(holder: ChunkAssembler, bytes: number): void {
    this.#heldBytes -= bytes
    if (holder.heldBytes === 0) this.#holders.delete(holder)
  }

  #dropIdle(): void {
    const beforeMs = this.nowMs() - idleMaxMs
    for (const holder of Array.from(this.#holders)) holder.dropIdle(beforeMs)
  }
}

export class ChunkAssembler {
  readonly #valueMaxBytes: number
  readonly #budget: UploadBudget | undefined
  readonly #uploads = new Map<number, Upload>()
  #heldBytes = 0

  constructor(valueMaxBytes: number, budget?: UploadBudget) {
    this.#valueMaxBytes = valueMaxBytes
    this.#budget = budget
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  /** Throws when the stream is broken: it must end. */
  accept(chunk: Chunk): void {
    const upload = this.#uploads.get(chunk.id) ?? this.#begin(chunk.id, Number(chunk.totalBytes))
    if (upload.refusal !== undefined) return
    if (this.#budget !== undefined) upload.touchedAtMs = this.#budget.nowMs()
    if (upload.filled + chunk.data.length > upload.bytes.length || chunk.data.length === 0) {
      throw invalidArgument(
        `Cannot take chunk of upload ${chunk.id}: ${upload.filled} + ${chunk.data.length} bytes of a value of ${upload.bytes.length}`,
      )
    }
    upload.bytes.set(chunk.data, upload.filled)
    upload.filled += chunk.data.length
  }

  /** The whole value, no longer held here. Throws the refusal of an oversized one, or that it is not complete. */
  take(id: number): Buffer {
    const upload = this.#uploads.get(id)
    if (upload === undefined) throw invalidArgument(`Cannot find upload ${id}: none of its chunks came before its operation`)
    this.#uploads.delete(id)
    this.#heldBytes -= upload.bytes.length
    this.#budget?.give(this, upload.bytes.length)
    if (upload.refusal !== undefined) throw upload.refusal
    if (upload.filled !== upload.bytes.length) {
      throw invalidArgument(`Cannot use upload ${id}: ${upload.filled} of ${upload.bytes.length} bytes came`)
    }
    return upload.bytes
  }

  /** Uploads of which nothing was heard since then keep no bytes; their operations will hear why. */
  dropIdle(beforeMs: number): void {
    for (const upload of this.#uploads.values()) {
      const size = upload.bytes.length
      if (upload.touchedAtMs > beforeMs || size === 0) continue
      upload.bytes = Buffer.alloc(0)
      upload.refusal = new NearstateError(
        'RESOURCE_EXHAUSTED',
        `Cannot use upload of ${formatByteSize(size)}: it was dropped after ${idleMaxMs} ms without a word, because others needed the room`,
      )
      this.#heldBytes -= size
      this.#budget?.give(this, size)
    }
  }

  clear(): void {
    const held = this.#heldBytes
    this.#uploads.clear()
    this.#heldBytes = 0
    this.#budget?.give(this, held)
  }

  #begin(id: number, totalBytes: number): Upload {
    if (this.#uploads.size >= uploadsMax) {
      throw new NearstateError('RESOURCE_EXHAUSTED', `Cannot begin upload ${id}: ${uploadsMax} are open on this stream, which is the limit`)
    }
    const tooLarge = totalBytes > this.#valueMaxBytes
    if (!tooLarge && this.#heldBytes + totalBytes > Math.max(uploadsMaxBytes, this.#valueMaxBytes)) {
      throw new NearstateError(
        'RESOURCE_EXHAUSTED',
        `Cannot begin upload ${id} of ${formatByteSize(totalBytes)}: ${formatByteSize(this.#heldBytes)} are held on this stream, limit is ${formatByteSize(uploadsMaxBytes)}`,
      )
    }
    const refusal = tooLarge
      ? invalidArgument(`Cannot take value: it is ${totalBytes} bytes, limit is ${this.#valueMaxBytes}`)
      : this.#budget?.take(this, totalBytes)
    const size = refusal === undefined ? totalBytes : 0
    const upload: Upload = { bytes: Buffer.allocUnsafeSlow(size), filled: 0, refusal, touchedAtMs: this.#budget?.nowMs() ?? 0 }
    this.#heldBytes += size
    this.#uploads.set(id, upload)
    return upload
  }
}
