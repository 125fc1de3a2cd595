/**
 * The server's end of a bidirectional stream, as messages on grpc-js's call: the Node streams that grpc-js hands to its handlers cost
 * a tenth of a round trip, and send one message at a time.
 *
 * Owns: reading while not paused, counting what has not left, the end. Does not: know what is in the messages.
 */
import { Metadata, ServerInterceptingCall, type ServerInterceptingCallInterface, type ServerInterceptor, status } from '@grpc/grpc-js'
import { statusOf } from './status.ts'

export interface DuplexListener<Request> {
  onMessage(request: Request): void
  /** After `send` has answered false: most of what was sent has left. */
  onDrain(): void
  /** The caller sends nothing more. */
  onHalfClose(): void
  /** The caller has gone or cancelled; not said after `end` or `fail`. Nothing follows. */
  onGone(): void
}

export type DuplexHandler<Request, Response> = (call: DuplexCall<Request, Response>) => DuplexListener<Request>

/** Messages that have not left, above which the sender should wait. */
const unsentHighWater = 16

export class DuplexCall<Request, Response> {
  readonly #call: ServerInterceptingCallInterface
  #listener: DuplexListener<Request> | undefined
  #unsent = 0
  #isFull = false
  #isPaused = false
  /** Came after `pause`, which is too late for what was asked for before. */
  #held: Request | undefined
  #isReading = false
  #hasCome = false
  #isOver = false

  constructor(call: ServerInterceptingCallInterface, handle: DuplexHandler<Request, Response>) {
    this.#call = call
    call.start({
      onReceiveMetadata: () => {
        this.#listener = handle(this)
        this.#read()
      },
      onReceiveMessage: (request: Request) => {
        if (this.#isPaused) this.#held = request
        else this.#deliver(request)
      },
      onReceiveHalfClose: () => {
        if (!this.#isOver) this.#listener?.onHalfClose()
      },
      onCancel: () => {
        if (this.#isOver) return
        this.#isOver = true
        this.#listener?.onGone()
      },
    })
  }

  /** The caller learns that its call was taken. */
  sendHeaders(): void {
    this.#call.sendMetadata(new Metadata())
  }

  /** Encodes the message at once. False: it was taken, and `onDrain` follows. */
  send(message: Response): boolean {
    if (this.#isOver) return true
    this.#unsent += 1
    if (this.#unsent >= unsentHighWater) this.#isFull = true
    this.#call.sendMessage(message, this.#onSent)
    return !this.#isFull
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    const held = this.#held
    this.#held = undefined
    if (held === undefined) this.#read()
    else this.#deliver(held)
  }

  /** With status OK, after what was sent. */
  end(): void {
    this.#finish({ code: status.OK, details: '' })
  }

  fail(thrown: unknown): void {
    this.#finish(statusOf(thrown))
  }

  #finish(said: Parameters<ServerInterceptingCallInterface['sendStatus']>[0]): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#call.sendStatus(said)
  }

  #deliver(request: Request): void {
    this.#hasCome = true
    if (!this.#isOver) this.#listener?.onMessage(request)
    this.#read()
  }

  readonly #onSent = (): void => {
    this.#unsent -= 1
    if (!this.#isFull || this.#unsent > unsentHighWater / 2) return
    this.#isFull = false
    if (!this.#isOver) this.#listener?.onDrain()
  }

  /** Asks for the next message. One that is there already comes within the call, and is not to be answered with another call in its midst. */
  #read(): void {
    if (this.#isReading) return
    this.#isReading = true
    do {
      this.#hasCome = false
      if (!this.#isPaused && !this.#isOver) this.#call.startRead()
    } while (this.#hasCome)
    this.#isReading = false
  }
}

/** Gives the calls of these methods, by path, to their handlers. */
export function duplexInterceptor(handlers: ReadonlyMap<string, DuplexHandler<unknown, unknown>>): ServerInterceptor {
  return ({ path }, call) => {
    const handle = handlers.get(path)
    return handle === undefined
      ? new ServerInterceptingCall(call)
      : new ServerInterceptingCall(call, { start: () => void new DuplexCall(call, handle) })
  }
}
