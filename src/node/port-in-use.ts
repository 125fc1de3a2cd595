import { messageOf, NearstateError } from '../base/errors.ts'

/** The error of a port that cannot be listened on, with what to do about it. */
export function portInUse(error: unknown, what: string, host: string, port: number, option: string): NearstateError {
  if (error instanceof NearstateError && error.code !== 'INTERNAL' && error.code !== 'UNAVAILABLE') return error
  const text = messageOf(error)
  const busy = /EADDRINUSE|address already in use/i.test(text)
  return new NearstateError(
    'UNAVAILABLE',
    busy
      ? `Cannot listen for ${what} on ${host}:${port}: the port is in use; stop what holds it or choose another with ${option}`
      : `Cannot listen for ${what} on ${host}:${port}: ${text}`,
    { cause: error },
  )
}
