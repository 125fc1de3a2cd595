/**
 * retail-360 on one thread: CSV in memory -> parser -> operators -> exchange -> entries in the off-heap store. No sockets, no disk.
 * `--data DIR`: the Online Retail files (default: beside the repository; without them lines are generated). `--quick`: short rounds.
 */
import { resolve } from 'node:path'
import { type Benchmark, type BenchRow, figure, spreadOf } from './report.ts'
import type { Pass, Setup } from './retail-side.ts'
import { fullRounds, interleave, quickRounds, startSide } from './rounds.ts'

const parts = ['parsing', 'operators', 'exchange', 'sink', 'rest'] as const

/** Events per second of each pass of a round become one figure: rows over time. */
const rateOf = (passes: readonly Pass[]): number => (sumOf(passes, 'rows') / sumOf(passes, 'ms')) * 1000
const sumOf = (passes: readonly Pass[], name: keyof Pass): number => passes.reduce((sum, pass) => sum + pass[name], 0)

export const benchmark: Benchmark = {
  name: 'retail',
  description: 'retail-360 events per second per shard from files in memory, and where the time goes',
  async run({ args }) {
    const given = args.indexOf('--data')
    const data = given >= 0 ? resolve(args[given + 1] ?? '') : resolve(import.meta.dirname, '../../shared/data/online-retail')
    const plan = args.includes('--quick') ? quickRounds : fullRounds
    const module = new URL('retail-side.ts', import.meta.url)
    const sides = [
      { shards: 1, label: '1 shard', side: startSide('one shard', module) },
      { shards: 2, label: '2 shards on 1 thread', side: startSide('two shards', module) },
    ]
    try {
      for (const { shards, side } of sides) {
        const setup = await side.call<Setup>('setup', { shards, data })
        if (shards === 1) console.log(`${setup.lines.toLocaleString('en-US')} lines, ${(setup.bytes / 1e6).toFixed(1)} MB: ${setup.origin}`)
      }
      const contestants = sides.map(
        ({ side }) =>
          (durationMs: number) =>
            side.call<readonly Pass[]>('round', { durationMs }),
      )
      const results = await interleave(contestants, plan)
      const rows: BenchRow[] = []
      for (const [index, { label }] of sides.entries()) {
        const rounds = results[index] ?? []
        const { median, min, max } = spreadOf(rounds.map(rateOf))
        rows.push({ name: 'events', side: label, value: median, unit: '/s', min, max })
        for (const part of parts) {
          const share = spreadOf(rounds.map(passes => (sumOf(passes, `${part}Ms`) / sumOf(passes, 'ms')) * 100))
          rows.push({ name: `  ${part}`, side: label, value: share.median, unit: '% of time', min: share.min, max: share.max })
        }
      }
      return { rows, figures: [figure('retail-360 events per second per shard', spreadOf((results[0] ?? []).map(rateOf)), '/s')] }
    } finally {
      await Promise.all(sides.map(({ side }) => side.stop()))
    }
  },
}
