import { messageOf, NearstateError } from '../base/errors.ts'

const isBusy = (error: unknown): boolean => /EADDRINUSE|address already in use/i.test(messageOf(error))

/** The error of a port that cannot be listened on, with what to do about it. */
export function cannotListen(error: unknown, what: string, host: string, port: number, option: string): NearstateError {
  if (error instanceof NearstateError && error.code !== 'INTERNAL' && error.code !== 'UNAVAILABLE') return error
  if (isBusy(error)) return portInUse(error, what, host, port, option)
  return new NearstateError('UNAVAILABLE', `Cannot listen for ${what} on ${host}:${port}: ${messageOf(error)}`, { cause: error })
}

/** As the error stands, unless it is that of a port in use. */
export const portInUseOr = (error: unknown, what: string, host: string, port: number, option: string): unknown =>
  isBusy(error) ? portInUse(error, what, host, port, option) : error

const portInUse = (cause: unknown, what: string, host: string, port: number, option: string): NearstateError =>
  new NearstateError(
    'UNAVAILABLE',
    `Cannot listen for ${what} on ${host}:${port}: the port is in use; choose another with the option ${option} (0: any free one), or stop what holds it ("lsof -i :${port}" names it)`,
    { cause },
  )
