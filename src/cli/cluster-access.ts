/** Global options, and how commands reach the cluster: --endpoint, else NEARSTATE_ENDPOINT, else this machine. */
import type { Command } from 'commander'
import { type Duration, parseDuration } from '../base/duration.ts'
import { connect } from '../client/connect.ts'
import type { Grid } from '../client/grid.ts'

export interface GlobalOptions {
  readonly endpoint: readonly string[]
  readonly json: boolean
  /** Of the whole command where it is one call; of each call elsewhere. */
  readonly timeout: Duration
}

export const defaultEndpoint = 'localhost:7400'

export function globalOptions(command: Command): GlobalOptions {
  const options = command.optsWithGlobals<{ endpoint?: readonly string[]; json?: boolean; timeout: string }>()
  parseDuration(options.timeout, '--timeout')
  return {
    endpoint: options.endpoint ?? [process.env['NEARSTATE_ENDPOINT'] ?? defaultEndpoint],
    json: options.json === true,
    timeout: options.timeout as Duration,
  }
}

/** Connects, does the work, closes. */
export async function withGrid<T>(options: GlobalOptions, work: (grid: Grid) => Promise<T>): Promise<T> {
  const grid = await connect({ endpoints: options.endpoint.flatMap(list => list.split(',')), requestTimeout: options.timeout })
  try {
    return await work(grid)
  } finally {
    await grid.close()
  }
}
