/** Texts of the command line as values; INVALID_ARGUMENT names the option. */
import { messageOf, NearstateError } from '../base/errors.ts'

/** The command line itself is wrong: exit code 2. */
export class UsageError extends NearstateError {
  constructor(message: string) {
    super('INVALID_ARGUMENT', message)
  }
}

/** What `read` refuses was written wrongly on the command line. */
export function asWritten<T>(read: () => T): T {
  try {
    return read()
  } catch (thrown) {
    throw thrown instanceof NearstateError && thrown.code === 'INVALID_ARGUMENT' ? new UsageError(thrown.message) : thrown
  }
}

/** Reads a whole number from `min` to `max`. */
export function wholeNumber(option: string, min: number, max: number): (text: string) => number {
  return text => {
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= min && value <= max) return value
    throw new UsageError(`${option} is "${text}", a whole number from ${min} to ${max} is wanted`)
  }
}

/** `hint` completes "JSON is wanted". */
export function parseJson(what: string, text: string, hint = ''): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new UsageError(`Cannot read ${what}: JSON is wanted${hint} (${messageOf(error)})`)
  }
}
