/**
 * NEXMark's queries: events per second of one shard thread, the generator included, every generated event counted.
 *
 * A round of a query is a fresh process with one node of one shard, where the query runs as a job: `warmup` events, then `events` that are
 * timed, then a few more so that the end is not seen too late. What comes out is counted and summed up, and is the same in every round.
 * Queries, and Hazelcast Jet where java and mvn are there (peers/jet), take turns round by round; a figure is the median.
 *
 * With q5 in the table, its windows' latency at half of the median follows (nexmark/paced-side.ts), with and without checkpoints, and that
 * of clients that read from the same shard meanwhile.
 *
 *   --query q5,q7   only these; --quick: fewer events and rounds; --pace N: only the latencies, at N events per second
 */
import { type JetPeer, openJet } from './nexmark/jet.ts'
import type { Load, RoundResult } from './nexmark/load.ts'
import type { PacedLoad, PacedRound } from './nexmark/paced-side.ts'
import { type Benchmark, type BenchFigure, type BenchReport, type BenchRow, figure, formatNumber, ratioOf, spreadOf } from './report.ts'
import { startSide } from './rounds.ts'

interface Line extends Pick<Load, 'query' | 'light' | 'guarantee'> {
  /** Events per second. */
  readonly bar: number
}

const light = { light: true, guarantee: 'none' } as const
const whole = { light: false, guarantee: 'none' } as const

/** The issue's table. */
const lines: readonly Line[] = [
  { query: 'q1', ...light, bar: 6e6 },
  { query: 'q2', ...light, bar: 7e6 },
  { query: 'q3', ...light, bar: 3.5e6 },
  { query: 'q8', ...light, bar: 3e6 },
  { query: 'q4', ...light, bar: 3.5e6 },
  { query: 'q6', ...light, bar: 2.5e6 },
  { query: 'q5', ...light, bar: 5e6 },
  { query: 'q7', ...light, bar: 6e6 },
  { query: 'q13', ...light, bar: 3e6 },
  { query: 'q0', ...whole, bar: 1e6 },
  { query: 'q1', ...whole, bar: 1e6 },
  { query: 'q5', light: true, guarantee: 'exactly-once', bar: 4e6 },
  { query: 'q5', ...whole, bar: 1e6 },
]

const fullPlan = { warmup: 6e6, events: 20e6, rounds: 5, pacedSeconds: 60 }
const quickPlan = { warmup: 3e6, events: 5e6, rounds: 3, pacedSeconds: 12 }

interface Contestant {
  readonly line: Line
  readonly side: string
  readonly round: () => Promise<RoundResult>
}

export const benchmark: Benchmark = {
  name: 'nexmark',
  description: 'NEXMark events per second of one shard, against Hazelcast Jet where it can run',
  async run({ args }) {
    const at = args.indexOf('--pace')
    const plan = args.includes('--quick') ? quickPlan : fullPlan
    if (at >= 0) return await latencies(Number(args[at + 1]), Number(args[at + 1]), plan.pacedSeconds)
    const wanted = linesOf(args)
    const jet = await openJet()
    if ('missing' in jet) console.log(`left out: hazelcast jet, for ${jet.missing}`)
    const contestants = wanted.flatMap(line => contestantsOf(line, plan, 'missing' in jet ? undefined : jet))
    const results = await interleaved(contestants, plan.rounds)
    const report = reportOf(contestants, results)
    const halfOf = (guarantee: Load['guarantee']): number | undefined => {
      const at = contestants.findIndex(({ line, side }) => side === 'nearstate' && isPaced(line) && line.guarantee === guarantee)
      return at < 0 ? undefined : spreadOf((results[at] ?? []).map(({ perSecond }) => perSecond)).median / 2
    }
    const paced = await latencies(halfOf('none'), halfOf('exactly-once'), plan.pacedSeconds)
    return { rows: [...report.rows, ...paced.rows], figures: [...report.figures, ...paced.figures] }
  },
}

function linesOf(args: readonly string[]): readonly Line[] {
  const at = args.indexOf('--query')
  if (at < 0) return lines
  const names = (args[at + 1] ?? '').split(',')
  const known: readonly string[] = lines.map(({ query }) => query)
  const wrong = names.find(name => !known.includes(name))
  if (wrong === undefined) return lines.filter(({ query }) => names.includes(query))
  throw new Error(`There is no query "${wrong}" in the table: ${[...new Set(known)].join(', ')} are`)
}

function contestantsOf(line: Line, plan: { readonly warmup: number; readonly events: number }, jet: JetPeer | undefined): Contestant[] {
  const { query, light: isLight, guarantee } = line
  const load: Load = { query, light: isLight, guarantee, warmup: plan.warmup, events: plan.events }
  const ours: Contestant = {
    line,
    side: 'nearstate',
    round: () => inSide<RoundResult>('nexmark/speed-side.ts', load),
  }
  return jet?.takes(load) === true ? [ours, { line, side: jet.name, round: () => jet.round(load) }] : [ours]
}

