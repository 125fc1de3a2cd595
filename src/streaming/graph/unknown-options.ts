/** What a job's author gives beyond what there is: refused, so that a misspelt option is never silently ignored. */
import { invalidArgument } from '../../base/errors.ts'

/** What is wrong with an object of options; undefined: nothing. An option that is undefined counts as not given. */
export function optionsProblem(options: unknown, known: readonly string[]): string | undefined {
  if (typeof options !== 'object' || options === null) {
    return `its options must be an object, got ${options === null ? 'null' : typeof options}; ${thereAre(known)}`
  }
  const unknown = Object.entries(options).find(([name, value]) => value !== undefined && !known.includes(name))
  return unknown === undefined ? undefined : `there is no option "${unknown[0]}"; ${thereAre(known)}`
}

/** `action`: what cannot be done with them, such as "make a files source". */
export function refuseUnknownOptions(action: string, options: unknown, known: readonly string[]): void {
  const problem = optionsProblem(options, known)
  if (problem !== undefined) throw invalidArgument(`Cannot ${action}: ${problem}`)
}

function thereAre(known: readonly string[]): string {
  if (known.length === 0) return 'it has none'
  return known.length === 1 ? `${known[0]} is` : `${known.slice(0, -1).join(', ')} and ${known.at(-1)} are`
}
