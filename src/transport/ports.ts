/**
 * What a shard's network side offers and what it needs. `grpc` implements it between processes, `threads` between the shards
 * of one node, `loopback` for tests.
 */
import type { ShardId } from '../base/ids.ts'
import type {
  DeleteRequest,
  DeleteResponse,
  GetRequest,
  GetResponse,
  InvokeRequest,
  InvokeResponse,
  OpenSessionRequest,
  OpenSessionResponse,
  OperationBatch,
  ResultBatch,
  SetRequest,
  SetResponse,
} from '../wire/generated/nearstate/v1/data.ts'

/** One client's pipe, seen from the shard. */
export interface PipeClient {
  /** Sends one batch; one that says `last` ends the stream. False: the client reads slowly; the transport has stopped reading its operations and goes on by itself when it has drained. */
  send(results: ResultBatch): boolean
  /** Stops (resumes) reading this client's operations: admission control. */
  pause(): void
  resume(): void
  /** Ends the stream with a NearstateError. */
  fail(error: Error): void
}

/** The shard's side of one pipe. */
export interface PipeHandler {
  handleBatch(batch: OperationBatch): void
  /** A send to this client returned false before; it has drained. Until then the shard executes nothing more for it. */
  drained(): void
  /** The client is gone; nothing may be sent any more. */
  closed(): void
}

export interface DataServer {
  openPipe(client: PipeClient): PipeHandler
  get(request: GetRequest): Promise<GetResponse>
  set(request: SetRequest): Promise<SetResponse>
  delete(request: DeleteRequest): Promise<DeleteResponse>
  invoke(request: InvokeRequest): Promise<InvokeResponse>
  openSession(request: OpenSessionRequest): Promise<OpenSessionResponse>
}

export type PeerMessageKind = 'exchange' | 'operations' | 'results' | 'replication'

export interface PeerListener {
  onPeerMessage(from: ShardId, kind: PeerMessageKind, bytes: Uint8Array): void
  /** The link is broken and what was under way on it is lost. A later send opens a new one. */
  onPeerDown(peer: ShardId): void
  /** A send to this peer returned false before; it has drained. */
  onPeerDrain(peer: ShardId): void
}

/** Links from one shard to its peers, opened at the first send. */
export interface PeerLinks {
  /** False: above the high-water mark (the message was taken all the same); wait for onPeerDrain. Order is kept per peer. */
  send(to: ShardId, kind: PeerMessageKind, bytes: Uint8Array): boolean
  stop(): Promise<void>
}
