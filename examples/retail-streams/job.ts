/**
 * retail-streams: five questions to one stream of order lines, each with an operator of its own: sliding windows, sessions, a ranking per
 * day, timers, an interval join.
 *
 * Files are read side by side. Time passes as the least of them allows, so the results depend neither on their order nor on who reads them.
 */
import { count, defineJob, files, session, sliding, sum, tumbling } from 'nearstate/stream'
import { fieldsOf, Refusal, schemaOf, wholeNumber } from '../retail-360/schema.ts'
import { isCancellation, nonEmpty, type OrderLine, orderLineOf } from '../retail-360/order-line.ts'
import { Customer, CustomerDay, CustomerTime, Day, dayOf, DayRank, Parcel, Product, Return, timeOf } from './maps.ts'
import type { Session, Spend, TopProduct } from './maps.ts'
import { silences } from './silence.ts'

export interface RetailStreamsArgs {
  /** Files, folders or globs of Online Retail CSV. */
  readonly data: string | readonly string[]
  /** How much earlier than the latest line before it in its file a line may be. */
  readonly disorderMs?: number
  /** At most so many lines of all files in a second of the wall clock. */
  readonly ratePerSecond?: number
}

const Args = schemaOf((value): RetailStreamsArgs => {
  const { data, disorderMs, ratePerSecond, ...others } = fieldsOf(value ?? {}, 'the arguments')
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) throw new Refusal(`there is no argument "${unknown}"; data, disorderMs and ratePerSecond are`)
  const paths = typeof data === 'string' ? [data] : data
  if (!Array.isArray(paths) || paths.some(path => typeof path !== 'string')) throw new Refusal('data must be a path or a list of paths')
  return {
    data: paths,
    ...(disorderMs === undefined ? {} : { disorderMs: wholeNumber(disorderMs, 'disorderMs') }),
    ...(ratePerSecond === undefined ? {} : { ratePerSecond: wholeNumber(ratePerSecond, 'ratePerSecond', 1) }),
  }
})

interface Line extends OrderLine {
  readonly stockCode: string
}

const LineSchema = schemaOf((value): Line => {
  const fields = fieldsOf(value, 'a line')
  return { ...orderLineOf(fields), stockCode: nonEmpty(fields, 'StockCode') }
})

const dayMs = 86_400_000
/** Between two visits. */
const gapMs = 30 * 60_000

// Exact results: a line that cannot be read fails the job.
export default defineJob('retail-streams', { args: Args, onError: 'fail' }, (flow, { data, disorderMs = dayMs, ratePerSecond }) => {
  const pace = ratePerSecond === undefined ? {} : { ratePerSecond }
  const lines = flow
    .source('order lines', files({ path: data, format: 'csv', row: LineSchema, ...pace }))
    .eventTime(line => line.at, { outOfOrderness: `${disorderMs}ms` })
    .require('known customers', 'customerId')
  const ofCustomer = lines.keyBy('by customer', Customer, line => line.customerId)

  // What a customer has spent in the last 30 days, every midnight.
  ofCustomer
    .window('30 days', sliding('30d', '1d'), { revenueMills: sum(line => line.revenueMills) })
    .map('spend', ({ windowEnd, revenueMills }): Spend => ({ endDay: dayOf(windowEnd), revenueMills }))
    .sink('to spend', flow.map('spend-30d', CustomerDay), spend => [spend.endDay])

  // Lines less than half an hour apart are one visit.
  ofCustomer
    .window('visits', session(`${gapMs}ms`), { lines: count(), revenueMills: sum(line => line.revenueMills) })
    .map(
      'sessions',
      ({ windowStart, windowEnd, lines, revenueMills }): Session => ({
        firstTime: timeOf(windowStart),
        lastTime: timeOf(windowEnd - gapMs),
        lines,
        revenueMills,
      }),
    )
    .sink('to sessions', flow.map('sessions', CustomerTime), visit => [visit.firstTime])

  // The ten products of which most was bought, every day: summed where the product is, ranked where the day is.
  lines
    .filter('bought', line => line.quantity > 0)
    .keyBy('by product', Product, line => line.stockCode)
    .window('units of the day', tumbling('1d'), { units: sum(line => line.quantity) })
    .rekey('by day', Day, product => dayOf(product.windowStart))
    .topN('ten of the day', 10, (a, b) => b.units - a.units || (a.key < b.key ? -1 : 1), { window: tumbling('1d') })
    .map('top products', ({ rank, row }): TopProduct => ({ rank, stockCode: row.key, units: row.units }))
    .sink('to top products', flow.map('top-products', DayRank), product => [product.rank])

  // Customers who bought nothing for 60 days.
  ofCustomer.process('silence', silences(60 * dayMs)).sink('to silences', flow.map('silences', CustomerTime), silence => [silence.dueTime])

  // What came back within 30 days as it was bought: same customer, product and number of units.
  const purchases = lines
    .filter('purchases', line => line.quantity > 0 && !isCancellation(line.invoiceNo))
    .keyBy('by parcel', Parcel, line => [line.customerId, line.stockCode, line.quantity] as const)
  const cancellations = lines
    .filter('cancellations', line => isCancellation(line.invoiceNo))
    .keyBy('by parcel back', Parcel, line => [line.customerId, line.stockCode, -line.quantity] as const)
  const kept = purchases
    .joinInterval('parcels back', cancellations, { before: '0s', after: '30d', type: 'left' }, (bought, back) => ({
      customer: bought.customerId,
      stockCode: bought.stockCode,
      purchaseInvoice: bought.invoiceNo,
      cancelInvoice: back?.invoiceNo,
      units: bought.quantity,
    }))
    .sideOutput('without return', parcel => parcel.cancelInvoice !== undefined)
  // Equal lines of two invoices pair up more than once.
  kept
    .aside('with return')
    .rekey(
      'by return',
      Return,
      pair => [pair.customer, pair.stockCode, pair.purchaseInvoice, pair.cancelInvoice ?? '', pair.units] as const,
    )
    .aggregate('returns', { lines: count() })
    .sink('to returns', flow.map('returns', Return))
  kept
    .rekey('by buyer', Customer, parcel => parcel.customer)
    .aggregate('purchases without return', { lines: count() })
    .sink('to purchases without return', flow.map('purchases-without-return', Customer))
})
