/**
 * A link between two shards of one node over a MessagePort. The receiver tells the sender how many bytes it has taken, so that a
 * sender learns that it is ahead: a port by itself has no back-pressure. Bytes are copied once and then moved, never shared.
 */
import type { MessagePort } from 'node:worker_threads'
import type { PeerMessageKind } from './ports.ts'

export interface ThreadLinkEvents {
  onMessage(kind: PeerMessageKind, bytes: Uint8Array): void
  onDrain(): void
  onDown(): void
}

/** A message is a kind with its bytes; a bare number says how many bytes the receiver has taken. */
type Frame = number | { readonly kind: PeerMessageKind; readonly bytes: Uint8Array }

export class ThreadLink {
  readonly #port: MessagePort
  readonly #highWaterBytes: number
  #outstandingBytes = 0
  #takenBytes = 0
  #congested = false
  #closed = false

  constructor(port: MessagePort, highWaterBytes: number, events: ThreadLinkEvents) {
    this.#port = port
    this.#highWaterBytes = highWaterBytes
    port.on('message', (frame: Frame) => {
      if (typeof frame === 'number') {
        this.#outstandingBytes -= frame
        if (this.#congested && this.#outstandingBytes <= highWaterBytes / 2) {
          this.#congested = false
          events.onDrain()
        }
        return
      }
      this.#take(frame.bytes.length)
      events.onMessage(frame.kind, frame.bytes)
    })
    port.on('close', () => {
      if (this.#closed) return
      this.#closed = true
      events.onDown()
    })
    // The shard lives by its parent's port and its server, not by its links.
    port.unref()
  }

  send(kind: PeerMessageKind, bytes: Uint8Array): boolean {
    const own = new Uint8Array(bytes)
    this.#outstandingBytes += own.length
    this.#port.postMessage({ kind, bytes: own } satisfies Frame, [own.buffer])
    if (this.#outstandingBytes <= this.#highWaterBytes) return true
    this.#congested = true
    return false
  }

  close(): void {
    this.#closed = true
    this.#port.close()
  }

  // What is not reported yet stays below half of the way to the mark, so a sender that waits always hears.
  #take(bytes: number): void {
    this.#takenBytes += bytes
    if (this.#takenBytes < this.#highWaterBytes / 4) return
    this.#port.postMessage(this.#takenBytes satisfies Frame)
    this.#takenBytes = 0
  }
}
