/** The figures of retail-360, computed from what the grid holds after the job: the totals, and hashes that any other program can check. */
import { createHash } from 'node:crypto'
import type { Grid } from '../client/grid.ts'
import { defineKey, defineTupleKey } from '../keys/key-space.ts'

const Customer = defineKey('customer', 'string')
const Country = defineKey('country', 'string')
const CountryDay = defineTupleKey('country-day', Country, { day: 'string' })
const Invoice = defineKey('invoice', 'string')
const InvoiceLine = defineTupleKey('invoice-line', Invoice, { line: 'int64' })
const DeadLetter = defineKey('retail-360.dead-letters', 'string')

/** As examples/retail-360/profile.ts has it. */
export interface Profile {
  readonly customerId: string
  readonly country: string
  readonly invoices: number
  readonly cancellations: number
  readonly lines: number
  readonly units: number
  readonly revenueMills: number
  readonly firstSeen: string
  readonly lastSeen: string
}

export interface RetailFigures {
  readonly lines: number
  readonly unknownCustomer: number
  readonly customers: number
  readonly invoices: number
  readonly cancellations: number
  readonly revenueMills: number
  readonly units: number
  readonly countryDays: number
  /** Greatest revenue, then smallest id; null: no customer at all. */
  readonly topCustomer: string | null
  readonly topProfile: Profile | null
  readonly profilesSha256: string
  readonly countryDaysSha256: string
  /** Broken rows; they are not among `lines`. */
  readonly deadLetters: number
}

export const profilesOf = (grid: Grid) => grid.map<typeof Customer, Profile>('profiles', Customer)

export async function retailFigures(grid: Grid): Promise<RetailFigures> {
  const profiles: Profile[] = []
  for await (const [, profile] of profilesOf(grid).scan()) profiles.push(profile)
  profiles.sort((a, b) => byCodeUnits(a.customerId, b.customerId))

  const days: (readonly [country: string, day: string, lines: number, revenueMills: number])[] = []
  const countryDays = grid.map<typeof CountryDay, { readonly lines: number; readonly revenueMills: number }>('country-days', CountryDay)
  for await (const [[country, day], { lines, revenueMills }] of countryDays.scan()) days.push([country, String(day), lines, revenueMills])
  days.sort((a, b) => byCodeUnits(a[0], b[0]) || byCodeUnits(a[1], b[1]))

  const unknownCustomer = await grid.map('unknown-customers', InvoiceLine).size()
  const top = profiles.reduce<Profile | undefined>(
    (best, profile) => (best === undefined || profile.revenueMills > best.revenueMills ? profile : best),
    undefined,
  )
  return {
    lines: sumOf(profiles, 'lines') + unknownCustomer,
    unknownCustomer,
    customers: profiles.length,
    invoices: sumOf(profiles, 'invoices'),
    cancellations: sumOf(profiles, 'cancellations'),
    revenueMills: sumOf(profiles, 'revenueMills'),
    units: sumOf(profiles, 'units'),
    countryDays: days.length,
    topCustomer: top?.customerId ?? null,
    topProfile: top ?? null,
    profilesSha256: sha256(profiles.map(profileLine)),
    countryDaysSha256: sha256(days.map(day => day.join(','))),
    deadLetters: await grid.map('retail-360.dead-letters', DeadLetter).size(),
  }
}

function profileLine(profile: Profile): string {
  const { customerId, country, invoices, cancellations, lines, units, revenueMills, firstSeen, lastSeen } = profile
  return [customerId, country, invoices, cancellations, lines, units, revenueMills, firstSeen, lastSeen].join(',')
}

const sumOf = (profiles: readonly Profile[], name: 'lines' | 'invoices' | 'cancellations' | 'revenueMills' | 'units'): number =>
  profiles.reduce((sum, profile) => sum + profile[name], 0)

const sha256 = (rows: readonly string[]): string => {
  const hash = createHash('sha256')
  for (const row of rows) hash.update(`${row}\n`)
  return hash.digest('hex')
}

const byCodeUnits = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
