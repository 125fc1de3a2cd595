/**
 * What is at the endpoints of a command line that gets no answer. A client waits for a cluster that is not there yet; a person at a
 * command line wants to know at once that nothing is there, or that it is the wrong port.
 */
import { connect as dial } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { NearstateError } from '../base/errors.ts'

const refusedForMs = 1000
const againAfterMs = 100
const httpTimeoutMs = 500
/** Known at once, and not gone in a second. */
const refusals: Readonly<Record<string, string>> = { ECONNREFUSED: 'nothing listens there', ENOTFOUND: 'there is no such host' }

/** Resolves when an endpoint takes a connection or does not say no; UNAVAILABLE when all of them refuse for a second (or `timeoutMs`). */
export async function untilNotRefused(endpoints: readonly string[], timeoutMs: number): Promise<void> {
  const deadlineMs = performance.now() + Math.min(refusedForMs, timeoutMs)
  for (;;) {
    const reasons = await Promise.all(endpoints.map(endpoint => refusalOf(endpoint, deadlineMs - performance.now())))
    if (reasons.includes(undefined)) return
    if (performance.now() + againAfterMs >= deadlineMs) {
      const each = endpoints.map((endpoint, i) => `${endpoint} (${reasons[i]})`).join(', ')
      throw new NearstateError('UNAVAILABLE', `Cannot reach the cluster at ${each}`)
    }
    await sleep(againAfterMs)
  }
}

/** Why there is no connection; undefined: there is one, or it is too early to say. */
function refusalOf(endpoint: string, timeoutMs: number): Promise<string | undefined> {
  const at = endpoint.lastIndexOf(':')
  const socket = dial({ host: endpoint.slice(0, at).replace(/^\[(.*)\]$/, '$1'), port: Number(endpoint.slice(at + 1)) })
  return new Promise<string | undefined>(resolve => {
    const timer = setTimeout(() => resolve(undefined), Math.max(1, timeoutMs))
    socket.on('connect', () => resolve(undefined))
    socket.on('error', (failure: NodeJS.ErrnoException) => resolve(refusals[failure.code ?? '']))
    socket.on('close', () => clearTimeout(timer))
  }).finally(() => socket.destroy())
}

/** The first endpoint that answers HTTP/1, which no control port does. */
export async function findHttp(endpoints: readonly string[]): Promise<string | undefined> {
  for (const endpoint of endpoints) {
    const answers = await fetch(`http://${endpoint}/healthz`, { signal: AbortSignal.timeout(httpTimeoutMs) }).then(
      () => true,
      () => false,
    )
    if (answers) return endpoint
  }
  return undefined
}
