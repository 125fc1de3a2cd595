/**
 * NEXMark's events. Event n is a pure function of (seed, n) and the rate, so that any slice can be generated anywhere, in any order.
 *
 * n mod 50 = 0 is a person, 1-3 an auction, 4-49 a bid: block k = floor(n / 50) has person k and the auctions 3k, 3k + 1, 3k + 2, and
 * what exists at event n follows from n alone. Short fields are drawn before the long texts: light events have the same numbers.
 */
import { NearstateError } from '../../src/base/errors.ts'
import type { Auction, Bid, NexmarkEvent, Person } from './events.ts'
import { Random } from './random.ts'

export const defaultBaseTime = 1_700_000_000_000
export const defaultRate = 10_000

const blockEvents = 50
const auctionsPerBlock = 3
const firstBidOffset = 4
const firstId = 1000
const sellersAmong = 1000
const auctionsAmong = 100
const hotBlock = 100
const openAuctions = 100
const channelNumbers = 10_000

const states = ['AZ', 'CA', 'ID', 'OR', 'WA', 'WY']
const cities = ['Phoenix', 'Los Angeles', 'San Francisco', 'Boise', 'Portland', 'Bend', 'Redmond', 'Seattle', 'Kent', 'Cheyenne']
const channels = ['Google', 'Facebook', 'Baidu', 'Apple']
const firstNames = ['Peter', 'Paul', 'Luke', 'John', 'Saul', 'Vicky', 'Kate', 'Julie', 'Sarah', 'Deiter', 'Walter']
const lastNames = ['Shultz', 'Abrams', 'Spencer', 'White', 'Bartels', 'Walton', 'Smith', 'Jones', 'Noris']

/** Texts are cut out of this one. */
const textPool = poolOf(65_536)
const longestText = 512

export interface GeneratorOptions {
  readonly seed: number
  /** Events per second of event time; 10 000 if absent. */
  readonly rate?: number
  /** Leaves out `extra`, `description`, `channel` and `url`. */
  readonly light?: boolean
  /** Time of event 0. */
  readonly baseTime?: number
}

export class NexmarkGenerator {
  readonly #random: Random
  readonly #rate: number
  readonly #light: boolean
  readonly #baseTime: number
  /** Lives are spread evenly from 1 ms to twice the mean. */
  readonly #longestLifeMs: number

  constructor({ seed, rate = defaultRate, light = false, baseTime = defaultBaseTime }: GeneratorOptions) {
    wholeNumber('seed', seed, 0)
    wholeNumber('rate', rate, 1)
    wholeNumber('base time', baseTime, 0)
    this.#random = new Random(seed)
    this.#rate = rate
    this.#light = light
    this.#baseTime = baseTime
    this.#longestLifeMs = Math.max(1, Math.round((2 * openAuctions * blockEvents * 1000) / auctionsPerBlock / rate))
  }

  event(n: number): NexmarkEvent {
    const offset = n % blockEvents
    const block = (n - offset) / blockEvents
    this.#random.begin(n)
    if (offset >= firstBidOffset) return this.#bid(n, block)
    return offset === 0 ? this.#person(n, block) : this.#auction(n, block, offset)
  }

  /** Events from `from` up to, not including, `to`. */
  *slice(from: number, to: number): Generator<NexmarkEvent, void, undefined> {
    for (let n = from; n < to; n += 1) yield this.event(n)
  }

  timeOf(n: number): number {
    return this.#baseTime + Math.floor((n * 1000) / this.#rate)
  }

  #person(n: number, block: number): Person {
    const random = this.#random
    const first = oneOf(firstNames, random)
    const last = oneOf(lastNames, random)
    const person: Person = {
      kind: 'person',
      id: firstId + block,
      name: `${first} ${last}`,
      emailAddress: `${first.toLowerCase()}.${last.toLowerCase()}@${text(random, 6)}.com`,
      creditCard: `${digits(random)} ${digits(random)} ${digits(random)} ${digits(random)}`,
      city: oneOf(cities, random),
      state: oneOf(states, random),
      dateTime: this.timeOf(n),
    }
    return this.#light ? person : { ...person, extra: text(random, 90 + random.below(21)) }
  }

  #auction(n: number, block: number, offset: number): Auction {
    const random = this.#random
    const isHot = random.below(4) !== 0
    const seller = isHot ? block - (block % hotBlock) : this.#recentPerson(block)
    const initialBid = random.price()
    const dateTime = this.timeOf(n)
    const id = firstId + block * auctionsPerBlock + offset - 1
    const reserve = initialBid + random.price()
    const expires = dateTime + 1 + random.below(this.#longestLifeMs)
    const category = 10 + random.below(5)
    const itemName = text(random, 20)
    if (this.#light) return { kind: 'auction', id, itemName, initialBid, reserve, dateTime, expires, seller: firstId + seller, category }
    const description = text(random, 90 + random.below(21))
    const extra = text(random, 300 + random.below(41))
    return { kind: 'auction', id, itemName, description, initialBid, reserve, dateTime, expires, seller: firstId + seller, category, extra }
  }

  #bid(n: number, block: number): Bid {
    const random = this.#random
    const last = block * auctionsPerBlock + auctionsPerBlock - 1
    const isHot = random.below(2) === 0
    const auction = firstId + (isHot ? last - (last % hotBlock) : last - random.below(Math.min(auctionsAmong, last + 1)))
    const bidder = firstId + (random.below(4) === 0 ? this.#recentPerson(block) : hotBidder(block))
    const price = random.price()
    const dateTime = this.timeOf(n)
    if (this.#light) return { kind: 'bid', auction, bidder, price, dateTime }
    const number = random.below(2) === 0 ? undefined : random.below(channelNumbers)
    const channel = number === undefined ? oneOf(channels, random) : `channel-${number}`
    const path = `https://www.nexmark.com/${text(random, 5)}/${text(random, 5)}/${text(random, 5)}/item.htm?query=1`
    const url = number === undefined ? path : `${path}&channel_id=${number}`
    return { kind: 'bid', auction, bidder, price, channel, url, dateTime, extra: text(random, random.below(9)) }
  }

  #recentPerson(block: number): number {
    return block - this.#random.below(Math.min(sellersAmong, block + 1))
  }
}

/** The second of the newest block of persons; while that one has not registered, of the block before; at the very start person 0. */
function hotBidder(newest: number): number {
  if (newest === 0) return 0
  const inBlock = newest % hotBlock
  return inBlock === 0 ? newest - hotBlock + 1 : newest - inBlock + 1
}

function oneOf(values: readonly string[], random: Random): string {
  return values[random.below(values.length)] ?? ''
}

function digits(random: Random): string {
  return String(random.below(10_000)).padStart(4, '0')
}

function text(random: Random, length: number): string {
  const start = random.below(textPool.length - longestText)
  return textPool.slice(start, start + length)
}

function poolOf(length: number): string {
  const random = new Random(0)
  random.begin(0)
  return String.fromCharCode(...Array.from({ length }, () => 97 + random.below(26)))
}

function wholeNumber(what: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return
  throw new NearstateError(
    'INVALID_ARGUMENT',
    `Cannot generate NEXMark events: ${what} is ${value}, a whole number from ${least} is wanted`,
  )
}
