/**
 * The state of a job in plain memory, with the real rules of slots: for tests, the testing kit and the simulator. One MemoryState
 * stands for the replicated partitions of a cluster, and outlives attempts; `begin` is the effect that starts one, `store` what a
 * shard of it reads and writes through.
 *
 *   record: two slots, each (attempt, n, value | tombstone)
 *
 * The rules are those of StateStore (ports.ts) and protocols.md section 7.
 */
import type { RestorePoint } from '../master/record.ts'
import { NearstateError } from '../../base/errors.ts'
import { type CheckpointRules, everyCheckpointRule } from '../checkpoint/rules.ts'
import type { StateRecord, StateStore } from '../ports.ts'
import { compareKeys } from './record-key.ts'

interface Slot {
  readonly attempt: number
  readonly n: number
  /** undefined: a tombstone. */
  readonly value: Uint8Array | undefined
}

interface Stored {
  readonly key: Uint8Array
  slots: readonly [Slot | undefined, Slot | undefined]
}

class StageRecords {
  readonly records = new Map<string, Stored>()
  #sorted: Stored[] | undefined

  get(key: Uint8Array): Stored | undefined {
    return this.records.get(textOf(key))
  }

  put(key: Uint8Array, slots: Stored['slots']): void {
    const stored = this.get(key)
    if (stored !== undefined) {
      stored.slots = slots
      return
    }
    this.records.set(textOf(key), { key: key.slice(), slots })
    this.#sorted = undefined
  }

  remove(key: Uint8Array): void {
    if (this.records.delete(textOf(key))) this.#sorted = undefined
  }

  get sorted(): readonly Stored[] {
    this.#sorted ??= [...this.records.values()].sort((a, b) => compareKeys(a.key, b.key))
    return this.#sorted
  }
}

interface PartitionState {
  /** The last attempt that was started here. */
  attempt: number
  restorePoint: RestorePoint
  /** c of the attempt, as far as it is known here. */
  committed: number
  /** Dead slots of older attempts are freed. */
  isSwept: boolean
  readonly stages: Map<string, StageRecords>
  /** Records with a tombstone written for a barrier that is not committed yet. */
  tombstones: { readonly stage: string; readonly key: Uint8Array }[]
}

/** Stage and key of the barrier record. */
const barrierStage = ''
const barrierKey = Uint8Array.of(0)

export class MemoryState {
  readonly partitionCount: number
  readonly #partitions: readonly PartitionState[]
  readonly #rules: CheckpointRules
  /** Savepoints by name. */
  readonly #savepoints = new Map<string, MemoryState>()

  constructor(partitions = 240, rules: CheckpointRules = everyCheckpointRule) {
    this.partitionCount = partitions
    this.#rules = rules
    this.#partitions = Array.from({ length: partitions }, () => emptyPartition())
  }

  /** The effect that starts an attempt in a partition. Throws CONFLICT for one not above the last, NOT_FOUND without its restore point. */
  begin(partition: number, attempt: number, restorePoint: RestorePoint): void {
    const state = this.#at(partition)
    const rules = this.#rules
    if (rules.startFencedInPartition && (attempt < state.attempt || (attempt === state.attempt && rules.noSecondStart))) {
      throw new NearstateError(
        'CONFLICT',
        `Cannot start attempt ${attempt} in partition ${partition}: attempt ${state.attempt} was started there`,
      )
    }
    state.attempt = attempt
    state.restorePoint = restorePoint
    state.committed = 0
    state.isSwept = false
    state.tombstones = []
    if (restorePoint.attempt === 0 || !rules.restoreChecksBarrierRecord) return
    const barrier = this.#newest(state, state.stages.get(barrierStage)?.get(barrierKey), false)
    if (barrier?.attempt === restorePoint.attempt && barrier.n === restorePoint.n) return
    throw new NearstateError(
      'NOT_FOUND',
      `Cannot start attempt ${attempt}: partition ${partition} does not hold checkpoint ${restorePoint.n} of attempt ${restorePoint.attempt}; start from a savepoint, or with allowStateLoss`,
    )
  }

