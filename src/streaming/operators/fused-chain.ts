/**
 * A chain of stages without state as one loop per batch: source, map, filter, enrich, and keyBy at its end. Nothing is laid down between
 * the stages, and each chain is compiled by itself, so that the user's functions can be inlined and see only their own rows.
 *
 * It does what the operators do one after the other (source.ts, stateless.ts, key-by.ts), and stops before a row that fails: the
 * operators themselves take what is left of the batch, and know what a failed row means. A row that fails is thus asked for twice.
 *
 * `unit.stage` is set before each call of user code: who is cut off is known.
 */
import { refusePromise } from '../graph/refuse-async.ts'
import type { LocalMap } from '../ports.ts'
import type { SourceBatch } from '../source.ts'
import { Batch } from './batch.ts'
import { lineMax } from './origin.ts'
import type { Unit } from './unit.ts'

export type ChainStep =
  | { readonly kind: 'map' | 'filter'; readonly stage: number; readonly fn: (row: unknown, key: unknown) => unknown }
  | { readonly kind: 'enrich'; readonly stage: number; readonly fn: (row: unknown, value: unknown) => unknown; readonly map: LocalMap }

/** What begins with records of a source. */
export interface ChainSource {
  readonly stage: number
  readonly decode: ((record: unknown) => unknown) | undefined
  readonly timeOf: ((row: unknown) => unknown) | undefined
}

/** What ends with an exchange. */
export interface ChainExchange {
  readonly stage: number
  readonly fn: (row: unknown, key: unknown) => unknown
  /** At most so many rows follow. */
  begin(rows: number): void
  /** Sends the row, or lays it down for the stages behind. */
  readonly take: (row: unknown, key: unknown, time: number, origin: number) => void
  /** Hands on what was laid down. */
  end(): void
}

export interface Consumer {
  accept(batch: Batch): void
}

export interface ChainParts {
  readonly source: ChainSource | undefined
  readonly steps: readonly ChainStep[]
  readonly exchange: ChainExchange | undefined
  /** Who takes the rows where there is no exchange. */
  readonly consumers: readonly Consumer[]
}

/** The columns that the loop reads; `origins` of a source are its lines. */
interface Input {
  readonly rows: readonly unknown[]
  readonly times: ArrayLike<number>
  readonly origins: ArrayLike<number>
  readonly keys: readonly unknown[]
  readonly partitions: ArrayLike<number>
}

/** What a run has come to. */
interface Run {
  /** Added to a line. */
  originBase: number
  size: number
  greatestTime: number
}

type Loop = (unit: Unit, input: Input, from: number, to: number, out: Batch, run: Run) => number

const timeMax = 8.64e15
const noColumn: readonly never[] = []

export class FusedChain {
  /** Greatest event time of the last run. */
  get greatestTime(): number {
    return this.#run.greatestTime
  }

  readonly #unit: Unit
  readonly #loop: Loop
  readonly #exchange: ChainExchange | undefined
  readonly #consumers: readonly Consumer[]
  readonly #out = new Batch()
  readonly #run: Run = { originBase: 0, size: 0, greatestTime: Number.NEGATIVE_INFINITY }

  constructor(unit: Unit, parts: ChainParts) {
    this.#unit = unit
    this.#exchange = parts.exchange
    this.#consumers = parts.consumers
    this.#loop = loopOf(parts)
  }

  /** Runs records [from, to) of a source's split through the chain and hands them on; the index of the first that failed, or `to`. */
  read(batch: SourceBatch, from: number, to: number, originBase: number): number {
    const { records: rows, lines: origins } = batch
    return this.#runAll({ rows, times: noColumn, origins, keys: noColumn, partitions: noColumn }, from, to, originBase)
  }

  /** The same for a batch of rows. */
  accept(batch: Batch): number {
    return this.#runAll(batch, 0, batch.size, 0)
  }

  #runAll(input: Input, from: number, to: number, originBase: number): number {
    const run = this.#run
    const out = this.#out
    const exchange = this.#exchange
    run.originBase = originBase
    run.greatestTime = Number.NEGATIVE_INFINITY
    if (exchange === undefined) out.reserve(to - from)
    else exchange.begin(to - from)
    const reached = this.#loop(this.#unit, input, from, to, out, run)
    if (exchange !== undefined) {
      exchange.end()
    } else if (run.size > 0) {
      out.size = run.size
      const consumers = this.#consumers
      for (let i = 0; i < consumers.length; i += 1) (consumers[i] as Consumer).accept(out)
    }
    return reached
  }
}

function loopOf(parts: ChainParts): Loop {
  const { source, steps, exchange } = parts
  const functions = [source?.decode, source?.timeOf, exchange?.fn, exchange?.take, ...steps.map(({ fn }) => fn)]
  const maps = steps.map(step => (step.kind === 'enrich' ? step.map : undefined))
  // Stages come in as numbers, functions as arguments: nothing of the user's is in the text.
  // oxlint-disable-next-line typescript/no-implied-eval -- see above
  const make = new Function('functions', 'maps', 'refusePromise', textOf(parts)) as (...given: unknown[]) => Loop
  return make(functions, maps, refusePromise)
}

