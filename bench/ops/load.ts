/** The load that every client of the benchmark puts on its server: uniform keys, a fixed number of calls in flight, latencies. */
import { randomBytes } from 'node:crypto'
import { Histogram } from '../../src/base/histogram.ts'
import { seededRandom } from '../../src/base/random.ts'

export interface Load {
  readonly kind: 'get' | 'set'
  readonly inFlight: number
  readonly durationMs: number
}

export interface LoadResult {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

export interface Store {
  get(key: string): Promise<unknown>
  set(key: string, value: Buffer): Promise<unknown>
}

/** 16 bytes. */
const keyOf = (index: number): string => `key:${String(index).padStart(12, '0')}`
const valueBytes = 100
const valueCount = 1024
const preloadInFlight = 2000

export class Driver {
  readonly #store: Store
  readonly #keys: string[] = []
  readonly #values = Array.from({ length: valueCount }, () => randomBytes(valueBytes))
  readonly #random = seededRandom(42)

  constructor(store: Store) {
    this.#store = store
  }

  async preload(count: number): Promise<void> {
    for (let i = 0; i < count; i += 1) this.#keys.push(keyOf(i))
    let next = 0
    const worker = async (): Promise<void> => {
      while (next < count) {
        const index = next++
        await this.#store.set(this.#keys[index] as string, this.#values[index % valueCount] as Buffer)
      }
    }
    await Promise.all(Array.from({ length: preloadInFlight }, worker))
  }

  async run({ kind, inFlight, durationMs }: Load): Promise<LoadResult> {
    const histogram = new Histogram()
    const begun = performance.now()
    const until = begun + durationMs
    const worker = kind === 'get' ? this.#gets : this.#sets
    await Promise.all(Array.from({ length: inFlight }, () => worker(until, histogram)))
    const seconds = (performance.now() - begun) / 1000
    return { perSecond: histogram.count / seconds, p50Ms: histogram.percentile(0.5), p99Ms: histogram.percentile(0.99) }
  }

  readonly #gets = async (until: number, histogram: Histogram): Promise<void> => {
    for (let at = performance.now(); at < until; ) {
      const value = await this.#store.get(this.#anyKey())
      if (!(value instanceof Uint8Array) || value.length !== valueBytes) throw new Error('a preloaded key has another value')
      const now = performance.now()
      histogram.record(now - at)
      at = now
    }
  }

  readonly #sets = async (until: number, histogram: Histogram): Promise<void> => {
    for (let at = performance.now(); at < until; ) {
      await this.#store.set(this.#anyKey(), this.#values[(this.#random.next() * valueCount) | 0] as Buffer)
      const now = performance.now()
      histogram.record(now - at)
      at = now
    }
  }

  #anyKey(): string {
    return this.#keys[(this.#random.next() * this.#keys.length) | 0] as string
  }
}
