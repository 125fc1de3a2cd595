/**
 * The error taxonomy: one class for failures at an edge, one closed list of codes, one table.
 *
 * Owns: what a code means, its gRPC status, whether a retry is safe, the sentence in the docs.
 * Does not: decide to retry (client), translate statuses (transport).
 */

interface CodeRow {
  readonly grpcStatus: number
  /** A retry of the same call is safe and may succeed. */
  readonly retryable: boolean
  readonly meaning: string
}

const table = {
  NOT_FOUND: { grpcStatus: 5, retryable: false, meaning: 'What the call names (map, job, function, node) does not exist.' },
  INVALID_ARGUMENT: {
    grpcStatus: 3,
    retryable: false,
    meaning: 'The call itself is wrong; the message names the value, the limit and the remedy.',
  },
  CONFLICT: { grpcStatus: 10, retryable: false, meaning: 'The entry is not there with the expected version.' },
  ALREADY_EXISTS: { grpcStatus: 6, retryable: false, meaning: 'A map or job of that name exists with another definition.' },
  UNAUTHENTICATED: { grpcStatus: 16, retryable: false, meaning: 'The caller did not say who it is.' },
  PERMISSION_DENIED: { grpcStatus: 7, retryable: false, meaning: 'The caller may not do this.' },
  NOT_ENOUGH_REPLICAS: { grpcStatus: 9, retryable: true, meaning: 'Fewer in-sync copies than minInSync; nothing was written.' },
  PARTITION_LOST: {
    grpcStatus: 15,
    retryable: false,
    meaning: 'All copies of the partition are gone; it refuses to serve until an operator gives its data up.',
  },
  RESOURCE_EXHAUSTED: { grpcStatus: 8, retryable: true, meaning: 'A limit (memory, queue, in-flight) is reached; nothing was done.' },
  DEADLINE_EXCEEDED: { grpcStatus: 4, retryable: true, meaning: 'The time-out passed; the call had no effect.' },
  OUTCOME_UNKNOWN: { grpcStatus: 2, retryable: false, meaning: 'A write was sent and not answered; it may or may not have happened.' },
  FUNCTION_FAILED: { grpcStatus: 2, retryable: false, meaning: 'A user function threw or was stopped; message and stack are its own.' },
  CANCELLED: { grpcStatus: 1, retryable: false, meaning: 'The caller aborted the call.' },
  UNSUPPORTED_VERSION: { grpcStatus: 12, retryable: false, meaning: 'The two ends speak no common wire version, or this Node is too old.' },
  UNAVAILABLE: { grpcStatus: 14, retryable: true, meaning: 'The cluster or the node cannot be reached now; nothing was done.' },
  INTERNAL: { grpcStatus: 13, retryable: false, meaning: 'A defect in Nearstate; please report it.' },
} as const satisfies Record<string, CodeRow>

export type ErrorCode = keyof typeof table
export const errorCodes: Readonly<Record<ErrorCode, CodeRow>> = table
export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(table, text)

export interface NearstateErrorDetails {
  readonly cause?: unknown
  /** FUNCTION_FAILED: the user function's own stack, mapped to its source. */
  readonly functionStack?: string
  /** setAll: the keys that failed. */
  readonly failedKeys?: readonly unknown[]
}

/** The one error class that users see. `code` is closed; `retryable` says whether the same call may be repeated safely. */
export class NearstateError extends Error {
  override readonly name = 'NearstateError'
  readonly code: ErrorCode
  declare readonly functionStack?: string
  declare readonly failedKeys?: readonly unknown[]

  constructor(code: ErrorCode, message: string, details: NearstateErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    if (details.functionStack !== undefined) this.functionStack = details.functionStack
    if (details.failedKeys !== undefined) this.failedKeys = details.failedKeys
  }

  get retryable(): boolean {
    return errorCodes[this.code].retryable
  }
}

export const invalidArgument = (message: string): NearstateError => new NearstateError('INVALID_ARGUMENT', message)

/** The text of anything thrown. */
export const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown))
