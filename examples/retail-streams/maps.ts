/** The maps that the job writes, by their keys: what it and those who read them agree on. */
import { defineKey, defineTupleKey } from 'nearstate/stream'

export const Customer = defineKey('customer', 'string')
export const CustomerDay = defineTupleKey('customer-day', Customer, { day: 'string' })
export const CustomerTime = defineTupleKey('customer-time', Customer, { time: 'string' })
export const Product = defineKey('product', 'string')
export const Day = defineKey('day', 'string')
export const DayRank = defineTupleKey('day-rank', Day, { rank: 'int64' })
/** A purchase and its return agree in these. */
export const Parcel = defineTupleKey('parcel', Customer, { stockCode: 'string', units: 'int64' })
export const Return = defineTupleKey('return', Customer, {
  stockCode: 'string',
  purchaseInvoice: 'string',
  cancelInvoice: 'string',
  units: 'int64',
})

/** Map `spend-30d`: of the 30 days that end where the key's day begins. */
export interface Spend {
  readonly endDay: string
  readonly revenueMills: number
}

/** Map `sessions`, by the time of the first line. */
export interface Session {
  readonly firstTime: string
  readonly lastTime: string
  readonly lines: number
  readonly revenueMills: number
}

/** Map `top-products`, by day and rank. */
export interface TopProduct {
  readonly rank: number
  readonly stockCode: string
  readonly units: number
}

/** Map `silences`: nothing was bought until this time, 60 days after a line. */
export interface Silence {
  readonly dueTime: string
}

/** Map `returns`: how many lines of the two invoices pair up so. Map `purchases-without-return`: how many purchases of a customer. */
export interface Counted {
  readonly lines: number
}

/** Times as in the files: `2010-12-01 08:26:00`. */
export const timeOf = (ms: number): string => new Date(ms).toISOString().slice(0, 19).replace('T', ' ')
export const dayOf = (ms: number): string => timeOf(ms).slice(0, 10)
