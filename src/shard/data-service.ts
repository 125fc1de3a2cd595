/** The Data service of this shard: pipes, and single calls for simple clients. */
import { invalidArgument, NearstateError } from '../base/errors.ts'
import type { DataServer, PipeClient, PipeHandler } from '../transport/ports.ts'
import {
  type DeleteRequest,
  type DeleteResponse,
  type GetRequest,
  type GetResponse,
  type InvokeRequest,
  type InvokeResponse,
  type OpenSessionRequest,
  type OpenSessionResponse,
  OperationKind,
  type RequestId,
  type SetRequest,
  type SetResponse,
} from '../wire/generated/nearstate/v1/data.ts'
import { ticketBytes } from '../wire/limits.ts'
import { emptyOptions } from '../wire/operations.ts'
import { encodeValue } from '../wire/value-codec.ts'
import { Pipe, type PipeShared } from './pipe.ts'
import type { SingleCall, SingleCalls } from './single-calls.ts'

const noBytes: Buffer = Buffer.alloc(0)

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

  async set({ map, key, value, ttlMs, maxIdleMs, request }: SetRequest): Promise<SetResponse> {
    const options = { ...emptyOptions(), ttlMs, maxIdleMs, withVersion: true }
    const { detail } = await this.#calls.call({ kind: OperationKind.SET, map, key, value, options, as: 'user', ...named(request) })
    return { version: detail?.version ?? 0n }
  }

  async delete({ map, key, request }: DeleteRequest): Promise<DeleteResponse> {
    const { isAbsent } = await this.#calls.call({ kind: OperationKind.DELETE, map, key, as: 'user', ...named(request) })
    return { existed: !isAbsent }
  }

  async invoke(request: InvokeRequest): Promise<InvokeResponse> {
    const { map, key } = request
    const value = request.arguments.length === 0 ? encodeValue(undefined) : request.arguments
    const options = { ...emptyOptions(), function: request.function }
    const answer = await this.#calls.call({ kind: OperationKind.INVOKE, map, key, value, options, as: 'user', ...named(request.request) })
    return { result: answer.value }
  }

  async openSession({ partition }: OpenSessionRequest): Promise<OpenSessionResponse> {
    const options = { ...emptyOptions(), partition }
    const answer = await this.#calls.call({ kind: OperationKind.OPEN_SESSION, map: '', key: noBytes, options, as: 'user' })
    return { ticket: answer.value }
  }

  /** Takes nothing more; each stream ends when all that it brought is answered. */
  finishPipes(): void {
    for (const pipe of this.#pipes) pipe.finish()
  }

  /** Ends every stream: the node is stopping. */
  endPipes(): void {
    for (const pipe of this.#pipes) pipe.fail(new NearstateError('UNAVAILABLE', 'The node has stopped'))
    this.#pipes.clear()
  }
}

/** The name of a write, checked; absent: it has none. */
function named(request: RequestId | undefined): Pick<SingleCall, 'request'> {
  if (request === undefined) return {}
  const { ticket, number, lowestUnanswered } = request
  if (ticket.length !== ticketBytes)
    throw invalidArgument(`Cannot write: a session's ticket has ${ticketBytes} bytes, got ${ticket.length}`)
  if (number < 1 || lowestUnanswered < 1 || lowestUnanswered > number)
    throw invalidArgument(
      `Cannot write: numbers begin with 1, and the lowest unanswered one is not above; got ${number} and ${lowestUnanswered}`,
    )
  return { request }
}
