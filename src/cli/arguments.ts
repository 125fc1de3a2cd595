/** Texts of the command line as values; INVALID_ARGUMENT names the option. */
import { invalidArgument, messageOf } from '../base/errors.ts'

/** Reads a whole number from `min` to `max`. */
export function wholeNumber(option: string, min: number, max: number): (text: string) => number {
  return text => {
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= min && value <= max) return value
    throw invalidArgument(`${option} is "${text}", a whole number from ${min} to ${max} is wanted`)
  }
}

/** `hint` completes "JSON is wanted". */
export function parseJson(what: string, text: string, hint = ''): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw invalidArgument(`Cannot read ${what}: JSON is wanted${hint} (${messageOf(error)})`)
  }
}
