/** What the builder's types accept, and the mistakes that they refuse. Compiled by the type check; never run. */
import {
  avg,
  collect,
  count,
  countDistinct,
  countWindow,
  defineAggregate,
  defineJob,
  defineKey,
  defineSink,
  defineSource,
  defineTupleKey,
  files,
  filesSink,
  generator,
  max,
  row,
  type Schema,
  session,
  sliding,
  sum,
  tumbling,
} from 'nearstate/stream'

interface Line {
  readonly customerId?: string | undefined
  readonly country: string
  readonly amount: number
  readonly invoiceNo: string
  readonly at: number
}
interface Profile {
  readonly tier: 'new' | 'gold'
  readonly ltv: number
}
declare const LineSchema: Schema<Line>
declare const ProfileSchema: Schema<Profile>
declare const DaySchema: Schema<{ lines: number; revenueMills: number }>
declare const ArgsSchema: Schema<{ readonly path: string }>

export const Customer = defineKey('customer', 'string')
export const Country = defineKey('country', 'string')
export const Seat = defineKey('seat', 'int64')
export const CountryDay = defineTupleKey('country-day', Country, { day: 'string' })

export default defineJob('retail-360', flow => {
  const profiles = flow.map('profiles', Customer, ProfileSchema)
  const countries = flow.map('countries', Country, ProfileSchema)
  const seats = flow.map('seats', Seat, ProfileSchema)
  const days = flow.map('country-days', CountryDay, DaySchema)
  const lines = flow
    .source('lines', files({ path: 'x/*.csv', format: 'csv', row: LineSchema }))
    .eventTime(l => l.at, { outOfOrderness: '5s', idleAfter: '30s' })

  const known = lines.require('known customers', 'customerId')
  known.rejected('unknown').map('still a line', (l): string | undefined => l.customerId)
  const byCustomer = known.keyBy('by customer', Customer, l => l.customerId)
  const alsoKnown = lines
    .filter('known, by guard', (l): l is Line & { customerId: string } => l.customerId !== undefined)
    .keyBy('k2', Customer, l => l.customerId)

  const enriched = byCustomer.enrich('with profile', profiles, (l, p) => ({ ...l, tier: p?.tier ?? 'new' }))
  enriched.map('tier is inferred', l => {
    const tier: 'new' | 'gold' = l.tier
    return tier
  })

  // @ts-expect-error same codec, other identity: a string that is a country is not a customer
  byCustomer.enrich('wrong identity', countries, (l, p) => ({ ...l, p }))
  // @ts-expect-error other codec
  byCustomer.enrich('wrong type', seats, (l, p) => ({ ...l, p }))
  // @ts-expect-error not keyed yet
  lines.enrich('not keyed', profiles, (l, p) => ({ ...l, p }))
  // @ts-expect-error undefined is no key
  lines.keyBy('maybe', Customer, l => l.customerId)
  // @ts-expect-error a boolean filter on a property does not narrow the row
  lines.filter('known', l => l.customerId !== undefined).keyBy('by', Customer, l => l.customerId)
  // @ts-expect-error no such field
  lines.require('typo', 'custmerId')
  // @ts-expect-error only a require stage has rejected rows
  lines.rejected('nothing')
  // @ts-expect-error a stage without key has no windows
  lines.window('not keyed', tumbling('1d'), { n: count() })
  // @ts-expect-error a stage without key has no sink to a map
  lines.sink('not keyed', profiles)
  // @ts-expect-error event time is a number of milliseconds
  flow.source('bad time', files({ path: 'x', format: 'csv', row: LineSchema })).eventTime(l => l.country)

  const byCountry = enriched.rekey('by country', Country, l => l.country)
  byCountry.enrich('with country', countries, (l, c) => ({ ...l, gold: c?.tier === 'gold' }))
  // @ts-expect-error after rekey the old key's map is remote
  byCountry.enrich('stale key', profiles, (l, p) => ({ ...l, p }))
  // @ts-expect-error a stage of another key cannot be merged in
  byCountry.merge('two keys', enriched)
  byCustomer.merge('one key', alsoKnown)

  const spend = enriched.window('spend 1h', tumbling('1h'), {
    spend: sum(l => l.amount),
    orders: countDistinct(l => l.invoiceNo),
    n: count(),
    mean: avg(l => l.amount),
    last: max(l => l.invoiceNo),
  })
  spend.map('check', (w, key) => {
    const k: string = key
    const s: number = w.spend
    const e: number = w.windowEnd
    const last: string | undefined = w.last
    // @ts-expect-error a mean may be missing
    const mean: number = w.mean
    return { k, s, e, last, mean }
  })
  spend.late('late lines').map('still a line, with tier', l => l.tier)
  // @ts-expect-error only a window has late rows
  enriched.late('nothing')
  // @ts-expect-error no such field on the row
  enriched.window('typo', tumbling('1d'), { spend: sum(l => l.amout) })
  // @ts-expect-error a sum is over numbers
  enriched.window('sum of text', tumbling('1d'), { spend: sum(l => l.invoiceNo) })
  const running = enriched.aggregate('running', { n: count() })
  running.map('rolling', r => {
    const k: string = r.key
    const n: number = r.n
    return { k, n }
  })

  byCountry
    .window('days', tumbling('1d'), { lines: count(), revenueMills: sum(l => l.amount) })
    .sink('to country-days', days, w => [String(w.windowStart)])
  spend
    .map('shape', w => ({ lines: w.n, revenueMills: w.spend, day: 'x' }))
    // @ts-expect-error tuple map placed by country, stage keyed by customer
    .sink('not local', days, w => [w.day])
  // @ts-expect-error a tuple map wants the other elements of its key
  byCountry.map('day', l => ({ lines: 1, revenueMills: l.amount })).sink('no rest', days)

  const velocity = enriched.process('velocity', {
    emits: row<{ readonly customer: string; readonly fast: boolean }>(),
    state: () => ({ recent: [] as number[] }),
    onEvent(ctx, l) {
      ctx.state.recent.push(l.at)
      ctx.setTimer('quiet', ctx.eventTimeMs + 60_000)
      ctx.emit({ customer: ctx.key, fast: ctx.state.recent.length > 3 })
      // @ts-expect-error state is typed
      ctx.state.recent.push('x')
      // @ts-expect-error what is emitted is typed
      ctx.emit({ customer: 1 })
    },
    onTimer(ctx, timer) {
      if (timer === 'quiet') ctx.state.recent.length = 0
    },
  })
  enriched.process('silent', {
    state: () => 0,
    onEvent(ctx) {
      ctx.state += 1
      // @ts-expect-error a stage that declares no rows emits none
      ctx.emit({})
    },
  })
  enriched.process('asynchronous', {
    state: () => 0,
    // @ts-expect-error user code is synchronous
    async onEvent(ctx) {
      ctx.state += 1
    },
  })
  const scored = velocity.map('scored', v => ({ ...v, churn: 0.5 }))
  scored.sink('to features', flow.map('features', Customer))
  // @ts-expect-error the map's schema is not what the rows are
  scored.sink('wrong shape', profiles)
  scored.map('as profile', (s): Profile => ({ tier: s.fast ? 'gold' : 'new', ltv: s.churn })).sink('to profiles', profiles)
  // @ts-expect-error sink to a map with another key needs a rekey
  scored.sink('elsewhere', flow.map('features2', Country))
  flow.source('generated', generator({ events: n => ({ seat: n }), count: 10 })).keyBy('by seat', Seat, e => e.seat)
  // @ts-expect-error a seat is a number
  flow.source('numbers', generator({ events: n => ({ seat: String(n) }) })).keyBy('as text', Seat, e => e.seat)
  flow.source('text rows', files({ path: ['a.csv', 'b.csv'], format: 'csv' })).map('fields are text', r => r['Country']?.length)
  // ---- side outputs
  type Event = { readonly kind: 'bid'; readonly price: number } | { readonly kind: 'sale'; readonly seller: string }
  const events = flow.source(
    'events',
    generator({ events: (n): Event => (n % 2 === 0 ? { kind: 'bid', price: n } : { kind: 'sale', seller: 'x' }) }),
  )
  const split = events.sideOutput('sales aside', (e): e is Event & { kind: 'sale' } => e.kind === 'sale')
  split.map('bids only', e => e.price)
  split.aside('sales').map('sales only', e => e.seller)
  // @ts-expect-error what was set aside is not handed on
  split.map('no sales', e => e.seller)
  // @ts-expect-error only a side output has rows aside
  events.aside('nothing')
  // @ts-expect-error there are no broadcast joins
  enriched.broadcastJoin('broadcast')

  // ---- rows that wait for answers, sinks and sources of one's own
  const asked = enriched
    .lookup(
      'country',
      countries,
      l => l.country,
      (l, c) => ({ ...l, gold: c?.tier === 'gold' }),
      { inFlight: 5 },
    )
    .mapAsync('rate', async (l, call, key) => ({ ...l, rate: (await call.fetch(key)).status }), { ordered: false, timeout: '5s' })
    .log('some', { every: 10, text: l => `${l.rate} ${l.gold}` })
  asked.map('still both', l => l.rate + (l.gold ? 1 : 0))
  enriched.lookup(
    'seat by text',
    seats,
    // @ts-expect-error a key of the map's own space is wanted
    l => l.country,
    l => l,
  )
  // @ts-expect-error a promise is wanted
  enriched.mapAsync('at once', l => l.amount)
  enriched.lookup(
    'order',
    countries,
    l => l.country,
    l => l,
    // @ts-expect-error lookups keep their order
    { ordered: false },
  )
  const amounts = defineSink<{ readonly amount: number }>({ write: async rows => void rows.map(r => r.amount) })
  enriched.sink('amounts', amounts)
  lines.sink('whole lines', filesSink({ path: '/shared' }))
  enriched.sink('collected', collect())
  // @ts-expect-error the sink wants other rows
  lines.map('texts', l => l.country).sink('wrong rows', amounts)
  const ticks = defineSource({
    read: async (position: number | undefined) => ({ rows: [{ tick: position ?? 0 }], next: (position ?? 0) + 1 }),
  })
  flow.source('ticks', ticks).map('tick', t => t.tick + 1)
  enriched.process('rings', {
    state: () => 0,
    onEvent: ctx => ctx.setWallTimer('ring', ctx.wallTimeMs + 1000),
    onWallTimer: (ctx, name) => void [ctx.key, name.length],
  })

  // ---- windows
  const early = enriched.window('early', sliding('1h', '5m'), { n: count() }, { early: '1m', allowedLateness: '1h' })
  early.map('is marked', w => {
    const isEarly: boolean = w.early
    return isEarly
  })
  early.late('late for sliding').map('is a line', l => l.country)
  // @ts-expect-error only windows with early results mark them
  spend.map('not marked', w => w.early)
  // @ts-expect-error no such option of a window
  enriched.window('option', tumbling('1h'), { n: count() }, { lateness: '1m' })
  // @ts-expect-error a window wants its own options, not those of a count window
  enriched.window('ttl of a window', session('1h'), { n: count() }, { ttl: '1m' })
  const hundred = enriched.window('last hundred', countWindow(100, { every: 10, ttl: '1d' }), { n: count() })
  hundred.map('how many', w => w.n + w.windowEnd)
  // @ts-expect-error rows are never late for a window of rows
  hundred.late('nothing is late')
  // @ts-expect-error windows of rows have no early results
  enriched.window('early rows', countWindow(100), { n: count() }, { early: '1m' })
  const countries2 = defineAggregate<Line, string[], string>({
    create: () => [],
    add: (all, l) => [...all, l.country],
    combine: (all, more) => [...all, ...more],
    finish: all => all.join(),
  })
  enriched.window('own aggregate', tumbling('1h'), { countries: countries2 }).map('a text', w => w.countries.length)
  // @ts-expect-error an aggregate over lines is none over their windows
  spend.window('other rows', tumbling('1d'), { countries: countries2 })

  // ---- state per key
  enriched.reduce('latest', (a, l) => (l.at > a.at ? l : a), { ttl: '1d' }).map('still enriched', l => l.tier)
  // @ts-expect-error a reduced value is a row like the others
  enriched.reduce('other type', (a, l) => l.at)
  enriched
    .dedupe('invoices', { of: l => l.invoiceNo, ttl: '1d' })
    .late('late invoices')
    .map('a line too', l => l.at)
  // @ts-expect-error without a time to live nothing is late
  enriched.dedupe('no ttl').late('nothing')
  // @ts-expect-error what is compared is text, number or bytes
  enriched.dedupe('of an object', { of: l => ({ no: l.invoiceNo }) })
  enriched.topN('rolling', 10, (a, b) => b.amount - a.amount).map('ranks', r => r.rank + r.row.amount)
  const best = enriched.topN('of days', 10, (a, b) => b.amount - a.amount, { window: tumbling('1d') })
  best.late('late for the day').map('once more a line', l => l.at)
  best.map('ranks of a day', r => r.windowEnd + r.rank + r.row.amount)
  // @ts-expect-error a ranking of windows needs windows of a fixed size
  enriched.topN('of sessions', 10, (a, b) => a.at - b.at, { window: session('1h') })
  // @ts-expect-error a comparison gives a number
  enriched.topN('by truth', 10, (a, b) => a.at > b.at)

  // ---- joins
  alsoKnown.joinWindow('pairs', enriched, { window: tumbling('1h') }, (l, r, w) => `${l.at}${r.tier}${w.windowStart}`)
  alsoKnown.joinWindow('left pairs', enriched, { window: tumbling('1h'), type: 'left' }, (l, r) => `${l.at}${r?.tier}`)
  alsoKnown.joinInterval('outer pairs', enriched, { before: '1m', after: '1m', type: 'outer' }, (l, r) => [l?.at, r?.tier])
  // @ts-expect-error a left row may have found no partner
  alsoKnown.joinWindow('left without question', enriched, { window: tumbling('1h'), type: 'left' }, (l, r) => r.tier)
  // @ts-expect-error either side of an outer join may be missing
  alsoKnown.joinInterval('outer without question', enriched, { before: '1m', after: '1m', type: 'outer' }, (l, r) => l.at)
  // @ts-expect-error both sides have one key
  byCountry.joinInterval('cross', enriched, { before: '1m', after: '1m' }, l => l.at)
  // @ts-expect-error there is no right join: swap the sides
  alsoKnown.joinWindow('right', enriched, { window: tumbling('1h'), type: 'right' }, l => l)
  // @ts-expect-error sessions of two streams cannot be joined
  alsoKnown.joinWindow('by session', enriched, { window: session('1h') }, (l, r) => r.tier)
  // @ts-expect-error a stage without key cannot be joined
  lines.joinInterval('no key', lines, { before: '1m', after: '1m' }, l => l)

  // @ts-expect-error durations are literals: '5 parsecs' never compiles
  tumbling('5 parsecs')
})

export const withArguments = defineJob('typed arguments', { args: ArgsSchema, onError: 'deadLetter' }, (flow, args) => {
  flow.source('lines', files({ path: args.path, format: 'jsonl', row: LineSchema })).map('line', l => l.country)
  // @ts-expect-error arguments are typed
  args.pth.length
})

// @ts-expect-error there is no such rule
defineJob('bad rule', { onError: 'ignore' }, () => {})
