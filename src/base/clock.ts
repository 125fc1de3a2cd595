/** Time as an input. `nowMs` is monotonic and means nothing outside the process; `wallTimeMs` is what users see. */
export interface Clock {
  nowMs(): number
  wallTimeMs(): number
}

export const systemClock: Clock = { nowMs: () => performance.now(), wallTimeMs: () => Date.now() }

/**
 * Threads must agree to well below a lease's margin, so a thread that is pushed off its core between the two readings, which would keep
 * an offset off by as much, reads again.
 */
function offsetFromBoot(): number {
  let offsetMs = 0
  let bestMs = Number.POSITIVE_INFINITY
  for (let tries = 0; tries < 1000 && bestMs > 0.05; tries += 1) {
    const beforeMs = performance.now()
    const bootMs = Number(process.hrtime.bigint()) / 1e6
    const tookMs = performance.now() - beforeMs
    if (tookMs >= bestMs) continue
    bestMs = tookMs
    offsetMs = bootMs - beforeMs
  }
  return offsetMs
}

const sinceBootMs = offsetFromBoot()

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
