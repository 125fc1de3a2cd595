/**
 * One value per key, forgotten at a moment of event time: state with a time to live.
 *
 * A value is gone for a row at or after that moment, whatever the watermark, and freed when the watermark has come to it; so what a row
 * finds depends on event times and the order of the key's rows alone. A key has one timer, which moves when it fires and not at every row.
 */
import type { KeyCodec } from '../../keys/key-codec.ts'
import { type KeyEntry, KeyTable } from '../state/key-table.ts'
import { KeyTimers } from '../state/key-timers.ts'
import type { StageState } from '../state/stage-state.ts'
import type { Unit } from './unit.ts'

export interface Kept<V> {
  readonly value: V
  /** Infinite: for as long as the job runs. */
  readonly until: number
}

export interface ExpiringKeysOptions<V> {
  readonly keyCodec: KeyCodec
  readonly encode: (value: V) => unknown
  readonly decode: (plain: unknown) => V
  readonly copy: (value: V) => V
}

const timerName = 'ttl'
const forEver = Number.POSITIVE_INFINITY

export class ExpiringKeys<V> {
  readonly #keys: KeyTable<Kept<V>>
  readonly #timers: KeyTimers<Kept<V>>

  constructor(state: StageState, unit: Unit, { keyCodec, encode, decode, copy }: ExpiringKeysOptions<V>) {
    this.#keys = new KeyTable<Kept<V>>(state, unit, {
      table: 0,
      timerTable: 1,
      keyCodec,
      encode: ({ value, until }) => [encode(value), until === forEver ? null : until],
      decode: plain => {
        const [value, until] = plain as readonly [unknown, number | null]
        return { value: decode(value), until: until ?? forEver }
      },
      copy: ({ value, until }) => ({ value: copy(value), until }),
    })
    this.#timers = new KeyTimers(this.#keys)
  }

  get size(): number {
    return this.#keys.size
  }

  get watermark(): number {
    return this.#timers.watermark
  }

  recordNow(key: Uint8Array, partition: number): Uint8Array | undefined {
    return this.#keys.recordNow(key, partition)
  }

  /** The value that a row of this time finds. */
  find(key: unknown, partition: number, time: number): Kept<V> | undefined {
    const kept = this.#keys.get(key, partition)?.value
    return kept === undefined || time >= kept.until ? undefined : kept
  }

  /** Before a value that `find` gave changes in place. */
  changing(key: unknown, partition: number): void {
    const entry = this.#keys.get(key, partition)
    if (entry !== undefined) this.#keys.changing(entry)
  }

  put(key: unknown, partition: number, value: V, until: number): void {
    let entry = this.#keys.get(key, partition)
    if (entry === undefined) entry = this.#keys.add(key, partition, { value, until })
    else {
      this.#keys.changing(entry)
      entry.value = { value, until }
    }
    if (until === forEver) return
    const timer = entry.timers?.get(timerName)
    if (timer === undefined || until < timer) this.#timers.set(entry, timerName, until)
  }

  remove(key: unknown, partition: number): void {
    const entry = this.#keys.get(key, partition)
    if (entry !== undefined) this.#keys.remove(entry)
  }

  // ---- timers, as the operator's Due

  beginBatch(): void {
    this.#timers.beginBatch()
  }

  advanceTo(watermark: number): void {
    this.#timers.advanceTo(watermark)
  }

  prepareFire(limit: number): boolean {
    return this.#timers.prepare(limit)
  }

  /** Frees what is due. `rest` may keep a part of a value, with another moment. */
  fire(rest?: (value: V, watermark: number) => Kept<V> | undefined): void {
    this.#timers.beginFiring()
    for (let due = this.#timers.takeDue(); due !== undefined; due = this.#timers.takeDue()) this.#expire(due.entry, rest)
  }

  #expire(entry: KeyEntry<Kept<V>>, rest: ((value: V, watermark: number) => Kept<V> | undefined) | undefined): void {
    const { watermark } = this.#timers
    if (entry.value.until > watermark) {
      this.#timers.set(entry, timerName, entry.value.until)
      return
    }
    const kept = rest?.(entry.value.value, watermark)
    if (kept === undefined) {
      this.#keys.remove(entry)
      return
    }
    entry.value = kept
    this.#timers.set(entry, timerName, kept.until)
  }

  fired(): void {
    this.#timers.fired()
  }

  dropFirst(): unknown {
    const due = this.#timers.dropFirst()
    return due === undefined ? undefined : { key: due.entry.key, at: due.timeMs }
  }

  commit(): void {
    this.#timers.commit()
  }

  rollback(): void {
    this.#timers.rollback()
  }
}
