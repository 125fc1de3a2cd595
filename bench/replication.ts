/**
 * What a synchronous backup costs: sets per second on two nodes with `backups: 1` against `backups: 0`, and against redis-server
 * with one replica and `WAIT 1 0` after each pipelined batch of 64. Same machine, same run, interleaved; 100-byte values.
 * `--quick`: short rounds over fewer keys.
 */
import { startDevCluster } from '../src/node/dev.ts'
import { type Benchmark, type BenchRow, figure, ratioOf, spreadOf } from './report.ts'
import { fullRounds, interleave, quickRounds, startSide, type Side } from './rounds.ts'
import type { LoadResult } from './ops/load.ts'
import { startRedis } from './ops/redis-server.ts'

const inFlight = 1024

export const benchmark: Benchmark = {
  name: 'replication',
  description: 'sets per second with a synchronous backup, against none, and against Redis with WAIT 1',
  run: async ({ args }) => {
    const quick = args.includes('--quick')
    const keys = quick ? 50_000 : 300_000
    const stops: (() => Promise<void>)[] = []
    try {
      const side = (name: string, file: string): Side => {
        const started = startSide(name, new URL(file, import.meta.url))
        stops.push(() => started.stop())
        return started
      }
      const nearstate = async (backups: number): Promise<Side> => {
        const flags = ['--backups', String(backups)]
        const cluster = await startDevCluster({ nodes: 2, shards: 1, port: 0, logLevel: 'error', flags })
        stops.push(() => cluster.stop())
        const client = side(`nearstate, backups ${backups}`, 'ops/nearstate-client.ts')
        await client.call('connect', { endpoint: cluster.endpoints[0], keys })
        return client
      }
      const primary = await startRedis()
      stops.push(() => primary.stop())
      const replica = await startRedis(primary.port)
      stops.push(() => replica.stop())
      const redis = side('redis, WAIT 1', 'ops/redis-wait-client.ts')
      await redis.call('connect', { port: primary.port, keys })
      const alone = await nearstate(0)
      const backed = await nearstate(1)
      const sides = [alone, backed, redis]
      const results = await interleave(
        sides.map(
          one =>
            (durationMs: number): Promise<LoadResult> =>
              one.call('run', { kind: 'set', inFlight, durationMs }),
        ),
        quick ? quickRounds : fullRounds,
        round => console.log(`round ${round + 1}`),
      )
      const of = (one: Side): readonly LoadResult[] => results[sides.indexOf(one)] ?? []
      const perSecond = (one: Side): number[] => of(one).map(result => result.perSecond)
      const rows = sides.map((one): BenchRow => {
        const { median, min, max } = spreadOf(perSecond(one))
        const p50Ms = spreadOf(of(one).map(result => result.p50Ms)).median
        const p99Ms = spreadOf(of(one).map(result => result.p99Ms)).median
        return { name: `set, ${inFlight} in flight`, side: one.name, value: median, unit: '/s', min, max, p50Ms, p99Ms }
      })
      return {
        rows,
        figures: [
          figure('sets: backups 1 / backups 0', ratioOf(perSecond(backed), perSecond(alone)), 'x', { atLeast: 0.4 }),
          figure('sets: backups 1 / redis with WAIT 1', ratioOf(perSecond(backed), perSecond(redis)), 'x', { atLeast: 1.5 }),
        ],
      }
    } finally {
      for (const stop of stops.reverse()) await stop()
    }
  },
}
