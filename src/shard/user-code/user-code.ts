/**
 * User code on one shard: the deployed functions, the evaluation of bundles, the slices in which all of it runs.
 *
 * Owns: which function has which name; a deploy replaces all names of its file at once, or changes nothing.
 * Does not: store bundles (node), run jobs (shard/jobs), apply what a function has done to its entry (grid).
 *
 * 1. A name belongs to one file. A deploy that brings a name of another file is refused as a whole.
 * 2. Nothing of an old version is held after a deploy: code, source map and exports hang on its LoadedFunctions alone.
 * 3. Top-level code of a bundle is user code like any other: it runs in a slice and can be stopped.
 */
import { present } from '../../base/assert.ts'
import { NearstateError } from '../../base/errors.ts'
import { createPositionMapper, type PositionMapper } from '../../bundling/position-mapper.ts'
import { isFunctionSet } from '../../grid/functions.ts'
import type { FunctionSet } from '../../keys/function-types.ts'
import type { Bundle } from '../protocol.ts'
import { evaluateBundle, type BundleScope } from './module-scope.ts'
import type { Quarantine } from './quarantine.ts'
import type { SliceRunner } from './slice-runner.ts'
import type { Slices } from './slice-task.ts'
import { snapshotOf } from './thrown.ts'
import { mapStack } from './user-stack.ts'

/** One deployed function. */
export interface LoadedFunction {
  /** Also its label for the quarantine. */
  readonly name: string
  readonly file: string
  readonly bundle: Bundle
  /**
   * Runs user code: call it inside `SliceTask.run`, and encode the result there too (a getter or `toJSON` of it is user code).
   * Throws what the function throws; FUNCTION_FAILED when it returned a promise.
   */
  call(entry: unknown, args: unknown): unknown
}

export interface FailureDescription {
  /** The user's message, as they wrote it; `threw ...` when what was thrown is not an error. */
  readonly message: string
  /** `Name: message` and the frames of the bundle, in positions of the user's source. */
  readonly stack: string
}

export class UserCode {
  readonly slices: Slices
  readonly #runner: SliceRunner
  readonly #quarantine: Quarantine
  readonly #scope: BundleScope
  readonly #functions = new Map<string, LoadedFunction>()
  readonly #mappers = new WeakMap<Bundle, PositionMapper>()

  constructor(runner: SliceRunner, quarantine: Quarantine, scope: BundleScope) {
    this.slices = runner
    this.#runner = runner
    this.#quarantine = quarantine
    this.#scope = scope
  }

