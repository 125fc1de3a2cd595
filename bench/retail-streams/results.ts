/** The results of retail-streams as the issue prints them: read from the job's maps, each as lines of text in the order of their code units. */
import { createHash } from 'node:crypto'
import { Customer, CustomerDay, CustomerTime, DayRank, Return } from '../../examples/retail-streams/maps.ts'
import type { Counted, Session, Silence, Spend, TopProduct } from '../../examples/retail-streams/maps.ts'
import type { Grid } from '../../src/client/grid.ts'

export interface Figure {
  readonly rows: number
  readonly sha256: string
}

export interface RetailStreamsResults {
  readonly spend30d: Figure
  readonly sessions: Figure
  readonly topProducts: Figure
  readonly silences: Figure
  readonly returns: Figure
  readonly purchasesWithoutReturn: number
}

export async function resultsOf(grid: Grid): Promise<RetailStreamsResults> {
  const spend: string[] = []
  for await (const [[customer], { endDay, revenueMills }] of grid.map<typeof CustomerDay, Spend>('spend-30d', CustomerDay).scan())
    spend.push(`${customer},${endDay},${revenueMills}`)

  const sessions: string[] = []
  let last = ''
  for await (const [[customer], session] of grid.map<typeof CustomerTime, Session>('sessions', CustomerTime).scan()) {
    const { firstTime, lastTime, lines, revenueMills } = session
    sessions.push(`${customer},${firstTime},${lastTime},${lines},${revenueMills}`)
    if (lastTime > last) last = lastTime
  }

  const topProducts: string[] = []
  for await (const [[day], { rank, stockCode, units }] of grid.map<typeof DayRank, TopProduct>('top-products', DayRank).scan())
    topProducts.push(`${day},${rank},${stockCode},${units}`)

  // When the input ends all timers fire: whether a silence was due by then is known only now. The last line is that of the last session.
  const silences: string[] = []
  for await (const [[customer], { dueTime }] of grid.map<typeof CustomerTime, Silence>('silences', CustomerTime).scan())
    if (dueTime <= last) silences.push(`${customer},${dueTime}`)

  const returns: string[] = []
  for await (const [key, { lines }] of grid.map<typeof Return, Counted>('returns', Return).scan())
    for (let i = 0; i < lines; i += 1) returns.push(key.join(','))

  let purchasesWithoutReturn = 0
  for await (const [, { lines }] of grid.map<typeof Customer, Counted>('purchases-without-return', Customer).scan())
    purchasesWithoutReturn += lines

  return {
    spend30d: figureOf(spend),
    sessions: figureOf(sessions),
    topProducts: figureOf(topProducts),
    silences: figureOf(silences),
    returns: figureOf(returns),
    purchasesWithoutReturn,
  }
}

function figureOf(lines: string[]): Figure {
  const hash = createHash('sha256')
  // Without a comparison of its own sort() goes by code units.
  for (const line of lines.sort()) hash.update(`${line}\n`)
  return { rows: lines.length, sha256: hash.digest('hex') }
}
