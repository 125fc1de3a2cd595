/**
 * retail-streams the plain way: all lines in one array, sorted by time, and a loop for each result.
 * Shares no code with the job, so that a mistake must be made twice to go unseen.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { plainCsv } from './retail.ts'

interface Line {
  readonly invoice: string
  readonly stockCode: string
  readonly quantity: number
  readonly date: string
  readonly minute: number
  readonly mills: number
  readonly customer: string
}

export type PlainResults = Record<'spend30d' | 'sessions' | 'topProducts' | 'silences' | 'returns', string[]> & {
  purchasesWithoutReturn: number
}

const minutesPerDay = 1440

/** Each result's lines, in ascending order of code units. */
export function plainRetailStreams(paths: readonly string[]): PlainResults {
  const lines = paths.flatMap(linesOf).sort((a, b) => a.minute - b.minute)
  const ofCustomer: Record<string, Line[]> = Object.create(null)
  for (const line of lines) (ofCustomer[line.customer] ??= []).push(line)
  const lastMinute = lines.at(-1)?.minute ?? 0
  const results: PlainResults = { spend30d: [], sessions: [], topProducts: [], silences: [], returns: [], purchasesWithoutReturn: 0 }
  for (const [customer, own] of Object.entries(ofCustomer)) {
    results.spend30d.push(...spendOf(customer, own))
    results.sessions.push(...sessionsOf(customer, own))
    results.silences.push(...silencesOf(customer, own, lastMinute))
    const { pairs, alone } = returnsOf(customer, own)
    results.returns.push(...pairs)
    results.purchasesWithoutReturn += alone
  }
  results.topProducts.push(...topProductsOf(lines))
  for (const texts of Object.values(results)) if (typeof texts === 'object') texts.sort()
  return results
}

/** As `npm run retail-streams` prints them. */
export function plainFigures(paths: readonly string[]): Record<string, unknown> {
  const entries = Object.entries(plainRetailStreams(paths))
  return Object.fromEntries(entries.map(([name, found]) => [name, typeof found === 'number' ? found : figureOf(found)]))
}

function figureOf(texts: readonly string[]): { rows: number; sha256: string } {
  const sha256 = createHash('sha256')
    .update(texts.map(text => `${text}\n`).join(''))
    .digest('hex')
  return { rows: texts.length, sha256 }
}

function linesOf(path: string): Line[] {
  const bytes = readFileSync(path)
  const rows = plainCsv((bytes[0] === 0x1f ? gunzipSync(bytes) : bytes).toString('utf8'))
  const lines: Line[] = []
  for (const [invoice = '', stockCode = '', , quantity = '', date = '', price = '', id = ''] of rows.slice(1)) {
    if (id === '') continue
    const minute = Date.parse(`${date.replace(' ', 'T')}Z`) / 60_000
    const mills = Number(quantity) * Math.round(Number(price) * 1000)
    lines.push({ invoice, stockCode, quantity: Number(quantity), date, minute, mills, customer: id.replace(/\.0$/, '') })
  }
  return lines
}

const timeText = (minute: number): string => new Date(minute * 60_000).toISOString().slice(0, 19).replace('T', ' ')

function spendOf(customer: string, own: readonly Line[]): string[] {
  const spend = new Map<number, number>()
  for (const { minute, mills } of own) {
    const day = Math.floor(minute / minutesPerDay)
    for (let end = day + 1; end <= day + 30; end += 1) spend.set(end, (spend.get(end) ?? 0) + mills)
  }
  return [...spend].map(([end, mills]) => `${customer},${timeText(end * minutesPerDay).slice(0, 10)},${mills}`)
}

function sessionsOf(customer: string, own: readonly Line[]): string[] {
  const sessions: Line[][] = []
  for (const line of own) {
    const before = sessions.at(-1)?.at(-1)
    if (before === undefined || line.minute - before.minute >= 30) sessions.push([line])
    else sessions.at(-1)?.push(line)
  }
  return sessions.map(session => {
    const mills = session.reduce((sum, line) => sum + line.mills, 0)
    return `${customer},${session[0]?.date},${session.at(-1)?.date},${session.length},${mills}`
  })
}

function silencesOf(customer: string, own: readonly Line[], lastMinute: number): string[] {
  const silences: string[] = []
  for (const [i, { minute }] of own.entries()) {
    const due = minute + 60 * minutesPerDay
    const next = own[i + 1]
    if (due <= lastMinute && (next === undefined || next.minute > due)) silences.push(`${customer},${timeText(due)}`)
  }
  return silences
}

function returnsOf(customer: string, own: readonly Line[]): { pairs: string[]; alone: number } {
  const cancellations = own.filter(({ invoice }) => invoice.startsWith('C'))
  const pairs: string[] = []
  let alone = 0
  for (const bought of own) {
    if (bought.quantity <= 0 || bought.invoice.startsWith('C')) continue
    let found = 0
    for (const back of cancellations) {
      const later = back.minute - bought.minute
      if (back.stockCode !== bought.stockCode || back.quantity !== -bought.quantity || later < 0 || later > 30 * minutesPerDay) continue
      pairs.push(`${customer},${bought.stockCode},${bought.invoice},${back.invoice},${bought.quantity}`)
      found += 1
    }
    if (found === 0) alone += 1
  }
  return { pairs, alone }
}

function topProductsOf(lines: readonly Line[]): string[] {
  const days: Record<string, Record<string, number>> = {}
  for (const { date, stockCode, quantity } of lines) {
    if (quantity <= 0) continue
    const day = (days[date.slice(0, 10)] ??= Object.create(null) as Record<string, number>)
    day[stockCode] = (day[stockCode] ?? 0) + quantity
  }
  return Object.entries(days).flatMap(([day, units]) => {
    const codes = Object.keys(units).sort((a, b) => (units[b] ?? 0) - (units[a] ?? 0) || (a < b ? -1 : 1))
    return codes.slice(0, 10).map((code, i) => `${day},${i + 1},${code},${units[code]}`)
  })
}
