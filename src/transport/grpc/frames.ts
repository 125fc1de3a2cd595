/** gRPC's framing: [0: not compressed][length, 4 bytes, big-endian][bytes]. */
import { NearstateError } from '../../base/errors.ts'

const headBytes = 5

/** A copy of the message behind its head. */
export function framed(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headBytes + message.length)
  frame[0] = 0
  frame.writeUInt32BE(message.length, 1)
  frame.set(message, headBytes)
  return frame
}

/** Finds the messages in a stream of chunks, however they are cut. One that lies within a chunk is a view of it. */
export class FrameReader {
  readonly #messageMaxBytes: number
  readonly #onMessage: (message: Buffer) => void
  readonly #head = Buffer.alloc(headBytes)
  #headFilled = 0
  /** The message under way, when it did not come in one chunk. */
  #message: Buffer | undefined
  #messageFilled = 0

  constructor(messageMaxBytes: number, onMessage: (message: Buffer) => void) {
    this.#messageMaxBytes = messageMaxBytes
    this.#onMessage = onMessage
  }

  /** Throws RESOURCE_EXHAUSTED for a message above the limit and UNSUPPORTED_VERSION for a compressed one: the stream must end. */
  take(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#message !== undefined) at = this.#fill(this.#message, chunk, at)
      else
        at =
          this.#headFilled === 0 && chunk.length - at >= headBytes
            ? this.#begin(chunk, at, chunk, at + headBytes)
            : this.#fillHead(chunk, at)
    }
  }

  #fillHead(chunk: Buffer, at: number): number {
    const taken = Math.min(headBytes - this.#headFilled, chunk.length - at)
    chunk.copy(this.#head, this.#headFilled, at, at + taken)
    this.#headFilled += taken
    if (this.#headFilled < headBytes) return at + taken
    this.#headFilled = 0
    return this.#begin(this.#head, 0, chunk, at + taken)
  }

  #begin(head: Buffer, headAt: number, chunk: Buffer, at: number): number {
    if (head[headAt] !== 0) throw new NearstateError('UNSUPPORTED_VERSION', 'Cannot read message: it is compressed')
    const length = head.readUInt32BE(headAt + 1)
    if (length > this.#messageMaxBytes) {
      throw new NearstateError('RESOURCE_EXHAUSTED', `Cannot read message: it is ${length} bytes, limit is ${this.#messageMaxBytes}`)
    }
    if (at + length <= chunk.length) {
      this.#onMessage(chunk.subarray(at, at + length))
      return at + length
    }
    this.#message = Buffer.allocUnsafeSlow(length)
    this.#messageFilled = 0
    return at
  }

  #fill(message: Buffer, chunk: Buffer, at: number): number {
    const taken = Math.min(message.length - this.#messageFilled, chunk.length - at)
    chunk.copy(message, this.#messageFilled, at, at + taken)
    this.#messageFilled += taken
    if (this.#messageFilled === message.length) {
      this.#message = undefined
      this.#onMessage(message)
    }
    return at + taken
  }
}
