/**
 * Savepoints in a partition: what a checkpoint holds, copied out under a name of its own, and from there into the state of another run.
 *
 *   checkpoint n of an attempt --SavepointCopy--> a job's row "/id" with its own spaces, in slots (1, 1)
 *                              --SavepointImport--> slots (a, 1) of the run that starts from it: its restore point is (a, 1)
 *
 * Owns: what is copied, and when a copy counts as whole. Does not: apply effects, wait for commits, know a clock (as in job-state.ts).
 *
 * 1. A record is copied before it changes, so the attempt goes on meanwhile.
 * 2. The barrier record is copied last, and the first to go when a savepoint is dropped: a copy that has it is whole.
 * 3. No job has a name that begins with "/".
 */
import { NearstateError } from '../base/errors.ts'
import type { Effect } from '../storage/effect.ts'
import type { MemoryBudget } from '../storage/memory-budget.ts'
import type { PartitionStore } from '../storage/partition-store.ts'
import {
  admitRecord,
  barrierKey,
  barrierStage,
  dropJobState,
  type JobState,
  nextPair,
  type StateRow,
  type StateWatcher,
} from './job-state.ts'
import { decodeJobRow, encodeJobRow, encodeSlot, type JobRow, jobKey, jobSpace, slotAttempt, slotHeaderBytes, slotN } from './state-row.ts'

interface PlaceOptions {
  readonly id: string
  readonly partition: number
  readonly store: PartitionStore
  readonly budget: MemoryBudget
  readonly append: (effect: Effect) => void
}

export interface CopyOptions extends PlaceOptions {
  /** Of the attempt that has committed n, and written nothing for n + 1 yet. */
  readonly state: JobState
  readonly n: number
}

export interface ImportOptions extends PlaceOptions {
  readonly job: string
  /** A number that no attempt of the job has, above all that it had. */
  readonly attempt: number
  /** Stages whose state is left out. */
  readonly without: ReadonlySet<string>
}

/** The name under which a savepoint's copy is kept, and dropped, as a job's state is. */
export const savepointJob = (id: string): string => `/${id}`

const nothing = new Uint8Array(0)

export class SavepointCopy implements StateWatcher {
  readonly #options: CopyOptions
  readonly #row: JobRow
  readonly #stages: readonly string[]
  readonly #barrier: Uint8Array
  #at = 0
  #from: Uint8Array = nothing
  #failure: NearstateError | undefined

