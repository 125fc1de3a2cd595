/** NearstateErrors between threads: an Error loses its code in a structured clone. */
import { messageOf, NearstateError } from '../base/errors.ts'
import type { Failure } from './protocol.ts'

export function failureOf(thrown: unknown): Failure {
  if (!(thrown instanceof NearstateError)) return { code: 'INTERNAL', message: messageOf(thrown) }
  const failure = { code: thrown.code, message: thrown.message }
  return thrown.functionStack === undefined ? failure : { ...failure, functionStack: thrown.functionStack }
}

export function errorOf(failure: Failure): NearstateError {
  const details = failure.functionStack === undefined ? {} : { functionStack: failure.functionStack }
  return new NearstateError(failure.code, failure.message, details)
}