/**
 * A row counts when it has passed the chain or was left out by a filter: what a filter left out is counted there (d), what passed in
 * `size`, and rows in and out of each stage follow from both.
 */
function textOf({ source, steps, exchange }: ChainParts): string {
  const names = steps.map((_, i) => `f${i}`)
  const filters = steps.flatMap(({ kind }, i) => (kind === 'filter' ? [i] : []))
  const isEvent = source?.timeOf !== undefined
  return `
const [decode, timeOf, keyOf, take, ${names.join(', ')}] = functions
${steps.flatMap(({ kind }, i) => (kind === 'enrich' ? [`const m${i} = maps[${i}]`] : [])).join('\n')}
return function chain(unit, input, from, to, out, run) {
  const { rows, times, origins, keys, partitions } = input
  const { rows: outRows, times: outTimes, origins: outOrigins, keys: outKeys, partitions: outPartitions } = out
  const { originBase } = run
  let at = from
  let size = 0
  let greatest = -Infinity
  ${source !== undefined && !isEvent ? 'const time = unit.wallTimeMs' : ''}
  ${filters.map(i => `let d${i} = 0`).join('\n  ')}
  ${steps.map((_, i) => `let isAsked${i} = false`).join('\n  ')}
  try {
    for (; at < to; at += 1) {
      let row = rows[at]
      ${source === undefined ? 'const key = keys[at]' : sourceText(source)}
      ${steps.map((step, i) => stepText(step, i, source === undefined)).join('\n      ')}
      ${source === undefined ? 'const time = times[at]' : ''}
      const origin = ${source === undefined ? 'origins[at]' : `originBase + Math.min(origins[at] ?? 0, ${lineMax})`}
      ${exchange === undefined ? layDownText(source === undefined) : exchangeText(exchange, source === undefined)}
      size += 1
    }
  } catch {
    // The operators will meet it again.
  }
  ${countsText(source, steps, exchange, filters)}
  run.size = size
  run.greatestTime = greatest
  return at
}`
}

function sourceText({ stage, decode, timeOf }: ChainSource): string {
  return `unit.stage = ${stage}
      ${decode === undefined ? '' : 'row = decode(row)'}
      if (at === from) refusePromise(row)
      ${timeOf === undefined ? '' : `const time = timeOf(row)\n      if (!(typeof time === 'number' && time >= -${timeMax} && time <= ${timeMax})) break`}
      if (time > greatest) greatest = time`
}

function stepText({ kind, stage }: ChainStep, i: number, isKeyed: boolean): string {
  const call = kind === 'enrich' ? `f${i}(row, m${i}.get(partitions[at], key))` : `f${i}(row, ${isKeyed ? 'key' : 'undefined'})`
  const next = kind === 'filter' ? `if (!v${i}) { d${i} += 1; continue }` : `row = v${i}`
  return `unit.stage = ${stage}
      const v${i} = ${call}
      if (!isAsked${i}) { refusePromise(v${i}); isAsked${i} = true }
      ${next}`
}

const layDownText = (isKeyed: boolean): string => `outRows[size] = row
      outTimes[size] = time
      outOrigins[size] = origin
      ${isKeyed ? 'outKeys[size] = key\n      outPartitions[size] = partitions[at]' : ''}`

const exchangeText = ({ stage }: ChainExchange, isKeyed: boolean): string => `unit.stage = ${stage}
      take(row, keyOf(row, ${isKeyed ? 'key' : 'undefined'}), time, origin)`

function countsText(
  source: ChainSource | undefined,
  steps: readonly ChainStep[],
  exchange: ChainExchange | undefined,
  filters: readonly number[],
): string {
  // Rows that came to step i: what passed it and what was left out there and behind.
  const into = (step: number): string => ['size', ...filters.filter(i => i >= step).map(i => `d${i}`)].join(' + ')
  const add = (column: string, stage: number, rows: string): string => `${column}[${stage}] += ${rows}`
  const counts = source === undefined ? [] : [add('rowsIn', source.stage, into(0)), add('rowsOut', source.stage, into(0))]
  for (const [i, { stage }] of steps.entries()) {
    // Who gives a batch to its first operator has counted it.
    if (i > 0 || source !== undefined) counts.push(add('rowsIn', stage, into(i)))
    counts.push(add('rowsOut', stage, into(i + 1)))
  }
  if (exchange !== undefined && (steps.length > 0 || source !== undefined)) counts.push(add('rowsIn', exchange.stage, 'size'))
  return `const { rowsIn, rowsOut } = unit.counters
  ${counts.join('\n  ')}`
}
