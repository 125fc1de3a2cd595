/**
 * NEXMark's queries the plain way: loops over all events, in any order, nothing clever.
 * Shares no code with the jobs, so that a mistake must be made twice to go unseen. Rows are CSV text without a header, lines sorted by
 * code unit.
 */
import type { Auction, Bid, Event, Person } from '../../bench/nexmark/events.ts'

type Cell = string | number
type Row = readonly Cell[]

interface Site {
  readonly persons: readonly Person[]
  readonly auctions: readonly Auction[]
  readonly bids: readonly Bid[]
}

const dayMs = 86_400_000
const windowMs = 10_000
const slideMs = 2_000
const sessionGapMs = 10_000

const queries = { q0, q1, q2, q3, q4, q5, q6, q7, q8, q9, q11, q13, q15, q17, q18, q19, q20 }
export type OracleQuery = keyof typeof queries
export const oracleQueries = Object.keys(queries) as OracleQuery[]

export function expectedRows(query: OracleQuery, events: readonly Event[]): string {
  const site: Site = {
    persons: events.filter(event => event.kind === 'person'),
    auctions: events.filter(event => event.kind === 'auction'),
    bids: events.filter(event => event.kind === 'bid'),
  }
  const lines = queries[query](site).map(row => `${row.map(csvCell).join(',')}\n`)
  return lines.sort(byCodeUnit).join('')
}

function q0({ bids }: Site): Row[] {
  return bids.map(bid => [bid.auction, bid.bidder, bid.price, bid.dateTime])
}

function q1({ bids }: Site): Row[] {
  return bids.map(bid => [bid.auction, bid.bidder, Number((BigInt(bid.price) * 908n) / 1000n), bid.dateTime])
}

function q2({ bids }: Site): Row[] {
  return bids.filter(bid => bid.auction % 123 === 0).map(bid => [bid.auction, bid.price])
}

function q3({ persons, auctions }: Site): Row[] {
  const rows: Row[] = []
  const personsById = new Map(persons.map(person => [person.id, person]))
  for (const auction of auctions) {
    if (auction.category !== 10) continue
    const seller = personsById.get(auction.seller)
    if (seller === undefined || !['OR', 'ID', 'CA'].includes(seller.state)) continue
    rows.push([seller.name, seller.city, seller.state, auction.id])
  }
  return rows
}

function q4(site: Site): Row[] {
  return groups(sales(site), sale => sale.auction.category).map(([category, sold]) => [
    category,
    sold.length,
    total(sold.map(({ bid }) => bid.price)),
  ])
}

function q5({ bids }: Site): Row[] {
  if (bids.length === 0) return []
  const times = bids.map(bid => bid.dateTime)
  const [earliest, latest] = [least(times), greatest(times)]
  const rows: Row[] = []
  const ordered = [...bids].sort((a, b) => a.dateTime - b.dateTime)
  for (let start = (Math.floor((earliest - windowMs) / slideMs) + 1) * slideMs; start <= latest; start += slideMs) {
    const inWindow = ordered.filter(bid => bid.dateTime >= start && bid.dateTime < start + windowMs)
    const counts = groups(inWindow, bid => bid.auction).map(([auction, its]) => ({ auction, count: its.length }))
    const most = greatest(counts.map(({ count }) => count))
    for (const { auction, count } of counts) if (count === most) rows.push([start + windowMs, auction, count])
  }
  return rows
}

function q6(site: Site): Row[] {
  return groups(sales(site), sale => sale.auction.seller).map(([seller, sold]) => {
    sold.sort((a, b) => b.auction.expires - a.auction.expires || b.auction.id - a.auction.id)
    const last = sold.slice(0, 10)
    return [seller, last.length, total(last.map(({ bid }) => bid.price))]
  })
}

function q7({ bids }: Site): Row[] {
  return groups(bids, bid => Math.floor(bid.dateTime / windowMs)).flatMap(([window, its]) => {
    const highest = greatest(its.map(bid => bid.price))
    return its.filter(bid => bid.price === highest).map(bid => [(window + 1) * windowMs, bid.auction, bid.bidder, bid.price])
  })
}

function q8({ persons, auctions }: Site): Row[] {
  const opened = new Set(auctions.map(auction => `${auction.seller} ${Math.floor(auction.dateTime / windowMs)}`))
  return persons.flatMap(person => {
    const window = Math.floor(person.dateTime / windowMs)
    return opened.has(`${person.id} ${window}`) ? [[person.id, person.name, window * windowMs]] : []
  })
}

