/**
 * Values above 256 KiB, cut into messages and put together again. Owns both directions of both ends; knows no streams.
 * A value that is declared larger than allowed, or for which the shard has no room now, is refused at its first chunk, keeps no
 * bytes, and its operation gets the error.
 */
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
  readonly bytes: Buffer
  filled: number
  readonly refusal: NearstateError | undefined
}

/** What the uploads of many streams have in common. */
export interface UploadBudget {
  /** undefined: taken. */
  take(bytes: number): NearstateError | undefined
  give(bytes: number): void
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
    this.#budget?.give(upload.bytes.length)
    if (upload.refusal !== undefined) throw upload.refusal
    if (upload.filled !== upload.bytes.length) {
      throw invalidArgument(`Cannot use upload ${id}: ${upload.filled} of ${upload.bytes.length} bytes came`)
    }
    return upload.bytes
  }

  clear(): void {
    this.#uploads.clear()
    this.#budget?.give(this.#heldBytes)
    this.#heldBytes = 0
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
      : this.#budget?.take(totalBytes)
    const size = refusal === undefined ? totalBytes : 0
    const upload: Upload = { bytes: Buffer.allocUnsafeSlow(size), filled: 0, refusal }
    this.#heldBytes += size
    this.#uploads.set(id, upload)
    return upload
  }
}
