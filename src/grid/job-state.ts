/**
 * The state of one job's attempt on one partition, as effects: rules of streaming/ports.ts and protocols.md section 7.
 *
 * Owns: fences of starts, validity of slots, which slot a write takes, what may be freed. Does not: apply effects (`append` does, at
 * once), wait for commits, know a clock.
 *
 * 1. Whoever finds a newer attempt's start in the partition, its own or one that a primary sent, is refused with CONFLICT.
 * 2. All of a record's slots go oldest first, each by an effect of its own: a log that ends between them must not bring an old value
 *    back from behind a tombstone.
 * 3. What is walked (dead slots, tombstones, a dropped job) is walked in slices.
 */
import { NearstateError } from '../base/errors.ts'
import type { Effect } from '../storage/effect.ts'
import type { MemoryBudget } from '../storage/memory-budget.ts'
import type { PartitionStore } from '../storage/partition-store.ts'
import { keysOfPair } from './record-pages.ts'
import {
  attemptOfRow,
  decodeJobRow,
  encodeJobRow,
  encodeSlot,
  isNewerSlot,
  type JobRow,
  jobKey,
  jobSpace,
  slotAttempt,
  slotHeaderBytes,
  slotIsTombstone,
  slotN,
} from './state-row.ts'

export interface JobStateOptions {
  readonly job: string
  readonly partition: number
  readonly attempt: number
  readonly store: PartitionStore
  readonly budget: MemoryBudget
  readonly append: (effect: Effect) => void
}

export interface StateRow {
  readonly key: Uint8Array
  readonly value: Uint8Array
}

/** A stage name that no stage has. */
export const barrierStage = ''
export const barrierKey = Uint8Array.of(0)
/** Keys begin with the number of a table, which is lower. */
const behindAll = Uint8Array.of(0xff)
const nothing = new Uint8Array(0)
/** A record can make its block longer by about this much. */
const blockGrowthBytes = 20 * 1024

/** What is copied out of an attempt while it goes on. */
export interface StateWatcher {
  /** Before a record changes. */
  changing(stage: string, key: Uint8Array): void
}

interface Tombstone {
  readonly pair: number
  readonly key: Uint8Array
}

export class JobState {
  readonly #options: JobStateOptions
  readonly #key: Uint8Array
  #row: JobRow
  /** The position up to which no other attempt has begun. */
  #checkedAt = -1
  #committed = 0
  #tombstones: Tombstone[] = []
  #sweptTo: { readonly space: number; readonly from: Uint8Array } | undefined = { space: 0, from: nothing }
  #watcher: StateWatcher | undefined

