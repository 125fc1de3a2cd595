/** Binds an implementation, plain async functions, to a generated service definition. */
import type { ServerUnaryCall, ServerWritableStream, sendUnaryData, UntypedServiceImplementation } from '@grpc/grpc-js'
import { once } from 'node:events'
import {
  type Definition,
  grpcMethod,
  type Method,
  type MethodSerializers,
  type RequestOf,
  type ResponseOf,
  type Serializers,
} from './definition.ts'
import type { DuplexCall, DuplexListener, DuplexMethod, DuplexMethods } from './duplex-call.ts'
import { statusOf } from './status.ts'

export interface CallContext {
  /** Aborted when the caller has gone, cancelled, or run out of time. */
  readonly signal: AbortSignal
}

/** One async function per unary method, one async generator per server stream, a handler of the call per bidirectional stream. */
export type Implementation<D extends Definition> = { readonly [K in keyof D['methods']]: Handler<D['methods'][K]> }
type Handler<M extends Method> = M['requestStream'] extends true
  ? (call: DuplexCall<RequestOf<M>, ResponseOf<M>>) => DuplexListener<RequestOf<M>>
  : M['responseStream'] extends true
    ? (request: RequestOf<M>, context: CallContext) => AsyncIterable<ResponseOf<M>>
    : (request: RequestOf<M>, context: CallContext) => Promise<ResponseOf<M>>

export interface BoundService {
  readonly fullName: string
  readonly definition: Readonly<Record<string, ReturnType<typeof grpcMethod>>>
  readonly implementation: UntypedServiceImplementation
  /** Of bidirectional streams, by path. */
  readonly duplex: DuplexMethods
}

type AnyHandler = (input: unknown, context?: CallContext) => unknown

/** `serializers` may replace the generated codec of single methods. A thrown NearstateError reaches the caller as what it is. */
export function bindService<D extends Definition>(
  definition: D,
  implementation: Implementation<D>,
  serializers?: MethodSerializers<D>,
): BoundService {
  const methods: Record<string, ReturnType<typeof grpcMethod>> = {}
  const handlers: UntypedServiceImplementation = {}
  const duplex = new Map<string, DuplexMethod<unknown, unknown>>()
  for (const [key, method] of Object.entries(definition.methods)) {
    const bound = grpcMethod(definition.fullName, method, serializers?.[key] as Serializers<unknown, unknown> | undefined)
    methods[key] = bound
    const handle: unknown = (implementation as Readonly<Record<string, unknown>>)[key]
    const { path, requestDeserialize: decode, responseSerialize: encode } = bound
    if (method.requestStream) duplex.set(path, { decode, encode, handle: handle as DuplexMethod<unknown, unknown>['handle'] })
    else handlers[key] = method.responseStream ? streaming(handle as AnyHandler) : unary(handle as AnyHandler)
  }
  return { fullName: definition.fullName, definition: methods, implementation: handlers, duplex }
}

function unary(handle: AnyHandler) {
  return (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>): void => {
    const context = contextOf(call)
    const answer = async (): Promise<void> => {
      let response: unknown
      try {
        response = await handle(call.request, context)
      } catch (thrown) {
        callback(statusOf(thrown))
        return
      }
      callback(null, response)
    }
    void answer()
  }
}

function streaming(handle: AnyHandler) {
  return (call: ServerWritableStream<unknown, unknown>): void => {
    const context = contextOf(call)
    pump(call, context.signal, handle(call.request, context) as AsyncIterable<unknown>).then(
      () => call.end(),
      thrown => {
        if (!context.signal.aborted) call.emit('error', statusOf(thrown))
      },
    )
  }
}

async function pump(call: ServerWritableStream<unknown, unknown>, signal: AbortSignal, messages: AsyncIterable<unknown>): Promise<void> {
  for await (const message of messages) {
    if (signal.aborted) return
    // The generator is asked for no more until a slow reader has taken what there is.
    if (!call.write(message)) await once(call, 'drain', { signal })
  }
}

function contextOf(call: ServerUnaryCall<unknown, unknown> | ServerWritableStream<unknown, unknown>): CallContext {
  const controller = new AbortController()
  call.once('cancelled', () => controller.abort())
  return { signal: controller.signal }
}
