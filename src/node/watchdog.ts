/**
 * Stops user code that runs for too long, from the control thread (protocols.md section 8).
 *
 * Owns: looking at the shards' call cells, measuring CPU time, sending terminations. Does not: decide (watchdog-judge.ts), say
 * what happens to the call that was cut off (the shard does, in its next turn).
 *
 * A call is stopped at most two looks after its CPU time has passed the limit; a look is a fifth of the limit, at most 50 ms.
 * What cannot be interrupted is a single native step (sorting with the built-in order, JSON of a huge value, BigInt powers): it is
 * cut off when it returns. A shard whose heap is exhausted dies, and takes its node down: no watchdog helps there.
 */
import type { Worker } from 'node:worker_threads'
import { type CallCell, callCellOver, currentCall, currentTurn, markForStop } from '../shard/user-code/call-cell.ts'
import { leaseStopper, type StopperLease } from './execution-stopper.ts'
import { WatchdogJudge } from './watchdog-judge.ts'

export interface WatchedWorker {
  readonly worker: Worker
  /** The one that the worker has in ShardStart. */
  readonly callCell: SharedArrayBuffer
}

export interface WatchdogOptions {
  readonly timeLimitMs: number
  readonly workers: readonly WatchedWorker[]
  /** The shard at this index of `workers` runs microtasks without end and cannot be stopped: terminate it. Called once. */
  readonly onGivenUp: (index: number) => void
  /** A termination could not be sent; it is tried again at the next look. */
  readonly onTrouble: (index: number, message: string) => void
}

export class Watchdog {
  readonly #options: WatchdogOptions
  readonly #watches: readonly WorkerWatch[]
  #timer: NodeJS.Timeout | undefined
  #stopper: StopperLease | undefined
  #stopped = false

  constructor(options: WatchdogOptions) {
    this.#options = options
    this.#watches = options.workers.map((watched, index) => new WorkerWatch(watched, index, options))
  }

  /** Settles when user code is watched: let none be called before. */
  async start(): Promise<void> {
    const stopper = await leaseStopper()
    if (this.#stopped) return stopper.release()
    this.#stopper = stopper
    const lookIntervalMs = lookIntervalOf(this.#options.timeLimitMs)
    this.#timer = setInterval(() => {
      for (const watch of this.#watches) watch.look(stopper)
    }, lookIntervalMs)
    this.#timer.unref()
  }

  /** User code must not run any more, or nothing stops it. */
  stop(): void {
    this.#stopped = true
    clearInterval(this.#timer)
    this.#stopper?.release()
    this.#stopper = undefined
  }

  /** Calls that were cut off since the start. */
  get stopCount(): number {
    return this.#watches.reduce((sum, watch) => sum + watch.stopCount, 0)
  }
}

const lookIntervalOf = (timeLimitMs: number): number => Math.min(50, Math.max(1, timeLimitMs / 5))

class WorkerWatch {
  readonly #worker: Worker
  readonly #cell: CallCell
  readonly #index: number
  readonly #options: WatchdogOptions
  readonly #judge: WatchdogJudge
  #measuring = false
  #sending = false
  /** Marked, and the termination was refused: to be sent again. */
  #owed = false
  #givenUp = false
  stopCount = 0

  constructor({ worker, callCell }: WatchedWorker, index: number, options: WatchdogOptions) {
    this.#worker = worker
    this.#cell = callCellOver(callCell)
    this.#index = index
    this.#options = options
    const { timeLimitMs } = options
    this.#judge = new WatchdogJudge({
      timeLimitMs,
      // 40 times the limit on the wall, but not below 10 s: a shard that only waits hurts nobody else on the machine.
      blockedLooksMax: Math.ceil(Math.max(10_000, 40 * timeLimitMs) / lookIntervalOf(timeLimitMs)),
      turnLimitMs: Math.max(2500, 10 * timeLimitMs),
    })
  }

  look(stopper: StopperLease): void {
    // Its worker has ended: whoever owns it is told by its exit.
    if (this.#worker.threadId === -1) return
    const call = currentCall(this.#cell)
    const turn = currentTurn(this.#cell)
    if (this.#owed && call < 0) this.#send(stopper)
    const verdict = this.#judge.look(call, turn)
    if (verdict === 'stop') this.#stop(call, stopper)
    else if (verdict === 'askCpu') this.#measure(call, turn, stopper)
  }

  #measure(call: number, turn: number, stopper: StopperLease): void {
    // A worker inside a native step answers when that returns; there is never more than one question under way.
    if (this.#measuring) return
    this.#measuring = true
    this.#worker.cpuUsage().then(
      ({ user, system }) => {
        this.#measuring = false
        if (currentCall(this.#cell) !== call || currentTurn(this.#cell) !== turn) return
        const verdict = this.#judge.measured(call, turn, (user + system) / 1000)
        if (verdict === 'stop') this.#stop(call, stopper)
        if (verdict === 'giveUp') this.#giveUp()
      },
      () => {
        // The worker has ended meanwhile.
        this.#measuring = false
      },
    )
  }

  #stop(call: number, stopper: StopperLease): void {
    if (!markForStop(this.#cell, call)) return
    this.stopCount += 1
    this.#send(stopper)
  }

  #send(stopper: StopperLease): void {
    if (this.#sending) return
    this.#sending = true
    void stopper.terminate(this.#worker.threadId).then(error => {
      this.#sending = false
      this.#owed = error !== undefined && this.#worker.threadId !== -1
      if (this.#owed) this.#options.onTrouble(this.#index, `Cannot stop a call: ${error}`)
    })
  }

  #giveUp(): void {
    if (this.#givenUp) return
    this.#givenUp = true
    this.#options.onGivenUp(this.#index)
  }
}
