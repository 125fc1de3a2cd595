/**
 * An order stream shaped like the real one: some 4000 customers of whom few buy most, nine in ten from the United Kingdom,
 * a quarter of the lines without a customer, invoices of one to some dozens of lines, cancellations with negative quantities,
 * about 1300 lines a day, time always advancing. Line n depends on the seed and n alone.
 */
import type { OrderLine } from './order-line.ts'

/** Lines come in blocks that share one draw of random numbers: some invoices of one quarter of an hour. */
const blockLines = 32
const blocksPerDay = 41
const openingMs = 8 * 3_600_000
const dayMs = 86_400_000
const firstDayMs = Date.UTC(2010, 11, 1)

const customerCount = 4000
const firstCustomer = 12_346
const otherCountries = ['Germany', 'France', 'EIRE', 'Spain', 'Netherlands', 'Belgium', 'Switzerland', 'Portugal', 'Australia', 'Norway']

export function orderLine(seed: number, n: number): OrderLine {
  const block = Math.floor(n / blockLines)
  const place = n % blockLines
  const random = randomOf(seed, block)
  // Invoices of the block: cut its lines at random places until the line's own invoice is found.
  let invoice = 0
  let end = 0
  let draw = 0
  while (end <= place) {
    draw = random()
    end += random() < 0.16 ? 1 + Math.floor(random() * 3) : 4 + Math.floor(random() * 28)
    invoice += 1
  }
  const ofInvoice = randomOf(seed ^ 0x5bd1e995, block * blockLines + invoice)
  const cancelled = ofInvoice() < 0.06
  const anonymous = ofInvoice() < 0.25
  // Squaring favours small numbers: the first tenth of the customers places a third of the orders.
  const customer = Math.floor(draw * draw * customerCount)
  const quantity = (1 + Math.floor(randomOf(seed + 1, n)() ** 3 * 48)) * (cancelled ? -1 : 1)
  const priceMills = 290 + Math.floor(randomOf(seed + 2, n)() ** 2 * 120) * 100
  const at = firstDayMs + Math.floor(block / blocksPerDay) * dayMs + openingMs + (block % blocksPerDay) * 900_000 + invoice * 60_000
  return {
    invoiceNo: `${cancelled ? 'C' : ''}${536_365 + block * 10 + invoice}`,
    customerId: anonymous ? undefined : String(firstCustomer + customer),
    country: customer % 10 === 9 ? (otherCountries[Math.floor(customer / 10) % otherCountries.length] as string) : 'United Kingdom',
    quantity,
    revenueMills: quantity * priceMills,
    date: new Date(at).toISOString().slice(0, 19).replace('T', ' '),
    at,
  }
}

/** Numbers in [0, 1) from a seed and a position; mulberry32, started from a mix of both. */
function randomOf(seed: number, position: number): () => number {
  let state = Math.imul(seed | 0, 0x9e3779b1) ^ Math.imul(position + 1, 0x85ebca6b)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
