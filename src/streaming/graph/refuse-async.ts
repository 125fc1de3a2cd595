import { invalidArgument } from '../../base/errors.ts'

/** User code is synchronous: an async function is refused before it ever runs. */
export function refuseAsync(fn: unknown, what: string): void {
  const kind = typeof fn === 'function' ? Object.prototype.toString.call(fn) : ''
  if (kind === '[object AsyncFunction]' || kind === '[object AsyncGeneratorFunction]') {
    throw invalidArgument(`${what} is asynchronous; user code runs on the shard that owns the data and must be synchronous`)
  }
}