  /** What a shard of this attempt works with. `later` runs what a barrier's end has to say; by default at once. */
  store(attempt: number, restorePoint: RestorePoint, later: (say: () => void) => void = say => say()): StateStore {
    const at = (partition: number): PartitionState => this.#fenced(partition, attempt)
    return {
      isFresh: restorePoint.attempt === 0,
      read: (partition, stage, key) => this.#newest(at(partition), this.#at(partition).stages.get(stage)?.get(key), true)?.value,
      write: (partition, stage, changes, n) => {
        for (const { key, value } of changes) this.#write(at(partition), stage, key, { attempt, n, value: value?.slice() })
      },
      scan: (partition, stage, from, to, limit) => this.#scan(at(partition), stage, from, to, limit),
      endBarrier: (partition, n, value, done) => {
        const state = at(partition)
        this.#write(state, barrierStage, barrierKey, { attempt, n, value: value.slice() })
        if (!state.isSwept && this.#rules.deadSlotsFreedFirst) this.#sweep(state)
        state.isSwept = true
        later(done)
      },
      restored: partition => this.#newest(at(partition), this.#at(partition).stages.get(barrierStage)?.get(barrierKey), false)?.value,
      committed: n => {
        for (const state of this.#partitions) if (state.attempt === attempt) this.#commit(state, n)
      },
      savepoint: (name, n, done) => {
        this.#copy(name, attempt, n)
        later(done)
      },
    }
  }

  /** What a query of state sees: values of valid slots by record key, in order. */
  *valid(partition: number, stage: string): IterableIterator<StateRecord> {
    const state = this.#at(partition)
    for (const stored of state.stages.get(stage)?.sorted ?? []) {
      const value = this.#newest(state, stored, false)?.value
      if (value !== undefined) yield { key: stored.key, value }
    }
  }

  /** Number of records, and of slots in them. */
  get size(): { readonly records: number; readonly slots: number } {
    let records = 0
    let slots = 0
    for (const { stages } of this.#partitions) {
      for (const { records: all } of stages.values()) {
        records += all.size
        for (const stored of all.values()) for (const slot of stored.slots) if (slot !== undefined) slots += 1
      }
    }
    return { records, slots }
  }

  /** A savepoint as state to start from: attempt 1, checkpoint 1. */
  savepoint(name: string): MemoryState | undefined {
    return this.#savepoints.get(name)
  }

  #at(partition: number): PartitionState {
    return this.#partitions[partition] as PartitionState
  }

  #fenced(partition: number, attempt: number): PartitionState {
    const state = this.#at(partition)
    if (this.#rules.startFencedInPartition && attempt < state.attempt) {
      throw new NearstateError(
        'CONFLICT',
        `Cannot use partition ${partition} for attempt ${attempt}: attempt ${state.attempt} has begun there`,
      )
    }
    return state
  }

  #isValid(state: PartitionState, { attempt, n }: Slot): boolean {
    const { attempt: a, n: ca } = state.restorePoint
    if (attempt === state.attempt) return n <= state.committed
    if (!this.#rules.slotsMarkedWithAttempt) return n <= ca
    if (attempt > state.attempt) return false
    if (state.committed > 0) return true
    return attempt < a || (attempt === a && n <= ca)
  }