  /** An attempt that `beginAttempt` started here. */
  constructor(options: JobStateOptions) {
    this.#options = options
    this.#key = jobKey(options.job)
    this.#row = { attempt: 0, restoreAttempt: 0, restoreN: 0, stages: new Map() }
    this.#check()
    if (this.#row.attempt !== options.attempt) throw this.#refusal(this.#row.attempt)
  }

  /** Newest slot that is valid or of this attempt. A view, valid until the next write. */
  read(stage: string, key: Uint8Array): Uint8Array | undefined {
    this.#check()
    return this.#valueOf(this.#row.stages.get(stage), key, true)
  }

  /** Records with from <= key < to that hold a value, in order, at most `limit`; copies. */
  scan(stage: string, from: Uint8Array, to: Uint8Array, limit: number): readonly StateRow[] {
    this.#check()
    const found: StateRow[] = []
    const pair = this.#row.stages.get(stage)
    let cursor: Uint8Array | undefined = pair === undefined ? undefined : from
    while (cursor !== undefined && found.length < limit) {
      const page = keysOfPair(this.#options.store.records, pair as number, cursor, to, limit)
      for (const key of page.keys) {
        if (found.length === limit) break
        const value = this.#valueOf(pair, key, true)
        if (value !== undefined) found.push({ key, value: new Uint8Array(value) })
      }
      cursor = page.next
    }
    return found
  }

  /** Told of every record before it changes; undefined: nobody is any more. */
  watch(watcher: StateWatcher | undefined): void {
    this.#watcher = watcher
  }

  /** Stages that have records. */
  get stages(): readonly string[] {
    this.#check()
    return [...this.#row.stages.keys()]
  }

  /** Keys of a stage's records from `from` on, whatever they hold; `next`: where to go on. */
  keys(stage: string, from: Uint8Array, limit: number): { readonly keys: readonly Uint8Array[]; readonly next: Uint8Array | undefined } {
    this.#check()
    const pair = this.#row.stages.get(stage)
    return pair === undefined ? { keys: [], next: undefined } : keysOfPair(this.#options.store.records, pair, from, behindAll, limit)
  }

  /** What checkpoint n of this attempt holds, if none of its slots has been overwritten. A view, valid until the next write. */
  valueAt(stage: string, key: Uint8Array, n: number): Uint8Array | undefined {
    this.#check()
    const pair = this.#row.stages.get(stage)
    if (pair === undefined) return undefined
    const slot = this.#newestOf(pair, key, one => isValidSlot(one, this.#row, n))
    return this.#valueIn(pair, key, slot)
  }

  /** Undefined writes a tombstone. Throws RESOURCE_EXHAUSTED when a value finds no memory. */
  write(stage: string, key: Uint8Array, value: Uint8Array | undefined, n: number): void {
    this.#check()
    const known = this.#row.stages.get(stage)
    if (known === undefined && value === undefined) return
    if (value !== undefined) this.#admit(key, value)
    this.#watcher?.changing(stage, key)
    const pair = known ?? this.#addStage(stage)
    const valid = this.#newest(pair, key, false)
    if (value === undefined) {
      if (valid < 0) return this.#removeAll(pair, key)
      this.#tombstones.push({ pair, key: new Uint8Array(key) })
    }
    // With none valid, the newer of its own is as good as gone: the older must not outlive it.
    const slot = valid >= 0 ? 1 - valid : Math.max(0, this.#newest(pair, key, true))
    this.#append({ kind: 'putRecord', space: 2 * pair + slot, key, value: encodeSlot(this.#options.attempt, n, value) })
  }

  /** The barrier record of n, behind all writes of the barrier. */
  writeBarrier(n: number, value: Uint8Array): void {
    this.write(barrierStage, barrierKey, value, n)
  }

  /** The barrier record at the restore point. */
  restored(): Uint8Array | undefined {
    this.#check()
    const value = this.#valueOf(this.#row.stages.get(barrierStage), barrierKey, false)
    return value === undefined ? undefined : new Uint8Array(value)
  }

  /** Checkpoint n is committed. Call only when `isSwept`: from then on all slots of older attempts are valid. */
  committed(n: number): void {
    this.#committed = Math.max(this.#committed, n)
  }

  get isSwept(): boolean {
    return this.#sweptTo === undefined
  }

  /** Frees dead slots of older attempts, looking at so many headers. The first answer of an attempt waits for `isSwept`. */
  sweep(headers: number): void {
    this.#check()
    const { records } = this.#options.store
    let left = headers
    for (;;) {
      if (this.#sweptTo === undefined || left <= 0) return
      const { space, from } = this.#sweptTo
      const spaces = this.#spaces()
      const at = spaces.find(one => one >= space)
      if (at === undefined) {
        this.#sweptTo = undefined
        return
      }
      const doubtful: Uint8Array[] = []
      let next: Uint8Array | undefined
      records.scanFrom(at, at === space ? from : nothing, (key, slot) => {
        if (left === 0) {
          next = new Uint8Array(key)
          return false
        }
        left -= 1
        if (!this.#isKept(slot) || slotIsTombstone(slot)) doubtful.push(new Uint8Array(key))
        return true
      })
      for (const key of doubtful) this.#free(at >>> 1, key)
      this.#sweptTo = next === undefined ? { space: at + 1, from: nothing } : { space: at, from: next }
    }
  }

  /** Removes records whose tombstone is committed, at most so many. True: none is left that could go now. */
  tidy(limit: number): boolean {
    this.#check()
    const waiting: Tombstone[] = []
    let left = limit
    let at = 0
    for (; at < this.#tombstones.length && left > 0; at += 1) {
      const { pair, key } = this.#tombstones[at] as Tombstone
      left -= 1
      if (this.#newestOwn(pair, key) > this.#committed) {
        waiting.push({ pair, key })
        continue
      }
      const newest = this.#newest(pair, key, false)
      if (newest >= 0 && slotIsTombstone(this.#slot(pair, newest, key) as Uint8Array)) this.#removeAll(pair, key)
    }
    const isDone = at === this.#tombstones.length
    this.#tombstones = isDone ? waiting : [...this.#tombstones.slice(at), ...waiting]
    return isDone
  }

  // ---- inside

  /** The slot is valid or of this attempt. */
  #isKept(slot: Uint8Array): boolean {
    return slotAttempt(slot) === this.#options.attempt || this.#isValid(slot)
  }

  #isValid(slot: Uint8Array): boolean {
    return isValidSlot(slot, this.#row, this.#committed)
  }

  #slot(pair: number, slot: number, key: Uint8Array): Uint8Array | undefined {
    return this.#options.store.records.find(2 * pair + slot, key)
  }

  /** 0, 1, or -1 for none. */
  #newest(pair: number, key: Uint8Array, ownToo: boolean): number {
    return this.#newestOf(pair, key, slot => (ownToo ? this.#isKept(slot) : this.#isValid(slot)))
  }

  #newestOf(pair: number, key: Uint8Array, isOne: (slot: Uint8Array) => boolean): number {
    const first = this.#slot(pair, 0, key)
    const second = this.#slot(pair, 1, key)
    const counts = (slot: Uint8Array | undefined): slot is Uint8Array => slot !== undefined && isOne(slot)
    if (!counts(first)) return counts(second) ? 1 : -1
    return counts(second) && isNewerSlot(second, first) ? 1 : 0
  }

  /** The greatest n of this attempt in the record; 0: none. */
  #newestOwn(pair: number, key: Uint8Array): number {
    let n = 0
    for (const index of [0, 1]) {
      const slot = this.#slot(pair, index, key)
      if (slot !== undefined && slotAttempt(slot) === this.#options.attempt) n = Math.max(n, slotN(slot))
    }
    return n
  }

  #valueOf(pair: number | undefined, key: Uint8Array, ownToo: boolean): Uint8Array | undefined {
    return pair === undefined ? undefined : this.#valueIn(pair, key, this.#newest(pair, key, ownToo))
  }

  #valueIn(pair: number, key: Uint8Array, newest: number): Uint8Array | undefined {
    const slot = newest < 0 ? undefined : this.#slot(pair, newest, key)
    return slot === undefined || slotIsTombstone(slot) ? undefined : slot.subarray(slotHeaderBytes)
  }

  /** Dead slots of one record; all of it, when what is left is a tombstone. */
  #free(pair: number, key: Uint8Array): void {
    for (const index of [0, 1]) {
      const slot = this.#slot(pair, index, key)
      if (slot !== undefined && !this.#isKept(slot)) this.#append({ kind: 'removeRecord', space: 2 * pair + index, key })
    }
    const newest = this.#newest(pair, key, true)
    const slot = newest < 0 ? undefined : this.#slot(pair, newest, key)
    if (slot !== undefined && slotIsTombstone(slot) && this.#isValid(slot)) this.#removeAll(pair, key)
  }

  #removeAll(pair: number, key: Uint8Array): void {
    const first = this.#slot(pair, 0, key)
    const second = this.#slot(pair, 1, key)
    const older = first !== undefined && second !== undefined && isNewerSlot(first, second) ? 1 : 0
    if ((older === 0 ? first : second) !== undefined) this.#append({ kind: 'removeRecord', space: 2 * pair + older, key })
    if ((older === 0 ? second : first) !== undefined) this.#append({ kind: 'removeRecord', space: 2 * pair + 1 - older, key })
  }

  /** The spaces of this job, ascending. */
  #spaces(): number[] {
    return spacesOf(this.#row).filter(space => this.#options.store.records.spaces().includes(space))
  }

  #addStage(stage: string): number {
    const { store } = this.#options
    const pair = nextPair(store)
    const stages = new Map([...this.#row.stages, [stage, pair]])
    this.#row = { ...this.#row, stages }
    this.#append({ kind: 'putRecord', space: jobSpace, key: this.#key, value: encodeJobRow(this.#row) })
    return pair
  }

  #admit(key: Uint8Array, value: Uint8Array): void {
    const { budget, job, partition } = this.#options
    admitRecord(budget, `write state of job "${job}"`, partition, key.length + value.length)
  }

  #append(effect: Effect): void {
    this.#options.append(effect)
    this.#checkedAt = this.#options.store.position
  }

  #check(): void {
    const { store, attempt } = this.#options
    if (store.position === this.#checkedAt) return
    const bytes = store.records.find(jobSpace, this.#key)
    const there = bytes === undefined ? 0 : attemptOfRow(bytes)
    if (bytes === undefined || there !== attempt) throw this.#refusal(there)
    if (this.#checkedAt < 0) this.#row = decodeJobRow(bytes)
    this.#checkedAt = store.position
  }

  #refusal(there: number): NearstateError {
    const { job, partition, attempt } = this.#options
    const why = there === 0 ? 'the job has not begun there, or has ended' : `attempt ${there} has begun there`
    return new NearstateError('CONFLICT', `Cannot use partition ${partition} for attempt ${attempt} of job "${job}": ${why}`)
  }
}

/** Throws RESOURCE_EXHAUSTED when a record of so many bytes finds no memory. */
export function admitRecord(budget: MemoryBudget, action: string, partition: number, recordBytes: number): void {
  const bytes = recordBytes + slotHeaderBytes
  if (budget.canGrow(bytes + Math.min(blockGrowthBytes, budget.reserveBytes))) return
  throw new NearstateError(
    'RESOURCE_EXHAUSTED',
    `Cannot ${action} in partition ${partition}: a record of ${bytes} bytes does not fit, ${budget.usedBytes} of the shard's ${budget.limitBytes} bytes are used; give the nodes more memory, add nodes, or let state expire`,
  )
}

/** (x, n) is valid for the attempt of this row, of which `committed` is the last checkpoint. */
function isValidSlot(slot: Uint8Array, { attempt: b, restoreAttempt: a, restoreN: ca }: JobRow, committed: number): boolean {
  const attempt = slotAttempt(slot)
  if (attempt === b) return slotN(slot) <= committed
  if (attempt > b) return false
  return committed > 0 || attempt < a || (attempt === a && slotN(slot) <= ca)
}

const spacesOf = ({ stages }: JobRow): number[] => [...stages.values()].flatMap(pair => [2 * pair, 2 * pair + 1]).sort((x, y) => x - y)

/** A pair that neither a job's row names nor records are in. */
export function nextPair(store: PartitionStore): number {
  let greatest = store.records.spaces().at(-1) ?? 0
  store.records.scanFrom(jobSpace, nothing, (_, row) => {
    for (const space of spacesOf(decodeJobRow(row))) greatest = Math.max(greatest, space)
    return true
  })
  return (greatest >>> 1) + 1
}

/**
 * The start of an attempt, as an effect: from then on the partition refuses everything of older ones. Throws CONFLICT for an attempt
 * not above the last one there, and NOT_FOUND, with the start in place, when the restore point's barrier record is missing.
 */
export function beginAttempt(options: JobStateOptions, restore: { readonly attempt: number; readonly n: number }): JobState {
  const { job, partition, attempt, store, append } = options
  const key = jobKey(job)
  const bytes = store.records.find(jobSpace, key)
  const before = bytes === undefined ? undefined : decodeJobRow(bytes)
  if (before !== undefined && before.attempt >= attempt) {
    const why = `attempt ${before.attempt} was started there`
    throw new NearstateError('CONFLICT', `Cannot start attempt ${attempt} of job "${job}" in partition ${partition}: ${why}`)
  }
  const row: JobRow = { attempt, restoreAttempt: restore.attempt, restoreN: restore.n, stages: before?.stages ?? new Map() }
  append({ kind: 'putRecord', space: jobSpace, key, value: encodeJobRow(row) })
  if (restore.attempt > 0 && !holdsBarrier(store, row)) {
    throw new NearstateError(
      'NOT_FOUND',
      `Cannot start attempt ${attempt} of job "${job}": partition ${partition} does not hold checkpoint ${restore.n} of attempt ${restore.attempt}; start from a savepoint, or with allowStateLoss`,
    )
  }
  return new JobState(options)
}

/** One of the barrier record's slots is of the restore point itself: the newest valid one, as none above it is valid. */
function holdsBarrier(store: PartitionStore, row: JobRow): boolean {
  const pair = row.stages.get(barrierStage)
  if (pair === undefined) return false
  return [0, 1].some(index => {
    const slot = store.records.find(2 * pair + index, barrierKey)
    return slot !== undefined && slotAttempt(slot) === row.restoreAttempt && slotN(slot) === row.restoreN && !slotIsTombstone(slot)
  })
}

/**
 * Removes so many records of a job that has ended with this attempt, its row last; with stages to keep, all but theirs, and the row stays.
 * True: nothing is left that should go, or a newer one has begun.
 */
export function dropJobState(
  store: PartitionStore,
  job: string,
  attempt: number,
  limit: number,
  append: (effect: Effect) => void,
  keep: readonly string[] = [],
): boolean {
  const key = jobKey(job)
  const bytes = store.records.find(jobSpace, key)
  if (bytes === undefined || attemptOfRow(bytes) > attempt) return true
  const row = decodeJobRow(bytes)
  const kept = new Map([...row.stages].filter(([stage]) => keep.includes(stage)))
  const going = new Map([...row.stages].filter(([stage]) => !kept.has(stage)))
  let left = limit
  for (const space of spacesOf({ ...row, stages: going })) {
    const keys: Uint8Array[] = []
    store.records.scanFrom(space, nothing, one => {
      if (keys.length === left) return false
      keys.push(new Uint8Array(one))
      return true
    })
    for (const one of keys) append({ kind: 'removeRecord', space, key: one })
    left -= keys.length
    if (left <= 0) return false
  }
  if (keep.length === 0) append({ kind: 'removeRecord', space: jobSpace, key })
  else if (going.size > 0) append({ kind: 'putRecord', space: jobSpace, key, value: encodeJobRow({ ...row, stages: kept }) })
  return true
}
