/**
 * The keyed state of one stage on one shard, between its tables (working state, decoded) and the StateStore (records).
 *
 * HOW AN OPERATOR KEEPS STATE. It takes a StageState in its constructor, makes its tables of it, and shows it as `state` (interface
 * Stateful): the engine does the rest. Ready-made tables:
 *   KeyTable     one value per key, and named timers of that key (process, aggregate, session, dedupe, joins, topN, ...)
 *   KeyTimers    the due timers of a KeyTable, for event time or another clock
 *   PaneTable    one value per (pane, key), closed in order of the panes' ends (tumbling and sliding windows)
 * An operator with its own working state (typed arrays per pane, say) keeps the marks itself, and a WriteQueue of what is marked:
 *
 *   event:   const entry = map.get(id); if (entry.dirtyIn !== state.interval) queue.mark(entry); ...change it
 *   barrier: what is dirty now belongs to barrier n (`passBarrier`); it is encoded later, in slices (`encodeSome`), while events go on
 *   rule:    an entry that is dirty for a barrier passed and is about to change again is encoded before it changes
 *
 * `state.interval` counts barriers passed, from 1; it is 0 for ever in a job without checkpoints, and entries begin with dirtyIn 0:
 * nothing is recorded then, and an event costs one comparison.
 *
 * 1. Encoding may run user code (a getter), so it happens in units and may be cut off; what it made is laid down here and written
 *    to the store between units, whether the unit returned or not: a value as of the barrier is right either way.
 * 2. Lay down first, then mark as clean: cut off in between, it is encoded once more.
 * 3. `read` finds nothing in a fresh store, and tables do not even ask: `isFresh`.
 */
import { type CheckpointRules, everyCheckpointRule } from '../checkpoint/rules.ts'
import type { RowCodec } from '../exchange/frame.ts'
import type { StateChange, StateRecord, StateStore } from '../ports.ts'

export interface StateTable {
  /** Barrier n passes the stage: what is dirty now is its to write. Between units. `state.interval` has been raised already. */
  passBarrier(): void
  /** In a unit: encodes at most so many entries of the barrier passed, and lays them down; how many it looked at, 0: nothing is left. */
  encodeSome(limit: number): number
}

/** An operator with state. */
export interface Stateful {
  readonly state: StageState
}

export const hasState = (operator: object): operator is Stateful => 'state' in operator && operator.state instanceof StageState

export interface StageStateOptions {
  /** The stage's name: state is matched by it. */
  readonly stage: string
  readonly codec: RowCodec
  /** undefined: a job without checkpoints. */
  readonly store: StateStore | undefined
  /** The partitions whose keys this shard has. */
  readonly partitions: readonly number[]
  /** What the barrier records at the restore point say of the stage, by partition. */
  readonly restored?: ReadonlyMap<number, StageMark> | undefined
  readonly rules?: CheckpointRules
}

/** What a stage's part of a barrier record says. */
export interface StageMark {
  /** Watermark that the stage had received. */
  readonly watermark: number
  /** Numbers that its tables keep, see `keep`. */
  readonly kept: Readonly<Record<string, number>>
}

const lowest = Number.NEGATIVE_INFINITY

export class StageState {
  readonly stage: string
  readonly codec: RowCodec
  readonly partitions: readonly number[]
  readonly rules: CheckpointRules
  /** Barriers passed + 1; 0 without checkpoints. */
  interval: number
  /** Bytes and records written for the barrier under way. */
  bytesWritten = 0
  recordsWritten = 0
  readonly #store: StateStore | undefined
  readonly #tables: StateTable[] = []
  /** The barrier that is being written. */
  #barrier = 0
  readonly #keepers = new Map<string, () => number>()
  readonly #kept = new Map<string, number>()
  /** What was restored, by partition, and the greatest watermark of it. */
  readonly #restored: ReadonlyMap<number, StageMark>
  #highestFloor = lowest

  /** Laid down, by partition: to be written when the unit has ended. */
  #laidDown = new Map<number, StateChange[]>()

