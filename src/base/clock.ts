/** Time as an input. `nowMs` is monotonic and means nothing outside the process; `wallTimeMs` is what users see. */
export interface Clock {
  nowMs(): number
  wallTimeMs(): number
}

export const systemClock: Clock = { nowMs: () => performance.now(), wallTimeMs: () => Date.now() }

const sinceBootMs = Number(process.hrtime.bigint()) / 1e6 - performance.now()

/** Monotonic since the machine's start, the same on all threads of a process: what leases are counted on. */
export const monotonicClock: Clock = { nowMs: () => sinceBootMs + performance.now(), wallTimeMs: () => Date.now() }

/** A clock that moves only when told. */
export class ManualClock implements Clock {
  #nowMs: number
  #wallOffsetMs: number

  constructor(nowMs = 0, wallTimeMs = 1_700_000_000_000) {
    this.#nowMs = nowMs
    this.#wallOffsetMs = wallTimeMs - nowMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  wallTimeMs(): number {
    return this.#nowMs + this.#wallOffsetMs
  }

  advance(ms: number): void {
    this.#nowMs += ms
  }
}
