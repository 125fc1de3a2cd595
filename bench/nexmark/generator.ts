/**
 * The seeded generator: event number n is a pure function of (seed, n), so that any slice can be made anywhere.
 *
 * n mod 50 = 0 is a person, 1 to 3 an auction, the others are bids. Ids count up from 1000. What an event refers to is among the last
 * so many persons and auctions, and exists already.
 */
import type { Auction, Bid, Event, Person } from './events.ts'
import { addresses, cities, fourDigits, hotChannels, hotUrls, itemNames, names, numberedUrl, passage, states } from './texts.ts'

export interface GeneratorOptions {
  readonly seed: number
  /** Events per second of event time; default 10 000. */
  readonly rate?: number
  /** Without the long texts. */
  readonly light?: boolean
  /** For measurements: none are hot, so many auctions are open at once, and bids and sellers spread evenly over the last so many. */
  readonly open?: number
  /** For measurements: as `open`, and the bids go to the first so many auctions for ever, so that a query by auction has so many keys. */
  readonly keys?: number
}

export const baseTime = 1_700_000_000_000
export const defaultRate = 10_000
const firstId = 1000
const block = 100

/** A multiple of the golden ratio of 2^32: distinct draws for one event. */
const step = 0x9e3779b9

/** Spreads every bit of a 32-bit number over all of them (the finalizer of MurmurHash3). */
function mix(from: number): number {
  let bits = from | 0
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return bits ^ (bits >>> 16)
}

/** A whole number below `bound`, of 32 random bits. */
const below = (bits: number, bound: number): number => Math.floor((bits >>> 0) * (bound / 4_294_967_296))

/** round(100 * 10^(6u)), where u has 22 bits: the upper and the lower half as factors. */
const priceBits = 22
const halfBits = 11
const halfMask = 2 ** halfBits - 1
const coarse = Float64Array.from({ length: 2 ** halfBits }, (_, i) => 100 * 10 ** ((6 * i) / 2 ** halfBits))
const fine = Float64Array.from({ length: 2 ** halfBits }, (_, i) => 10 ** ((6 * i) / 2 ** priceBits))

function priceOf(bits: number): number {
  const u = bits >>> (32 - priceBits)
  return Math.round((coarse[u >>> halfBits] as number) * (fine[u & halfMask] as number))
}

