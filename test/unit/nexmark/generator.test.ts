import { describe, expect, test } from 'vitest'
import { type Auction, type Bid, isAuction, isBid, isPerson } from '../../../bench/nexmark/events.ts'
import { eventsOf } from '../../../bench/nexmark/generator.ts'

const count = 50_000
const eventAt = eventsOf({ seed: 7 })
const events = Array.from({ length: count }, (_, n) => eventAt(n))
const persons = events.filter(isPerson)
const auctions = events.filter(isAuction)
const bids = events.filter(isBid)
const share = <T>(all: readonly T[], is: (one: T) => boolean): number => all.filter(is).length / all.length

describe('the generator of NEXMark', () => {
  test('makes an event from seed and number alone', () => {
    const other = eventsOf({ seed: 7 })
    for (const n of [49_999, 3, 1_234, 0, 3]) expect(other(n)).toEqual(events[n])
    expect(eventsOf({ seed: 8 })(4)).not.toEqual(events[4])
    expect(eventsOf({ seed: 7 + 2 ** 32 })(4)).not.toEqual(events[4])
  })

  test('mixes persons, auctions and bids 1 to 3 to 46, ids counted up from 1000', () => {
    expect(events.slice(0, 6).map(event => event.kind)).toEqual(['person', 'auction', 'auction', 'auction', 'bid', 'bid'])
    expect(persons.map(person => person.id)).toEqual(Array.from({ length: count / 50 }, (_, i) => 1000 + i))
    expect(auctions.map(auction => auction.id)).toEqual(Array.from({ length: (count / 50) * 3 }, (_, i) => 1000 + i))
  })

  test('spaces events by the rate', () => {
    expect(events.slice(9, 12).map(event => event.dateTime - 1_700_000_000_000)).toEqual([0, 1, 1])
    expect(eventsOf({ seed: 7, rate: 3 })(4).dateTime).toBe(1_700_000_001_333)
  })

  test('names only what exists and is recent', () => {
    const far = eventsOf({ seed: 1 })
    for (const from of [0, 5_000, 5_050, 499_950, 500_000]) {
      for (let n = from; n < from + 100; n += 1) {
        const event = far(n)
        const lastPerson = 1000 + Math.floor(n / 50)
        const lastAuction = 1000 + Math.floor(n / 50) * 3 + 2
        if (event.kind === 'person') continue
        const who = event.kind === 'bid' ? event.bidder : event.seller
        expect(who).toBeGreaterThanOrEqual(Math.max(1000, lastPerson - 999))
        expect(who).toBeLessThanOrEqual(lastPerson)
        if (event.kind === 'auction') continue
        expect(event.auction).toBeGreaterThanOrEqual(Math.max(1000, lastAuction - 99))
        expect(event.auction).toBeLessThanOrEqual(lastAuction)
      }
    }
  })

  test('has hot auctions, sellers and bidders', () => {
    expect(share(bids, bid => (bid.auction - 1000) % 100 === 0)).toBeCloseTo(0.505, 1)
    expect(share(auctions, auction => (auction.seller - 1000) % 100 === 0)).toBeCloseTo(0.7525, 1)
    expect(share(bids, bid => (bid.bidder - 1000) % 100 === 1)).toBeCloseTo(0.7525, 1)
  })

  test('draws prices evenly over six powers of ten, categories 10 to 14 and known states', () => {
    for (let power = 2; power < 8; power += 1)
      expect(share(bids, bid => bid.price >= 10 ** power && bid.price < 10 ** (power + 1))).toBeCloseTo(1 / 6, 1)
    expect(bids.every(bid => Number.isInteger(bid.price) && bid.price >= 100 && bid.price <= 1e8)).toBe(true)
    expect(new Set(auctions.map(auction => auction.category))).toEqual(new Set([10, 11, 12, 13, 14]))
    expect(new Set(persons.map(person => person.state))).toEqual(new Set(['AZ', 'CA', 'ID', 'OR', 'WA', 'WY']))
    expect(new Set(persons.map(person => person.city)).size).toBe(10)
  })

  test('keeps about a hundred auctions open', () => {
    const at = events[count / 2]?.dateTime ?? 0
    const open = auctions.filter(auction => auction.dateTime <= at && auction.expires >= at).length
    expect(open).toBeGreaterThan(70)
    expect(open).toBeLessThan(130)
  })

  test('gives half of the bids a known channel, the others a numbered one that the url names', () => {
    const numbered = (bid: Bid): boolean => bid.channel?.startsWith('channel-') === true
    expect(share(bids, numbered)).toBeCloseTo(0.5, 1)
    for (const bid of bids.slice(0, 1_000)) {
      const number = bid.channel?.split('-')[1]
      const end = number === undefined ? '' : `&channel_id=${number}`
      expect(bid.url).toMatch(new RegExp(`^https://www\\.nexmark\\.com/\\w+/\\w+/\\w+/item\\.htm\\?query=1${end}$`))
    }
  })

  test('leaves out the long texts of light events, and nothing else changes', () => {
    const light = eventsOf({ seed: 7, light: true })
    for (let n = 0; n < 200; n += 1) {
      const { extra, ...kept } = events[n] ?? light(n)
      const { description, ...auction } = kept as Auction
      const { channel, url, ...bid } = auction as unknown as Bid
      expect([extra, description ?? '', channel ?? '', url ?? ''].every(text => text !== undefined)).toBe(true)
      expect(light(n)).toEqual(bid)
    }
  })
})
