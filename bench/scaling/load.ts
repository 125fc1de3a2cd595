/** The clients of the benchmark, in a process of their own: a load first as fast as it goes, then at a steady pace; half reads, half writes. */
import { randomBytes } from 'node:crypto'
import { present } from '../../src/base/assert.ts'
import { Histogram } from '../../src/base/histogram.ts'
import { seededRandom } from '../../src/base/random.ts'
import { connect } from '../../src/client/connect.ts'
import type { Grid } from '../../src/client/grid.ts'
import { serveSide } from '../rounds.ts'

export interface PacedResult {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

const loadInFlight = 1000
const mostInFlight = 256
const tickMs = 5
const random = seededRandom(7)

class Load {
  readonly #map
  readonly #keys: number
  readonly #values: readonly Buffer[]
  #histogram = new Histogram()
  #sinceMs = performance.now()
  #timer: NodeJS.Timeout | undefined
  #underWay = 0
  failures = 0

  constructor(grid: Grid, keys: number, valueBytes: number) {
    this.#map = grid.map('scaling')
    this.#keys = keys
    this.#values = Array.from({ length: 64 }, () => randomBytes(valueBytes))
  }

  async fill(): Promise<void> {
    let next = 0
    const worker = async (): Promise<void> => {
      while (next < this.#keys) await this.#set(next++)
    }
    await Promise.all(Array.from({ length: loadInFlight }, worker))
  }

  async most(durationMs: number): Promise<number> {
    const until = performance.now() + durationMs
    let calls = 0
    const worker = async (): Promise<void> => {
      for (; performance.now() < until; calls += 1) await this.#any()
    }
    await Promise.all(Array.from({ length: mostInFlight }, worker))
    return (calls * 1000) / durationMs
  }

  pace(perSecond: number): void {
    let due = 0
    let lastMs = performance.now()
    this.#timer = setInterval(() => {
      const nowMs = performance.now()
      due += ((nowMs - lastMs) * perSecond) / 1000
      lastMs = nowMs
      for (; due >= 1; due -= 1) void this.#measured(nowMs)
    }, tickMs)
  }

  take(): PacedResult {
    const histogram = this.#histogram
    const seconds = (performance.now() - this.#sinceMs) / 1000
    this.#histogram = new Histogram()
    this.#sinceMs = performance.now()
    return { perSecond: histogram.count / seconds, p50Ms: histogram.percentile(0.5), p99Ms: histogram.percentile(0.99) }
  }

  async stop(): Promise<number> {
    clearInterval(this.#timer)
    while (this.#underWay > 0) await new Promise(resolve => setTimeout(resolve, 10))
    return this.failures
  }

  /** From the moment that the call was due. */
  async #measured(dueMs: number): Promise<void> {
    this.#underWay += 1
    try {
      await this.#any()
      this.#histogram.record(performance.now() - dueMs)
    } catch (thrown) {
      this.failures += 1
      if (this.failures <= 5) console.error(`a call failed: ${String(thrown)}`)
    } finally {
      this.#underWay -= 1
    }
  }

  #any(): Promise<unknown> {
    const index = (random.next() * this.#keys) | 0
    return random.next() < 0.5 ? this.#map.get(`key:${index}`) : this.#set(index)
  }

  #set(index: number): Promise<void> {
    return this.#map.set(`key:${index}`, this.#values[index % this.#values.length] as Buffer)
  }
}

let load: Load | undefined

serveSide({
  connect: async ({
    endpoints,
    keys,
    valueBytes,
  }: {
    readonly endpoints: string[]
    readonly keys: number
    readonly valueBytes: number
  }) => {
    const grid = await connect({ endpoints })
    load = new Load(grid, keys, valueBytes)
    await load.fill()
  },
  most: async ({ durationMs }: { readonly durationMs: number }) => ({ perSecond: await present(load, 'the load').most(durationMs) }),
  pace: ({ perSecond }: { readonly perSecond: number }) => present(load, 'the load').pace(perSecond),
  take: () => present(load, 'the load').take(),
  stop: async () => ({ failures: await present(load, 'the load').stop() }),
})