function q9(site: Site): Row[] {
  return sales(site).map(({ bid }) => [bid.auction, bid.bidder, bid.price, bid.dateTime])
}

function q11({ bids }: Site): Row[] {
  return groups(bids, bid => bid.bidder).flatMap(([bidder, its]) => {
    const times = its.map(bid => bid.dateTime).sort((a, b) => a - b)
    const sessions: number[][] = []
    for (const time of times) {
      const session = sessions.at(-1)
      const previous = session?.at(-1)
      if (session !== undefined && previous !== undefined && time - previous < sessionGapMs) session.push(time)
      else sessions.push([time])
    }
    return sessions.map(session => [bidder, session.length, session.at(0) ?? 0, session.at(-1) ?? 0])
  })
}

function q13({ bids }: Site): Row[] {
  return bids.map(bid => [bid.auction, bid.bidder, bid.price, `v${bid.auction % 10_000}`])
}

function q15({ bids }: Site): Row[] {
  return groups(bids, bid => dayOf(bid.dateTime)).map(([day, its]) => [
    day,
    its.length,
    new Set(its.map(bid => bid.bidder)).size,
    new Set(its.map(bid => bid.auction)).size,
    its.filter(bid => bid.price < 10_000).length,
    its.filter(bid => bid.price >= 10_000 && bid.price < 1_000_000).length,
    its.filter(bid => bid.price >= 1_000_000).length,
  ])
}

function q17({ bids }: Site): Row[] {
  return groups(bids, bid => bid.auction).flatMap(([auction, ofAuction]) =>
    groups(ofAuction, bid => dayOf(bid.dateTime)).map(([day, its]) => {
      const prices = its.map(bid => bid.price)
      return [auction, day, its.length, least(prices), greatest(prices), total(prices)]
    }),
  )
}

function q18({ bids }: Site): Row[] {
  return groups(bids, bid => bid.auction).flatMap(([auction, ofAuction]) =>
    groups(ofAuction, bid => bid.bidder).map(([bidder, its]) => {
      const last = its.reduce((a, b) => (b.dateTime > a.dateTime || (b.dateTime === a.dateTime && b.price > a.price) ? b : a))
      return [auction, bidder, last.price, last.dateTime]
    }),
  )
}

function q19({ bids }: Site): Row[] {
  return groups(bids, bid => bid.auction).flatMap(([auction, its]) => {
    its.sort((a, b) => b.price - a.price || a.dateTime - b.dateTime || a.bidder - b.bidder)
    return its.slice(0, 10).map((bid, i) => [auction, i + 1, bid.bidder, bid.price])
  })
}

function q20({ auctions, bids }: Site): Row[] {
  const auctionsById = new Map(auctions.map(auction => [auction.id, auction]))
  return bids.flatMap(bid => {
    const auction = auctionsById.get(bid.auction)
    return auction?.category === 10 ? [[bid.auction, bid.bidder, bid.price, auction.seller]] : []
  })
}

interface Sale {
  readonly auction: Auction
  /** Highest price, then earliest, then lowest bidder, of the bids made while the auction was open. */
  readonly bid: Bid
}

function sales({ auctions, bids }: Site): Sale[] {
  const bidsByAuction = new Map(groups(bids, bid => bid.auction))
  return auctions.flatMap(auction => {
    const valid = (bidsByAuction.get(auction.id) ?? []).filter(bid => auction.dateTime <= bid.dateTime && bid.dateTime <= auction.expires)
    valid.sort((a, b) => b.price - a.price || a.dateTime - b.dateTime || a.bidder - b.bidder)
    const [bid] = valid
    return bid === undefined ? [] : [{ auction, bid }]
  })
}

function groups<T, K>(values: readonly T[], keyOf: (value: T) => K): [K, T[]][] {
  const found = new Map<K, T[]>()
  for (const value of values) {
    const key = keyOf(value)
    const group = found.get(key)
    if (group === undefined) found.set(key, [value])
    else group.push(value)
  }
  return [...found]
}

/** As 2023-11-14. */
function dayOf(time: number): string {
  return new Date(Math.floor(time / dayMs) * dayMs).toISOString().slice(0, 10)
}

function csvCell(cell: Cell): string {
  const text = String(cell)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

const byCodeUnit = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
const total = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
const greatest = (values: readonly number[]): number => values.reduce((a, b) => (b > a ? b : a), Number.NEGATIVE_INFINITY)
const least = (values: readonly number[]): number => values.reduce((a, b) => (b < a ? b : a), Number.POSITIVE_INFINITY)
