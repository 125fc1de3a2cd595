/** Sinks other than maps, and sinks and sources of the author. */
import { describe, expect, it } from 'vitest'
import { collect, defineJob, defineKey, sum, defineSink, defineSource, filesSink, generator, type Job, type Sink } from 'nearstate/stream'
import { type TestJob, testJob } from 'nearstate/testing'
import { randomInteger, seededRandom } from '../../../src/base/random.ts'

const into = (sink: Sink<number>): Job<undefined> =>
  defineJob('job', flow => flow.source('rows', generator({ events: n => n })).sink('out', sink)) as Job<undefined>

const soon = (): Promise<void> => new Promise(resolve => void setImmediate(resolve))
const numbers = Array.from({ length: 60 }, (_, n) => n)
const byNumber = (a: unknown, b: unknown): number => Number(a) - Number(b)

let crashesDone = 0

/** Feeds the numbers while checkpoints are taken and given up and the job crashes, until it has completed. */
async function hostile(job: Job<undefined>, seed: number): Promise<TestJob> {
  const random = seededRandom(seed)
  const test = await testJob(job, { splits: 2, seed, manual: true, unitRows: 3, shards: 1 + (seed % 3) })
  for (const n of numbers) test.source('rows').push([n], { split: n % 2 })
  test.end()
  let crashes = 5
  for (let turns = 0; turns < 20_000 && test.status === 'running'; turns += 1) {
    if (random.next() < 0.1) test.beginCheckpoint()
    if (crashes > 0 && random.next() < 0.04) {
      crashes -= 1
      test.crash({ shards: 1 + randomInteger(random, 3) })
    }
    if (!test.step() || random.next() < 0.1) await soon()
  }
  expect(test.status).toBe('completed')
  crashesDone += 5 - crashes
  return test
}

const seeds = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]

describe.each([
  ['files', () => filesSink({ path: '/shared' })],
  ['collect', () => collect()],
] as const)('a sink of kind %s', (_, sink) => {
  it('shows rows when their checkpoint is committed, and each once whatever crashes', async () => {
    const test = await testJob(into(sink()))
    test.source('rows').push([1, 2])
    expect(test.outputOf('out')).toEqual([])
    await test.checkpoint()
    expect(test.outputOf('out')).toEqual([1, 2])
    test.source('rows').push([3])
    test.crash()
    await test.checkpoint()
    expect(test.outputOf('out')).toEqual([1, 2, 3])
    for (const seed of seeds)
      expect([...(await hostile(into(sink()), seed)).outputOf('out')].sort(byNumber), `seed ${seed}`).toEqual(numbers)
  })
})

it('collects as many rows as there are between two checkpoints, also behind an exchange', async () => {
  const Parity = defineKey('parity', 'int64')
  const job = defineJob('job', flow => {
    flow
      .source('rows', generator({ events: n => n }))
      .keyBy('by parity', Parity, n => n % 2)
      .sink('out', collect())
  })
  const test = await testJob(job, { shards: 2 })
  const many = Array.from({ length: 150_000 }, (_, n) => n)
  test.source('rows').push(many)
  await test.checkpoint()
  expect(test.outputOf('out')).toHaveLength(many.length)
})

describe('a map sink that is visible on checkpoints', () => {
  const Parity = defineKey('parity', 'int64')
  const held = (visible: 'atOnce' | 'onCheckpoint' = 'onCheckpoint') =>
    defineJob('job', flow => {
      flow
        .source('rows', generator({ events: n => n }))
        .keyBy('by rest', Parity, n => n % 6)
        .aggregate('sums', { sum: sum(n => n) })
        .map('sum', s => s.sum)
        .sink('out', flow.map<typeof Parity>('sums', Parity), { visible })
    }) as Job<undefined>

  it('shows the last value of a key when its checkpoint is committed, also after a crash right then', async () => {
    const test = await testJob(held(), { manual: true })
    const sums = test.map<number, number>('sums')
    test.source('rows').push([1, 7])
    test.run()
    expect(sums.size).toBe(0)
    await test.checkpoint()
    expect(sums.get(1)).toBe(8)
    test.source('rows').push([13])
    test.run()
    expect(sums.get(1)).toBe(8)
    test.crash({ shards: 2 })
    test.run()
    expect(sums.get(1)).toBe(8)
    await test.checkpoint()
    expect(sums.get(1)).toBe(21)
  })

  it('comes to what a sink at once comes to, whatever crashes, and never shows what a crash takes back', async () => {
    const expected = [...(await hostile(held('atOnce'), 1)).map('sums').entries()].sort()
    expect(expected).toHaveLength(6)
    for (const seed of seeds) expect([...(await hostile(held(), seed)).map('sums').entries()].sort(), `seed ${seed}`).toEqual(expected)
  })

  it('is refused without checkpoints', async () => {
    await expect(testJob(held(), { guarantee: 'none' })).rejects.toThrow(/stage "out" writes with checkpoints/)
  })
})

