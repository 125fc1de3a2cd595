/**
 * The client's end of a bidirectional gRPC stream, straight over node:http2: for the hot path only, where grpc-js's layers of
 * interceptors, filters and retries would cost a fifth of a round trip. Everything else goes through client.ts.
 *
 * Owns: one connection (made at the first stream, made anew after a loss), framing, flow control, pings, the end of streams.
 * Does not: retry, wait, or know what is in the messages.
 *
 * A message on the stream: [0: not compressed][length, 4 bytes, big-endian][bytes].
 */
import { Metadata, status } from '@grpc/grpc-js'
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants, type IncomingHttpHeaders } from 'node:http2'
import { messageOf, NearstateError } from '../../base/errors.ts'
import { messageMaxBytesDefault } from '../../wire/limits.ts'
import { FrameReader, framed } from './frames.ts'
import { errorOfStatus } from './status.ts'
import { connectionWindowBytes, frameMaxBytes, streamWindowBytes } from './windows.ts'

export interface ByteStreamListener {
  /** The server has taken the stream. */
  onOpen(): void
  /** A view that nobody writes over. A throw ends the stream. */
  onMessage(bytes: Buffer): void
  onDrain(): void
  /** Once; nothing follows. */
  onDown(error: NearstateError): void
}

export interface ByteStream {
  /** Copies the message. False: more than 1 MiB has not left; the message was taken all the same, `onDrain` follows. `sent` is called when it has left. */
  write(message: Uint8Array, sent?: () => void): boolean
  /** Cancels the stream without a word. */
  close(): void
}

const connectTimeoutMs = 5_000
const pingEveryMs = 20_000
const unsentHighWaterBytes = 1024 * 1024

export class Http2Connection {
  readonly #address: string
  readonly #messageMaxBytes: number
  #session: ClientHttp2Session | undefined
  #closed = false

  constructor(address: string, messageMaxBytes = messageMaxBytesDefault) {
    this.#address = address
    this.#messageMaxBytes = messageMaxBytes
  }

  /** `path`: `/package.Service/Method`. */
  open(path: string, what: string, listener: ByteStreamListener): ByteStream {
    const session = this.#session ?? this.#connect()
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      'user-agent': 'nearstate',
    })
    return new Http2ByteStream(stream, what, this.#messageMaxBytes, listener)
  }

  /** Ends all streams. */
  close(): void {
    this.#closed = true
    this.#session?.destroy()
  }

  #connect(): ClientHttp2Session {
    if (this.#closed) throw new NearstateError('CANCELLED', `the connection to ${this.#address} was closed`)
    const session = connect(`http://${this.#address}`, {
      settings: { enablePush: false, initialWindowSize: streamWindowBytes, maxFrameSize: frameMaxBytes },
    })
    this.#session = session
    const giveUp = setTimeout(() => session.destroy(new Error(`no connection within ${connectTimeoutMs} ms`)), connectTimeoutMs)
    let ping: NodeJS.Timeout | undefined
    const forget = (): void => {
      clearTimeout(giveUp)
      clearInterval(ping)
      if (this.#session === session) this.#session = undefined
    }
    session.on('connect', () => {
      clearTimeout(giveUp)
      if (session.destroyed) return // closed in the very turn in which the connection came about
      session.setLocalWindowSize(connectionWindowBytes)
      ping = setInterval(() => keepAlive(session), pingEveryMs)
      ping.unref()
    })
    // Its streams report what happened; a session that says goodbye takes no new ones.
    session.on('error', forget)
    session.on('goaway', forget)
    session.on('close', forget)
    return session
  }
}

/** Destroys a session whose peer has vanished without a word. */
function keepAlive(session: ClientHttp2Session): void {
  if (session.destroyed || session.closed) return
  const timer = setTimeout(() => session.destroy(new Error(`no answer to a ping within ${pingEveryMs} ms`)), pingEveryMs)
  timer.unref()
  session.ping(() => clearTimeout(timer))
}

class Http2ByteStream implements ByteStream {
  readonly #stream: ClientHttp2Stream
  readonly #what: string
  readonly #messageMaxBytes: number
  readonly #listener: ByteStreamListener
  #failure: Error | undefined
  #status: NearstateError | undefined
  #isDown = false

  constructor(stream: ClientHttp2Stream, what: string, messageMaxBytes: number, listener: ByteStreamListener) {
    this.#stream = stream
    this.#what = what
    this.#messageMaxBytes = messageMaxBytes
    this.#listener = listener
    const frames = new FrameReader(messageMaxBytes, message => {
      if (!this.#isDown) listener.onMessage(message)
    })
    stream.on('response', headers => this.#onHeaders(headers))
    stream.on('trailers', trailers => this.#onTrailers(trailers))
    stream.on('data', (chunk: Buffer) => {
      try {
        frames.take(chunk)
      } catch (thrown) {
        if (!(thrown instanceof NearstateError)) throw thrown
        this.#end(thrown)
      }
    })
    stream.on('drain', () => {
      if (!this.#isDown) listener.onDrain()
    })
    stream.on('error', failure => {
      this.#failure = failure
    })
    const end = (): void => this.#end(this.#status ?? this.#lost())
    // The server is done, though this end is not; its trailers are reported in the same turn, before or after.
    stream.on('end', () => setImmediate(end))
    stream.on('close', end)
  }

  write(message: Uint8Array, sent?: () => void): boolean {
    if (this.#isDown || this.#stream.destroyed) return true
    if (message.length > this.#messageMaxBytes) {
      const error = new NearstateError(
        'RESOURCE_EXHAUSTED',
        `${this.#what} failed: a message of ${message.length} bytes, limit is ${this.#messageMaxBytes}`,
      )
      queueMicrotask(() => this.#end(error))
      return true
    }
    this.#stream.write(framed(message), sent === undefined ? undefined : () => sent())
    return this.#stream.writableLength < unsentHighWaterBytes
  }

  close(): void {
    this.#isDown = true
    this.#stream.close(constants.NGHTTP2_CANCEL)
  }

  #onHeaders(headers: IncomingHttpHeaders & { ':status'?: number | undefined }): void {
    if (headers['grpc-status'] !== undefined) this.#onTrailers(headers)
    else if (headers[':status'] !== 200) {
      this.#end(
        new NearstateError('UNAVAILABLE', `${this.#what} failed: HTTP status ${String(headers[':status'])}, this is no gRPC server`),
      )
    } else if (!this.#isDown) this.#listener.onOpen()
  }

  #onTrailers(trailers: IncomingHttpHeaders): void {
    const code: status = Number(trailers['grpc-status'] ?? status.UNKNOWN)
    if (code === status.OK) {
      this.#status = new NearstateError('UNAVAILABLE', `${this.#what} failed: the server has ended the stream`)
      return
    }
    const details = decoded(String(trailers['grpc-message'] ?? ''))
    this.#status = errorOfStatus({ code, details, metadata: Metadata.fromHttp2Headers(trailers) }, this.#what)
  }

  #lost(): NearstateError {
    const why = this.#failure === undefined ? 'the connection was cut' : messageOf(this.#failure)
    return new NearstateError('UNAVAILABLE', `${this.#what} failed: ${why}`, { cause: this.#failure })
  }

  #end(error: NearstateError): void {
    if (this.#isDown) return
    this.close()
    this.#listener.onDown(error)
  }
}

function decoded(message: string): string {
  try {
    return decodeURIComponent(message)
  } catch {
    return message // not percent-encoded, as the protocol has it
  }
}
