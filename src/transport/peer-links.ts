/**
 * A shard's links to its peers: one outgoing stream for what it sends to a peer, one incoming for what the peer sends to it;
 * between shards of one node a MessagePort instead.
 *
 * Owns: which way a message takes, opening at the first send, the high-water mark, and what is told to the listener.
 * Does not: know gRPC (a dialler makes outgoing streams, a server hands in incoming ones).
 *
 * 1. `onPeerDown` follows each loss of a stream, of either direction, at both ends: whatever was under way may be lost.
 * 2. A peer that greets again, although its last stream was not seen to end, has lost that one: the listener hears of it first.
 * 3. When an outgoing stream is lost and the incoming one is up, it is opened again at once, so that the peer hears of the loss (2).
 * 4. A stream that means another incarnation than this shard is refused.
 * 5. Queues: a send above `highWaterBytes` unsent bytes is taken but answered false; the producer waits for `onPeerDrain`.
 */
import type { MessagePort } from 'node:worker_threads'
import { NearstateError } from '../base/errors.ts'
import type { ShardId } from '../base/ids.ts'
import { wireVersion as ownWireVersion } from '../wire/limits.ts'
import { dialPeer } from './grpc/dial-peer.ts'
import type { PeerLinks, PeerListener, PeerMessageKind } from './ports.ts'
import { ThreadLink } from './thread-link.ts'

/** A stream, or port, on which messages leave. */
export interface OutgoingLink {
  send(kind: PeerMessageKind, bytes: Uint8Array): void
  close(): void
}

export interface OutgoingEvents {
  /** So many bytes have left this process. */
  onSent(bytes: number): void
  /** Once; nothing follows. */
  onDown(error: NearstateError): void
}

export interface PeerHelloFrom {
  readonly wireVersion: number
  readonly from: ShardId
  readonly to: ShardId
}

export type Dial = (address: string, hello: PeerHelloFrom, events: OutgoingEvents, messageMaxBytes: number | undefined) => OutgoingLink

export interface PeerLinksOptions {
  readonly self: ShardId
  /** undefined: no such shard is known; a send to it is a link that is down. */
  readonly addressOf: (shard: ShardId) => string | undefined
  readonly listener: PeerListener
  readonly wireVersion?: number
  /** Default 4 MiB. */
  readonly highWaterBytes?: number
  readonly messageMaxBytes?: number
  readonly dial?: Dial
}

/** An incoming stream, as its server drives it. */
export interface IncomingLink {
  receive(kind: PeerMessageKind, bytes: Uint8Array): void
  ended(): void
}

export interface ShardPeerLinks extends PeerLinks {
  /** From now on messages to this shard of the same node go through the port. */
  addThreadLink(peer: ShardId, port: MessagePort): void
  /** Takes a stream that a peer has opened. Throws when it means another shard or speaks no common version. `close` ends the stream. */
  accept(hello: PeerHelloFrom, close: () => void): IncomingLink
}

interface Outgoing {
  readonly link: OutgoingLink
  unsentBytes: number
  congested: boolean
}

interface Incoming {
  readonly close: () => void
}

const redialAfterMs = 100
const highWaterBytesDefault = 4 * 1024 * 1024

export const createPeerLinks = (options: PeerLinksOptions): ShardPeerLinks => new StreamLinks(options)

class StreamLinks implements ShardPeerLinks {
  readonly #options: PeerLinksOptions
  readonly #wireVersion: number
  readonly #highWaterBytes: number
  readonly #outgoing = new Map<ShardId, Outgoing>()
  readonly #incoming = new Map<ShardId, Incoming>()
  readonly #threads = new Map<ShardId, ThreadLink>()
  readonly #redials = new Map<ShardId, NodeJS.Timeout>()
  /** Peers whose stream has been here before. */
  readonly #greeted = new Set<ShardId>()
  #stopped = false

  constructor(options: PeerLinksOptions) {
    this.#options = options
    this.#wireVersion = options.wireVersion ?? ownWireVersion
    this.#highWaterBytes = options.highWaterBytes ?? highWaterBytesDefault
  }

