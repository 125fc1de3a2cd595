/**
 * Notices that the machine slept: the time since boot, which counts sleep, parts from the monotonic clock, which does not. Promises
 * held over such a moment are worth nothing.
 *
 * The time since boot comes from /proc/uptime, in hundredths of a second; where there is none (macOS, Windows) nothing is checked.
 */
import { readFileSync } from 'node:fs'
import type { Clock } from '../base/clock.ts'

/** Above the grain of /proc/uptime. */
const partedMs = 20

export class ClockGuard {
  readonly #clock: Clock
  readonly #sinceBootMs: () => number | undefined
  /** Largest difference seen between the two; it only grows when the machine sleeps, but for the grain. */
  #differenceMs = Number.NEGATIVE_INFINITY

  constructor(clock: Clock, sinceBootMs: () => number | undefined = readUptimeMs) {
    this.#clock = clock
    this.#sinceBootMs = sinceBootMs
    // The first looks make up for the grain.
    for (let look = 0; look < 3; look += 1) this.hasSlept()
  }

  /** Whether the machine has slept since the last look. */
  hasSlept(): boolean {
    const bootMs = this.#sinceBootMs()
    if (bootMs === undefined) return false
    // The clock is read after: a pause in between makes the difference smaller, never larger.
    const differenceMs = bootMs - this.#clock.nowMs()
    const known = this.#differenceMs
    if (differenceMs > known) this.#differenceMs = differenceMs
    return known !== Number.NEGATIVE_INFINITY && differenceMs - known >= partedMs
  }
}

function readUptimeMs(): number | undefined {
  try {
    const [seconds] = readFileSync('/proc/uptime', 'utf8').split(' ')
    const ms = Number(seconds) * 1000
    return Number.isFinite(ms) ? ms : undefined
  } catch {
    return undefined // no Linux
  }
}
