/**
 * The process as code on a shard's thread finds it: without the calls that end it. Bundles do not see `process` (module-scope.ts),
 * but `new Function` and libraries that look it up on the global object do, and one call of `exit` would take the shard down, its
 * node with it, and what only that node holds.
 *
 * A guard against accidents, as all of those are. To be put up before user code is loaded.
 */
import { NearstateError } from '../../base/errors.ts'

/** Answers the real `exit`, for the shard itself. */
export function guardProcess(): (code: number) => never {
  const exit: (...code: readonly number[]) => never = process.exit.bind(process)
  // After an uncaught exception Node says 'exit' and then calls this very function: the worker is to end, with its error.
  let isEnding = false
  process.once('exit', () => {
    isEnding = true
  })
  // Without a code the one that was set before holds, so none is not the same as undefined.
  refuse('exit', (...code) => (isEnding ? exit(...code) : refusal('exit')))
  refuse('kill', () => refusal('kill'))
  return exit
}

const refuse = (name: 'exit' | 'kill', value: (...code: readonly number[]) => never): void =>
  void Object.defineProperty(process, name, { value, writable: false, configurable: false })

function refusal(name: string): never {
  throw new NearstateError(
    'INVALID_ARGUMENT',
    `process.${name}() is not available in functions and jobs: it would end the node that runs them; throw an error to fail a call, cancel a job to end it`,
  )
}
