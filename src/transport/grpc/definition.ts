/** The generic service definitions that src/wire/generated holds, and what their handlers and calls look like. */
import type { MethodDefinition as GrpcMethod } from '@grpc/grpc-js'

interface MessageType<T> {
  encode(message: T): { finish(): Uint8Array }
  decode(bytes: Uint8Array): T
}

export interface Method {
  readonly name: string
  readonly requestType: MessageType<unknown>
  readonly requestStream: boolean
  readonly responseType: MessageType<unknown>
  readonly responseStream: boolean
}

export interface Definition {
  readonly name: string
  readonly fullName: string
  readonly methods: Readonly<Record<string, Method>>
}

export type RequestOf<M extends Method> = M extends { requestType: { decode(bytes: Uint8Array): infer T } } ? T : never
export type ResponseOf<M extends Method> = M extends { responseType: { decode(bytes: Uint8Array): infer T } } ? T : never

/** How bytes become messages, where the generated functions are not the fastest way. */
export interface Serializers<Request, Response> {
  readonly encodeRequest: (message: Request) => Buffer
  readonly decodeRequest: (bytes: Buffer) => Request
  readonly encodeResponse: (message: Response) => Buffer
  readonly decodeResponse: (bytes: Buffer) => Response
}

export type MethodSerializers<D extends Definition> = Readonly<
  Partial<{ [K in keyof D['methods']]: Serializers<RequestOf<D['methods'][K]>, ResponseOf<D['methods'][K]>> }>
>

const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)

/** The method as grpc-js wants it. */
export function grpcMethod<Request, Response>(
  fullName: string,
  method: Method,
  serializers?: Serializers<Request, Response>,
): GrpcMethod<Request, Response> {
  const requestType = method.requestType as unknown as MessageType<Request>
  const responseType = method.responseType as unknown as MessageType<Response>
  return {
    path: `/${fullName}/${method.name}`,
    requestStream: method.requestStream,
    responseStream: method.responseStream,
    requestSerialize: serializers?.encodeRequest ?? (message => bufferOf(requestType.encode(message).finish())),
    requestDeserialize: serializers?.decodeRequest ?? (bytes => requestType.decode(bytes)),
    responseSerialize: serializers?.encodeResponse ?? (message => bufferOf(responseType.encode(message).finish())),
    responseDeserialize: serializers?.decodeResponse ?? (bytes => responseType.decode(bytes)),
  }
}
