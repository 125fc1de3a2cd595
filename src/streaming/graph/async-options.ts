/** Options of the stages that wait for others (`lookup`, `mapAsync`) and of `log`. */
import type { Duration } from '../../base/duration.ts'
import type { FlowBuilder } from './flow-builder.ts'
import type { LogSpec, RowFunction } from './stage-spec.ts'

export interface AsyncOptions {
  /** At most so many calls at a time, per shard, and rows that wait for theirs; then nothing more is read. Default 100, at most 10 000. */
  readonly inFlight?: number
  /** A call without an answer for so long has failed. Default '30s'. */
  readonly timeout?: Duration
  /**
   * So often a call that has failed is made again: 100 ms later, then after twice as long each time. What fails for good is a row that
   * cannot be processed, by the job's `onError`. Default 0, at most 10.
   */
  readonly retries?: number
}

export interface MapAsyncOptions extends AsyncOptions {
  /** Rows go on in the order in which they came (default), or as they are answered; watermarks are never overtaken. */
  readonly ordered?: boolean
}

export interface LogOptions<Row> {
  /** The line for a row; default: the row as JSON. Cut at 1024 characters. */
  readonly text?: (row: Row) => string
  /** Writes one of so many rows, beginning with the first; default 1: each. */
  readonly every?: number
  /** At most so many lines a second and shard; a line says how many rows were left out before it. Default 10, at most 100. */
  readonly perSecond?: number
}

/** What the function of `mapAsync` may use while it runs. */
export interface AsyncCall {
  /** An HTTP request; it is given up with the call. Rejects when there is no answer; any status is one. */
  fetch(url: string, options?: FetchOptions): Promise<FetchAnswer>
}

export interface FetchOptions {
  /** Default 'GET'. */
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
}

/** The answer with its whole body, 16 MiB at most. */
export interface FetchAnswer {
  readonly status: number
  /** Names in small letters. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
  text(): string
  json(): unknown
}

export interface AsyncLimits {
  readonly inFlight: number
  readonly ordered: boolean
  readonly timeoutMs: number
  readonly retries: number
}

const inFlightMax = 10_000
const retriesMax = 10
const linesPerSecondMax = 100

type Given = Readonly<Record<string, unknown>>

export function asyncLimits(flow: FlowBuilder, stage: string, kind: 'lookup' | 'mapAsync', options: Given): AsyncLimits {
  const known = ['inFlight', 'timeout', 'retries']
  flow.options(stage, options, kind, kind === 'mapAsync' ? [...known, 'ordered'] : known)
  const { inFlight = 100, ordered = true, timeout = '30s', retries = 0 } = options
  if (typeof ordered !== 'boolean') throw flow.refusal(stage, `ordered is ${JSON.stringify(ordered)}, true or false is wanted`)
  const timeoutMs = flow.duration(stage, timeout, 'timeout')
  if (timeoutMs < 1) throw flow.refusal(stage, `timeout is "${String(timeout)}", at least "1ms" is wanted`)
  return {
    inFlight: wholeNumber(flow, stage, 'inFlight', inFlight, 1, inFlightMax),
    ordered,
    timeoutMs,
    retries: wholeNumber(flow, stage, 'retries', retries, 0, retriesMax),
  }
}

export function logSpec(flow: FlowBuilder, stage: string, options: Given): LogSpec {
  flow.options(stage, options, 'log', ['text', 'every', 'perSecond'])
  const { text, every = 1, perSecond = 10 } = options
  return {
    text: text === undefined ? undefined : flow.function<RowFunction>(stage, text, 'text'),
    every: wholeNumber(flow, stage, 'every', every, 1, Number.MAX_SAFE_INTEGER),
    perSecond: wholeNumber(flow, stage, 'perSecond', perSecond, 1, linesPerSecondMax),
  }
}

function wholeNumber(flow: FlowBuilder, stage: string, what: string, value: unknown, least: number, most: number): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most) return value
  throw flow.refusal(stage, `${what} is ${String(value)}, a whole number from ${least} to ${most} is wanted`)
}
