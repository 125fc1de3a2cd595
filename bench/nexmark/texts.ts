/** Words for events: names, places, channels, and texts of any length that are cut out of one long one. */

const firstNames = [
  'Peter',
  'Paul',
  'Luke',
  'John',
  'Saul',
  'Vicky',
  'Kate',
  'Julie',
  'Sarah',
  'Deiter',
  'Walter',
  'Ines',
  'Omar',
  'Wei',
  'Aiko',
  'Noor',
]
const lastNames = [
  'Shultz',
  'Abrams',
  'Spencer',
  'White',
  'Bartels',
  'Walton',
  'Smith',
  'Jones',
  'Noris',
  'Okafor',
  'Tanaka',
  'Silva',
  'Novak',
  'Haddad',
  'Larsen',
  'Moreau',
]
export const names: readonly string[] = firstNames.flatMap(first => lastNames.map(last => `${first} ${last}`))
/** Before the @. */
export const addresses: readonly string[] = names.map(name => name.replace(' ', '.').toLowerCase())
export const fourDigits: readonly string[] = Array.from({ length: 10_000 }, (_, i) => String(i).padStart(4, '0'))

export const states: readonly string[] = ['AZ', 'CA', 'ID', 'OR', 'WA', 'WY']
export const cities: readonly string[] = [
  'Phoenix',
  'Los Angeles',
  'San Francisco',
  'Boise',
  'Portland',
  'Bend',
  'Redmond',
  'Seattle',
  'Kent',
  'Cheyenne',
]

export const hotChannels: readonly string[] = ['Google', 'Facebook', 'Baidu', 'Apple']

/** Small letters and blanks, the same in every process. */
const text = textOf(2 ** 16)

function textOf(length: number): string {
  const letters = 'etaoinshrdlucmfwypvbgkqjxz'
  let state = 12_345
  let made = ''
  let word = 0
  while (made.length < length) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    // Frequent letters are at the beginning.
    const draw = (state >>> 16) & 1023
    const isBlank = word > 2 && draw % 6 === 0
    made += isBlank ? ' ' : letters.charAt(Math.floor((draw / 1024) ** 2 * letters.length))
    word = isBlank ? 0 : word + 1
  }
  // One flat string: passages are views of it.
  return Buffer.from(made).toString('latin1')
}

/** A text of at least `min` and fewer than `max` characters. */
export function passage(bits: number, min: number, max: number): string {
  const length = min + (((bits >>> 16) * (max - min)) >>> 16)
  const at = bits & 0x7fff
  return text.slice(at, at + length)
}

const words = text.split(' ').filter(word => word.length > 2)
const wordAt = (i: number): string => words[i % words.length] as string

/** Powers of two many. */
export const itemNames: readonly string[] = Array.from({ length: 1024 }, (_, i) => `${wordAt(i * 7)} ${wordAt(i * 13 + 5)}`)
const pages: readonly string[] = Array.from(
  { length: 4096 },
  (_, i) => `https://www.nexmark.com/${wordAt(i)}/${wordAt(i * 3 + 1)}/${wordAt(i * 5 + 2)}/item.htm?query=1`,
)
export const hotUrls = pages
export const numberedUrl = (bits: number, channel: number): string => `${pages[bits & (pages.length - 1)] as string}&channel_id=${channel}`
