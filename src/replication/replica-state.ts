/** What the two sides of a replica (leading and following) share: its log and store, what it knows of the table, what it wants done. */
import type { Epoch } from '../base/ids.ts'
import type { PartitionRecord, Replica } from '../partitioning/partition-table.ts'
import type { PartitionStore } from '../storage/partition-store.ts'
import { EffectLog } from './effect-log.ts'
import type { EntryName } from './messages.ts'
import type { ReplicaAction, ReplicaOptions } from './replica-port.ts'
import type { ReplicationRules } from './rules.ts'

/**
 * Positions of the log that begins when data was given up for the n-th time; versions do not come again. 12 bits of that number and
 * 36 of writes fill the 48 that the store keeps.
 */
const firstPosition = (givenUp: number): number => (givenUp % 2 ** 12) * 2 ** 36

export const noEpoch = 0 as Epoch

/** What a mirror held. */
export interface Restored {
  readonly store: PartitionStore
  readonly givenUp: number
  /** Where the log goes on. */
  readonly start: EntryName
}

/**
 * Where the log begins of a replica that was restored from a mirror by that record. Not where empty ones do: who is empty does not hold
 * what is before.
 */
export const restoredStart = ({ epoch, givenUp = 0 }: Pick<PartitionRecord, 'epoch' | 'givenUp'>): EntryName => ({
  epoch,
  position: firstPosition(givenUp) + 1,
})

export class ReplicaState {
  readonly options: ReplicaOptions
  readonly rules: ReplicationRules
  readonly log: EffectLog
  store: PartitionStore
  /** The record known, and the table version it was known at; undefined: none yet. */
  row: PartitionRecord | undefined
  rowVersion = 0
  /** Table version told by this node's control thread: the one for which promises count. */
  version = 0
  epoch: Epoch = noEpoch
  /** Every in-sync replica holds the log up to here, as far as known. Never falls, save with the store. */
  committed: number
  /** All counted replicas have applied up to here. */
  floor: number
  /** How often the data was given up before what this replica holds. */
  givenUp = 0
  #actions: ReplicaAction[] = []

  constructor(options: ReplicaOptions, rules: ReplicationRules) {
    this.options = options
    this.rules = rules
    this.store = options.makeStore()
    this.log = new EffectLog({ epoch: noEpoch, position: 0 })
    this.committed = 0
    this.floor = 0
  }

  get self(): Replica {
    return this.options.self
  }

  get applied(): number {
    return this.store.position
  }

  /** Name of the last applied entry. The log always reaches back to it. */
  get appliedName(): EntryName | undefined {
    return this.log.nameAt(this.store.position)
  }

  /** Acknowledgements reach no further. */
  get durable(): number {
    return this.options.mirror?.durablePosition() ?? Number.POSITIVE_INFINITY
  }

  act(action: ReplicaAction): void {
    this.#actions.push(action)
  }

  takeActions(): readonly ReplicaAction[] {
    if (this.#actions.length === 0) return nothing
    const actions = this.#actions
    this.#actions = []
    return actions
  }

  /** Holds nothing from here on: an empty store, and a log that begins where all empty ones do. */
  startEmpty(): void {
    this.startAt({ epoch: noEpoch, position: firstPosition(this.givenUp) })
  }

  /** An empty store whose log goes on after `start` (a snapshot fills it). */
  startAt(start: EntryName): void {
    this.options.mirror?.handleReset(start, this.givenUp)
    this.#replaceStore(this.options.makeStore(), start)
  }

  /** All that `store` holds was read from a mirror, which goes on with this replica. */
  startRestored(restored: Restored): void {
    this.givenUp = restored.givenUp
    this.#replaceStore(restored.store, restored.start)
  }

  #replaceStore(store: PartitionStore, start: EntryName): void {
    this.store.release()
    this.store = store
    this.store.position = start.position
    this.log.reset(start)
    this.committed = start.position
    this.floor = start.position
    this.act({ kind: 'storeReplaced' })
  }
}

const nothing: readonly never[] = []
