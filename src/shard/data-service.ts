/** The Data service of this shard: pipes, and single calls for simple clients. */
import { NearstateError } from '../base/errors.ts'
import type { DataServer, PipeClient, PipeHandler } from '../transport/ports.ts'
import {
  type DeleteRequest,
  type DeleteResponse,
  type GetRequest,
  type GetResponse,
  type InvokeRequest,
  type InvokeResponse,
  OperationKind,
  type SetRequest,
  type SetResponse,
} from '../wire/generated/nearstate/v1/data.ts'
import { emptyOptions } from '../wire/operations.ts'
import { encodeValue } from '../wire/value-codec.ts'
import { Pipe, type PipeShared } from './pipe.ts'
import type { SingleCalls } from './single-calls.ts'

export class DataService implements DataServer {
  readonly #shared: PipeShared
  readonly #calls: SingleCalls
  readonly #pipes = new Set<Pipe>()

  constructor(shared: PipeShared, calls: SingleCalls) {
    this.#shared = shared
    this.#calls = calls
  }

  get connections(): number {
    return this.#pipes.size
  }

  openPipe(client: PipeClient): PipeHandler {
    const pipe = new Pipe(this.#shared, client, 'user')
    this.#pipes.add(pipe)
    return {
      handleBatch: batch => pipe.handleBatch(batch),
      drained: () => pipe.drained(),
      closed: () => {
        this.#pipes.delete(pipe)
        pipe.closed()
      },
    }
  }

  async get({ map, key }: GetRequest): Promise<GetResponse> {
    const { isAbsent, value, detail } = await this.#calls.call({ kind: OperationKind.GET_ENTRY, map, key, as: 'user' })
    return { found: !isAbsent, value, version: detail?.version ?? 0n, expiresAtMs: detail?.expiresAtMs }
  }

  async set({ map, key, value, ttlMs, maxIdleMs }: SetRequest): Promise<SetResponse> {
    const options = { ...emptyOptions(), ttlMs, maxIdleMs, withVersion: true }
    const { detail } = await this.#calls.call({ kind: OperationKind.SET, map, key, value, options, as: 'user' })
    return { version: detail?.version ?? 0n }
  }

  async delete({ map, key }: DeleteRequest): Promise<DeleteResponse> {
    const { isAbsent } = await this.#calls.call({ kind: OperationKind.DELETE, map, key, as: 'user' })
    return { existed: !isAbsent }
  }

  async invoke(request: InvokeRequest): Promise<InvokeResponse> {
    const { map, key } = request
    const value = request.arguments.length === 0 ? encodeValue(undefined) : request.arguments
    const options = { ...emptyOptions(), function: request.function }
    const answer = await this.#calls.call({ kind: OperationKind.INVOKE, map, key, value, options, as: 'user' })
    return { result: answer.value }
  }

  /** Ends every stream: the node is stopping. */
  endPipes(): void {
    for (const pipe of this.#pipes) pipe.fail(new NearstateError('UNAVAILABLE', 'The node has stopped'))
    this.#pipes.clear()
  }
}
