/**
 * The demo's readers: what a shop's web servers would do while the job runs. A few calls are in flight at any time, each for a
 * profile that is known to be there, each measured; an answer that is not that customer's profile fails the demo.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { NearstateError } from '../base/errors.ts'
import { Histogram } from '../base/histogram.ts'
import type { Grid } from '../client/grid.ts'
import { profilesOf } from './demo-figures.ts'

const inFlight = 8
/** Between two calls of a reader: the job needs the processors too. */
const pauseMs = 2
const refreshMs = 500
const knownMax = 2000
/** So many reads are made even if the job ends first. */
const readsMin = 500

export class Readers {
  readonly latencyMs = new Histogram()
  readonly #profiles: ReturnType<typeof profilesOf>
  #known: readonly string[] = []
  #stopping = false
  #failure: unknown
  #done: Promise<void> = Promise.resolve()

  constructor(grid: Grid) {
    this.#profiles = profilesOf(grid)
  }

  start(): void {
    const guarded = (work: Promise<void>): Promise<void> =>
      work.catch((thrown: unknown) => {
        this.#failure ??= thrown
        this.#stopping = true
      })
    const all = [this.#keepLearning(), ...Array.from({ length: inFlight }, (_, reader) => this.#keepReading(reader))]
    this.#done = Promise.all(all.map(guarded)).then(() => undefined)
  }

  /** Resolves when the last reads have been answered; rejects with what went wrong for a reader. */
  async stop(): Promise<void> {
    await this.#learn()
    while (this.#known.length > 0 && this.latencyMs.count < readsMin && this.#failure === undefined) await sleep(5)
    this.#stopping = true
    await this.#done
    if (this.#failure !== undefined) throw this.#failure
  }

  /** Ends without waiting for a last read. */
  abandon(): void {
    this.#stopping = true
  }

  async #keepLearning(): Promise<void> {
    while (!this.#stopping) {
      await this.#learn()
      for (let waited = 0; waited < refreshMs && !this.#stopping; waited += 50) await sleep(50)
    }
  }

  async #learn(): Promise<void> {
    const ids: string[] = []
    for await (const [id] of this.#profiles.scan({ limit: knownMax })) ids.push(id)
    this.#known = ids
  }

  async #keepReading(reader: number): Promise<void> {
    let turn = reader
    while (!this.#stopping) {
      const id = this.#known[(turn * 7919) % Math.max(1, this.#known.length)]
      turn += inFlight
      if (id !== undefined) await this.#readOne(id)
      await sleep(pauseMs)
    }
  }

  async #readOne(id: string): Promise<void> {
    const started = performance.now()
    const profile = await this.#profiles.get(id)
    this.latencyMs.record(performance.now() - started)
    if (profile?.customerId !== id)
      throw new NearstateError(
        'INTERNAL',
        `A read of customer ${id} gave ${profile === undefined ? 'nothing' : 'the profile of another customer'}`,
      )
  }
}
