/** One call on its way: what to send (again), whom to tell. Its bytes lie in the buffers of the batch that took it. */
import { NearstateError } from '../base/errors.ts'
import type { KeyCodec } from '../keys/key-codec.ts'
import type { OperationOptions, ResultDetail } from '../wire/generated/nearstate/v1/data.ts'
import { isWrite, operationName } from '../wire/operations.ts'
import type { PartitionSession } from './partition-session.ts'

/** The map that an operation is about, as its streams declare it. */
export interface MapRoute {
  readonly name: string
  readonly keySpace: string
  readonly keyCodec: KeyCodec
  readonly keyCodecText: string
}

/** Turns an answer into the call's result. `absent`: nothing was there; else the value is bytes[start..end). */
export type Completion = (absent: boolean, bytes: Buffer, start: number, end: number, detail: ResultDetail | undefined) => unknown

const noBytes = Buffer.alloc(0)

export class Operation {
  readonly kind: number
  readonly route: MapRoute
  readonly partition: number
  readonly options: OperationOptions | undefined
  readonly deadlineMs: number
  readonly complete: Completion
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
  keys: Uint8Array = noBytes
  keyStart = 0
  keyEnd = 0
  values: Uint8Array = noBytes
  valueStart = 0
  valueEnd = 0
  /** Above chunkMaxBytes: travels ahead of its operation, in chunks. */
  largeValue: Buffer | undefined
  /** On the wire and not answered: a write's outcome is then not known. */
  sent = false
  /** Version of the table that it was last routed by. */
  tableVersion = 0n
  attempts = 0
  settled = false
  /** The session that a write is numbered in, and its number there, which it keeps. */
  session: PartitionSession | undefined
  number = 0
  /** Numbered, and with a pipe. */
  underWay = false
  /** It was sent, and whether it was done is not known: it may be repeated only under the same ticket and number. */
  mayHaveHappened = false
  /** A read that any replica may answer. */
  fromAny = false
  /** Lets go of the caller's AbortSignal. */
  onSettled: (() => void) | undefined

  constructor(
    kind: number,
    route: MapRoute,
    partition: number,
    options: OperationOptions | undefined,
    deadlineMs: number,
    complete: Completion,
    resolve: (result: unknown) => void,
    reject: (error: unknown) => void,
  ) {
    this.kind = kind
    this.route = route
    this.partition = partition
    this.options = options
    this.deadlineMs = deadlineMs
    this.complete = complete
    this.resolve = resolve
    this.reject = reject
  }

  fail(error: NearstateError): void {
    if (this.settled) return
    this.#settle()
    this.reject(error)
  }

  succeed(absent: boolean, bytes: Buffer, start: number, end: number, detail: ResultDetail | undefined): void {
    this.#settle()
    try {
      this.resolve(this.complete(absent, bytes, start, end, detail))
    } catch (thrown) {
      this.reject(thrown)
    }
  }

  /** The failure of a call that nobody will answer any more: only a write that was sent may have happened. */
  unanswered(code: 'DEADLINE_EXCEEDED' | 'UNAVAILABLE', why: string): NearstateError {
    const what = `${operationName(this.kind)} on map "${this.route.name}"`
    if ((this.sent || this.mayHaveHappened) && isWrite(this.kind)) {
      return new NearstateError('OUTCOME_UNKNOWN', `${what} was sent and not answered (${why}): it may or may not have happened`)
    }
    return new NearstateError(code, `${what} was not done: ${why}`)
  }

  #settle(): void {
    this.settled = true
    this.onSettled?.()
    this.session?.settled(this)
  }
}
