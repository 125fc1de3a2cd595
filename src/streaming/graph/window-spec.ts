/** Which rows of a key belong together: windows of time, sessions, windows of rows. */
import { type Duration, parseDuration } from '../../base/duration.ts'
import { invalidArgument } from '../../base/errors.ts'
import { refuseUnknownOptions } from './unknown-options.ts'

export interface TumblingWindowSpec {
  readonly kind: 'tumbling'
  readonly sizeMs: number
}

export interface SlidingWindowSpec {
  readonly kind: 'sliding'
  readonly sizeMs: number
  readonly everyMs: number
}

export interface SessionWindowSpec {
  readonly kind: 'session'
  readonly gapMs: number
}

export interface CountWindowSpec {
  readonly kind: 'count'
  readonly size: number
  readonly every: number
  /** A key that had no row for so long, by event time, begins anew. */
  readonly ttlMs?: number
}

/** Windows of one length, aligned to the epoch. */
export type FixedWindowSpec = TumblingWindowSpec | SlidingWindowSpec
export type TimeWindowSpec = FixedWindowSpec | SessionWindowSpec
export type WindowSpec = TimeWindowSpec | CountWindowSpec

/** Panes that a window may be made of: a state of so many records per key. */
const panesMax = 10_000

/** Windows of one size, side by side, aligned to the epoch: an event at t falls into [t - t mod size, + size). */
export function tumbling(size: Duration): TumblingWindowSpec
export function tumbling(size: Duration, ...more: unknown[]): TumblingWindowSpec {
  refuseMore(more, 'tumbling takes its size')
  return { kind: 'tumbling', sizeMs: lengthOf(size, 'size') }
}

/**
 * Windows of one size of which one begins every so often: [k * every, k * every + size). A row falls into size / every of them; it is
 * kept once, in a pane as long as the greatest common divisor of both. With `every` above `size` rows between windows are left out.
 */
export function sliding(size: Duration, every: Duration): SlidingWindowSpec
export function sliding(size: Duration, every: Duration, ...more: unknown[]): SlidingWindowSpec {
  refuseMore(more, 'sliding takes its size and how often a window begins')
  const sizeMs = lengthOf(size, 'size')
  const everyMs = lengthOf(every, 'slide')
  const spec: SlidingWindowSpec = { kind: 'sliding', sizeMs, everyMs }
  const problem = windowProblem(spec)
  if (problem !== undefined) throw invalidArgument(`Cannot make a window: ${problem}`)
  return spec
}

/** Rows of a key that are less than `gap` apart: [first row, last row + gap). */
export function session(gap: Duration): SessionWindowSpec
export function session(gap: Duration, ...more: unknown[]): SessionWindowSpec {
  refuseMore(more, 'session takes the gap that ends it')
  return { kind: 'session', gapMs: lengthOf(gap, 'gap') }
}

export interface CountWindowOptions {
  /** After how many rows a result comes; default: the size, so that each row is in one window. */
  readonly every?: number
  /** A key that had no row for so long, by event time, begins anew. Without it, state of a key stays as long as the job. */
  readonly ttl?: Duration
}

/**
 * A key's last `size` rows, in the order in which they come, which event time does not decide. Until a key has had `size` rows, a
 * result is of those that there are.
 */
export function countWindow(size: number, options?: CountWindowOptions): CountWindowSpec
export function countWindow(size: number, options: CountWindowOptions = {}, ...more: unknown[]): CountWindowSpec {
  refuseMore(more, 'countWindow takes its size and options')
  refuseUnknownOptions('make a window', options, ['every', 'ttl'])
  const { every = size, ttl } = options
  const spec: CountWindowSpec = { kind: 'count', size, every, ...(ttl === undefined ? {} : { ttlMs: lengthOf(ttl, 'ttl') }) }
  const problem = windowProblem(spec)
  if (problem !== undefined) throw invalidArgument(`Cannot make a window: ${problem}`)
  return spec
}

/** Fields of each kind that must be there: whole numbers from 1. */
export const windowFields: Readonly<Record<WindowSpec['kind'], readonly string[]>> = {
  tumbling: ['sizeMs'],
  sliding: ['sizeMs', 'everyMs'],
  session: ['gapMs'],
  count: ['size', 'every'],
}

export function isWindowSpec(given: unknown): given is WindowSpec {
  if (typeof given !== 'object' || given === null || !('kind' in given)) return false
  const fields = Object.hasOwn(windowFields, String(given.kind)) ? windowFields[given.kind as WindowSpec['kind']] : undefined
  return fields?.every(field => isLength((given as Readonly<Record<string, unknown>>)[field])) ?? false
}

/** Why a window cannot be made; undefined: it can. */
export function windowProblem(spec: WindowSpec): string | undefined {
  if (spec.kind === 'count') {
    if (!isLength(spec.size)) return `its size is ${spec.size} rows, a whole number of at least 1 is wanted`
    if (!isLength(spec.every)) return `its slide is ${spec.every} rows, a whole number of at least 1 is wanted`
    if (spec.ttlMs !== undefined && !isLength(spec.ttlMs)) return `its ttl is ${spec.ttlMs} ms, a whole number of at least 1 is wanted`
    return panesProblem(spec.size, spec.every)
  }
  return spec.kind === 'sliding' ? panesProblem(spec.sizeMs, spec.everyMs) : undefined
}

/** How often a window of a fixed size begins. */
export const stepOf = (spec: FixedWindowSpec): number => (spec.kind === 'tumbling' ? spec.sizeMs : spec.everyMs)

const isLength = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 1

function panesProblem(size: number, every: number): string | undefined {
  const panes = size / divisorOf(size, every)
  if (panes <= panesMax) return undefined
  return `of size ${size} every ${every} it is made of ${panes} panes, the limit is ${panesMax}; let every be a divisor of the size`
}

function lengthOf(text: Duration, what: string): number {
  const ms = parseDuration(text, `window ${what}`)
  if (ms < 1) throw invalidArgument(`Cannot make a window: its ${what} is "${text}", at least "1ms" is wanted`)
  return ms
}

function refuseMore(more: readonly unknown[], takes: string): void {
  if (more.length > 0) throw invalidArgument(`Cannot make a window: ${takes} and nothing else`)
}

function divisorOf(a: number, b: number): number {
  return b === 0 ? a : divisorOf(b, a % b)
}
