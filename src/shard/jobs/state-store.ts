/**
 * The state of one job's attempt on the partitions that this shard serves: what grid/job-state.ts decides, as writes of their replicas.
 *
 * Owns: one JobState per partition, sweeping and tidying in slices.
 * Does not: decide slots and fences (JobState), choose attempts (the master), send (Settling).
 *
 * 1. A partition whose term has ended (tenure.ts) throws UNAVAILABLE: its JobState is void.
 * 2. A barrier is done in a partition when its record is committed and nothing dead of older attempts is left; in a term that ended it
 *    is never done.
 */
import { assert } from '../../base/assert.ts'
import type { Clock } from '../../base/clock.ts'
import { messageOf, NearstateError } from '../../base/errors.ts'
import { SavepointCopy, savepointJob } from '../../grid/job-savepoint.ts'
import { beginAttempt, type JobState, type JobStateOptions } from '../../grid/job-state.ts'
import type { RestorePoint } from '../../streaming/master/record.ts'
import type { StateChange, StateRecord, StateStore } from '../../streaming/ports.ts'
import type { HeldPartition } from '../held-partition.ts'
import type { Partitions } from '../partitions.ts'
import type { Tenure } from '../tenure.ts'
import { writeEffects } from './write-effects.ts'

export interface StateStoreOptions {
  readonly job: string
  readonly attempt: number
  readonly restore: RestorePoint
  readonly partitions: Partitions
  readonly tenure: Tenure
  readonly clock: Clock
  /** Calls back after other events had their turn. */
  readonly later: (callback: () => void) => void
  /** Other events have their turn, and backups that are slow to answer theirs. */
  readonly breathe: () => Promise<void>
}

/** Headers looked at, or tombstones, between two turns of others. */
const sliceRecords = 512
/** An entry of the log ends with the change that passes this: backups take it whole, and no message can hold less. */
const groupBytes = 64 * 1024
const changeOverheadBytes = 64

export class ShardStateStore implements StateStore {
  readonly #options: StateStoreOptions
  readonly #opened = new Map<number, JobState>()
  readonly #slices: (() => boolean)[] = []
  #committed = 0
  #isSlicing = false
  #isClosed = false
  /** The savepoint that is being copied. */
  #copying: string | undefined

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
      this.#opened.set(partition, state)
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

  write(partition: number, stage: string, changes: readonly StateChange[], n: number): void {
    const state = this.#open(partition)
    const held = this.#held(partition)
    let next = 0
    while (next < changes.length) {
      this.#write(held, () => {
        for (let bytes = 0; next < changes.length && bytes < groupBytes; next += 1) {
          const { key, value } = changes[next] as StateChange
          bytes += key.length + (value?.length ?? 0) + changeOverheadBytes
          state.write(stage, key, value, n)
        }
      })
    }
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

  /** The last checkpoint that is known to be committed, for readers of a partition; undefined when its term has ended: others know more. */
  pointIn(partition: number): RestorePoint | undefined {
    const { attempt, restore, tenure } = this.#options
    if (!tenure.holds(partition)) return undefined
    return this.#committed > 0 ? { attempt, n: this.#committed } : restore
  }

  committed(n: number): void {
    this.#committed = Math.max(this.#committed, n)
    for (const [partition, state] of this.#opened) {
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

  savepoint(name: string, n: number, done: (error?: NearstateError) => void): void {
    this.#copying = name
    this.#copyOut(name, n).then(
      () => this.#unlessClosed(done),
      (thrown: unknown) =>
        this.#unlessClosed(() => done(thrown instanceof NearstateError ? thrown : new NearstateError('INTERNAL', messageOf(thrown)))),
    )
  }

  /** `job` is a savepoint by its name as one. What is copied of it stays as it is. */
  giveUpSavepoint(job: string): void {
    if (this.#copying !== undefined && savepointJob(this.#copying) === job) this.#copying = undefined
  }

  // ---- inside

  /** All copies begin at once: nothing may change unseen. */
  async #copyOut(name: string, n: number): Promise<void> {
    const copies = new Map<number, SavepointCopy>()
    try {
      for (const [partition, state] of this.#opened) {
        const held = this.#held(partition)
        const { replica, append } = held
        const options = { id: name, n, partition, state, store: replica.store, budget: this.#options.partitions.budget, append }
        copies.set(
          partition,
          this.#write(held, () => new SavepointCopy(options)),
        )
      }
      for (const [partition, copy] of copies) {
        for (let isDone = false; !isDone; ) {
          await this.#options.breathe()
          if (this.#copying !== name || this.#isClosed) throw new NearstateError('CANCELLED', 'the savepoint was given up')
          isDone = this.#write(this.#held(partition), () => copy.step(sliceRecords))
        }
      }
      const committed = [...copies.keys()].map(
        partition => new Promise<void>(resolve => this.#whenCommitted(this.#held(partition), resolve)),
      )
      await Promise.all(committed)
    } finally {
      for (const copy of copies.values()) copy.close()
      this.giveUpSavepoint(savepointJob(name))
    }
  }

  #stateOptions(held: HeldPartition): JobStateOptions {
    const { job, attempt, partitions } = this.#options
    const { partition, append, replica } = held
    return { job, partition, attempt, store: replica.store, budget: partitions.budget, append }
  }

  #held(partition: number): HeldPartition {
    return this.#options.tenure.held(partition)
  }

  #open(partition: number): JobState {
    this.#held(partition)
    const state = this.#opened.get(partition)
    assert(state !== undefined, `partition ${partition} was not begun`)
    return state
  }

  #write<T>(held: HeldPartition, act: () => T): T {
    const { clock, partitions } = this.#options
    return writeEffects(held, partitions, clock, act)
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
