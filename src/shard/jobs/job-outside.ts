/**
 * What the stages of a job reach outside of their shard: the logs of node and job, entries of other shards, HTTP.
 *
 * What comes back for user code is handed over within a slice of its own: what the code does next runs in the microtasks of that turn,
 * where a loop is noticed (node/watchdog.ts).
 */
import { invalidArgument, messageOf, NearstateError } from '../../base/errors.ts'
import type { FetchAnswer, FetchOptions } from '../../streaming/graph/async-options.ts'
import type { Outside } from '../../streaming/ports.ts'
import type { SinkConnector } from '../../streaming/sink.ts'
import type { JobLogLine } from '../protocol.ts'
import type { Slices } from '../user-code/slice-task.ts'

export interface JobOutsideOptions {
  readonly job: string
  readonly wake: () => void
  readonly slices: Slices
  /** The entry's value, whichever shard has it; undefined: there is none. */
  readonly sinkConnectorOf: (kind: string) => SinkConnector
  readonly find: (map: string, key: Uint8Array) => Promise<unknown>
  readonly log: (level: 'info', message: string, fields: Readonly<Record<string, string>>) => void
  readonly jobLog: (job: string, line: JobLogLine) => void
}

const bodyMaxBytes = 16 * 1024 * 1024

export function jobOutside({ job, wake, slices, find, log, jobLog, sinkConnectorOf }: JobOutsideOptions): Outside {
  /** Has this done in a slice. */
  const inSlice = (stage: string, run: () => void, notRun: (error: unknown) => void): void =>
    slices.schedule({
      label: `${job}/${stage}`,
      job,
      liftedBy: 'submit the job again',
      run,
      finish: () => undefined,
      failed: notRun,
      stopped: message => notRun(new NearstateError('FUNCTION_FAILED', message)),
    })
  return {
    wake,
    sinkConnector: sinkConnectorOf,
    run(stage, act, done) {
      // Code that throws nothing has failed all the same.
      const failed = (thrown: unknown): void => done(thrown ?? new Error(`threw ${String(thrown)}`), undefined)
      inSlice(stage, () => void act().then(value => done(undefined, value), failed), failed)
    },
    log(stage, text) {
      log('info', text, { job, stage })
      jobLog(job, { level: 'info', from: 'log', stage, message: text })
    },
    lookup: (map, key, done) =>
      void find(map, key).then(
        value => done(undefined, value),
        (thrown: unknown) => done(failure(thrown, `Cannot look up an entry of map "${map}"`), undefined),
      ),
    fetch(stage, url, options, done) {
      const cancelled = new AbortController()
      const hand = (error: unknown, answer: FetchAnswer | undefined): void => {
        if (cancelled.signal.aborted) return
        inSlice(
          stage,
          () => done(error, answer),
          reason => done(reason, undefined),
        )
      }
      // Not beneath the user's own frames, which can be cut off.
      const start = setImmediate(() => {
        ask(url, options, cancelled.signal).then(
          answer => hand(undefined, answer),
          (thrown: unknown) => hand(failure(thrown, 'Cannot fetch'), undefined),
        )
      })
      return () => {
        clearImmediate(start)
        cancelled.abort()
      }
    },
  }
}

async function ask(url: string, { method, headers, body }: FetchOptions, signal: AbortSignal): Promise<FetchAnswer> {
  if (!/^https?:/i.test(url)) throw invalidArgument('Cannot fetch: an address that begins with http: or https: is wanted')
  const given = { ...(method === undefined ? {} : { method }), ...(headers === undefined ? {} : { headers }) }
  const response = await fetch(url, { ...given, signal, ...(body === undefined ? {} : { body: body as string | Uint8Array<ArrayBuffer> }) })
  const bytes = await bodyOf(response)
  const text = (): string => new TextDecoder().decode(bytes)
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: bytes,
    text,
    json: () => JSON.parse(text()) as unknown,
  }
}

async function bodyOf(response: Response): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of response.body ?? []) {
    size += part.length
    if (size > bodyMaxBytes)
      throw new NearstateError('RESOURCE_EXHAUSTED', `Cannot fetch: the answer is longer than the limit of ${bodyMaxBytes} bytes`)
    parts.push(part)
  }
  return Buffer.concat(parts)
}

function failure(thrown: unknown, action: string): NearstateError {
  if (thrown instanceof NearstateError) return thrown
  const { cause } = thrown as { readonly cause?: unknown }
  const reason = cause === undefined ? messageOf(thrown) : `${messageOf(thrown)}: ${messageOf(cause)}`
  return new NearstateError('UNAVAILABLE', `${action}: ${reason}`, { cause: thrown })
}
