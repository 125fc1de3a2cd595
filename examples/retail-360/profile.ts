/** What is known of a customer, and how an order line changes it. */
import { fieldsOf, Refusal, schemaOf } from './schema.ts'
import { isCancellation, type OrderLine } from './order-line.ts'

export interface Profile {
  readonly customerId: string
  /** Of the latest line. */
  readonly country: string
  /** Distinct invoices that are no cancellations. */
  readonly invoices: number
  readonly cancellations: number
  readonly lines: number
  readonly units: number
  readonly revenueMills: number
  readonly firstSeen: string
  readonly lastSeen: string
}

export const ProfileSchema = schemaOf((value): Profile => {
  const profile = fieldsOf(value, 'a profile') as unknown as Profile
  if (typeof profile.customerId !== 'string' || !Number.isSafeInteger(profile.revenueMills)) throw new Refusal('not a profile')
  return profile
})

/** The working state of a customer: a profile, and the invoice numbers behind its two counts. */
export interface CustomerState {
  country: string
  lines: number
  units: number
  revenueMills: number
  firstSeen: string
  lastSeen: string
  readonly invoices: Set<string>
  readonly cancellations: Set<string>
}

export const newCustomer = (): CustomerState => ({
  country: '',
  lines: 0,
  units: 0,
  revenueMills: 0,
  firstSeen: '',
  lastSeen: '',
  invoices: new Set(),
  cancellations: new Set(),
})

/** Lines may come in any order of time: files are read side by side. Of two lines at one time, the one that comes later in its file is the latest. */
export function addLine(state: CustomerState, line: OrderLine): void {
  if (state.lines === 0 || line.date < state.firstSeen) state.firstSeen = line.date
  if (line.date >= state.lastSeen) {
    state.lastSeen = line.date
    state.country = line.country
  }
  state.lines += 1
  state.units += line.quantity
  state.revenueMills += line.revenueMills
  const numbers = isCancellation(line.invoiceNo) ? state.cancellations : state.invoices
  numbers.add(line.invoiceNo)
}

export const profileOf = (customerId: string, state: CustomerState): Profile => ({
  customerId,
  country: state.country,
  invoices: state.invoices.size,
  cancellations: state.cancellations.size,
  lines: state.lines,
  units: state.units,
  revenueMills: state.revenueMills,
  firstSeen: state.firstSeen,
  lastSeen: state.lastSeen,
})
