/** Global options, and how commands reach the cluster: --endpoint, else NEARSTATE_ENDPOINT, else this machine. */
import type { Command } from 'commander'
import { type Duration, parseDuration } from '../base/duration.ts'
import { NearstateError } from '../base/errors.ts'
import { checkEndpoints, connect } from '../client/connect.ts'
import type { Grid } from '../client/grid.ts'
import { asWritten } from './arguments.ts'
import { findHttp, untilNotRefused } from './reach.ts'

export interface GlobalOptions {
  readonly endpoint: readonly string[]
  readonly json: boolean
  /** Of the whole command where it is one call; of each call elsewhere. */
  readonly timeout: Duration
}

export const defaultEndpoint = 'localhost:7400'

export function globalOptions(command: Command): GlobalOptions {
  const options = command.optsWithGlobals<{ endpoint?: readonly string[]; json?: boolean; timeout: string }>()
  asWritten(() => parseDuration(options.timeout, '--timeout'))
  return {
    endpoint: options.endpoint ?? [process.env['NEARSTATE_ENDPOINT'] ?? defaultEndpoint],
    json: options.json === true,
    timeout: options.timeout as Duration,
  }
}

/** Connects, does the work, closes. */
export async function withGrid<T>(options: GlobalOptions, work: (grid: Grid) => Promise<T>): Promise<T> {
  const endpoints = options.endpoint.flatMap(list => list.split(','))
  asWritten(() => checkEndpoints(endpoints))
  await untilNotRefused(endpoints, parseDuration(options.timeout, '--timeout'))
  const grid = await connect({ endpoints, requestTimeout: options.timeout }).catch(thrown => explain(thrown, endpoints))
  try {
    return await work(grid)
  } finally {
    await grid.close()
  }
}

async function explain(thrown: unknown, endpoints: readonly string[]): Promise<never> {
  const http = thrown instanceof NearstateError && thrown.code === 'UNAVAILABLE' ? await findHttp(endpoints) : undefined
  if (http === undefined || !(thrown instanceof NearstateError)) throw thrown
  throw new NearstateError(
    'UNAVAILABLE',
    `${thrown.message}. ${http} answers as an HTTP port does; the control port of a node is wanted, by default 80 below`,
    { cause: thrown },
  )
}
