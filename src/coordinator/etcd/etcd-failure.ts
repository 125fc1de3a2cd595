/**
 * What a failed call to an etcd member means for the call: may it be tried again, and what does the caller learn.
 * The status code alone does not tell: etcd answers UNAVAILABLE both before and after it has taken a write.
 */
import { type ErrorCode, messageOf } from '../../base/errors.ts'

export type EtcdFailure =
  /** Every member would say the same. */
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly reason: string }
  /** The member wants a new token; nothing was done. */
  | { readonly kind: 'tokenEnded'; readonly reason: string }
  /** No connection: nothing was done. */
  | { readonly kind: 'unreached'; readonly reason: string }
  /** The member has no leader now: nothing was done. */
  | { readonly kind: 'leaderless'; readonly reason: string }
  /** Sent, and not answered: a write may have happened, or happen yet. */
  | { readonly kind: 'unknown'; readonly reason: string }

const status = { invalidArgument: 3, permissionDenied: 7, resourceExhausted: 8, unimplemented: 12, unauthenticated: 16 }

const tokenEnded = /invalid auth token|revision of auth store is old/
const badCredentials = /authentication failed|user name is empty|user name not found|authentication is not enabled/
/** By etcd, or by its gRPC server before etcd has seen it. */
const tooLarge = /request is too large|^grpc: received message larger/
/** The words of the gRPC library for a call that it had no connection for. */
const unreached = /^(No connection established|Name resolution failed)/

export function judgeFailure(error: unknown): EtcdFailure {
  const { code, reason } = describe(error)
  if (tokenEnded.test(reason)) return { kind: 'tokenEnded', reason }
  if (badCredentials.test(reason)) return { kind: 'refused', code: 'UNAUTHENTICATED', reason }
  if (unreached.test(reason)) return { kind: 'unreached', reason: withoutNotes(reason) }
  if (reason.includes('no leader')) return { kind: 'leaderless', reason }
  if (tooLarge.test(reason)) return { kind: 'refused', code: 'INVALID_ARGUMENT', reason: `${reason}; etcd's limit is --max-request-bytes` }
  switch (code) {
    case status.unauthenticated:
      return { kind: 'refused', code: 'UNAUTHENTICATED', reason }
    case status.permissionDenied:
      return { kind: 'refused', code: 'PERMISSION_DENIED', reason }
    case status.resourceExhausted:
      return { kind: 'refused', code: 'RESOURCE_EXHAUSTED', reason }
    case status.unimplemented:
      return { kind: 'refused', code: 'UNSUPPORTED_VERSION', reason }
    case status.invalidArgument:
      return { kind: 'refused', code: 'INVALID_ARGUMENT', reason }
    default:
      return { kind: 'unknown', reason }
  }
}

function describe(error: unknown): { readonly code: number | undefined; readonly reason: string } {
  if (!(error instanceof Error)) return { code: undefined, reason: messageOf(error) }
  const code = 'code' in error && typeof error.code === 'number' ? error.code : undefined
  const reason = 'details' in error && typeof error.details === 'string' && error.details !== '' ? error.details : error.message
  return { code, reason }
}

/** The gRPC library adds what its name resolver did, which is empty for addresses that need none. */
const withoutNotes = (reason: string): string => reason.replace(/\.? Resolution note:.*$/s, '')
