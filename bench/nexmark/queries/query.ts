/**
 * What the queries share: a query makes result rows of the events, as CSV text under an id. Of several rows with one id the last counts;
 * a query whose rows only ever add up gives no id, and equal rows are counted.
 */
import { defineJob, defineKey, generator, type Job, row, type Stage } from 'nearstate/stream'
import type { Event } from '../events.ts'
import { type GeneratorOptions, eventsOf } from '../generator.ts'

export interface ResultRow {
  readonly id: string
  readonly text: string
}
export type Query = (events: Stage<Event>) => Stage<ResultRow>

export interface QueryOptions extends GeneratorOptions {
  readonly count: number
  /** How much earlier than the latest event an event may come. */
  readonly disorderMs?: number
}

export const eventsStage = 'events'
/** Each id's newest row and how many equal ones there were: a map by id. */
export const resultMap = 'nexmark-result'
export interface Result {
  readonly text: string
  readonly count: number
}

const ResultId = defineKey('nexmark-result', 'string')

/** Rows that stand for themselves: each counts. */
export const everyRow = (...cells: readonly (string | number)[]): ResultRow => ({ id: '', text: csv(cells) })

/** The row of `id`, which a later one takes the place of. */
export const rowOf = (id: string | number, ...cells: readonly (string | number)[]): ResultRow => ({ id: String(id), text: csv(cells) })

export function jobOf(name: string, query: Query, { count: events, disorderMs = 0, ...options }: QueryOptions): Job<undefined> {
  const eventAt = eventsOf(options)
  return defineJob(`nexmark-${name}`, flow => {
    const source = flow
      .source(eventsStage, generator({ events: eventAt, count: events }))
      .eventTime(event => event.dateTime, { outOfOrderness: `${disorderMs}ms` })
    query(source)
      .keyBy('results by id', ResultId, row => (row.id === '' ? row.text : row.id))
      .process('newest result', {
        emits: row<Result>(),
        state: () => ({ count: 0 }),
        onEvent(ctx, { id, text }) {
          const times = id === '' ? ctx.state.count + 1 : 1
          ctx.state = { count: times }
          ctx.emit({ text, count: times })
        },
      })
      .sink('result', flow.map(resultMap, ResultId))
  })
}

/** The lines of a result, sorted by code unit. */
export function linesOf(results: Iterable<Result>): string {
  const lines: string[] = []
  for (const { text, count: times } of results) for (let i = 0; i < times; i += 1) lines.push(`${text}\n`)
  return lines.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)).join('')
}

const csv = (cells: readonly (string | number)[]): string => cells.map(csvCell).join(',')

function csvCell(cell: string | number): string {
  if (typeof cell === 'number') return String(cell)
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell
}
