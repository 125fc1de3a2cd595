/**
 * The state of one job's attempt on the partitions that this shard serves: what grid/job-state.ts decides, as writes of their replicas.
 *
 * Owns: one JobState per partition, the epoch that each was opened in, sweeping and tidying in slices.
 * Does not: decide slots and fences (JobState), choose attempts (the master), send (Settling).
 *
 * 1. A partition that was served in another epoch meanwhile, or is not served now, throws UNAVAILABLE: its JobState is void.
 * 2. A barrier is done in a partition when its record is committed and nothing dead of older attempts is left; in an epoch that ended it
 *    is never done.
 */
import type { Clock } from '../../base/clock.ts'
import { NearstateError } from '../../base/errors.ts'
import { beginAttempt, type JobState, type JobStateOptions } from '../../grid/job-state.ts'
import type { PartitionStore } from '../../storage/partition-store.ts'
import type { StateRecord, StateStore } from '../../streaming/ports.ts'
import { okAnswer } from '../answers.ts'
import type { HeldPartition } from '../held-partition.ts'
import type { Partitions } from '../partitions.ts'
import { refusalError } from '../refusals.ts'

export interface StateStoreOptions {
  readonly job: string
  readonly attempt: number
  readonly restore: { readonly attempt: number; readonly n: number }
  readonly partitions: Partitions
  readonly clock: Clock
  /** Calls back after other events had their turn. */
  readonly later: (callback: () => void) => void
}

interface Opened {
  readonly state: JobState
  readonly store: PartitionStore
  readonly epoch: number
}

/** Headers looked at, or tombstones, between two turns of others. */
const sliceRecords = 512

/** Without `savepoint`: copying a checkpoint out is another one's work. */
export class ShardStateStore implements Omit<StateStore, 'savepoint'> {
  readonly #options: StateStoreOptions
  readonly #opened = new Map<number, Opened>()
  readonly #slices: (() => boolean)[] = []
  #isSlicing = false
  #isClosed = false

  constructor(options: StateStoreOptions) {
    this.#options = options
  }

  /**
   * Writes the attempt's start into the log of each partition; `done` comes when all starts are committed. Throws what `beginAttempt`
   * does, and UNAVAILABLE for a partition that is not served here.
   */
  begin(partitions: readonly number[], done: () => void): void {
    let missing = partitions.length
    if (missing === 0) this.#options.later(() => this.#unlessClosed(done))
    for (const partition of partitions) {
      const held = this.#held(partition)
      const state = this.#write(held, () => beginAttempt(this.#stateOptions(held), this.#options.restore))
      this.#opened.set(partition, { state, store: held.replica.store, epoch: held.replica.epoch })
      this.#whenCommitted(held, () => {
        missing -= 1
        if (missing === 0) done()
      })
    }
  }

  /** No callback comes any more. */
  close(): void {
    this.#isClosed = true
    this.#slices.length = 0
  }

  get isFresh(): boolean {
    return this.#options.restore.attempt === 0
  }

  read(partition: number, stage: string, key: Uint8Array): Uint8Array | undefined {
    return this.#open(partition).read(stage, key)
  }

  scan(partition: number, stage: string, from: Uint8Array, to: Uint8Array, limit: number): readonly StateRecord[] {
    return this.#open(partition).scan(stage, from, to, limit)
  }

  restored(partition: number): Uint8Array | undefined {
    return this.#open(partition).restored()
  }

  write(partition: number, stage: string, key: Uint8Array, value: Uint8Array | undefined, n: number): void {
    const state = this.#open(partition)
    this.#write(this.#held(partition), () => state.write(stage, key, value, n))
  }

  endBarrier(partition: number, n: number, value: Uint8Array, done: (error?: NearstateError) => void): void {
    const state = this.#open(partition)
    const held = this.#held(partition)
    this.#write(held, () => state.writeBarrier(n, value))
    this.#inSlices(
      () => {
        const open = this.#open(partition)
        if (!open.isSwept) this.#write(held, () => open.sweep(sliceRecords))
        if (!open.isSwept) return true
        this.#whenCommitted(held, () => done())
        return false
      },
      error => done(error),
    )
  }

  committed(n: number): void {
    for (const [partition, { state }] of this.#opened) {
      state.committed(n)
      this.#inSlices(
        () => {
          const open = this.#open(partition)
          return !this.#write(this.#held(partition), () => open.tidy(sliceRecords))
        },
        // What could not be freed stays until the next attempt sweeps; the attempt hears of its lost partition elsewhere.
        () => {},
      )
    }
  }

  // ---- inside

  #stateOptions(held: HeldPartition): JobStateOptions {
    const { job, attempt, partitions } = this.#options
    const { partition, append, replica } = held
    return { job, partition, attempt, store: replica.store, budget: partitions.budget, append }
  }

  #held(partition: number): HeldPartition {
    const held = this.#options.partitions.find(partition)
    if (held?.isServing === true) return held
    throw this.#gone(partition)
  }

  #open(partition: number): JobState {
    const { replica } = this.#held(partition)
    const opened = this.#opened.get(partition)
    if (opened === undefined || opened.store !== replica.store || opened.epoch !== replica.epoch) throw this.#gone(partition)
    return opened.state
  }

  #gone(partition: number): NearstateError {
    const { job } = this.#options
    return new NearstateError(
      'UNAVAILABLE',
      `Cannot use state of job "${job}" here: partition ${partition} is not served by this shard any more, or not without a break`,
    )
  }

  /** All effects of `act` in one entry. One that throws has written nothing, or what fences: that is kept. */
  #write<T>(held: HeldPartition, act: () => T): T {
    const { clock, partitions } = this.#options
    const { replica } = held
    const nowMs = clock.nowMs()
    const admission = replica.beginWrite(nowMs)
    if (admission.kind === 'refused') throw refusalError(admission.reason)
    const before = replica.applied
    try {
      return act()
    } finally {
      if (replica.applied === before) replica.cancelWrite()
      else replica.finishWrite(nowMs, undefined, okAnswer)
      if (replica.keepsLog) partitions.touch(held)
    }
  }

  #whenCommitted(held: HeldPartition, act: () => void): void {
    held.replica.wait('write', held.replica.applied, { committed: () => this.#unlessClosed(act) })
    this.#options.partitions.touch(held)
  }

  #unlessClosed(act: () => void): void {
    if (!this.#isClosed) act()
  }

  /** `slice` answers whether there is more to do. */
  #inSlices(slice: () => boolean, failed: (error: NearstateError) => void): void {
    this.#slices.push(() => {
      try {
        return slice()
      } catch (thrown) {
        if (!(thrown instanceof NearstateError)) throw thrown
        failed(thrown)
        return false
      }
    })
    this.#askForSlice()
  }

  #askForSlice(): void {
    if (this.#isSlicing || this.#slices.length === 0) return
    this.#isSlicing = true
    this.#options.later(() => {
      this.#isSlicing = false
      const slice = this.#slices.shift()
      if (slice !== undefined && !this.#isClosed && slice()) this.#slices.push(slice)
      this.#askForSlice()
    })
  }
}