  constructor({ stage, codec, store, partitions, restored = new Map(), rules = everyCheckpointRule }: StageStateOptions) {
    this.stage = stage
    this.codec = codec
    this.partitions = partitions
    this.#store = store
    this.interval = store === undefined ? 0 : 1
    this.rules = rules
    this.#restored = restored
    for (const { watermark, kept } of restored.values()) {
      this.#highestFloor = Math.max(this.#highestFloor, watermark)
      for (const [name, value] of Object.entries(kept)) this.#kept.set(name, Math.max(this.#kept.get(name) ?? lowest, value))
    }
  }

  /** Nothing was restored: there is nothing to read. */
  get isFresh(): boolean {
    return this.#store === undefined || this.#store.isFresh
  }

  addTable(table: StateTable): void {
    this.#tables.push(table)
  }

  // ---- watermarks that were restored

  /**
   * The watermark that counts for a partition's keys: the stage's own, and none lower than the one restored, else a late event
   * would open a closed window again. A comparison, once the stage has passed what was restored.
   */
  watermarkOf(partition: number, watermark: number): number {
    if (watermark >= this.#highestFloor) return watermark
    return Math.max(watermark, this.#restored.get(partition)?.watermark ?? lowest)
  }

  /** A number that is saved with every barrier, as it is when all of it is written; after a restore `kept` gives the greatest that was saved. */
  keep(name: string, value: () => number): void {
    this.#keepers.set(name, value)
  }

  kept(name: string): number | undefined {
    return this.#kept.get(name)
  }

  /**
   * For a partition's barrier record, when it is made: what the barrier has written counts. A stage that has not regained the watermark
   * restored for the partition passes that one on, or the floor would sink with a second restart.
   */
  mark(partition: number, watermark: number): StageMark {
    return { watermark: this.watermarkOf(partition, watermark), kept: this.#keptNow() }
  }

  #keptNow(): Readonly<Record<string, number>> {
    const kept: Record<string, number> = {}
    for (const [name, value] of this.#keepers) {
      const now = value()
      const restored = this.#kept.get(name)
      kept[name] = restored === undefined ? now : Math.max(now, restored)
    }
    return kept
  }

  // ---- barriers

  /** Barrier n passes the stage. Between units. */
  passBarrier(n: number): void {
    this.#barrier = n
    this.interval += 1
    this.bytesWritten = 0
    this.recordsWritten = 0
    for (const table of this.#tables) table.passBarrier()
  }

  /** In a unit. True: there may be more. */
  encodeSome(limit: number): boolean {
    let left = limit
    for (const table of this.#tables) {
      while (left > 0) {
        const seen = table.encodeSome(left)
        if (seen === 0) break
        left -= seen
      }
      if (left <= 0) return true
    }
    return false
  }

  // ---- records

  /** To be written for the barrier passed last, when the unit has ended; `undefined`: a tombstone. */
  lay(partition: number, key: Uint8Array, value: Uint8Array | undefined): void {
    const changes = this.#laidDown.get(partition)
    if (changes === undefined) this.#laidDown.set(partition, [{ key, value }])
    else changes.push({ key, value })
  }

  /** Between units, after each one. Throws what the store throws. */
  writeLaidDown(): void {
    if (this.#laidDown.size === 0) return
    for (const [partition, changes] of this.#laidDown) {
      this.#store?.write(partition, this.stage, changes, this.#barrier)
      for (const { key, value } of changes) this.bytesWritten += key.length + (value?.length ?? 0)
      this.recordsWritten += changes.length
    }
    this.#laidDown = new Map()
  }

  read(partition: number, key: Uint8Array): Uint8Array | undefined {
    return this.#store?.read(partition, this.stage, key)
  }

  scan(partition: number, from: Uint8Array, to: Uint8Array, limit: number): readonly StateRecord[] {
    return this.#store?.scan(partition, this.stage, from, to, limit) ?? []
  }
}
