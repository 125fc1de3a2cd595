/** What the demo shows to people: a line that moves while it runs, and the summary. */
import { styleText } from 'node:util'
import { formatDuration } from '../base/duration.ts'
import type { FaultFields } from './demo-fault.ts'
import type { RetailFigures } from './demo-figures.ts'

interface JobResult extends RetailFigures {
  readonly nodes: number
  /** Of each node. */
  readonly shards: number
  readonly eventsPerSecond: number
  readonly reads: number
  readonly readP50Ms: number
  readonly readP99Ms: number
  /** The node that was killed while the job ran; null: none, or it was done before. */
  readonly replayKilled: string | null
  readonly checkpoints: number
  readonly restarts: number
  readonly console: null
}

export type DemoResult = JobResult & FaultFields

const grouped = (value: number): string => value.toLocaleString('en-US')
const money = (mills: number): string => (mills / 1000).toLocaleString('en-US', { style: 'currency', currency: 'GBP' })
/** `1 node`, `3 nodes`. */
export const counted = (count: number, noun: string): string => `${grouped(count)} ${noun}${count === 1 ? '' : 's'}`
const share = (part: number, whole: number): string => `${whole === 0 ? 0 : Math.round((part / whole) * 100)} %`

/** One line on a terminal that is written over; nothing elsewhere. */
export class ProgressLine {
  readonly #isShown: boolean

  constructor(isShown: boolean) {
    this.#isShown = isShown
  }

  show(text: string): void {
    if (this.#isShown) process.stdout.write(`\r${text.slice(0, Math.max(20, (process.stdout.columns || 80) - 1))}\u001b[K`)
  }

  clear(): void {
    if (this.#isShown) process.stdout.write('\r\u001b[K')
  }
}

export function progressText(at: {
  readonly lines: number
  readonly seconds: number
  readonly reads: number
  readonly readP99Ms: number
}): string {
  const rate = at.seconds > 0 ? Math.round(at.lines / at.seconds) : 0
  return `${grouped(at.lines)} lines in (${grouped(rate)}/s) | ${grouped(at.reads)} reads, p99 ${at.readP99Ms.toFixed(1)} ms`
}

export function summaryText(result: DemoResult, ranMs: number): string {
  const { topProfile } = result
  const row = (label: string, text: string): string => `  ${label.padEnd(18)}${text}`
  const title = (text: string): string => styleText('bold', text)
  const lines = [
    '',
    title('What came in'),
    row(
      'order lines',
      `${grouped(result.lines)} in ${formatDuration(ranMs)}: ${grouped(result.eventsPerSecond)} a second on ${counted(result.nodes, 'node')} of ${counted(result.shards, 'shard')}`,
    ),
    row(
      'without customer',
      `${grouped(result.unknownCustomer)} (${share(result.unknownCustomer, result.lines)}), kept in map "unknown-customers"`,
    ),
    row(
      'broken',
      result.deadLetters === 0 ? 'none' : `${grouped(result.deadLetters)}, kept in map "retail-360.dead-letters" with file and line`,
    ),
    row('checkpoints', checkpointsText(result)),
    '',
    title('What the grid knows now'),
    row('customers', `${grouped(result.customers)} profiles, each up to date with its last order line`),
    row('invoices', `${grouped(result.invoices)}, and ${grouped(result.cancellations)} cancellations`),
    row('revenue', `${money(result.revenueMills)} for ${grouped(result.units)} units`),
    row('country-days', grouped(result.countryDays)),
  ]
  if (topProfile !== null) {
    const { customerId, country, invoices, revenueMills, firstSeen, lastSeen } = topProfile
    lines.push(
      row(
        'best customer',
        `${customerId} from ${country}: ${money(revenueMills)} on ${grouped(invoices)} invoices, ${firstSeen.slice(0, 10)} to ${lastSeen.slice(0, 10)}`,
      ),
    )
  }
  lines.push(
    '',
    title('What readers saw meanwhile'),
    row(
      'profile reads',
      `${grouped(result.reads)} over gRPC, half within ${result.readP50Ms.toFixed(2)} ms, 99 of 100 within ${result.readP99Ms.toFixed(2)} ms`,
    ),
    '',
    ...faultLines(result, title, row),
    styleText('dim', `  profiles      sha256 ${result.profilesSha256}`),
    styleText('dim', `  country-days  sha256 ${result.countryDaysSha256}`),
    '',
  )
  return lines.join('\n')
}

function checkpointsText({ checkpoints, replayKilled, restarts }: DemoResult): string {
  if (replayKilled === null) return grouped(checkpoints)
  return `${grouped(checkpoints)}; ${replayKilled} was killed meanwhile, and the job went on from the last one (${counted(restarts, 'restart')})`
}

function faultLines(result: DemoResult, title: (text: string) => string, row: (label: string, text: string) => string): readonly string[] {
  if (result.killed === null) return []
  const { killed, failoverGapMs, acknowledgedWritesLost, staleReads, redundancyBackMs, writesAndReads } = result
  return [
    title(`What a kill of ${killed} cost`),
    row(
      'writes lost',
      `${grouped(acknowledgedWritesLost)} of those acknowledged; ${grouped(staleReads)} stale reads; ${grouped(writesAndReads)} calls meanwhile`,
    ),
    row('fail-over', `${grouped(failoverGapMs)} ms: the longest that any partition gave no answer`),
    row('all copies back', `after ${formatDuration(redundancyBackMs)}`),
    '',
  ]
}
