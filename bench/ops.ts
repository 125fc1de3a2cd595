/**
 * Gets and sets of a client of a one-node, one-shard Nearstate against ioredis with auto-pipelining and redis-server: same
 * machine, same run, interleaved. And what a lone call costs above a bare gRPC stream that echoes.
 * `--quick` runs short rounds over fewer keys, to see that it works.
 */
import { type Benchmark, type BenchReport, type BenchRow, figure, ratioOf, spreadOf } from './report.ts'
import { fullRounds, interleave, quickRounds, type Side, startSide } from './rounds.ts'
import type { Load, LoadResult } from './ops/load.ts'
import { startRedis } from './ops/redis-server.ts'

interface Contest {
  readonly name: string
  readonly side: Side
  readonly load: Omit<Load, 'durationMs'>
}

const module = (name: string): URL => new URL(`ops/${name}.ts`, import.meta.url)

export const benchmark: Benchmark = {
  name: 'ops',
  description: 'gets and sets per second at 1, 64 and 1024 calls in flight, against redis-server with ioredis',
  run: async ({ args }) => {
    const quick = args.includes('--quick')
    const keys = quick ? 100_000 : 1_000_000
    const redisServer = await startRedis()
    console.log(`redis-server ${redisServer.version}, ${keys} keys of 16 bytes, values of 100 bytes`)
    const sides: Side[] = []
    const side = (name: string, file: string): Side => {
      const started = startSide(name, module(file))
      sides.push(started)
      return started
    }
    try {
      const server = side('nearstate server', 'nearstate-server')
      const nearstate = side('nearstate', 'nearstate-client')
      const redis = side('redis', 'redis-client')
      const echoServer = side('echo server', 'echo-server')
      const echo = side('grpc echo', 'echo-client')
      const { endpoint } = await server.call<{ endpoint: string }>('start')
      await nearstate.call('connect', { endpoint, keys })
      await redis.call('connect', { port: redisServer.port, keys })
      await echo.call('connect', await echoServer.call('start'))
      return await contest(nearstate, redis, echo, quick)
    } finally {
      await Promise.all(sides.map(started => started.stop()))
      await redisServer.stop()
    }
  },
}

async function contest(nearstate: Side, redis: Side, echo: Side, quick: boolean): Promise<BenchReport> {
  const contests: Contest[] = [{ name: 'echo, 1 in flight', side: echo, load: { kind: 'get', inFlight: 1 } }]
  for (const inFlight of [1, 64, 1024]) {
    for (const kind of ['get', 'set'] as const) {
      for (const side of [nearstate, redis]) contests.push({ name: `${kind}, ${inFlight} in flight`, side, load: { kind, inFlight } })
    }
  }
  const results = await interleave(
    contests.map(
      ({ side, load }) =>
        (durationMs: number) =>
          side.call<LoadResult>('run', { ...load, durationMs }),
    ),
    quick ? quickRounds : fullRounds,
    round => console.log(`round ${round + 1}`),
  )
  const of = (side: Side, name: string): LoadResult[] =>
    results[contests.findIndex(contest => contest.side === side && contest.name === name)] ?? []
  const perSecond = (side: Side, name: string): number[] => of(side, name).map(result => result.perSecond)
  const p50 = (side: Side, name: string): number[] => of(side, name).map(result => result.p50Ms)

  const rows = contests.map(({ name, side }): BenchRow => {
    const { median, min, max } = spreadOf(perSecond(side, name))
    const p50Ms = spreadOf(p50(side, name)).median
    const p99Ms = spreadOf(of(side, name).map(result => result.p99Ms)).median
    return { name, side: side.name, value: median, unit: '/s', min, max, p50Ms, p99Ms }
  })
  const against = (name: string, atLeast: number) =>
    figure(`${name}: nearstate / redis`, ratioOf(perSecond(nearstate, name), perSecond(redis, name)), 'x', { atLeast })
  const floor = p50(echo, 'echo, 1 in flight')
  const figures = [
    against('get, 1024 in flight', 3),
    against('set, 1024 in flight', 3),
    against('get, 64 in flight', 1.3),
    against('set, 64 in flight', 1.3),
    figure('get, 1 in flight, p50: nearstate / grpc echo', ratioOf(p50(nearstate, 'get, 1 in flight'), floor), 'x', { atMost: 1.25 }),
    figure('set, 1 in flight, p50: nearstate / grpc echo', ratioOf(p50(nearstate, 'set, 1 in flight'), floor), 'x', { atMost: 1.25 }),
    figure('grpc echo / redis get, p50', ratioOf(floor, p50(redis, 'get, 1 in flight')), 'x'),
    figure('get, 1 in flight, p50: nearstate / redis', ratioOf(p50(nearstate, 'get, 1 in flight'), p50(redis, 'get, 1 in flight')), 'x'),
  ]
  return { rows, figures }
}