  /**
   * Evaluates a functions file and puts its functions in place of those that `file` had; answers their names. Settles after
   * everything that was scheduled before it, so calls made earlier run the old version.
   * INVALID_ARGUMENT: the default export is not of defineFunctions. ALREADY_EXISTS: a name is another file's. FUNCTION_FAILED: its
   * top level threw or was stopped. On failure the old functions stay.
   */
  loadFunctions(file: string, bundle: Bundle): Promise<readonly string[]> {
    const what = `functions file ${file}`
    return this.#evaluate(
      what,
      bundle,
      exported => functionSetOf(exported, file),
      set => this.#replaceFunctions(file, bundle, set),
    )
  }

  #replaceFunctions(file: string, bundle: Bundle, set: FunctionSet): readonly string[] {
    const names = Object.keys(set.functions)
    for (const name of names) {
      const owner = this.#functions.get(name)
      if (owner !== undefined && owner.file !== file) {
        throw new NearstateError(
          'ALREADY_EXISTS',
          `Cannot deploy "${file}": function "${name}" is defined by "${owner.file}"; names are global, so rename one of them`,
        )
      }
    }
    // Deleting while iterating is safe for a Map.
    for (const loaded of this.#functions.values()) if (loaded.file === file) this.#functions.delete(loaded.name)
    for (const [name, run] of Object.entries(set.functions)) {
      this.#quarantine.clear(name)
      this.#functions.set(name, loadedFunction(name, file, bundle, run as UserFunction))
    }
    return names
  }

  findFunction(name: string): LoadedFunction | undefined {
    return this.#functions.get(name)
  }

  /** The exports of a job's bundle. FUNCTION_FAILED with the mapped stack when its top level throws or is stopped. */
  evaluateModule(bundle: Bundle): Promise<Readonly<Record<string, unknown>>> {
    return this.#evaluate(
      'job file',
      bundle,
      exported => ({ ...(exported as object) }),
      exports => exports,
    )
  }

  /**
   * The message and mapped stack of what user code threw. Outside a slice give it only what `SliceTask.failed` was given:
   * reading any other thrown value runs its getters.
   */
  describeFailure(thrown: unknown, bundle: Bundle): FailureDescription {
    const { name, message, stack } = snapshotOf(thrown)
    return { message, stack: mapStack(name === undefined ? message : `${name}: ${message}`, stack, this.#mapperOf(bundle)) }
  }

  /** Lifts the quarantine of a label that is not a function's, such as `job/stage` of a job that starts anew. */
  clearQuarantine(label: string): void {
    this.#quarantine.clear(label)
  }

  /** Labels that were stopped three times and are refused until they are deployed again. */
  get quarantined(): readonly string[] {
    return this.#quarantine.labels
  }

  /** Calls that were cut off since the shard's start. */
  get stopCount(): number {
    return this.#runner.stopCount
  }

  /** Evaluates in a slice. `read` runs there too, since a bundle's exports are getters; `accept` runs when user code has returned. */
  #evaluate<T, R>(what: string, bundle: Bundle, read: (exported: unknown) => T, accept: (value: T) => R): Promise<R> {
    const label = `${what} (${bundle.hash.slice(0, 12)})`
    return new Promise((resolve, reject) => {
      let result: { readonly value: T } | undefined
      // Each deploy is a chance of its own, so nothing is counted against the label.
      const settle = (action: () => void): void => {
        this.#quarantine.clear(label)
        try {
          action()
        } catch (error) {
          reject(error)
        }
      }
      this.slices.schedule({
        label,
        run: () => {
          result = { value: read(evaluateBundle(new TextDecoder().decode(bundle.code), bundle.hash, this.#scope)) }
        },
        finish: () => settle(() => resolve(accept(present(result, 'the evaluated bundle').value))),
        failed: thrown => settle(() => reject(this.#evaluationFailure(thrown, bundle, what))),
        stopped: message => settle(() => reject(new NearstateError('FUNCTION_FAILED', message))),
      })
    })
  }

  #evaluationFailure(thrown: unknown, bundle: Bundle, what: string): NearstateError {
    const { code } = snapshotOf(thrown)
    const { message, stack } = this.describeFailure(thrown, bundle)
    // Our own refusals, such as of a key space with a bad name, say themselves what is wrong.
    if (code !== undefined) return new NearstateError(code, message, { functionStack: stack })
    return new NearstateError('FUNCTION_FAILED', `The top level of the ${what} failed: ${message}`, { functionStack: stack })
  }

  #mapperOf(bundle: Bundle): PositionMapper {
    const known = this.#mappers.get(bundle)
    if (known !== undefined) return known
    const mapper = createPositionMapper(bundle.sourceMap)
    this.#mappers.set(bundle, mapper)
    return mapper
  }
}

type UserFunction = (entry: unknown, args: unknown) => unknown

function loadedFunction(name: string, file: string, bundle: Bundle, run: UserFunction): LoadedFunction {
  return {
    name,
    file,
    bundle,
    call(entry, args) {
      const result = run(entry, args)
      if (result === null || typeof result !== 'object' || !isThenable(result)) return result
      // Nobody will wait for it, and a rejection that nobody handles would end the shard.
      if (result instanceof Promise) result.then(undefined, () => undefined)
      throw new NearstateError(
        'FUNCTION_FAILED',
        `function "${name}" returned a promise, and functions are synchronous: what it does must be done when it returns`,
      )
    },
  }
}

const isThenable = (value: object): boolean => 'then' in value && typeof value.then === 'function'

function functionSetOf(exported: unknown, file: string): FunctionSet {
  const value: unknown = typeof exported === 'object' && exported !== null ? Reflect.get(exported, 'default') : undefined
  if (isFunctionSet(value)) return value
  throw new NearstateError(
    'INVALID_ARGUMENT',
    `Cannot deploy "${file}": its default export is ${value === undefined ? 'missing' : 'something else'}; write export default defineFunctions({ ... })`,
  )
}
