/**
 * Timers of keys on the wall's clock: in a table of their own beside the keys' state, saved with checkpoints like all state. The time is
 * an input: what is due is said by `setTime`, and after a restart those whose moment has passed meanwhile fire at once.
 *
 * At the end of the input those that are left fire once, whatever the clock shows; none can be set any more.
 */
import type { KeyCodec } from '../../keys/key-codec.ts'
import { type KeyEntry, KeyTable } from '../state/key-table.ts'
import { type DueTimer, KeyTimers } from '../state/key-timers.ts'
import type { StageState } from '../state/stage-state.ts'
import type { Unit } from './unit.ts'

/** What is kept of a key are its timers. */
type Entry = KeyEntry<null>

export class WallTimers {
  readonly #keys: KeyTable<null>
  readonly #timers: KeyTimers<null>
  #nowMs = 0
  #wallTimeMs = Number.NEGATIVE_INFINITY
  #hasEnded = false

  constructor(state: StageState, unit: Unit, keyCodec: KeyCodec) {
    this.#keys = new KeyTable<null>(state, unit, {
      table: 2,
      timerTable: 3,
      keyCodec,
      encode: () => null,
      decode: () => null,
      copy: value => value,
    })
    this.#timers = new KeyTimers(this.#keys)
  }

  setTime(nowMs: number, wallTimeMs: number): void {
    this.#nowMs = nowMs
    this.#wallTimeMs = wallTimeMs
    if (!this.#hasEnded) this.#timers.advanceTo(wallTimeMs)
  }

  end(): void {
    this.#hasEnded = true
    this.#timers.advanceTo(Number.POSITIVE_INFINITY)
  }

  /** What is due already waits for something else. */
  get wakeAtMs(): number {
    const { nextTimeMs } = this.#timers
    return nextTimeMs > this.#wallTimeMs ? this.#nowMs + (nextTimeMs - this.#wallTimeMs) : Number.POSITIVE_INFINITY
  }

  set(key: unknown, partition: number, name: string, wallTimeMs: number): void {
    if (this.#hasEnded) return
    this.#timers.set(this.#keys.get(key, partition) ?? this.#keys.add(key, partition, null), name, wallTimeMs)
  }

  clear(key: unknown, partition: number, name: string): void {
    const entry = this.#keys.get(key, partition)
    if (entry === undefined) return
    this.#timers.clear(entry, name)
    this.#forgetEmpty(entry)
  }

  /** Before user code that may be taken back; what it returns takes it back. */
  save(key: unknown, partition: number): () => void {
    const saved = this.#keys.get(key, partition)?.timers?.copy()
    const { setCount } = this.#timers
    return () => {
      this.#timers.forgetSince(setCount)
      const entry = this.#keys.get(key, partition) ?? (saved === undefined ? undefined : this.#keys.add(key, partition, null))
      if (entry === undefined) return
      this.#keys.changing(entry)
      entry.timers = saved
      this.#forgetEmpty(entry)
    }
  }

  beginBatch(): void {
    this.#timers.beginBatch()
  }

  get hasDueNow(): boolean {
    return this.#timers.hasDueNow
  }

  prepare(limit: number): boolean {
    return this.#timers.prepare(limit)
  }

  beginFiring(): void {
    this.#timers.beginFiring()
  }

  takeDue(): DueTimer<null> | undefined {
    const due = this.#timers.takeDue()
    if (due !== undefined) this.#forgetEmpty(due.entry)
    return due
  }

  fired(): void {
    this.#timers.fired()
  }

  dropFirst(): unknown {
    const due = this.#timers.dropFirst()
    if (due === undefined) return undefined
    this.#forgetEmpty(due.entry)
    return { key: due.entry.key, timer: due.name, atWallTime: due.timeMs }
  }

  commit(): void {
    this.#timers.commit()
  }

  rollback(): void {
    this.#timers.rollback()
  }

  #forgetEmpty(entry: Entry): void {
    if (entry.timers === undefined || entry.timers.size === 0) this.#keys.remove(entry)
  }
}
