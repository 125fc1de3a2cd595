import { type Duration, parseDuration } from '../base/duration.ts'
import { invalidArgument, NearstateError } from '../base/errors.ts'

/** Last argument of every call. */
export interface CallOptions {
  /** Aborting rejects the call with CANCELLED. A write that was sent may happen all the same. */
  readonly signal?: AbortSignal
  /** Default: the client's `requestTimeout`. */
  readonly timeout?: Duration
}

/** Who answers reads of a map. */
export interface MapReadOptions {
  /**
   * `primary` (default): the one shard that has the right to, so that a read sees every write acknowledged before it.
   * `any`: the primary or a backup, in turn. **Possibly stale**: a backup answers with what it has applied, which may lie behind what
   * was acknowledged, and two reads in a row may go back in time. For load that one shard cannot carry, where old answers do no harm.
   */
  readonly readFrom?: 'primary' | 'any'
}

/** Last argument of reads. */
export interface ReadOptions extends CallOptions, MapReadOptions {}

export interface ExpiryOptions {
  /** Time to live from this write on. Default: the map's. */
  readonly ttl?: Duration
  /** Removed when neither read nor written for that long. Default: the map's. */
  readonly maxIdle?: Duration
}

export const timeoutMsOf = (options: CallOptions | undefined, defaultMs: number): number =>
  options?.timeout === undefined ? defaultMs : parseDuration(options.timeout, 'timeout')

/** undefined counts as `primary`. */
export function isAnyReplica(readFrom: unknown): boolean {
  if (readFrom === undefined || readFrom === 'primary') return false
  if (readFrom === 'any') return true
  throw invalidArgument(`Cannot read from "${String(readFrom)}": "primary" or "any" is wanted`)
}

export const signalOf = (options: { readonly signal?: AbortSignal } | undefined): { signal?: AbortSignal } =>
  options?.signal === undefined ? {} : { signal: options.signal }

export function cancelled(what: string, signal: AbortSignal): NearstateError {
  return new NearstateError('CANCELLED', `${what} was aborted by its caller`, { cause: signal.reason })
}

/** Refuses what is not in `known`, so that a misspelt option is never silently ignored. */
export function checkOptions(
  what: string,
  options: object | undefined,
  known: readonly string[],
  refused: Readonly<Record<string, string>> = {},
): void {
  if (options === undefined) return
  if (typeof options !== 'object' || options === null)
    throw invalidArgument(`Cannot use the options of ${what}: an object is wanted, got ${typeof options}`)
  for (const [name, value] of Object.entries(options)) {
    if (known.includes(name) || value === undefined) continue
    const reason = refused[name] ?? `known are ${known.join(', ')}`
    throw invalidArgument(`Cannot use option "${name}" of ${what}: ${reason}`)
  }
}
