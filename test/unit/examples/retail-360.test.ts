import { describe, expect, it } from 'vitest'
import { orderLine } from '../../../examples/retail-360/generate-orders.ts'
import { type OrderLine, OrderLineSchema, readMills } from '../../../examples/retail-360/order-line.ts'
import { addLine, newCustomer, profileOf } from '../../../examples/retail-360/profile.ts'

const written = {
  InvoiceNo: '536365',
  StockCode: '85123A',
  Description: 'LANTERN',
  Quantity: '6',
  InvoiceDate: '2010-12-01 08:26:00',
  UnitPrice: '2.55',
  CustomerID: '17850.0',
  Country: 'France',
}
type Outcome = { readonly value?: OrderLine; readonly issues?: readonly { readonly message: string }[] }
const read = (changes: object): Outcome => OrderLineSchema['~standard'].validate({ ...written, ...changes }) as Outcome

describe('an order line', () => {
  it('is read from text', () =>
    expect(read({}).value).toEqual({
      invoiceNo: '536365',
      customerId: '17850',
      country: 'France',
      quantity: 6,
      revenueMills: 15300,
      date: '2010-12-01 08:26:00',
      at: Date.UTC(2010, 11, 1, 8, 26),
    }))

  it.each([
    ['2.55', 2550],
    ['0.001', 1],
    ['1.005', 1005],
    ['8142.75', 8_142_750],
    ['-11062.06', -11_062_060],
    ['0', 0],
    ['-0.0', 0],
    ['3.', 3000],
    ['1.0004', 1000],
    ['1.0005', 1001],
    ['-1.0005', -1001],
    ['0.9999', 1000],
  ])('takes a price of %s for %i mills', (text, mills) => expect(readMills(text)).toBe(mills))

  it.each([
    ['', undefined],
    ['17850.0', '17850'],
    ['17850', '17850'],
    ['A-1.0', 'A-1.0'],
  ])('takes the customer id "%s" for %s', (text, id) => expect(read({ CustomerID: text }).value?.customerId).toBe(id))

  it.each([
    [{ Quantity: 'six' }, 'Quantity is "six"'],
    [{ Quantity: '' }, 'Quantity is ""'],
    [{ Quantity: '1.5' }, 'Quantity is "1.5"'],
    [{ UnitPrice: '2,55' }, 'UnitPrice is "2,55"'],
    [{ UnitPrice: '' }, 'UnitPrice is ""'],
    [{ InvoiceDate: '01/12/2010 08:26' }, 'InvoiceDate is "01/12/2010 08:26"'],
    [{ InvoiceDate: '2010-13-01 08:26:00' }, 'InvoiceDate is "2010-13-01 08:26:00"'],
    [{ InvoiceDate: '2011-02-30 08:26:00' }, 'InvoiceDate is "2011-02-30 08:26:00"'],
    [{ InvoiceDate: '2011-02-01 24:00:00' }, 'InvoiceDate is "2011-02-01 24:00:00"'],
    [{ InvoiceNo: '' }, 'InvoiceNo is empty'],
    [{ Country: '' }, 'Country is empty'],
    [{ Country: undefined }, 'column Country is missing'],
    [{ Quantity: '999999999999999' }, 'beyond what can be counted exactly'],
  ])('refuses %j', (changes, message) => expect(read(changes).issues?.[0]?.message).toContain(message))
})

describe('a profile', () => {
  const line = (date: string, country: string, invoiceNo = '1'): OrderLine => ({
    ...(read({ InvoiceDate: date, Country: country, InvoiceNo: invoiceNo }).value as OrderLine),
  })
  const after = (...lines: readonly OrderLine[]) => {
    const state = newCustomer()
    for (const one of lines) addLine(state, one)
    return profileOf('17850', state)
  }

  it('does not depend on the order in which times come', () => {
    const early = line('2010-12-01 08:26:00', 'France', '1')
    const late = line('2011-01-01 08:26:00', 'Spain', 'C2')
    expect(after(early, late, early)).toEqual(after(late, early, early))
    expect(after(late, early)).toEqual({
      customerId: '17850',
      country: 'Spain',
      invoices: 1,
      cancellations: 1,
      lines: 2,
      units: 12,
      revenueMills: 30600,
      firstSeen: '2010-12-01 08:26:00',
      lastSeen: '2011-01-01 08:26:00',
    })
  })

  it('takes the country of the line that comes later, of two at one time', () =>
    expect(after(line('2010-12-01 08:26:00', 'France'), line('2010-12-01 08:26:00', 'Spain')).country).toBe('Spain'))
})

describe('generated orders', () => {
  const lines = Array.from({ length: 20_000 }, (_, n) => orderLine(7, n))

  it('depend on seed and number alone', () => {
    expect(orderLine(7, 12_345)).toEqual(lines[12_345])
    expect(orderLine(8, 12_345)).not.toEqual(lines[12_345])
  })

  it('advance in time, as written too', () => {
    for (const [n, line] of lines.entries()) {
      expect(line.at).toBeGreaterThanOrEqual(lines[n - 1]?.at ?? 0)
      expect(new Date(line.at).toISOString()).toBe(`${line.date.replace(' ', 'T')}.000Z`)
    }
  })

  it('look like the real ones: customers, countries, cancellations, lines without a customer', () => {
    const known = lines.filter(line => line.customerId !== undefined)
    const byCustomer = Map.groupBy(known, line => line.customerId)
    expect(known.length / lines.length).toBeGreaterThan(0.7)
    expect(known.length / lines.length).toBeLessThan(0.8)
    expect(byCustomer.size).toBeGreaterThan(500)
    const british = lines.filter(line => line.country === 'United Kingdom').length / lines.length
    expect(british).toBeGreaterThan(0.85)
    expect(british).toBeLessThan(0.95)
    const invoices = Map.groupBy(lines, line => line.invoiceNo)
    for (const [invoiceNo, ofInvoice] of invoices) {
      expect(new Set(ofInvoice.map(line => line.customerId)).size).toBe(1)
      expect(ofInvoice.every(line => line.quantity < 0 === invoiceNo.startsWith('C'))).toBe(true)
    }
    const cancelled = [...invoices.keys()].filter(invoiceNo => invoiceNo.startsWith('C')).length / invoices.size
    expect(cancelled).toBeGreaterThan(0.02)
    expect(cancelled).toBeLessThan(0.12)
  })
})
