/**
 * Operations that gateways of other shards forward to this one: one pipe per peer.
 * A batch that carries a wire version begins a new pipe, as the peer has forgotten the old one. An empty ResultBatch tells the
 * peer that its pipe has ended.
 */
import type { ShardId } from '../base/ids.ts'
import type { PeerLinks, PipeClient } from '../transport/ports.ts'
import { OperationBatch, ResultBatch } from '../wire/generated/nearstate/v1/data.ts'
import { emptyResults } from '../wire/results.ts'
import { Pipe, type PipeShared } from './pipe.ts'

export class PeerPipes {
  readonly #shared: PipeShared
  readonly #links: PeerLinks
  readonly #log: (message: string) => void
  readonly #pipes = new Map<ShardId, Pipe>()

  constructor(shared: PipeShared, links: PeerLinks, log: (message: string) => void) {
    this.#shared = shared
    this.#links = links
    this.#log = log
  }

  handleOperations(from: ShardId, bytes: Uint8Array): void {
    let batch: OperationBatch
    try {
      batch = OperationBatch.decode(bytes)
    } catch (error) {
      this.#ended(from, error as Error)
      return
    }
    let pipe = this.#pipes.get(from)
    if (batch.wireVersion !== 0 || pipe === undefined) {
      pipe?.closed()
      pipe = new Pipe(this.#shared, this.#clientOf(from), 'peer')
      this.#pipes.set(from, pipe)
    }
    pipe.handleBatch(batch)
  }

  /** Nothing more is taken; each peer hears when it has all its answers. */
  finish(): void {
    for (const pipe of this.#pipes.values()) pipe.finish()
  }

  peerDrained(peer: ShardId): void {
    this.#pipes.get(peer)?.drained()
  }

  peerDown(peer: ShardId): void {
    this.#pipes.get(peer)?.closed()
    this.#pipes.delete(peer)
  }

  #clientOf(peer: ShardId): PipeClient {
    return {
      send: results => this.#links.send(peer, 'results', ResultBatch.encode(results).finish()),
      // A gateway bounds what it has under way; admission control refuses what is still too much.
      pause: () => {},
      resume: () => {},
      fail: error => this.#ended(peer, error),
    }
  }

  #ended(peer: ShardId, error: Error): void {
    this.#log(`pipe of peer ${peer} ended: ${error.message}`)
    this.peerDown(peer)
    this.#links.send(peer, 'results', ResultBatch.encode(emptyResults()).finish())
  }
}
