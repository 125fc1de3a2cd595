/**
 * retail-360: order lines in, a live profile of every customer and each country's daily figures out.
 *
 * The profile is a map keyed as the stage is, so every update is a write into the memory of the thread that computed it.
 * Files are read side by side and in any order; what comes out does not depend on it.
 */
import { count, defineJob, defineKey, defineTupleKey, files, generator, row, sum, tumbling } from 'nearstate/stream'
import { orderLine } from './generate-orders.ts'
import { type OrderLine, OrderLineSchema } from './order-line.ts'
import { addLine, newCustomer, type Profile, profileOf, ProfileSchema } from './profile.ts'
import { fieldsOf, Refusal, schemaOf, wholeNumber } from './schema.ts'

export const Customer = defineKey('customer', 'string')
export const Country = defineKey('country', 'string')
export const CountryDay = defineTupleKey('country-day', Country, { day: 'string' })
export const Invoice = defineKey('invoice', 'string')
export const InvoiceLine = defineTupleKey('invoice-line', Invoice, { line: 'int64' })

export interface CountryDayTotals {
  readonly lines: number
  readonly revenueMills: number
}

/** Without its key, which the entry has already. */
export const CountryDaySchema = schemaOf((value): CountryDayTotals => {
  const { lines, revenueMills } = fieldsOf(value, 'a day') as unknown as CountryDayTotals
  return { lines, revenueMills }
})

export interface Retail360Args {
  /** Files, folders or globs of Online Retail CSV. Without it, orders are generated. */
  readonly data?: string | readonly string[]
  readonly orders?: { readonly seed: number; readonly count?: number; readonly ratePerSecond?: number }
}

const Args = schemaOf((value): Retail360Args => {
  const { data, orders, ...others } = fieldsOf(value ?? {}, 'the arguments')
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) throw new Refusal(`there is no argument "${unknown}"; data and orders are`)
  if (data !== undefined && orders !== undefined) throw new Refusal('data and orders exclude each other')
  if (data !== undefined) {
    const paths = typeof data === 'string' ? [data] : data
    if (!Array.isArray(paths) || paths.some(path => typeof path !== 'string')) throw new Refusal('data must be a path or a list of paths')
    return { data: paths }
  }
  const { seed = 1, count, ratePerSecond } = fieldsOf(orders ?? {}, 'orders')
  return {
    orders: {
      seed: wholeNumber(seed, 'orders.seed'),
      ...(count === undefined ? {} : { count: wholeNumber(count, 'orders.count', 1) }),
      ...(ratePerSecond === undefined ? {} : { ratePerSecond: wholeNumber(ratePerSecond, 'orders.ratePerSecond', 1) }),
    },
  }
})

export default defineJob('retail-360', { args: Args, onError: 'deadLetter' }, (flow, args) => {
  const profiles = flow.map('profiles', Customer, ProfileSchema)
  const countryDays = flow.map('country-days', CountryDay, CountryDaySchema)

  const { seed, ...pace } = args.orders ?? { seed: 1 }
  const orders =
    args.data === undefined
      ? generator({ events: n => orderLine(seed, n), ...pace })
      : files({ path: args.data, format: 'csv', row: OrderLineSchema })

  // A day's figures wait for lines up to an hour older than the latest one of their file.
  const known = flow
    .source('order lines', orders)
    .eventTime(line => line.at, { outOfOrderness: '1h' })
    .require('known customers', 'customerId')

  known
    .keyBy('by customer', Customer, line => line.customerId)
    .process('profile', {
      emits: row<Profile>(),
      state: newCustomer,
      onEvent(ctx, line) {
        addLine(ctx.state, line)
        ctx.emit(profileOf(ctx.key, ctx.state))
      },
    })
    .sink('to profiles', profiles)

  known
    .keyBy('by country', Country, line => line.country)
    .window('by day', tumbling('1d'), { lines: count(), revenueMills: sum(line => line.revenueMills) })
    .sink('to country-days', countryDays, day => [new Date(day.windowStart).toISOString().slice(0, 10)])

  // Lines without a customer are kept for those who ask, numbered within their invoice.
  known
    .rejected('unknown customers')
    .keyBy('by invoice', Invoice, line => line.invoiceNo)
    .process('number the lines', {
      emits: row<{ readonly number: number; readonly order: OrderLine }>(),
      state: () => 0,
      onEvent(ctx, order) {
        ctx.state += 1
        ctx.emit({ number: ctx.state, order })
      },
    })
    .sink('to unknown-customers', flow.map('unknown-customers', InvoiceLine), numbered => [numbered.number])
})