  send(to: ShardId, kind: PeerMessageKind, bytes: Uint8Array): boolean {
    if (this.#stopped) return true
    const outgoing = this.#outgoing.get(to)
    if (outgoing === undefined) {
      const thread = this.#threads.get(to)
      if (thread !== undefined) return thread.send(kind, bytes)
    }
    return this.#sendOn(outgoing ?? this.#dial(to), to, kind, bytes)
  }

  addThreadLink(peer: ShardId, port: MessagePort): void {
    const { listener } = this.#options
    const link = new ThreadLink(port, this.#highWaterBytes, {
      onMessage: (kind, bytes) => listener.onPeerMessage(peer, kind, bytes),
      onDrain: () => listener.onPeerDrain(peer),
      onDown: () => {
        this.#threads.delete(peer)
        if (!this.#stopped) listener.onPeerDown(peer)
      },
    })
    this.#threads.set(peer, link)
  }

  accept(hello: PeerHelloFrom, close: () => void): IncomingLink {
    const { self, listener } = this.#options
    const { from } = hello
    if (hello.wireVersion !== this.#wireVersion) {
      throw new NearstateError(
        'UNSUPPORTED_VERSION',
        `Cannot link shard ${from}: it speaks wire version ${hello.wireVersion}, this one ${this.#wireVersion}`,
      )
    }
    if (hello.to !== self) throw new NearstateError('NOT_FOUND', `Cannot link shard ${from}: it means shard ${hello.to}, here is ${self}`)
    if (this.#stopped) throw new NearstateError('UNAVAILABLE', `Cannot link shard ${from}: shard ${self} is stopping`)
    const incoming: Incoming = { close }
    const before = this.#incoming.get(from)
    this.#incoming.set(from, incoming)
    before?.close()
    if (this.#greeted.has(from)) listener.onPeerDown(from)
    this.#greeted.add(from)
    return {
      receive: (kind, bytes) => {
        if (this.#incoming.get(from) === incoming) listener.onPeerMessage(from, kind, bytes)
      },
      ended: () => {
        if (this.#incoming.get(from) !== incoming) return
        this.#incoming.delete(from)
        // An incarnation that the table no longer knows does not come back.
        if (this.#options.addressOf(from) === undefined) this.#greeted.delete(from)
        if (!this.#stopped) listener.onPeerDown(from)
      },
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true
    for (const timer of this.#redials.values()) clearTimeout(timer)
    for (const { link } of this.#outgoing.values()) link.close()
    for (const { close } of this.#incoming.values()) close()
    for (const thread of this.#threads.values()) thread.close()
    this.#redials.clear()
    this.#outgoing.clear()
    this.#incoming.clear()
    this.#threads.clear()
  }

  #sendOn(outgoing: Outgoing | undefined, to: ShardId, kind: PeerMessageKind, bytes: Uint8Array): boolean {
    if (outgoing === undefined) {
      // Later, because the caller is in the middle of its own work.
      queueMicrotask(() => {
        if (!this.#stopped) this.#options.listener.onPeerDown(to)
      })
      return true
    }
    outgoing.unsentBytes += bytes.length
    outgoing.link.send(kind, bytes)
    if (outgoing.unsentBytes <= this.#highWaterBytes) return true
    outgoing.congested = true
    return false
  }

  #dial(to: ShardId): Outgoing | undefined {
    const { self, addressOf, dial = dialPeer, messageMaxBytes } = this.#options
    const address = addressOf(to)
    if (address === undefined) return undefined
    const hello = { wireVersion: this.#wireVersion, from: self, to }
    const link = dial(
      address,
      hello,
      { onSent: bytes => this.#onSent(to, outgoing, bytes), onDown: () => this.#onOutgoingDown(to, outgoing) },
      messageMaxBytes,
    )
    const outgoing: Outgoing = { link, unsentBytes: 0, congested: false }
    this.#outgoing.set(to, outgoing)
    return outgoing
  }

  #onSent(to: ShardId, outgoing: Outgoing, bytes: number): void {
    outgoing.unsentBytes -= bytes
    if (!outgoing.congested || outgoing.unsentBytes > this.#highWaterBytes / 2) return
    outgoing.congested = false
    if (this.#outgoing.get(to) === outgoing) this.#options.listener.onPeerDrain(to)
  }

  #onOutgoingDown(to: ShardId, outgoing: Outgoing): void {
    if (this.#stopped || this.#outgoing.get(to) !== outgoing) return
    this.#outgoing.delete(to)
    this.#options.listener.onPeerDown(to)
    if (!this.#incoming.has(to) || this.#redials.has(to)) return
    const timer = setTimeout(() => {
      this.#redials.delete(to)
      if (this.#incoming.has(to) && !this.#outgoing.has(to)) this.#dial(to)
    }, redialAfterMs)
    this.#redials.set(to, timer)
  }
}
