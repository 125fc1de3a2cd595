/**
 * Makes the records of a CSV file: plain objects of one shape, so that everything behind them stays monomorphic.
 * The maker is compiled from the header: assigning by computed name costs five times as much per field. Names enter the
 * code as JSON string literals only; `__proto__`, which a literal would treat specially, as a computed name.
 */
import { invalidArgument } from '../../base/errors.ts'

export type RecordMaker = (values: readonly string[]) => Readonly<Record<string, string>>

const columnsMax = 1000

/** INVALID_ARGUMENT for a header that names a column twice or has too many. */
export function recordMaker(header: readonly string[], origin: string): RecordMaker {
  if (header.length > columnsMax)
    throw invalidArgument(`Cannot read "${origin}" as CSV: its header has ${header.length} columns, the limit is ${columnsMax}`)
  const twice = header.find((name, column) => header.indexOf(name) !== column)
  if (twice !== undefined) throw invalidArgument(`Cannot read "${origin}" as CSV: its header names column "${twice.slice(0, 100)}" twice`)
  const fields = header.map((name, column) => `${name === '__proto__' ? '["__proto__"]' : JSON.stringify(name)}:v[${column}]`)
  // oxlint-disable-next-line typescript/no-implied-eval -- see above
  return new Function('v', `return {${fields.join(',')}}`) as RecordMaker
}
