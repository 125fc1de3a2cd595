/**
 * What a functions file is written with: `defineFunctions` and `entryFunction`. Their types are in keys/function-types.ts.
 *
 * A file's default export is the result of `defineFunctions`; a shard recognises it by identity, so nothing else passes for one.
 */
import { invalidArgument } from '../base/errors.ts'
import type { EntryFunction, FunctionRecord, FunctionSet } from '../keys/function-types.ts'

export type {
  Entry,
  EntryFunction,
  EntryKey,
  FunctionArgs,
  FunctionName,
  FunctionResult,
  FunctionSet,
} from '../keys/function-types.ts'

const nameMaxLength = 128
const known = new WeakSet<object>()

/** In a type error: what is wrong with an `async` entry function. */
interface FunctionsAreSynchronous {
  readonly 'an entry function must not return a promise': never
}

/**
 * Gives a function the type of the values it works on: `entryFunction<Profile>()((entry, args: { points: number }) => ...)`.
 * At run time it is the function itself, so that it can be called in a unit test.
 */
export function entryFunction<V>(): <Args = undefined, Result = unknown>(
  run: EntryFunction<V, Args, Result> & (Result extends PromiseLike<unknown> ? FunctionsAreSynchronous : unknown),
) => EntryFunction<V, Args, Result> {
  return run => run
}

/**
 * The functions of one file, by name. Names are global in a cluster; a deploy replaces all names of the file at once.
 * INVALID_ARGUMENT for a bad name, something that is not a function, or a function that is `async` or a generator.
 */
export function defineFunctions<F extends FunctionRecord>(functions: F): FunctionSet<F> {
  const copy: Record<string, unknown> = Object.create(null)
  for (const [name, run] of Object.entries(functions)) {
    checkName(name)
    if (typeof run !== 'function')
      throw invalidArgument(`Cannot define function "${name}": its value is ${describe(run)}, a function is wanted`)
    const kind = Object.prototype.toString.call(run).slice(8, -1)
    if (kind !== 'Function') {
      throw invalidArgument(
        `Cannot define function "${name}": it is ${kind.startsWith('A') ? 'an' : 'a'} ${kind}, and functions are synchronous: they run on the thread that owns the data. ` +
          'Fetch what it needs before the call and pass it as args',
      )
    }
    copy[name] = run
  }
  if (Object.keys(copy).length === 0) throw invalidArgument('Cannot define functions: the file defines none')
  const set = Object.freeze({ functions: Object.freeze(copy) as F })
  known.add(set)
  return set
}

/** Whether `value` was made by `defineFunctions` of this process. */
export const isFunctionSet = (value: unknown): value is FunctionSet => typeof value === 'object' && value !== null && known.has(value)

function checkName(name: string): void {
  if (name.length === 0 || name.length > nameMaxLength || /[\p{Cc}\p{Cs}]/u.test(name)) {
    throw invalidArgument(
      `Cannot define function ${JSON.stringify(name.slice(0, nameMaxLength))}: a name has 1 to ${nameMaxLength} characters, without control characters`,
    )
  }
}

const describe = (value: unknown): string => (value === null ? 'null' : typeof value)
