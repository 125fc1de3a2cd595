/**
 * What the queries share. A query makes rows of the events; its cells are the columns of the result. Of several rows with one `id` the
 * last counts; without an id every row counts.
 */
import type { Flow, Stage } from 'nearstate/stream'
import type { Event } from './events.ts'

export type Cells = readonly (string | number)[]

export interface ResultRow {
  readonly id: string | undefined
  /** A line of CSV, without its end. */
  readonly line: string
}

export interface Query {
  /** The query by itself. */
  readonly rows: (events: Stage<Event>, flow: Flow) => Stage<unknown>
  /** Whether a row's cells have an odd sum: enough of a checksum, since any wrong row changes how many rows do. */
  readonly isOdd: (row: unknown) => boolean
  /** Its rows as lines. */
  readonly results: (events: Stage<Event>, flow: Flow) => Stage<ResultRow>
}

export function query<Row>(
  rows: (events: Stage<Event>, flow: Flow) => Stage<Row>,
  cells: (row: Row) => Cells,
  id: (row: Row) => string | undefined = () => undefined,
  /** Sum of the cells, where that would cost more than the query; a text counts as its last character. */
  sumOf: (row: Row) => number = row => sumOfCells(cells(row)),
): Query {
  return {
    rows,
    isOdd: row => sumOf(row as Row) % 2 === 1,
    results: (events, flow) => rows(events, flow).map('lines', row => ({ id: id(row), line: csvLine(cells(row)) })),
  }
}

export const lastOf = (text: string): number => text.charCodeAt(text.length - 1)

function sumOfCells(cells: Cells): number {
  let sum = 0
  for (const cell of cells) sum += typeof cell === 'number' ? cell : lastOf(cell)
  return sum
}

/** As in RFC 4180: quotes only where they are needed. */
export const csvLine = (cells: Cells): string => cells.map(csvCell).join(',')

function csvCell(cell: string | number): string {
  if (typeof cell === 'number') return String(cell)
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell
}

export const dayOf = (time: number): string => new Date(time).toISOString().slice(0, 10)
