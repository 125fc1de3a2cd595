/** Calls to a service at one address: unary methods are promises, server streams async iterables, bidirectional streams raw calls. */
import {
  type CallOptions,
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  Metadata,
  type MethodDefinition,
  type ServiceError,
} from '@grpc/grpc-js'
import { isAborted } from '../../base/abort.ts'
import { NearstateError } from '../../base/errors.ts'
import { messageMaxBytesDefault } from '../../wire/limits.ts'
import {
  type Definition,
  grpcMethod,
  type Method,
  type MethodSerializers,
  type RequestOf,
  type ResponseOf,
  type Serializers,
} from './definition.ts'
import { errorOfStatus } from './status.ts'
import { streamWindowBytes } from './windows.ts'

export interface GrpcClientOptions<D extends Definition> {
  readonly messageMaxBytes?: number
  /** Of unary calls that name none; default 10 s. */
  readonly timeoutMs?: number
  /** May replace the generated codec of single methods. */
  readonly serializers?: MethodSerializers<D>
}

export interface UnaryOptions {
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}
export interface StreamOptions {
  readonly signal?: AbortSignal
}
export type ClientDuplex<Request, Response> = ClientDuplexStream<Request, Response>

export type GrpcClient<D extends Definition> = { readonly [K in keyof D['methods']]: Call<D['methods'][K]> } & {
  /** Ends the connection; calls under way fail with UNAVAILABLE. */
  close(): void
}
type Call<M extends Method> = M['requestStream'] extends true
  ? () => ClientDuplex<RequestOf<M>, ResponseOf<M>>
  : M['responseStream'] extends true
    ? (request: RequestOf<M>, options?: StreamOptions) => AsyncIterable<ResponseOf<M>>
    : (request: RequestOf<M>, options?: UnaryOptions) => Promise<ResponseOf<M>>

const timeoutMsDefault = 10_000

/** Connects at the first call and again, with back-off, after a loss. Calls fail at once with UNAVAILABLE while there is no connection. */
export function createGrpcClient<D extends Definition>(definition: D, address: string, options: GrpcClientOptions<D> = {}): GrpcClient<D> {
  const messageMaxBytes = options.messageMaxBytes ?? messageMaxBytesDefault
  const client = new Client(address, credentials.createInsecure(), {
    'grpc.max_receive_message_length': messageMaxBytes,
    'grpc.max_send_message_length': messageMaxBytes,
    'grpc-node.flow_control_window': streamWindowBytes,
    'grpc.keepalive_time_ms': 20_000,
    'grpc.keepalive_timeout_ms': 20_000,
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 2_000,
    // A retry by the transport would repeat a write behind our back.
    'grpc.enable_retries': 0,
    'grpc.service_config_disable_resolution': 1,
    'grpc.enable_channelz': 0,
    'grpc.use_local_subchannel_pool': 1,
  })
  const calls: Record<string, unknown> = { close: () => client.close() }
  for (const [key, generic] of Object.entries(definition.methods)) {
    const serializers = options.serializers?.[key] as Serializers<unknown, unknown> | undefined
    const method = grpcMethod(definition.fullName, generic, serializers)
    const what = `${definition.name}.${generic.name} at ${address}`
    if (generic.requestStream) calls[key] = () => duplex(client, method)
    else if (generic.responseStream) {
      calls[key] = (request: unknown, stream: StreamOptions = {}) => serverStream(client, method, what, request, stream)
    } else {
      calls[key] = (request: unknown, call: UnaryOptions = {}) =>
        unary(client, method, what, request, call.timeoutMs ?? options.timeoutMs ?? timeoutMsDefault, call.signal)
    }
  }
  return calls as GrpcClient<D>
}

function unary(
  client: Client,
  method: MethodDefinition<unknown, unknown>,
  what: string,
  request: unknown,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  if (signal?.aborted === true) return Promise.reject(cancelled(what, signal))
  return new Promise((resolve, reject) => {
    const settle = (failure: ServiceError | null, response?: unknown): void => {
      signal?.removeEventListener('abort', abort)
      if (failure === null) resolve(response)
      else if (signal?.aborted === true) reject(cancelled(what, signal))
      else reject(errorOfStatus(failure, what))
    }
    const callOptions: CallOptions = { deadline: Date.now() + timeoutMs }
    const { path, requestSerialize, responseDeserialize } = method
    const call = client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, new Metadata(), callOptions, settle)
    const abort = (): void => call.cancel()
    signal?.addEventListener('abort', abort, { once: true })
  })
}

async function* serverStream(
  client: Client,
  method: MethodDefinition<unknown, unknown>,
  what: string,
  request: unknown,
  { signal }: StreamOptions,
): AsyncGenerator {
  if (signal?.aborted === true) throw cancelled(what, signal)
  const call: ClientReadableStream<unknown> = client.makeServerStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    request,
  )
  const abort = (): void => call.cancel()
  signal?.addEventListener('abort', abort, { once: true })
  try {
    for await (const message of call) yield message
  } catch (thrown) {
    throw signal !== undefined && isAborted(signal) ? cancelled(what, signal) : errorOfStatus(thrown as ServiceError, what)
  } finally {
    signal?.removeEventListener('abort', abort)
    // After `break`, a stream cancelled by us reports an error that nobody waits for.
    call.on('error', () => {})
    call.cancel()
  }
}

const duplex = (client: Client, method: MethodDefinition<unknown, unknown>): ClientDuplex<unknown, unknown> =>
  client.makeBidiStreamRequest(method.path, method.requestSerialize, method.responseDeserialize)

const cancelled = (what: string, signal: AbortSignal): NearstateError =>
  new NearstateError('CANCELLED', `${what} was aborted`, { cause: signal.reason })
