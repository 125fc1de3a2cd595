/**
 * The server's end of a bidirectional stream, straight on the HTTP/2 stream: grpc-js's layers cost a sixth of a round trip there, as on
 * the client's side (http2-stream.ts).
 *
 * Owns: framing, reading while not paused, what has not left, the caller's deadline, the end. Does not: know what is in the messages.
 */
import { status, type StatusObject } from '@grpc/grpc-js'
import type { Http2Server, IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import { invalidArgument, messageOf, NearstateError } from '../../base/errors.ts'
import { FrameReader, framed } from './frames.ts'
import { statusOf } from './status.ts'

export interface DuplexListener<Request> {
  onMessage(request: Request): void
  /** After `send` has answered false: what was sent has left. */
  onDrain(): void
  /** The caller sends nothing more. */
  onHalfClose(): void
  /** The caller has gone or cancelled, or its time is over; not said after `end` or `fail`. Nothing follows. */
  onGone(): void
}

export interface DuplexMethod<Request, Response> {
  /** A throw ends the stream. */
  readonly decode: (bytes: Buffer) => Request
  readonly encode: (message: Response) => Uint8Array
  readonly handle: (call: DuplexCall<Request, Response>) => DuplexListener<Request>
}

export type DuplexMethods = ReadonlyMap<string, DuplexMethod<unknown, unknown>>

const unsentHighWaterBytes = 1024 * 1024
const responseHeaders = { ':status': 200, 'content-type': 'application/grpc+proto', 'grpc-accept-encoding': 'identity' }

type Said = Pick<StatusObject, 'code' | 'details'> & Partial<Pick<StatusObject, 'metadata'>>

export class DuplexCall<Request, Response> {
  readonly #stream: ServerHttp2Stream
  readonly #method: DuplexMethod<Request, Response>
  readonly #frames: FrameReader
  #listener: DuplexListener<Request> | undefined
  /** Came in one chunk with what was read before the pause. */
  readonly #held: Request[] = []
  #deadline: NodeJS.Timeout | undefined
  #status: Said = { code: status.UNKNOWN, details: '' }
  #isPaused = false
  #isHalfClosed = false
  #isFull = false
  #isOver = false

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, method: DuplexMethod<Request, Response>, messageMaxBytes: number) {
    this.#stream = stream
    this.#method = method
    this.#frames = new FrameReader(messageMaxBytes, bytes => this.#take(bytes))
    stream.on('error', () => undefined) // `close` follows
    stream.on('wantTrailers', () => stream.sendTrailers(trailersOf(this.#status)))
    stream.on('close', () => this.#gone())
    stream.on('aborted', () => this.#gone()) // A stream reset with NO_ERROR is closed only when all of it has been read.
    try {
      this.#limit(headers['grpc-timeout'])
      this.#listener = method.handle(this)
    } catch (thrown) {
      this.fail(thrown)
    }
    stream.on('data', (chunk: Buffer) => this.#read(chunk))
    stream.on('end', () => {
      this.#isHalfClosed = true
      this.#sayHalfClose()
    })
    stream.on('drain', () => {
      if (!this.#isFull || this.#isOver) return
      this.#isFull = false
      this.#listener?.onDrain()
    })
  }

  /** The caller learns that its call was taken. */
  sendHeaders(): void {
    if (this.#isOver || this.#stream.headersSent || this.#stream.closed) return
    this.#stream.respond(responseHeaders, { waitForTrailers: true })
  }

  /** Encodes the message at once. False: it was taken, and `onDrain` follows. */
  send(message: Response): boolean {
    if (this.#isOver) return true
    this.sendHeaders()
    this.#stream.write(framed(this.#method.encode(message)))
    if (this.#stream.writableLength >= unsentHighWaterBytes) this.#isFull = true
    return !this.#isFull
  }

  pause(): void {
    if (this.#isOver) return
    this.#isPaused = true
    this.#stream.pause()
  }

  resume(): void {
    this.#isPaused = false
    while (!this.#isPaused && !this.#isOver) {
      const request = this.#held.shift()
      if (request === undefined) {
        this.#stream.resume()
        this.#sayHalfClose()
        return
      }
      this.#hear(request)
    }
  }

  /** With status OK, after what was sent. */
  end(): void {
    this.#finish({ code: status.OK, details: '' })
  }

  fail(thrown: unknown): void {
    this.#finish(statusOf(thrown))
  }

  #read(chunk: Buffer): void {
    if (this.#isOver) return
    try {
      this.#frames.take(chunk)
    } catch (thrown) {
      this.#refuse(thrown)
    }
  }

  #take(bytes: Buffer): void {
    if (this.#isOver) return
    const request = this.#decode(bytes)
    if (this.#isPaused) this.#held.push(request)
    else this.#hear(request)
  }

  #hear(request: Request): void {
    try {
      this.#listener?.onMessage(request)
    } catch (thrown) {
      this.#refuse(thrown)
    }
  }

  /** Node says `end` behind the last chunk, even when that has just paused the stream and messages of it are held. */
  #sayHalfClose(): void {
    if (!this.#isHalfClosed || this.#isOver || this.#held.length > 0) return
    this.#isHalfClosed = false
    this.#listener?.onHalfClose()
  }

  #decode(bytes: Buffer): Request {
    try {
      return this.#method.decode(bytes)
    } catch (thrown) {
      throw thrown instanceof NearstateError ? thrown : invalidArgument(`Cannot read message: ${messageOf(thrown)}`)
    }
  }

  #limit(timeout: string | string[] | undefined): void {
    if (timeout === undefined) return
    const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(String(timeout)) ?? []
    if (digits === undefined || unit === undefined) {
      throw new NearstateError('INTERNAL', `Cannot read grpc-timeout "${timeout}": 1 to 8 digits and one of H, M, S, m, u, n are wanted`)
    }
    const ms = Number(digits) * (unitMs.get(unit) ?? 1)
    const error = new NearstateError('DEADLINE_EXCEEDED', `the call's time-out of ${ms} ms is over`)
    this.#deadline = setTimeout(() => this.#refuse(error), Math.min(ms, timerMaxMs))
  }

  /** As `fail`, by the call itself: the listener has to be told. What is no refusal is a bug, and not for the caller. */
  #refuse(thrown: unknown): void {
    if (!(thrown instanceof NearstateError)) throw thrown
    if (this.#isOver) return
    this.fail(thrown)
    this.#listener?.onGone()
  }

  #gone(): void {
    clearTimeout(this.#deadline)
    if (this.#isOver) return
    this.#isOver = true
    this.#held.length = 0
    this.#stream.resume()
    this.#listener?.onGone()
  }

  #finish(said: Said): void {
    if (this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#deadline)
    this.#held.length = 0
    const stream = this.#stream
    if (stream.destroyed || stream.closed) return
    this.#status = said
    if (stream.headersSent) stream.end()
    else stream.respond({ ...responseHeaders, ...trailersOf(said) }, { endStream: true })
    // What the caller still sends is let go.
    stream.resume()
  }
}

const unitMs = new Map([
  ['H', 3_600_000],
  ['M', 60_000],
  ['S', 1000],
  ['m', 1],
  ['u', 0.001],
  ['n', 0.000001],
])
/** What a timer can wait. */
const timerMaxMs = 2 ** 31 - 1

function trailersOf({ code, details, metadata }: Said): OutgoingHttpHeaders {
  return { 'grpc-status': String(code), 'grpc-message': encodeURI(details), ...metadata?.toHttp2Headers() }
}

/** Serves these methods, by path, on a server of grpc-js, which serves all others. */
export function serveDuplex(server: Http2Server, methods: DuplexMethods, messageMaxBytes: number): void {
  const others = server.listeners('stream')
  server.removeAllListeners('stream')
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, ...more: unknown[]) => {
    const method = methods.get(headers[':path'] ?? '')
    if (method !== undefined && isGrpc(headers)) return void new DuplexCall(stream, headers, method, messageMaxBytes)
    for (const listener of others) listener.call(server, stream, headers, ...more)
  })
}

const isGrpc = (headers: IncomingHttpHeaders): boolean => headers['content-type']?.startsWith('application/grpc') === true
