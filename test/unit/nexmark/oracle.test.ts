import { describe, expect, test } from 'vitest'
import type { Auction, Bid, Event, Person } from '../../../bench/nexmark/events.ts'
import { expectedRows, oracleQueries } from '../../oracle/nexmark.ts'

const t0 = Date.UTC(2026, 0, 1)
const person = (id: number, state: string, at: number, name = `p${id}`): Person => ({
  kind: 'person',
  id,
  name,
  emailAddress: '',
  creditCard: '',
  city: 'Bend',
  state,
  dateTime: t0 + at,
})
const auction = (id: number, seller: number, category: number, at: number, expires: number): Auction => ({
  kind: 'auction',
  id,
  itemName: '',
  initialBid: 1,
  reserve: 1,
  dateTime: t0 + at,
  expires: t0 + expires,
  seller,
  category,
})
const bid = (auction: number, bidder: number, price: number, at: number): Bid => ({
  kind: 'bid',
  auction,
  bidder,
  price,
  dateTime: t0 + at,
})

const rows = (query: Parameters<typeof expectedRows>[0], ...events: Event[]): string[] =>
  expectedRows(query, events).split('\n').slice(0, -1)

describe('the oracle of NEXMark', () => {
  test('rounds converted prices down', () => expect(rows('q1', bid(1, 2, 101, 0))).toEqual([`1,2,91,${t0}`]))

  test('keeps every 123rd auction', () => expect(rows('q2', bid(1230, 2, 7, 0), bid(1231, 2, 7, 0))).toEqual(['1230,7']))

  test('joins auctions of category 10 with sellers of three states, and quotes only where needed', () => {
    const sellers = [person(1, 'OR', 0, 'a "b", c'), person(2, 'WA', 0), person(3, 'CA', 0)]
    const auctions = [auction(10, 1, 10, 1, 2), auction(11, 2, 10, 1, 2), auction(12, 3, 11, 1, 2), auction(13, 3, 10, 1, 2)]
    expect(rows('q3', ...sellers, ...auctions)).toEqual(['"a ""b"", c",Bend,OR,10', 'p3,Bend,CA,13'])
  })

  const sales = [
    auction(10, 1, 10, 5, 10),
    bid(10, 7, 99, 4),
    bid(10, 7, 50, 5),
    bid(10, 6, 60, 10),
    bid(10, 5, 60, 10),
    bid(10, 4, 99, 11),
    auction(11, 1, 10, 5, 10),
    auction(12, 2, 11, 5, 20),
    bid(12, 8, 5, 20),
  ]
  test('sells for the highest bid from opening to expiry, both included', () => {
    expect(rows('q4', ...sales)).toEqual(['10,1,60', '11,1,5'])
    expect(rows('q9', ...sales)).toEqual([`10,5,60,${t0 + 10}`, `12,8,5,${t0 + 20}`])
  })

  test('takes the last ten sold auctions of a seller by expiry, then id', () => {
    const sold = Array.from({ length: 11 }, (_, i) => [auction(i, 1, 10, 0, 100), bid(i, 2, 2 ** i, 1)]).flat()
    expect(rows('q6', ...sold, auction(99, 1, 10, 0, 500))).toEqual(['1,10,2046'])
  })

  test('counts bids in sliding windows and gives all auctions on a tie', () => {
    const given = [
      [2, 1, 1],
      [4, 1, 1],
      [6, 1, 1],
      [8, 1, 1],
      [10, 1, 1],
      [10, 2, 1],
      [12, 2, 2],
      [14, 2, 2],
      [16, 2, 2],
      [18, 2, 2],
      [20, 2, 1],
    ] as const
    const expected = given.map(([end, auction, count]) => `${t0 + end * 1000},${auction},${count}`)
    expect(rows('q5', bid(1, 9, 1, 0), bid(2, 9, 1, 9_999), bid(2, 9, 1, 10_000))).toEqual(expected)
  })

  test('gives all highest bids of a tumbling window', () => {
    expect(rows('q7', bid(1, 2, 5, 0), bid(2, 3, 5, 9_999), bid(3, 4, 4, 1), bid(4, 5, 1, 10_000))).toEqual([
      `${t0 + 10_000},1,2,5`,
      `${t0 + 10_000},2,3,5`,
      `${t0 + 20_000},4,5,1`,
    ])
  })

  test('finds persons who sell in the window of their registration, once each', () => {
    const events = [
      person(1, 'OR', 1, 'Ann'),
      person(2, 'OR', 2),
      auction(10, 1, 10, 3, 9),
      auction(11, 1, 10, 4, 9),
      auction(12, 2, 10, 10_000, 9),
    ]
    expect(rows('q8', ...events)).toEqual([`1,Ann,${t0}`])
  })

  test('ends a session at a gap of ten seconds', () => {
    expect(rows('q11', bid(1, 7, 1, 20_000), bid(1, 7, 1, 0), bid(2, 7, 1, 9_999), bid(2, 7, 1, 30_001))).toEqual(
      [`7,2,${t0},${t0 + 9_999}`, `7,1,${t0 + 20_000},${t0 + 20_000}`, `7,1,${t0 + 30_001},${t0 + 30_001}`].sort(),
    )
  })

  test('looks up what the side map has for an auction', () => expect(rows('q13', bid(12_345, 1, 2, 0))).toEqual(['12345,1,2,v2345']))

  test('counts per UTC day, by price and distinct', () => {
    const bids = [
      bid(1, 1, 9_999, 0),
      bid(1, 2, 10_000, 1),
      bid(2, 2, 999_999, 2),
      bid(2, 2, 1_000_000, 86_399_999),
      bid(1, 1, 1, 86_400_000),
    ]
    expect(rows('q15', ...bids)).toEqual(['2026-01-01,4,2,2,1,2,1', '2026-01-02,1,1,1,1,0,0'])
    expect(rows('q17', ...bids)).toEqual([
      '1,2026-01-01,2,9999,10000,19999',
      '1,2026-01-02,1,1,1,1',
      '2,2026-01-01,2,999999,1000000,1999999',
    ])
  })

  test('keeps the last bid of a bidder on an auction, the higher of two at once', () => {
    expect(rows('q18', bid(1, 2, 9, 1), bid(1, 2, 3, 2), bid(1, 2, 4, 2), bid(1, 3, 1, 0))).toEqual([`1,2,4,${t0 + 2}`, `1,3,1,${t0}`])
  })

  test('ranks the ten highest bids of an auction', () => {
    const bids = [bid(1, 5, 7, 2), bid(1, 4, 7, 2), bid(1, 9, 7, 1), ...Array.from({ length: 9 }, (_, i) => bid(1, 20 + i, 100 + i, 0))]
    expect(rows('q19', ...bids).filter(row => row.startsWith('1,10') || row.startsWith('1,1,'))).toEqual(['1,1,28,108', '1,10,9,7'])
  })

  test('joins bids with auctions of category 10', () => {
    expect(rows('q20', auction(1, 8, 10, 0, 1), auction(2, 8, 11, 0, 1), bid(1, 3, 4, 5), bid(2, 3, 4, 5))).toEqual(['1,3,4,8'])
  })

  test('has no rows without events', () => {
    for (const query of oracleQueries) expect(expectedRows(query, [])).toBe('')
  })
})