/** A function from the number of an event to the event. */
export function eventsOf({ seed, rate = defaultRate, light = false, keys, open = keys }: GeneratorOptions): (n: number) => Event {
  const seeded = mix(mix(seed) + mix(Math.floor(seed / 2 ** 32) + step))
  const auctionsBack = open ?? block
  const personsBack = open ?? 1000
  const isHot = open === undefined
  const isFixed = keys !== undefined
  // 3 of 50 events are auctions, and `auctionsBack` of them are to be open on average.
  const lifetimeMax = Math.max(1, Math.floor((2 * auctionsBack * 50 * 1000) / (3 * rate)))

  const drawOf = (n: number): number => mix(mix(n | 0) ^ (n < 2 ** 32 ? seeded : mix(seeded + Math.floor(n / 2 ** 32))))
  const timeOf = (n: number): number => baseTime + Math.floor((n * 1000) / rate)

  const personOf = (n: number): Person => {
    const first = drawOf(n)
    const second = mix(first + step)
    const id = firstId + n / 50
    const number = below(first, names.length)
    const third = mix(second + step)
    const person = {
      kind: 'person',
      id,
      name: names[number] as string,
      emailAddress: `${addresses[number] as string}@${third >>> 22}.example`,
      creditCard: `${digits(first)} ${digits(first >>> 16)} ${digits(second)} ${digits(second >>> 16)}`,
      city: cities[below(second, cities.length)] as string,
      state: states[below(third, states.length)] as string,
      dateTime: timeOf(n),
    } as const
    return light ? person : { ...person, extra: passage(mix(third + step), 40, 80) }
  }

  const auctionOf = (n: number): Auction => {
    const group = Math.floor(n / 50)
    const number = group * 3 + (n - group * 50) - 1
    const first = drawOf(n)
    const second = mix(first + step)
    const third = mix(second + step)
    const isHotSeller = isHot && (first & 3) !== 0
    const seller = isHotSeller ? group - (group % block) : group - below(second, Math.min(personsBack, group + 1))
    const initialBid = priceOf(third)
    const dateTime = timeOf(n)
    const expires = dateTime + 1 + below(mix(third + step), lifetimeMax)
    const itemName = itemNames[(first >>> 8) & (itemNames.length - 1)] as string
    const reserve = initialBid + priceOf(second)
    const category = 10 + ((first >>> 20) % 5)
    const id = firstId + number
    if (light) return { kind: 'auction', id, itemName, initialBid, reserve, dateTime, expires, seller: firstId + seller, category }
    return {
      kind: 'auction',
      id,
      itemName,
      description: passage(second, 120, 220),
      initialBid,
      reserve,
      dateTime,
      expires,
      seller: firstId + seller,
      category,
      extra: passage(third, 120, 220),
    }
  }

  const bidOf = (n: number, group: number): Bid => {
    const first = drawOf(n)
    const second = mix(first + step)
    const price = priceOf(first)
    const lastAuction = group * 3 + 2
    let auction: number
    if (isHot && (first & 1) === 0) auction = lastAuction - (lastAuction % block)
    else {
      auction = below(second, lastAuction < auctionsBack ? lastAuction + 1 : auctionsBack)
      if (!isFixed) auction = lastAuction - auction
    }
    let bidder: number
    if (isHot && (first & 6) !== 0) bidder = hotBidderOf(group)
    else bidder = group - below(mix(second + step), group < personsBack ? group + 1 : personsBack)
    const dateTime = timeOf(n)
    if (light) return { kind: 'bid', auction: firstId + auction, bidder: firstId + bidder, price, dateTime }
    const third = mix(second ^ step)
    // Half of the bids come through one of the four great channels.
    const isGreat = (third & 1) === 0
    const numbered = below(mix(third), 10_000)
    return {
      kind: 'bid',
      auction: firstId + auction,
      bidder: firstId + bidder,
      price,
      channel: isGreat ? (hotChannels[(third >>> 1) & 3] as string) : `channel-${numbered}`,
      url: isGreat ? (hotUrls[(third >>> 3) & (hotUrls.length - 1)] as string) : numberedUrl(third >>> 3, numbered),
      dateTime,
      extra: passage(third, 12, 36),
    }
  }

  return n => {
    const group = Math.floor(n / 50)
    const offset = n - group * 50
    if (offset > 3) return bidOf(n, group)
    return offset === 0 ? personOf(n) : auctionOf(n)
  }
}

/** The second of a block of persons, or of the block before while there is none. */
function hotBidderOf(lastPerson: number): number {
  const first = lastPerson - (lastPerson % block)
  if (first + 1 <= lastPerson) return first + 1
  return first === 0 ? 0 : first - block + 1
}

const digits = (bits: number): string => fourDigits[(bits & 0xffff) % fourDigits.length] as string

/**
 * In which order events come that may be late by `span` places: event `order(i)` is the i-th. Every run of `span` events is turned
 * round by a permutation of its own, and no event leaves its run; a run is cut short by `count`.
 */
export function disorderOf(seed: number, span: number, count: number): (i: number) => number {
  if (span <= 1) return i => i
  return i => {
    const run = Math.floor(i / span)
    const first = run * span
    const length = Math.min(span, count - first)
    const drawn = mix(mix(run + step) ^ mix(seed))
    return first + shuffled(i - first, length, drawn)
  }
}

/** A permutation of 0 .. length - 1: rounds of mixing within the next power of two, walked until the number is below the length. */
function shuffled(at: number, length: number, key: number): number {
  let bits = 1
  while (2 ** bits < length) bits += 1
  const mask = 2 ** bits - 1
  const shift = (bits + 1) >> 1
  let to = at
  do {
    for (let round = 0; round < 3; round += 1) {
      to = (Math.imul(to, (mix(key + round) & mask) | 1) + mix(key ^ (round + 1))) & mask
      to ^= to >>> shift
    }
  } while (to >= length)
  return to
}