  #newest(state: PartitionState, stored: Stored | undefined, ownToo: boolean): Slot | undefined {
    let newest: Slot | undefined
    for (const slot of stored?.slots ?? []) {
      if (slot === undefined || !(this.#isValid(state, slot) || (ownToo && slot.attempt === state.attempt))) continue
      if (newest === undefined || isNewer(slot, newest)) newest = slot
    }
    return newest
  }

  #write(state: PartitionState, stage: string, key: Uint8Array, slot: Slot): void {
    let records = state.stages.get(stage)
    if (records === undefined) {
      records = new StageRecords()
      state.stages.set(stage, records)
    }
    const stored = records.get(key)
    if (stored === undefined) {
      if (slot.value !== undefined) records.put(key, [slot, undefined])
      return
    }
    if (this.#rules.writeSparesNewestValid) {
      const spared = this.#newest(state, stored, false)
      records.put(key, [spared, slot])
    } else {
      records.put(key, [slot, stored.slots[0] === undefined ? stored.slots[1] : undefined])
    }
    if (slot.value === undefined) state.tombstones.push({ stage, key: key.slice() })
  }

  #commit(state: PartitionState, n: number): void {
    state.committed = Math.max(state.committed, n)
    for (const { stage, key } of state.tombstones.splice(0)) {
      const records = state.stages.get(stage)
      const stored = records?.get(key)
      const newest = this.#newest(state, stored, !this.#rules.tombstoneRemovedOnlyWhenValid)
      if (stored === undefined || newest === undefined || newest.value !== undefined) continue
      if (stored.slots.every(slot => slot === undefined || slot === newest || !isNewer(slot, newest))) records?.remove(key)
      else state.tombstones.push({ stage, key })
    }
  }

  /** Frees all slots of older attempts that are not valid. */
  #sweep(state: PartitionState): void {
    for (const records of state.stages.values()) {
      for (const stored of records.records.values()) {
        const kept = stored.slots.filter(slot => slot !== undefined && (slot.attempt === state.attempt || this.#isValid(state, slot)))
        const newest = this.#newest(state, stored, true)
        if (kept.length === 0 || (kept.length === 1 && newest?.value === undefined)) records.remove(stored.key)
        else stored.slots = [kept[0], kept[1]]
      }
    }
  }

  #scan(state: PartitionState, stage: string, from: Uint8Array, to: Uint8Array, limit: number): readonly StateRecord[] {
    const found: StateRecord[] = []
    const sorted = state.stages.get(stage)?.sorted ?? []
    for (let at = firstAtOrAfter(sorted, from); at < sorted.length && found.length < limit; at += 1) {
      const stored = sorted[at] as Stored
      if (compareKeys(stored.key, to) >= 0) break
      const value = this.#newest(state, stored, true)?.value
      if (value !== undefined) found.push({ key: stored.key, value })
    }
    return found
  }

  /** Values as of checkpoint n, which is valid or will be. */
  #copy(name: string, attempt: number, n: number): void {
    const copy = this.#savepoints.get(name) ?? new MemoryState(this.partitionCount, this.#rules)
    this.#savepoints.set(name, copy)
    for (const [partition, state] of this.#partitions.entries()) {
      const into = copy.#at(partition)
      into.attempt = 1
      into.committed = 1
      into.stages.clear()
      for (const [stage, records] of state.stages) {
        const copied = new StageRecords()
        into.stages.set(stage, copied)
        for (const { key, slots } of records.records.values()) {
          let newest: Slot | undefined
          for (const slot of slots) {
            const counts = slot !== undefined && (slot.attempt === attempt ? slot.n <= n : this.#isValid(state, slot))
            if (slot !== undefined && counts && (newest === undefined || isNewer(slot, newest))) newest = slot
          }
          if (newest?.value !== undefined) copied.put(key, [{ attempt: 1, n: 1, value: newest.value }, undefined])
        }
      }
    }
  }
}

const emptyPartition = (): PartitionState => ({
  attempt: 0,
  restorePoint: { attempt: 0, n: 0 },
  committed: 0,
  isSwept: false,
  stages: new Map(),
  tombstones: [],
})

const isNewer = (a: Slot, b: Slot): boolean => a.attempt > b.attempt || (a.attempt === b.attempt && a.n > b.n)

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')

function firstAtOrAfter(sorted: readonly Stored[], key: Uint8Array): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (compareKeys((sorted[middle] as Stored).key, key) < 0) low = middle + 1
    else high = middle
  }
  return low
}
