/** User code is synchronous: it runs on the thread that owns the data. */
import { invalidArgument } from '../../base/errors.ts'

const why = 'user code runs on the shard that owns the data and must be synchronous'

/** Refuses an async function before it ever runs. */
export function refuseAsync(fn: unknown, what: string): void {
  const kind = typeof fn === 'function' ? Object.prototype.toString.call(fn) : ''
  if (kind === '[object AsyncFunction]' || kind === '[object AsyncGeneratorFunction]')
    throw invalidArgument(`${what} is asynchronous; ${why}`)
}

/** Refuses what asynchronous code returns. Asked about one row in a batch: code that is asynchronous is so for all. */
export function refusePromise(value: unknown): void {
  if (!(value instanceof Promise)) return
  value.catch(() => undefined) // its outcome comes too late for anybody
  throw invalidArgument(`it returned a promise; ${why}`)
}