  constructor(options: CopyOptions) {
    const { id, n, state, store, partition, append } = options
    const barrier = state.valueAt(barrierStage, barrierKey, n)
    const key = jobKey(savepointJob(id))
    if (barrier === undefined || store.records.find(jobSpace, key) !== undefined)
      throw new NearstateError(
        'CONFLICT',
        `Cannot make savepoint ${id} in partition ${partition}: it has begun, or checkpoint ${n} is gone`,
      )
    this.#options = options
    this.#barrier = new Uint8Array(barrier)
    this.#stages = state.stages.filter(stage => stage !== barrierStage)
    const first = nextPair(store)
    // The lowest pair goes first (2).
    const pairs = [barrierStage, ...this.#stages].map((stage, at) => [stage, first + at] as const)
    this.#row = { attempt: 1, restoreAttempt: 0, restoreN: 0, stages: new Map(pairs) }
    append({ kind: 'putRecord', space: jobSpace, key, value: encodeJobRow(this.#row) })
    state.watch(this)
  }

  /** Copies about so many records more; true: all are copied. Throws RESOURCE_EXHAUSTED. */
  step(limit: number): boolean {
    const { state } = this.#options
    let left = limit
    while (left > 0) {
      if (this.#failure !== undefined) throw this.#failure
      const stage = this.#stages[this.#at]
      if (stage === undefined) {
        this.#put(barrierStage, barrierKey, this.#barrier)
        state.watch(undefined)
        return true
      }
      const { keys, next } = state.keys(stage, this.#from, left)
      for (const key of keys) this.#copy(stage, key)
      left -= keys.length
      this.#from = next ?? nothing
      if (next === undefined) this.#at += 1
    }
    return false
  }

  /** It is given up. */
  close(): void {
    this.#options.state.watch(undefined)
  }

  changing(stage: string, key: Uint8Array): void {
    const at = this.#stages.indexOf(stage)
    if (at < this.#at || (at === this.#at && Buffer.compare(key, this.#from) < 0)) return
    try {
      this.#copy(stage, key)
    } catch (thrown) {
      // The attempt goes on: only the savepoint fails.
      if (!(thrown instanceof NearstateError)) throw thrown
      this.#failure ??= thrown
    }
  }

  #copy(stage: string, key: Uint8Array): void {
    const { state, store, n } = this.#options
    if (store.records.find(2 * this.#pairOf(stage), key) !== undefined) return
    const value = state.valueAt(stage, key, n)
    if (value !== undefined) this.#put(stage, key, value)
  }

  #put(stage: string, key: Uint8Array, value: Uint8Array): void {
    const { budget, id, partition, append } = this.#options
    admitRecord(budget, `copy savepoint ${id}`, partition, key.length + value.length)
    append({ kind: 'putRecord', space: 2 * this.#pairOf(stage), key, value: encodeSlot(1, 1, value) })
  }

  #pairOf(stage: string): number {
    return this.#row.stages.get(stage) as number
  }
}

/**
 * In this order: `isDone` (then nothing else), `clear` until true, `begin`, `next` and `put` until there is no more, `end`. Each of them may
 * be done again after a failure. Throws NOT_FOUND when the savepoint is not whole in the partition, CONFLICT when a newer attempt has begun.
 */
export class SavepointImport {
  readonly #options: ImportOptions
  readonly #key: Uint8Array
  #at = 0
  #from = nothing

  constructor(options: ImportOptions) {
    this.#options = options
    this.#key = jobKey(options.job)
  }

  /** It is here already, or an attempt has begun that could not have without it. */
  get isDone(): boolean {
    const { attempt, store } = this.#options
    const row = this.#row(this.#key)
    if (row === undefined || row.attempt < attempt) return false
    const pair = row.stages.get(barrierStage)
    const slot = pair === undefined ? undefined : store.records.find(2 * pair, barrierKey)
    return row.attempt > attempt || (slot !== undefined && slotAttempt(slot) === attempt && slotN(slot) === 1)
  }

  /** Removes about so many records that earlier runs under the name have left; true: none is left. */
  clear(limit: number): boolean {
    const { store, job, attempt, append } = this.#options
    return dropJobState(store, job, attempt - 1, limit, append)
  }

  begin(): void {
    const { store, attempt, without, append } = this.#options
    const from = this.#source()
    if (this.#row(this.#key) !== undefined) return
    const stages = [...from.stages.keys()].filter(stage => !without.has(stage))
    const first = nextPair(store)
    const row = { attempt, restoreAttempt: 0, restoreN: 0, stages: new Map(stages.map((stage, at) => [stage, first + at])) }
    append({ kind: 'putRecord', space: jobSpace, key: this.#key, value: encodeJobRow(row) })
  }

  /** The next records of one stage, copies; undefined: there are no more. */
  next(limit: number): { readonly stage: string; readonly records: readonly StateRow[] } | undefined {
    const { store } = this.#options
    const from = this.#source()
    const wanted = [...this.#target().stages.keys()].filter(stage => stage !== barrierStage)
    for (; this.#at < wanted.length; this.#at += 1, this.#from = nothing) {
      const stage = wanted[this.#at] as string
      const records: StateRow[] = []
      store.records.scanFrom(2 * (from.stages.get(stage) as number), this.#from, (key, slot) => {
        records.push({ key: new Uint8Array(key), value: new Uint8Array(slot.subarray(slotHeaderBytes)) })
        return records.length < limit
      })
      const last = records.at(-1)
      if (last === undefined) continue
      this.#from = new Uint8Array(last.key.length + 1)
      this.#from.set(last.key)
      return { stage, records }
    }
    return undefined
  }

  put(stage: string, { key, value }: StateRow): void {
    const { budget, job, partition, attempt, append } = this.#options
    const pair = this.#target().stages.get(stage) as number
    admitRecord(budget, `write state of job "${job}"`, partition, key.length + value.length)
    append({ kind: 'putRecord', space: 2 * pair, key, value: encodeSlot(attempt, 1, value) })
  }

  /** Writes the barrier record, made of the savepoint's: from then on checkpoint 1 of the attempt is a restore point. */
  end(of: (barrier: Uint8Array) => Uint8Array): void {
    this.put(barrierStage, { key: barrierKey, value: of(this.#barrier(this.#source())) })
  }

  #row(key: Uint8Array): JobRow | undefined {
    const bytes = this.#options.store.records.find(jobSpace, key)
    return bytes === undefined ? undefined : decodeJobRow(bytes)
  }

  /** Its barrier record goes first when it is dropped: as long as that is there, all that was read was. */
  #source(): JobRow {
    const row = this.#row(jobKey(savepointJob(this.#options.id)))
    if (row === undefined) throw this.#missing()
    this.#barrier(row)
    return row
  }

  #barrier({ stages }: JobRow): Uint8Array {
    const slot = this.#options.store.records.find(2 * (stages.get(barrierStage) as number), barrierKey)
    if (slot === undefined) throw this.#missing()
    return slot.subarray(slotHeaderBytes)
  }

  #target(): JobRow {
    const { job, partition, attempt } = this.#options
    const row = this.#row(this.#key)
    if (row?.attempt === attempt) return row
    throw new NearstateError('CONFLICT', `Cannot start job "${job}" from a savepoint in partition ${partition}: another attempt has begun`)
  }

  #missing(): NearstateError {
    const { job, partition } = this.#options
    return new NearstateError(
      'NOT_FOUND',
      `Cannot start job "${job}": partition ${partition} does not hold the whole savepoint; it was deleted, or lost with its nodes`,
    )
  }
}
