/**
 * What a query of windows gives, with when: the newest row only, as one entry of a map; or each window's last row with its latency, from
 * the moment in which the event that ends the window was due.
 *
 * A paced source gives no event before it is due, and some when they are: its start is the earliest that any event tells. What
 * the events say and the rows ask is kept beside the job, so latencies are for jobs on one shard.
 */
import { defineKey, type Stage } from 'nearstate/stream'
import { baseTime } from './generator.ts'
import { WindowEnd } from './keys.ts'

interface Windowed {
  readonly windowEnd: number
}

export interface Latency {
  readonly windowEnd: number
  readonly ms: number
}

export const newestMap = 'nexmark-newest'
export const NewestKey = defineKey('nexmark-newest', 'string')
export const newestKey = 'newest'

export const latencyMap = 'nexmark-latency'

/** An event in so many tells. */
const everyEvents = 256

/** By schedule, of an event source that is paced. */
export class Schedule {
  readonly #eventsPerMs: number
  readonly #rate: number
  #startMs = Number.POSITIVE_INFINITY

  /** Events per second by the wall clock, and by event time. */
  constructor(pace: number, rate: number) {
    this.#eventsPerMs = pace / 1000
    this.#rate = rate
  }

  /** The same events. */
  watch<Event>(eventAt: (n: number) => Event): (n: number) => Event {
    return n => {
      if (n % everyEvents === 0) this.#startMs = Math.min(this.#startMs, performance.now() - n / this.#eventsPerMs)
      return eventAt(n)
    }
  }

  latencyMs(windowEnd: number): number {
    const n = Math.ceil(((windowEnd - baseTime) * this.#rate) / 1000)
    return performance.now() - this.#startMs - n / this.#eventsPerMs
  }
}

export const newestOf = (rows: Stage<unknown>) =>
  rows.map('window ends', row => ({ windowEnd: (row as Windowed).windowEnd })).keyBy('as one', NewestKey, () => newestKey)

export const latenciesOf = (rows: Stage<unknown>, schedule: Schedule) =>
  rows
    .map('latencies', (row): Latency => {
      const { windowEnd } = row as Windowed
      return { windowEnd, ms: schedule.latencyMs(windowEnd) }
    })
    .keyBy('by window end', WindowEnd, ({ windowEnd }) => windowEnd)
