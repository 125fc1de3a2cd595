/**
 * NearstateError to gRPC status and back. The code travels in the trailer `nearstate-code`, because several codes share a gRPC
 * status; a peer that does not know it (any gRPC client) sees the status and the message.
 */
import { logVerbosity, Metadata, type ServiceError, setLogVerbosity, status, type StatusObject } from '@grpc/grpc-js'
import { type ErrorCode, errorCodes, isErrorCode, messageOf, NearstateError } from '../../base/errors.ts'

// The library would write failures to standard error itself, beside the errors that we make of them.
setLogVerbosity(logVerbosity.NONE)

const codeKey = 'nearstate-code'
const stackKey = 'nearstate-stack-bin'
// Trailers are headers: http2 refuses more than 16 KiB of them altogether. A byte of the message takes up to three there.
const messageMaxBytes = 2048
const stackMaxBytes = 6144

const codeOfStatus = new Map<number, ErrorCode>()
for (const code of Object.keys(errorCodes) as ErrorCode[]) {
  const { grpcStatus } = errorCodes[code]
  if (!codeOfStatus.has(grpcStatus)) codeOfStatus.set(grpcStatus, code)
}
// Without our trailer "unknown" is what a server says of a handler that threw something unexpected.
codeOfStatus.set(status.UNKNOWN, 'INTERNAL')

export function statusOf(thrown: unknown): StatusObject {
  const metadata = new Metadata()
  if (!(thrown instanceof NearstateError)) return { code: status.INTERNAL, details: shortened(messageOf(thrown)), metadata }
  metadata.set(codeKey, thrown.code)
  if (thrown.functionStack !== undefined) metadata.set(stackKey, Buffer.from(thrown.functionStack).subarray(0, stackMaxBytes))
  return { code: errorCodes[thrown.code].grpcStatus, details: shortened(thrown.message), metadata }
}

/** By way of bytes, so that half a character cannot remain: the library's encodeURI throws for it. */
const shortened = (message: string): string => Buffer.from(message).subarray(0, messageMaxBytes).toString()

/** A server that goes away cuts its streams; grpc-js reports that as if the call had been cancelled, or as an internal error. */
const isCut = ({ code, details }: Partial<StatusObject>): boolean =>
  code === status.CANCELLED || (code === status.INTERNAL && details?.startsWith('Received RST_STREAM') === true)

/** What a call's failure means, when it was not its caller who cancelled it. `what` names the call for the message. */
export function errorOfStatus(failure: Partial<StatusObject> | ServiceError, what: string): NearstateError {
  const named = failure.metadata?.get(codeKey)[0]?.toString() ?? ''
  const code = isErrorCode(named)
    ? named
    : isCut(failure)
      ? 'UNAVAILABLE'
      : (codeOfStatus.get(failure.code ?? status.UNKNOWN) ?? 'INTERNAL')
  const stack = failure.metadata?.get(stackKey)[0]?.toString()
  // Of a connection that failed; grpc-js writes it also when there is none.
  const said = failure.details?.replace(/\.? Resolution note: *$/, '')
  const details = said === undefined || said === '' ? `gRPC status ${failure.code}` : said
  const message = isErrorCode(named) ? details : `${what} failed: ${details}`
  return new NearstateError(code, message, { cause: failure, ...(stack === undefined ? {} : { functionStack: stack }) })
}
