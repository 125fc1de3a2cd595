/**
 * A query over the generated events as a job. `--disorder` is in the order in which event numbers become events, so that any slice of
 * the numbers is out of order by itself, and a restart reads the same.
 *
 * As `results` the rows come together in a map, by id or, where every row counts, by their text with how often they came.
 */
import { defineJob, defineKey, generator, type KeyedStage, row, type Schema, type Source, type Stage } from 'nearstate/stream'
import { areTextsWhole, type Event, timeOf } from './events.ts'
import { defaultRate, disorderOf, eventsOf } from './generator.ts'
import { WindowEnd } from './keys.ts'
import type { ResultRow } from './query.ts'
import { isQuery, queryOf, type QueryName } from './queries/all.ts'
import { latenciesOf, latencyMap, NewestKey, newestMap, newestOf, Schedule } from './stamped.ts'

export interface NexmarkArgs {
  readonly query: QueryName
  readonly events: number
  readonly seed: number
  readonly rate?: number
  readonly light?: boolean
  readonly keys?: number
  readonly open?: number
  /** How much earlier than the latest event an event may come. */
  readonly disorderMs?: number
  /** Events per second of the wall clock, at most. */
  readonly pace?: number
  readonly splits?: number
  /**
   * `results`: into the map; `count`: nowhere, to measure the query alone. Texts are read, rows are counted and summed up. `newest`: only
   * the newest window; `latency`: each window's latency (stamped.ts).
   */
  readonly output?: 'results' | 'count' | 'newest' | 'latency'
}

export const eventsStage = 'events'
/** With `count`: rows in are the result's, rows out those with an odd sum, whatever their order. */
export const countedStage = 'counted'
export const resultMap = 'nexmark-results'
export const ResultKey = defineKey('nexmark-result', 'string')

export interface Result {
  readonly line: string
  readonly count: number
}

/** Written by the program beside it. */
const Args: Schema<NexmarkArgs> = {
  '~standard': {
    version: 1,
    vendor: 'nearstate',
    validate: value => {
      const { query } = value as NexmarkArgs
      return isQuery(query) ? { value: value as NexmarkArgs } : { issues: [{ message: `there is no query "${String(query)}"` }] }
    },
  },
}

export default defineJob('nexmark', { args: Args }, (flow, args) => {
  const { query, output = 'results' } = args
  const schedule = output === 'latency' && args.pace !== undefined ? new Schedule(args.pace, args.rate ?? defaultRate) : undefined
  const events = flow.source(eventsStage, generatorOf(args, schedule)).eventTime(timeOf, { outOfOrderness: `${args.disorderMs ?? 0}ms` })
  if (output === 'count') {
    const { rows, isOdd } = queryOf(query)
    const read = args.light === true ? events : events.filter('texts', areTextsWhole)
    rows(read, flow).filter(countedStage, isOdd)
    return
  }
  if (output === 'newest') {
    newestOf(queryOf(query).rows(events, flow)).sink('newest', flow.map(newestMap, NewestKey))
    return
  }
  if (schedule !== undefined) {
    latenciesOf(queryOf(query).rows(events, flow), schedule).sink('latency', flow.map(latencyMap, WindowEnd))
    return
  }
  gather(queryOf(query).results(events, flow)).sink('results', flow.map(resultMap, ResultKey))
})

function generatorOf(
  { events: count, pace, splits, disorderMs = 0, ...options }: NexmarkArgs,
  schedule: Schedule | undefined,
): Source<Event> {
  const generated = eventsOf(options)
  const eventAt = schedule === undefined ? generated : schedule.watch(generated)
  const span = Math.floor((disorderMs * (options.rate ?? defaultRate)) / 1000)
  const order = disorderOf(options.seed, span, count)
  return generator({
    events: span <= 1 ? eventAt : i => eventAt(order(i)),
    count,
    ...(pace === undefined ? {} : { ratePerSecond: pace }),
    ...(splits === undefined ? {} : { splits }),
  })
}

/** The newest line of each id, or each line with how often it came. */
function gather(rows: Stage<ResultRow>): KeyedStage<typeof ResultKey, Result> {
  return rows
    .keyBy('by result', ResultKey, ({ id, line }) => id ?? line)
    .process('gathered', {
      emits: row<Result>(),
      state: () => 0,
      onEvent(ctx, { id, line }) {
        ctx.state = id === undefined ? ctx.state + 1 : 1
        ctx.emit({ line, count: ctx.state })
      },
    })
}

/** The lines of a result, sorted by code unit. */
export function sortedLines(results: Iterable<Result>): string {
  const lines: string[] = []
  for (const { line, count } of results) for (let i = 0; i < count; i += 1) lines.push(`${line}\n`)
  return lines.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)).join('')
}
