/**
 * The process as code on a shard's thread finds it: without the calls that end it. Bundles do not see `process` (module-scope.ts),
 * but `new Function` and libraries that look it up on the global object do, and one call of `exit` would take the shard down, its
 * node with it, and what only that node holds.
 *
 * A guard against accidents, as all of those are. To be put up before user code is loaded.
 */
import { NearstateError } from '../../base/errors.ts'

const refused = ['exit', 'kill'] as const

/** Answers the real `exit`, for the shard itself. */
export function guardProcess(): (code: number) => never {
  const exit = process.exit.bind(process)
  for (const name of refused) {
    Object.defineProperty(process, name, {
      writable: false,
      configurable: false,
      value: (): never => {
        throw new NearstateError(
          'INVALID_ARGUMENT',
          `process.${name}() is not available in functions and jobs: it would end the node that runs them; throw an error to fail a call, cancel a job to end it`,
        )
      },
    })
  }
  return exit
}
