/** What a benchmark hands back and how it is shown. The JSON shape is read by other programs; fields may be added, not changed. */

export interface BenchRow {
  readonly name: string
  /** Who did it: `nearstate`, `redis`, `Map of Buffers`. */
  readonly side: string
  /** The median of the rounds. */
  readonly value: number
  readonly unit: string
  readonly min?: number
  readonly max?: number
  readonly p50Ms?: number
  readonly p99Ms?: number
}

/** One line of an issue's "must reach" table. */
export interface BenchFigure {
  readonly name: string
  readonly value: number
  readonly unit: string
  readonly min?: number
  readonly max?: number
  readonly atLeast?: number
  readonly atMost?: number
  /** Whether this run kept the bound; true where there is none. */
  readonly reached: boolean
}

export interface BenchReport {
  readonly rows: readonly BenchRow[]
  readonly figures: readonly BenchFigure[]
}

export interface Benchmark {
  readonly name: string
  readonly description: string
  run(options: { readonly json: boolean; readonly args: readonly string[] }): Promise<BenchReport>
}

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  const median = sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
  return { median, min: sorted[0] ?? Number.NaN, max: sorted.at(-1) ?? Number.NaN }
}

/** The spread of ours / theirs, round by round: a ratio is the median of the rounds' ratios. */
export const ratioOf = (ours: readonly number[], theirs: readonly number[]): Spread =>
  spreadOf(ours.map((value, round) => value / (theirs[round] ?? Number.NaN)))

export function figure(
  name: string,
  measured: number | Spread,
  unit: string,
  bound: { readonly atLeast?: number; readonly atMost?: number } = {},
): BenchFigure {
  const spread = typeof measured === 'number' ? { value: measured } : { value: measured.median, min: measured.min, max: measured.max }
  const reached =
    (bound.atLeast === undefined || spread.value >= bound.atLeast) && (bound.atMost === undefined || spread.value <= bound.atMost)
  return { name, ...spread, unit, ...bound, reached }
}

/** Short for people: three significant digits and a thousands separator. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return '-'
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

const spreadText = (of: { readonly min?: number; readonly max?: number }): string =>
  of.min === undefined || of.max === undefined ? '' : `${formatNumber(of.min)} .. ${formatNumber(of.max)}`

const boundText = (of: BenchFigure): string =>
  of.atLeast !== undefined
    ? `at least ${formatNumber(of.atLeast)}`
    : of.atMost !== undefined
      ? `at most ${formatNumber(of.atMost)}`
      : 'no bar'

/** Both tables of a report as text. */
export function formatReport(report: BenchReport): string {
  const rows = report.rows.map(row => [
    row.name,
    row.side,
    formatNumber(row.value),
    row.unit,
    spreadText(row),
    row.p50Ms === undefined ? '' : row.p50Ms.toFixed(3),
    row.p99Ms === undefined ? '' : row.p99Ms.toFixed(3),
  ])
  const figures = report.figures.map(line => [
    line.name,
    formatNumber(line.value),
    line.unit,
    spreadText(line),
    boundText(line),
    line.atLeast === undefined && line.atMost === undefined ? '' : line.reached ? 'reached' : 'NOT REACHED',
  ])
  const parts: string[] = []
  if (rows.length > 0) parts.push(table(['measured', 'side', 'median', 'unit', 'min .. max', 'p50 ms', 'p99 ms'], rows))
  if (figures.length > 0) parts.push(table(['figure', 'median', 'unit', 'min .. max', 'bar', ''], figures))
  return parts.join('\n\n')
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const used = head.map((_, column) => rows.some(row => row[column] !== ''))
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map(row => (row[column] ?? '').length)))
  const numeric = head.map(title => title === 'median' || title.endsWith(' ms'))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => (numeric[column] === true ? cell.padStart(widths[column] as number) : cell.padEnd(widths[column] as number)))
      .filter((_, column) => used[column])
      .join('  ')
      .trimEnd()
  return [line(head), line(widths.map(width => '-'.repeat(width))), ...rows.map(line)].join('\n')
}