async function inSide<Result>(module: string, load: Load | PacedLoad): Promise<Result> {
  const side = startSide('nearstate', new URL(module, import.meta.url), { nodeOptions: ['--conditions=nearstate-source'] })
  try {
    return await side.call<Result>('round', load)
  } finally {
    await side.stop()
  }
}

/** As `interleave`, but every round begins with a fresh process that warms itself up. */
async function interleaved(contestants: readonly Contestant[], rounds: number): Promise<readonly (readonly RoundResult[])[]> {
  const results: RoundResult[][] = contestants.map(() => [])
  for (let round = 0; round < rounds; round += 1) {
    console.log(`round ${round + 1}`)
    const order = contestants.map((_, index) => index)
    if (round % 2 === 1) order.reverse()
    for (const index of order) results[index]?.push(await (contestants[index] as Contestant).round())
  }
  return results
}

const isPaced = ({ query, light: isLight }: Line): boolean => query === 'q5' && isLight

interface Paced extends Pick<PacedLoad, 'guarantee' | 'getsPerSecond'> {
  readonly bars: { readonly p99?: number; readonly max?: number; readonly gets?: number }
}

const pacedRounds: readonly Paced[] = [
  { guarantee: 'none', getsPerSecond: 0, bars: { p99: 20, max: 60 } },
  { guarantee: 'exactly-once', getsPerSecond: 0, bars: { p99: 50 } },
  { guarantee: 'none', getsPerSecond: 2000, bars: { gets: 10 } },
]

/** At these events per second; undefined: not measured. */
async function latencies(plain: number | undefined, exactlyOnce: number | undefined, seconds: number): Promise<BenchReport> {
  const rows: BenchRow[] = []
  const figures: BenchFigure[] = []
  for (const { guarantee, getsPerSecond, bars } of pacedRounds) {
    const pace = guarantee === 'none' ? plain : exactlyOnce
    if (pace === undefined) continue
    const load: PacedLoad = { guarantee, getsPerSecond, pace: Math.floor(pace), seconds }
    const { windows, gets } = await inSide<PacedRound>('nexmark/paced-side.ts', load)
    const name = `q5 windows at ${formatNumber(pace / 1e6)} M/s, ${guarantee}${getsPerSecond === 0 ? '' : `, ${getsPerSecond} gets/s beside it`}`
    rows.push({ name, side: 'nearstate', value: windows.count, unit: 'windows', p50Ms: windows.p50Ms, p99Ms: windows.p99Ms })
    if (gets.count > 0)
      rows.push({ name: 'gets from 8 clients', side: 'nearstate', value: gets.count, unit: '', p50Ms: gets.p50Ms, p99Ms: gets.p99Ms })
    if (bars.gets !== undefined) figures.push(figure(`${name}: gets p99`, gets.p99Ms, 'ms', { atMost: bars.gets }))
    if (bars.p99 !== undefined) figures.push(figure(`${name}: p99`, windows.p99Ms, 'ms', { atMost: bars.p99 }))
    if (bars.max !== undefined) figures.push(figure(`${name}: worst of ${windows.count}`, windows.maxMs, 'ms', { atMost: bars.max }))
  }
  return { rows, figures }
}

const nameOf = ({ query, light: isLight, guarantee }: Line): string =>
  `${query}, ${isLight ? 'light' : 'full'} events${guarantee === 'none' ? '' : `, ${guarantee}`}`

function reportOf(
  contestants: readonly Contestant[],
  results: readonly (readonly RoundResult[])[],
): { readonly rows: BenchRow[]; readonly figures: BenchFigure[] } {
  const rows: BenchRow[] = []
  const figures: BenchFigure[] = []
  const rates = results.map(rounds => rounds.map(({ perSecond }) => perSecond))
  for (const [i, { line, side }] of contestants.entries()) {
    const { median, min, max } = spreadOf(rates[i] ?? [])
    rows.push({ name: nameOf(line), side, value: median, unit: '/s', min, max })
    const ours = contestants.findIndex(other => other.line === line)
    const expected = results[ours]?.[0]
    for (const { rows: count, checksum } of results[i] ?? []) {
      if (count !== expected?.rows || checksum !== expected.checksum)
        console.log(
          `${nameOf(line)}, ${side}: ${count} rows with checksum ${checksum}, not ${expected?.rows} with ${expected?.checksum} as in the first round`,
        )
    }
    if (ours === i) figures.push(figure(`${nameOf(line)}, per shard`, spreadOf(rates[i] ?? []), '/s', { atLeast: line.bar }))
    else figures.push(figure(`${nameOf(line)}: nearstate / ${side}`, ratioOf(rates[ours] ?? [], rates[i] ?? []), 'x'))
  }
  return { rows, figures }
}
