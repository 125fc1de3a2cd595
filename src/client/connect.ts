import { type Duration, parseDuration } from '../base/duration.ts'
import { invalidArgument } from '../base/errors.ts'
import { checkNode } from '../base/node-version.ts'
import { checkOptions } from './call-options.ts'
import { Grid } from './grid.ts'

export interface ConnectOptions {
  /** host:port of control services; any of them is enough, the others are learned. */
  readonly endpoints: readonly string[]
  /** Time-out of calls that name none, and of connecting; default 5s. */
  readonly requestTimeout?: Duration
  /** `direct` (default): to the shard that owns the key. `gateway`: everything through one shard, for clients that can reach only one. */
  readonly routing?: 'direct' | 'gateway'
}

/**
 * Connects to a cluster. Resolves when an endpoint has described it; UNAVAILABLE, naming the endpoints, when none does within
 * `requestTimeout`. From then on the grid reconnects by itself.
 */
export async function connect(options: ConnectOptions): Promise<Grid> {
  checkNode()
  checkOptions('connect', options, ['endpoints', 'requestTimeout', 'routing'], {
    tls: 'encryption comes with the security release; today nodes listen on loopback only',
    token: 'authentication comes with the security release; today nodes listen on loopback only',
  })
  const { endpoints, requestTimeout = '5s', routing = 'direct' } = options
  checkEndpoints(endpoints)
  if (routing !== 'direct' && routing !== 'gateway')
    throw invalidArgument(`Cannot connect: routing is "${String(routing)}", "direct" or "gateway" is wanted`)
  const timeoutMs = parseDuration(requestTimeout, 'requestTimeout')
  const grid = new Grid(endpoints, timeoutMs, routing)
  await grid.start()
  return grid
}

/** INVALID_ARGUMENT unless it is a list of host:port. */
export function checkEndpoints(endpoints: unknown): void {
  if (!Array.isArray(endpoints) || endpoints.length === 0) {
    throw invalidArgument('Cannot connect: endpoints is a list of at least one host:port, such as ["localhost:7400"]')
  }
  for (const endpoint of endpoints as readonly unknown[]) {
    const port = typeof endpoint === 'string' ? /^(?:\[[0-9a-fA-F:.]+\]|[^:\s/]+):(\d{1,5})$/.exec(endpoint)?.[1] : undefined
    if (port === undefined || Number(port) > 65_535) {
      throw invalidArgument(`Cannot connect to endpoint "${String(endpoint)}": host:port is wanted, such as "localhost:7400"`)
    }
  }
}
