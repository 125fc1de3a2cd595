/**
 * The store against a Map of Buffers: random reads and overwrites a second, the longest pause of the garbage collector, and
 * memory (RSS) per entry, at 3 M entries of 16 + 100 bytes in 240 partitions.
 *
 * `--entries N` and `--quick` check that it works; only the full run counts.
 */
import { type BenchReport, type BenchRow, figure, ratioOf, spreadOf } from './report.ts'
import { fullRounds, interleave, quickRounds, type Side, startSide } from './rounds.ts'

const payloadBytes = 16 + 100

interface Loaded {
  readonly side: Side
  readonly baseRss: number
  readonly seconds: number
  readonly rss: number
  readonly held: number
}

async function loaded(name: string, entries: number): Promise<Loaded> {
  const side = startSide(name, new URL('store-side.ts', import.meta.url), { args: [name] })
  const baseRss = await side.call<number>('warmUp', { entries: Math.min(entries, 100_000) })
  const result = await side.call<{ seconds: number; rss: number; held: number }>('load', { entries })
  return { side, baseRss, ...result }
}

async function run(options: { readonly json: boolean; readonly args: readonly string[] }): Promise<BenchReport> {
  const given = options.args.indexOf('--entries')
  const entries = given === -1 ? 3_000_000 : Number(options.args[given + 1])
  if (!Number.isSafeInteger(entries) || entries < 1)
    throw new Error(`--entries wants a number, such as 3000000; got ${options.args[given + 1]}`)
  const plan = options.args.includes('--quick') ? quickRounds : fullRounds
  const sides = [await loaded('nearstate', entries), await loaded('map', entries)] as const
  const [ours, theirs] = sides
  const contestants = (command: string): ((ms: number) => Promise<number>)[] =>
    sides.map(
      ({ side }) =>
        ms =>
          side.call<number>(command, { ms }),
    )
  const [ourReads = [], theirReads = []] = await interleave(contestants('reads'), plan)
  const pauses = await Promise.all(sides.map(({ side }) => side.call<{ gcLongestMs: number }>('gcLongestMs')))
  const [ourWrites = [], theirWrites = []] = await interleave(contestants('overwrites'), plan)
  await Promise.all(sides.map(({ side }) => side.stop()))

  const perEntry = (of: Loaded): number => (of.rss - of.baseRss) / entries
  const [ourPause, theirPause] = pauses.map(pause => pause.gcLongestMs) as [number, number]
  const names = ['nearstate', 'Map of Buffers'] as const
  const rows = (name: string, unit: string, values: readonly [readonly number[], readonly number[]]): BenchRow[] =>
    values.map((side, i) => {
      const { median, min, max } = spreadOf(side)
      return { name, side: names[i] as string, value: median, unit, ...(side.length > 1 ? { min, max } : {}) }
    })
  return {
    rows: [
      ...rows('random reads', '1/s', [ourReads, theirReads]),
      ...rows('random overwrites', '1/s', [ourWrites, theirWrites]),
      ...rows('load', '1/s', [[entries / ours.seconds], [entries / theirs.seconds]]),
      ...rows('longest GC pause, load and reads', 'ms', [[ourPause], [theirPause]]),
      ...rows('RSS per entry', 'B', [[perEntry(ours)], [perEntry(theirs)]]),
      { name: 'counted by the memory budget per entry', side: names[0], value: ours.held / entries, unit: 'B' },
    ],
    figures: [
      figure('random reads, times a Map of Buffers', ratioOf(ourReads, theirReads), 'x', { atLeast: 2 }),
      figure('longest GC pause, share of a Map of Buffers', ourPause / theirPause, 'x', { atMost: 0.1 }),
      figure('RSS per entry above key and value', perEntry(ours) - payloadBytes, 'B', { atMost: 40 }),
      figure('random overwrites, times a Map of Buffers', ratioOf(ourWrites, theirWrites), 'x'),
    ],
  }
}

export const benchmark = {
  name: 'store',
  description: 'the off-heap store against a Map of Buffers, 3 M entries of 16 + 100 bytes',
  run,
}
