/**
 * A bundle's text -> its exports, so that the garbage collector can take it back when the next version is deployed.
 *
 * Owns: what a bundle sees besides the language: `require` of the given modules, and names that are refused. Does not: cut off a
 * loop (slice-runner.ts); the caller evaluates inside a slice.
 * The refused names are a guard against accidents, not a wall: user code is trusted, as the rest of the shard's process is.
 * Timers and microtasks started by user code would run outside every slice, where a loop cannot be stopped.
 */
import { createRequire } from 'node:module'
import { setFlagsFromString } from 'node:v8'
import { compileFunction } from 'node:vm'
import { NearstateError } from '../../base/errors.ts'
import { judgeImport } from '../../bundling/allowed-imports.ts'

/** What a bundle may import of Nearstate, by specifier. */
export type ProvidedModules = Readonly<Record<string, Readonly<Record<string, unknown>>>>

export interface BundleScope {
  readonly modules: ProvidedModules
  readonly console: Readonly<Record<string, (...data: unknown[]) => void>>
}

const refusedCalls = [
  'setTimeout',
  'setInterval',
  'setImmediate',
  'clearTimeout',
  'clearInterval',
  'clearImmediate',
  'queueMicrotask',
  'fetch',
] as const
/** Undefined inside a bundle, so that `typeof` says they are not there. */
const absentNames = ['process', 'WebSocket', 'EventSource', 'BroadcastChannel', 'MessageChannel', 'navigator', 'localStorage'] as const

const builtinRequire = createRequire(import.meta.url)
const parameters = ['module', 'exports', 'require', 'console', ...refusedCalls, ...absentNames]
const refusals = refusedCalls.map(name => () => {
  throw new NearstateError(
    'INVALID_ARGUMENT',
    `${name}() is not available in functions and jobs: they are synchronous and run on the thread that owns the data`,
  )
})

/** Names the bundle in stacks; `bundleFrame` finds it there. */
export const bundleFileName = (hash: string): string => `nearstate-bundle:${hash}`
export const bundleFrame = /^\s*at (?:(.*?) \()?nearstate-bundle:([0-9a-f]+):(\d+):(\d+)\)?$/

/** Runs the bundle's top level: user code. */
export function evaluateBundle(code: string, hash: string, scope: BundleScope): unknown {
  const run = compileUncached(code, bundleFileName(hash))
  const module = { exports: {} }
  Reflect.apply(run, undefined, [module, module.exports, requireOf(scope.modules), scope.console, ...refusals])
  return module.exports
}

/**
 * V8 keeps compiled text in a cache of the process for half a minute and more, which after a thousand deploys is a thousand
 * bundles. The cache is switched off for the length of this call; other threads that compile meanwhile only miss it.
 */
function compileUncached(code: string, filename: string): (...args: unknown[]) => unknown {
  setFlagsFromString('--no-compilation-cache')
  try {
    return compileFunction(code, parameters, { filename }) as (...args: unknown[]) => unknown
  } finally {
    setFlagsFromString('--compilation-cache')
  }
}

function requireOf(provided: ProvidedModules): (specifier: unknown) => unknown {
  return specifier => {
    const name = String(specifier)
    const verdict = judgeImport(name)
    if (verdict.kind === 'given' && Object.hasOwn(provided, name)) return provided[name]
    if (verdict.kind === 'builtin') return builtinRequire(name)
    const reason = verdict.kind === 'refused' ? verdict.reason : `"${name}" is not in the bundle; a bundle holds everything it imports`
    throw new NearstateError('INVALID_ARGUMENT', `Cannot import: ${reason}`)
  }
}
