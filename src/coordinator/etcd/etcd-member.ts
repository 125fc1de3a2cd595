/**
 * One etcd member: its connection, its calls, its token.
 *
 * Of the package etcd3 only the wire is used (definitions, types, channels). Its own retries, circuit breaker, lease keeper and watch
 * manager are passed by: the breaker stays open for seconds after a change of leader, the retries repeat writes whose outcome is
 * unknown, the watch manager may skip changes when it resumes, and throws from event handlers.
 */
import { rootCertificates } from 'node:tls'
import { type ICallable, KVClient, LeaseClient, type Services, WatchClient } from 'etcd3'
import { ConnectionPool, type Host } from 'etcd3/lib/connection-pool.js'
import { asBuffer } from '../buffers.ts'

export interface EtcdAccess {
  readonly credentials?: { readonly user: string; readonly password: string } | undefined
  /** Undefined: plain text. */
  readonly tls?: EtcdTls | undefined
}

/** PEM. No `ca`: the certificate authorities that Node.js trusts. */
export interface EtcdTls {
  readonly ca?: Uint8Array | undefined
  readonly cert?: Uint8Array | undefined
  readonly key?: Uint8Array | undefined
}

type Service = keyof typeof Services
type Connection = Parameters<Parameters<ConnectionPool['withConnection']>[1]>[0]
type CallOptions = Parameters<KVClient['range']>[1]
type UnaryMethod = (request: unknown, metadata: unknown, options: unknown, callback: (error: unknown, answer: unknown) => void) => void

const answerMaxBytes = 64 * 1024 * 1024

/**
 * The library waits up to two minutes between attempts to connect unless told otherwise, and would not notice a silent peer.
 * etcd refuses pings that come more often than every 5 s.
 */
const channelOptions = {
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1000,
  'grpc.keepalive_time_ms': 6000,
  'grpc.keepalive_timeout_ms': 3000,
  'grpc.max_receive_message_length': answerMaxBytes,
  'grpc.max_send_message_length': answerMaxBytes,
}

export class EtcdMember implements ICallable<Host> {
  /** host:port. */
  readonly address: string
  readonly kv: KVClient
  readonly leases: LeaseClient
  readonly watches: WatchClient
  readonly callOptionsFactory = undefined
  readonly #pool: ConnectionPool
  readonly #credentials: EtcdAccess['credentials']
  #token: Promise<string> | undefined

  constructor(address: string, { credentials, tls }: EtcdAccess) {
    this.address = address
    this.#credentials = credentials
    this.#pool = new ConnectionPool({
      hosts: `${tls === undefined ? 'http' : 'https'}://${address}`,
      grpcOptions: channelOptions,
      ...(tls === undefined ? {} : { credentials: pemOf(tls) }),
    })
    this.kv = new KVClient(this)
    this.leases = new LeaseClient(this)
    this.watches = new WatchClient(this)
  }

  /** One call, without any repetition. Rejects with the error of the gRPC library. */
  async exec<T>(service: Service, method: string, request: unknown, options?: CallOptions): Promise<T> {
    return this.withConnection(service, connection => callOnce<T>(connection, method, request, options))
  }

  async withConnection<R>(service: Service, use: (connection: Connection) => Promise<R> | R): Promise<R> {
    const token = await this.#currentToken()
    const { resource, client, metadata } = await this.#connection(service)
    const own = metadata.clone()
    // A member without leader refuses, instead of keeping the caller waiting or a watch silent.
    own.set('hasleader', 'true')
    if (token !== undefined) own.set('token', token)
    return use({ resource, client, metadata: own })
  }

  /** The failures of streams are told to whoever reads them. */
  markFailed(): void {}

  /** The next call asks for a new one. */
  forgetToken(): void {
    this.#token = undefined
  }

  close(): void {
    this.#pool.close()
  }

  /** Leaves the library's policies before the call begins: they see no failure, and so never act. */
  #connection(service: Service): Promise<Connection> {
    return this.#pool.withConnection(service, connection => connection)
  }

  async #currentToken(): Promise<string | undefined> {
    if (this.#credentials === undefined) return undefined
    this.#token ??= this.#authenticate(this.#credentials.user, this.#credentials.password)
    const asked = this.#token
    return asked.catch((error: unknown) => {
      if (this.#token === asked) this.#token = undefined
      throw error
    })
  }

  async #authenticate(name: string, password: string): Promise<string> {
    const connection = await this.#connection('Auth')
    const options = { deadline: Date.now() + authenticationTimeoutMs }
    const { token } = await callOnce<{ readonly token: string }>(connection, 'authenticate', { name, password }, options)
    return token
  }
}

/** etcd hashes the password slowly on purpose. */
const authenticationTimeoutMs = 3000

function callOnce<T>({ client, metadata }: Connection, method: string, request: unknown, options: CallOptions): Promise<T> {
  return new Promise((resolve, reject) => {
    // The library makes the client's methods from the definitions, unseen by the compiler.
    const methods = client as unknown as Readonly<Record<string, UnaryMethod>>
    const call = methods[method]
    if (call === undefined) throw new TypeError(`etcd has no method ${method}`)
    call.call(client, request, metadata, options ?? {}, (error, answer) => {
      if (error) reject(error)
      else resolve(answer as T)
    })
  })
}

const pemOf = ({ ca, cert, key }: EtcdTls) => ({
  rootCertificate: ca === undefined ? Buffer.from(rootCertificates.join('\n')) : asBuffer(ca),
  ...(cert === undefined ? {} : { certChain: asBuffer(cert) }),
  ...(key === undefined ? {} : { privateKey: asBuffer(key) }),
})
