/**
 * Judges one shard's user code by what the control thread sees of it: call number, turn number, CPU time of the worker.
 *
 * Decides when a call is to be stopped and when a shard is given up. Pure: looks and figures come in, verdicts go out.
 *
 * 1. The same call number with more than `timeLimitMs` of CPU between two looks is stopped. CPU, not the wall: a worker that the
 *    machine did not let run has done nothing wrong.
 * 2. A call that uses no CPU but does not return (Atomics.wait) is stopped after `blockedLooksMax` looks. Looks, not time: while
 *    the whole process is paused nobody looks.
 * 3. No call runs, but the turn in which one ran does not end: microtasks that user code left behind run on and on. A termination
 *    there would also throw away promises of the shard's own code, so the shard is given up instead.
 */
export type Verdict = 'fine' | 'askCpu' | 'stop' | 'giveUp'

export interface JudgeLimits {
  readonly timeLimitMs: number
  readonly blockedLooksMax: number
  readonly turnLimitMs: number
}

export class WatchdogJudge {
  readonly #limits: JudgeLimits
  #call = 0
  #turn = 0
  #looks = 0
  #cpuAtFirstLookMs: number | undefined

  constructor(limits: JudgeLimits) {
    this.#limits = limits
  }

  /** One look. `askCpu`: measure the worker's CPU time and say it in `measured`. */
  look(call: number, turn: number): Verdict {
    const same = call === this.#call && turn === this.#turn
    if (!same || (call === 0 && turn === 0)) {
      this.#call = call
      this.#turn = turn
      this.#looks = 0
      this.#cpuAtFirstLookMs = undefined
      return 'fine'
    }
    if (call < 0) return 'fine'
    this.#looks += 1
    return call > 0 && this.#looks >= this.#limits.blockedLooksMax ? 'stop' : 'askCpu'
  }

  /** The worker's CPU time since its start, measured while `call` and `turn` stood in the cell. */
  measured(call: number, turn: number, cpuMs: number): Verdict {
    if (call !== this.#call || turn !== this.#turn) return 'fine'
    if (this.#cpuAtFirstLookMs === undefined) {
      this.#cpuAtFirstLookMs = cpuMs
      return 'fine'
    }
    const usedMs = cpuMs - this.#cpuAtFirstLookMs
    if (call > 0) return usedMs > this.#limits.timeLimitMs ? 'stop' : 'fine'
    return usedMs > this.#limits.turnLimitMs ? 'giveUp' : 'fine'
  }
}
