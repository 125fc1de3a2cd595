/**
 * What replicas say to another shard, one frame per peer and turn; longer ones (of large values) in parts, since a message on the wire
 * has a limit and an entry has not.
 *
 *   whole frame    an encoded ReplicationBatch: its first byte is a protobuf tag, never 1 or 2
 *   part           1, bytes (more follow) | 2, bytes (the last part)
 *
 * Links keep the order of a peer's messages; a link that broke loses the parts before.
 */
import { invalidArgument } from '../base/errors.ts'
import type { ShardId } from '../base/ids.ts'
import type { ReplicationMessage } from '../replication/messages.ts'
import { effectBytes } from '../storage/effect.ts'
import { decodeReplication, encodeReplication } from '../wire/replication-codec.ts'

/** A frame ends with the message that passes this. */
const frameTargetBytes = 512 * 1024
const partMaxBytes = 1024 * 1024
const more = 1
const lastPart = 2

export interface ReplicationFramesOptions {
  readonly messageMaxBytes: number
  /** Largest frame that is put together. */
  readonly frameMaxBytes: number
  send(to: ShardId, bytes: Uint8Array): void
}

interface Outbox {
  readonly messages: ReplicationMessage[]
  bytes: number
}

export class ReplicationFrames {
  readonly #options: ReplicationFramesOptions
  readonly #partBytes: number
  readonly #out = new Map<ShardId, Outbox>()
  readonly #parts = new Map<ShardId, { readonly parts: Uint8Array[]; bytes: number }>()

  constructor(options: ReplicationFramesOptions) {
    this.#options = options
    this.#partBytes = Math.min(partMaxBytes, options.messageMaxBytes / 2)
  }

  /** Leaves with the next `flush` at the latest. */
  add(to: ShardId, message: ReplicationMessage): void {
    let outbox = this.#out.get(to)
    if (outbox === undefined) this.#out.set(to, (outbox = { messages: [], bytes: 0 }))
    outbox.messages.push(message)
    outbox.bytes += bytesOf(message)
    if (outbox.bytes < frameTargetBytes) return
    this.#out.delete(to)
    this.#send(to, outbox.messages)
  }

  flush(): void {
    if (this.#out.size === 0) return
    for (const [to, { messages }] of this.#out) this.#send(to, messages)
    this.#out.clear()
  }

  /** Says nothing, but has the link opened. */
  probe(to: ShardId): void {
    this.#send(to, [])
  }

  /** What a message on the wire brings: nothing, before the last part. Throws INVALID_ARGUMENT for what is no frame. */
  accept(from: ShardId, bytes: Uint8Array): readonly ReplicationMessage[] {
    const first = bytes[0]
    if (first !== more && first !== lastPart) return decodeReplication(bytes)
    let held = this.#parts.get(from)
    if (held === undefined) this.#parts.set(from, (held = { parts: [], bytes: 0 }))
    held.bytes += bytes.length
    if (held.bytes > this.#options.frameMaxBytes) {
      this.#parts.delete(from)
      throw invalidArgument(`Cannot read replication: a frame passes ${this.#options.frameMaxBytes} bytes`)
    }
    held.parts.push(bytes.slice(1))
    if (first === more) return []
    this.#parts.delete(from)
    return decodeReplication(Buffer.concat(held.parts))
  }

  forget(peer: ShardId): void {
    this.#parts.delete(peer)
  }

  #send(to: ShardId, messages: readonly ReplicationMessage[]): void {
    const frame = encodeReplication(messages)
    if (frame.length <= this.#partBytes) return this.#options.send(to, frame)
    const whole = Buffer.from(frame)
    for (let at = 0; at < whole.length; at += this.#partBytes) {
      const isLast = at + this.#partBytes >= whole.length
      this.#options.send(to, Buffer.concat([Uint8Array.of(isLast ? lastPart : more), whole.subarray(at, at + this.#partBytes)]))
    }
  }
}

/** About, and only of what can be much. */
function bytesOf(message: ReplicationMessage): number {
  let bytes = 64
  if (message.kind === 'append') {
    for (const { effects } of message.entries) for (const effect of effects) bytes += effectBytes(effect)
  } else if (message.kind === 'chunk') {
    for (const effect of message.chunk.effects) {
      if (effect.kind === 'restore') bytes += effectBytes(effect.put)
      else if (effect.kind === 'restoreSession') for (const { result } of effect.session.results.values()) bytes += result.length + 16
      else bytes += effectBytes(effect)
    }
  }
  return bytes
}