describe('without checkpoints', () => {
  it('files are there about once a second, and at the end', async () => {
    const test = await testJob(into(filesSink({ path: '/shared' })), { guarantee: 'none' })
    test.source('rows').push([1])
    test.pass('2s')
    expect(test.outputOf('out')).toEqual([1])
    test.source('rows').push([2])
    test.end()
    expect(test.outputOf('out')).toEqual([1, 2])
    expect(test.status).toBe('completed')
  })

  it('nothing is collected, which is said', async () => {
    await expect(testJob(into(collect()), { guarantee: 'none' })).rejects.toThrow(
      /stage "out" collects rows, which are kept with checkpoints/,
    )
  })
})

describe('a sink of the author', () => {
  it('is given batches, one call after the other, and stops the job when it fails', async () => {
    const calls: (readonly number[])[] = []
    let isFailing = false
    const sink = defineSink<number>({
      async write(rows, call, { stage, task }) {
        expect([stage, task]).toEqual(['out', 'shard-0'])
        await call.fetch('https://store.example', { body: JSON.stringify(rows) })
        if (isFailing) throw new Error('store is full')
        calls.push(rows)
      },
    })
    const test = await testJob(into(sink), { fetch: () => ({}) })
    test.source('rows').push(Array.from({ length: 1200 }, (_, n) => n))
    await test.checkpoint() // waits until all is out
    expect(calls.every(rows => rows.length <= 500)).toBe(true)
    expect(calls.flat()).toEqual(Array.from({ length: 1200 }, (_, n) => n))
    isFailing = true
    test.source('rows').push([1])
    await expect(test.checkpoint()).rejects.toThrow(/Stage "out" failed: store is full/)
  })

  it('has failed also when it rejects with nothing', async () => {
    const nothing: unknown = undefined
    const test = await testJob(into(defineSink({ write: () => Promise.reject(nothing) })))
    test.source('rows').push([1])
    await expect(test.checkpoint()).rejects.toThrow(/Stage "out" failed: threw undefined/)
  })

  it('writes what it has before a barrier is answered, so that nothing is missing after a crash', async () => {
    for (const seed of seeds) {
      const seen = new Set<number>()
      const sink = defineSink<number>({
        async write(rows) {
          await soon()
          for (const row of rows) seen.add(row)
        },
      })
      await hostile(into(sink), seed)
      expect([...seen].sort(byNumber)).toEqual(numbers)
    }
  })

  it('commits what it has prepared exactly once, whatever crashes', async () => {
    for (const seed of seeds) {
      const prepared = new Map<string, readonly number[]>()
      const visible = new Map<string, readonly number[]>()
      const ended: number[] = []
      const sink = defineSink<number>({
        async prepare(rows, _call, { attempt, task }) {
          await soon()
          const handle = `${attempt}/${task}/${prepared.size}`
          prepared.set(handle, rows)
          return handle
        },
        async commit(handle) {
          await soon()
          visible.set(handle, prepared.get(handle) ?? [])
        },
        async endOthers(_call, { attempt }) {
          ended.push(attempt)
        },
      })
      const test = await hostile(into(sink), seed)
      expect([...visible.values()].flat().sort(byNumber), `seed ${seed}`).toEqual(numbers)
      expect(crashesDone).toBeGreaterThan(0)
      expect(ended.at(-1) ?? 1).toBe(test.attempt)
    }
  })

  it('is either one that writes or one that commits', () => {
    expect(() => defineSink({ write: async () => undefined, commit: async () => undefined } as never)).toThrow(
      /either the function write, or prepare and commit/,
    )
    expect(() => defineSink({ wrte: async () => undefined } as never)).toThrow(/no option "wrte"/)
    expect(() => filesSink({ path: '' })).toThrow(/path must name a directory/)
  })
})

describe('a source of the author', () => {
  it('is fed by hand like any other', async () => {
    const source = defineSource({ read: async () => ({ rows: [1], next: undefined }) })
    const test = await testJob(defineJob('job', flow => void flow.source('rows', source).map('out', n => n + 1)))
    test.source('rows').push([5])
    expect(test.rowsOf('out')).toEqual([6])
  })

  it('is refused with splits of one name, or without read', () => {
    expect(() => defineSource({ read: async () => ({ rows: [], next: 0 }), splits: ['a', 'a'] })).toThrow(/different names/)
    expect(() => defineSource({} as never)).toThrow(/read must be a function/)
  })
})
