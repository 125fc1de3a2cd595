/** A line of an order, as the Online Retail files have it: text in, checked values out. */
import { fieldsOf, Refusal, schemaOf } from './schema.ts'

export interface OrderLine {
  readonly invoiceNo: string
  /** A quarter of the real lines have none. */
  readonly customerId: string | undefined
  readonly country: string
  readonly quantity: number
  /** Quantity x price, in integer mills: money is not left to binary fractions. */
  readonly revenueMills: number
  /** As written in the file; sorts by time. */
  readonly date: string
  /** The same as milliseconds since the epoch; the files' times are taken as UTC. */
  readonly at: number
}

export const isCancellation = (invoiceNo: string): boolean => invoiceNo.startsWith('C')

export const OrderLineSchema = schemaOf((value): OrderLine => orderLineOf(fieldsOf(value, 'a line')))

export type Fields = Readonly<Record<string, unknown>>

export function orderLineOf(fields: Fields): OrderLine {
  const quantity = readQuantity(text(fields, 'Quantity'))
  const revenueMills = quantity * readMills(text(fields, 'UnitPrice'))
  if (!Number.isSafeInteger(revenueMills)) throw new Refusal('Quantity x UnitPrice is beyond what can be counted exactly')
  const date = text(fields, 'InvoiceDate')
  return {
    invoiceNo: nonEmpty(fields, 'InvoiceNo'),
    customerId: readCustomerId(text(fields, 'CustomerID')),
    country: nonEmpty(fields, 'Country'),
    quantity,
    revenueMills,
    date,
    at: readTime(date),
  }
}

function text(fields: Fields, name: string): string {
  const value = fields[name]
  if (typeof value !== 'string') throw new Refusal(`column ${name} is missing`)
  return value
}

/** What is a key later must not be empty. */
export function nonEmpty(fields: Fields, name: string): string {
  const value = text(fields, name)
  if (value === '') throw new Refusal(`${name} is empty`)
  return value
}

function readQuantity(written: string): number {
  const value = /^-?\d{1,15}(\.0*)?$/.test(written) ? Number(written) : Number.NaN
  if (!Number.isSafeInteger(value)) throw new Refusal(`Quantity is ${shown(written)}, a whole number is wanted`)
  return value === 0 ? 0 : value // not -0
}

/** `17850.0` is `17850`: a column with gaps was once a column of floating-point numbers. */
function readCustomerId(written: string): string | undefined {
  if (written === '') return undefined
  return /^\d+\.0+$/.test(written) ? written.slice(0, written.indexOf('.')) : written
}

/** `2.55` is 2550 mills, digit by digit; a fourth decimal rounds half away from zero. */
export function readMills(written: string): number {
  const parts = /^(-?)(\d{1,12})(?:\.(\d*))?$/.exec(written)
  if (parts === null) throw new Refusal(`UnitPrice is ${shown(written)}, a decimal number is wanted`)
  const [, sign, whole, decimals = ''] = parts
  const mills = Number(whole) * 1000 + Number(`${decimals}000`.slice(0, 3)) + (decimals.charAt(3) >= '5' ? 1 : 0)
  return sign === '-' && mills !== 0 ? -mills : mills
}

// Lines of one invoice come together and share their time.
let latestWritten = ''
let latestTime = 0

function readTime(written: string): number {
  if (written === latestWritten) return latestTime
  const time = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/.test(written) ? Date.parse(`${written.replace(' ', 'T')}Z`) : Number.NaN
  // Days that a month does not have are taken for days of the next one, so the date is compared with what was written.
  if (Number.isNaN(time) || new Date(time).toISOString().slice(8, 13) !== written.slice(8, 13).replace(' ', 'T')) {
    throw new Refusal(`InvoiceDate is ${shown(written)}, such as "2010-12-01 08:26:00" is wanted`)
  }
  latestWritten = written
  latestTime = time
  return time
}

const shown = (written: string): string => JSON.stringify(written.length > 60 ? `${written.slice(0, 60)}...` : written)
