/**
 * What `nearstate`, `nearstate/functions` and `nearstate/stream` are inside a bundle: the same names as those entry points export
 * (a test compares them), the same instances as the shard's own code uses.
 */
import { NearstateError } from '../../base/errors.ts'
import { defineFunctions, entryFunction } from '../../grid/functions.ts'
import { defineKey, defineTupleKey } from '../../keys/key-space.ts'
import type { ProvidedModules } from './module-scope.ts'

const refuse = (name: string) => (): never => {
  throw new NearstateError(
    'INVALID_ARGUMENT',
    `${name}() does not run inside a shard: functions and jobs reach maps through what they are given`,
  )
}

const keys = { defineKey, defineTupleKey, NearstateError }

/** `stream`: the exports of the job builder (streaming), which the shard's composition root knows. */
export const providedModules = (stream: Readonly<Record<string, unknown>>): ProvidedModules => ({
  nearstate: { ...keys, connect: refuse('connect') },
  'nearstate/functions': { ...keys, defineFunctions, entryFunction },
  'nearstate/stream': { ...keys, ...stream },
})
