/**
 * retail-360 the plain way: read the files one after the other, keep everything in arrays and objects, loop.
 * Shares no code with the job, so that a mistake must be made twice to go unseen.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { gunzipSync } from 'node:zlib'

/** Beside the repository; absent on machines that have only the code. */
export const onlineRetail = resolve(import.meta.dirname, '../../../shared/data/online-retail')
export const hasOnlineRetail = existsSync(onlineRetail)

export interface RetailFigures {
  lines: number
  unknownCustomer: number
  customers: number
  invoices: number
  cancellations: number
  revenueMills: number
  units: number
  countryDays: number
  topCustomer: string
  topProfile: Record<string, unknown>
  profilesSha256: string
  countryDaysSha256: string
}

/** What the issue says for all files. */
export const allMonths = {
  lines: 431673,
  unknownCustomer: 108103,
  customers: 4010,
  invoices: 15100,
  cancellations: 3083,
  revenueMills: 6825151694,
  units: 4033137,
  countryDays: 1437,
  topCustomer: '14646',
  topProfile: {
    customerId: '14646',
    country: 'Netherlands',
    invoices: 59,
    cancellations: 3,
    lines: 1800,
    units: 170441,
    revenueMills: 242385590,
    firstSeen: '2010-12-20 10:09:00',
    lastSeen: '2011-10-27 12:12:00',
  },
  profilesSha256: '480706e140198dadfd6b590e17a951b42bc24ec980616904c08da5bac24191f7',
  countryDaysSha256: 'c8473ebf71cd2cde7ea7dc09e0997f37eca7734e25ab5695ac78f7d36effe72a',
}

export const monthFiles = (): string[] =>
  readdirSync(onlineRetail)
    .filter(name => name.endsWith('.csv.gz'))
    .sort()
    .map(name => join(onlineRetail, name))

/** Rows of well-formed CSV text, one character at a time. */
export function plainCsv(text: string): string[][] {
  const rows: string[][] = []
  let row: string[] = []
  let field = ''
  let quoted = false
  for (let i = 0; i < text.length; i += 1) {
    const char = text.charAt(i)
    if (quoted) {
      if (char === '"' && text[i + 1] === '"') {
        field += '"'
        i += 1
      } else if (char === '"') quoted = false
      else field += char
    } else if (char === '"') quoted = true
    else if (char === ',') {
      row.push(field)
      field = ''
    } else if (char === '\n') {
      rows.push([...row, field])
      row = []
      field = ''
    } else if (char !== '\r') field += char
  }
  if (row.length > 0 || field !== '') rows.push([...row, field])
  return rows
}

interface Customer {
  country: string
  invoices: string[]
  lines: number
  units: number
  mills: number
  first: string
  last: string
}

export function retailFigures(paths: readonly string[]): RetailFigures {
  const customers: Record<string, Customer> = Object.create(null)
  const days: Record<string, Record<string, { lines: number; mills: number }>> = Object.create(null)
  let lines = 0
  let unknownCustomer = 0
  for (const path of paths) {
    const bytes = readFileSync(path)
    const rows = plainCsv((bytes[0] === 0x1f ? gunzipSync(bytes) : bytes).toString('utf8'))
    for (const cells of rows.slice(1)) {
      const [invoice = '', , , quantity = '', date = '', price = '', id = '', country = ''] = cells
      lines += 1
      if (id === '') {
        unknownCustomer += 1
        continue
      }
      const customerId = id.replace(/\.0$/, '')
      const mills = Number(quantity) * Math.round(Number(price) * 1000)
      const customer = (customers[customerId] ??= { country, invoices: [], lines: 0, units: 0, mills: 0, first: date, last: date })
      if (date < customer.first) customer.first = date
      if (date >= customer.last) {
        customer.last = date
        customer.country = country
      }
      customer.invoices.push(invoice)
      customer.lines += 1
      customer.units += Number(quantity)
      customer.mills += mills
      const day = ((days[country] ??= {})[date.slice(0, 10)] ??= { lines: 0, mills: 0 })
      day.lines += 1
      day.mills += mills
    }
  }
  return summarise(lines, unknownCustomer, customers, days)
}

function summarise(
  lines: number,
  unknownCustomer: number,
  customers: Record<string, Customer>,
  days: Record<string, Record<string, { lines: number; mills: number }>>,
): RetailFigures {
  const profiles = Object.keys(customers)
    .sort()
    .map(id => {
      const { country, invoices, lines: ofCustomer, units, mills, first, last } = customers[id] as Customer
      const distinct = [...new Set(invoices)]
      const cancelled = distinct.filter(invoice => invoice.startsWith('C')).length
      const counts = { invoices: distinct.length - cancelled, cancellations: cancelled, lines: ofCustomer, units, revenueMills: mills }
      return { customerId: id, country, ...counts, firstSeen: first, lastSeen: last }
    })
  const countryDays = Object.keys(days)
    .sort()
    .flatMap(country => {
      const ofCountry = days[country] ?? {}
      const inOrder = Object.keys(ofCountry).sort()
      return inOrder.map(day => `${country},${day},${ofCountry[day]?.lines},${ofCountry[day]?.mills}`)
    })
  const total = (name: 'invoices' | 'cancellations' | 'revenueMills' | 'units'): number =>
    profiles.reduce((sum, profile) => sum + profile[name], 0)
  const [top] = [...profiles].sort((a, b) => b.revenueMills - a.revenueMills || (a.customerId < b.customerId ? -1 : 1))
  return {
    lines,
    unknownCustomer,
    customers: profiles.length,
    invoices: total('invoices'),
    cancellations: total('cancellations'),
    revenueMills: total('revenueMills'),
    units: total('units'),
    countryDays: countryDays.length,
    topCustomer: top?.customerId ?? '',
    topProfile: { ...top },
    profilesSha256: sha256(profiles.map(profile => Object.values(profile).join(','))),
    countryDaysSha256: sha256(countryDays),
  }
}

const sha256 = (rows: readonly string[]): string =>
  createHash('sha256')
    .update(rows.map(row => `${row}\n`).join(''))
    .digest('hex')
