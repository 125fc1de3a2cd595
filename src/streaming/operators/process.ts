/**
 * User code with state per key and timers, on event time and on the wall's clock.
 *
 * Owns: what user code may do with the state of the keys of this shard, and their timers (state/key-table.ts, state/key-timers.ts).
 *
 * 1. A key's events and timers are handled one by one, in the order of their arrival and of their times.
 * 2. Before a key is first touched in a unit its state is copied, where the job goes on after errors: a unit that is cut off
 *    leaves no trace. In a careful unit it is copied before every event, and a failing event alone leaves no trace.
 * 3. A timer is what its key's table says; entries of the heap that say otherwise are skipped. Heap and table agree between
 *    units: the heap is touched only then.
 */
import { invalidArgument } from '../../base/errors.ts'
import type { KeyCodec } from '../../keys/key-codec.ts'
import type { Schema } from '../../base/schema.ts'
import { checkValue } from '../graph/broken-row.ts'
import type { ProcessContext, ProcessSpec } from '../graph/stage-types.ts'
import { refusePromise } from '../graph/refuse-async.ts'
import { type KeyEntry, KeyTable } from '../state/key-table.ts'
import { type DueTimer, KeyTimers } from '../state/key-timers.ts'
import type { Queried } from '../state/queried.ts'
import type { Stateful, StageState } from '../state/stage-state.ts'
import type { Timers } from '../state/timers.ts'
import { Batch } from './batch.ts'
import { cloneState, roughBytes } from './clone-state.ts'
import { packMaps, unpackMaps } from '../../base/pack-maps.ts'
import { checkEmitted, type Due, Operator, type Timed } from './operator.ts'
import { noOrigin } from './origin.ts'
import { ReplaySignal, type Unit, UnitSignal } from './unit.ts'
import { WallTimers } from './wall-timers.ts'

type Spec = ProcessSpec<unknown, unknown, unknown, unknown>
type KeyState = KeyEntry<unknown>

/** Name of the timer at whose moment a key is forgotten. */
const ttlTimer = '\u0000ttl'
/** In every how many batches the state of one key is measured. */
const sampleEvery = 16

/** The `ctx` of user code: one per stage, pointed at one event or timer after the other. */
class Context implements ProcessContext<unknown, unknown, unknown> {
  key: unknown
  state: unknown
  eventTimeMs = 0
  watermarkMs = 0
  wallTimeMs = 0
  origin = noOrigin
  partition = 0
  readonly #stage: ProcessOperator

  constructor(stage: ProcessOperator) {
    this.#stage = stage
  }

  emit(out: unknown): void {
    this.#stage.emitted(this, out)
  }

  setTimer(name: string, atEventTimeMs: number): void {
    this.#stage.setTimer(name, atEventTimeMs)
  }

  clearTimer(name: string): void {
    this.#stage.clearTimer(name)
  }

  setWallTimer(name: string, atWallTimeMs: number): void {
    this.#stage.setWallTimer(this, name, atWallTimeMs)
  }

  clearWallTimer(name: string): void {
    this.#stage.clearWallTimer(this, name)
  }
}

export class ProcessOperator extends Operator implements Due, Stateful, Timed, Queried {
  readonly state: StageState
  readonly #spec: Spec
  readonly #emits: Schema<unknown> | undefined
  readonly #keys: KeyTable<unknown>
  readonly #timers: KeyTimers<unknown>
  /** Where there is code for them. */
  readonly #wallTimers: WallTimers | undefined
  #isFiringWall = false
  readonly #out = new Batch()
  readonly #context: Context
  readonly #ttlMs: number | undefined
  #current: KeyState | undefined
  #batches = 0
  #averageBytes = 0

  constructor(
    stage: number,
    unit: Unit,
    spec: Spec,
    emits: Schema<unknown> | undefined,
    keyCodec: KeyCodec,
    state: StageState,
    /** A key that had no event for so long, by event time, is forgotten (at the latest an eighth later). */
    ttlMs?: number,
  ) {
    super(stage, unit)
    this.#ttlMs = ttlMs
    this.state = state
    this.#spec = spec
    this.#emits = emits
    this.#keys = new KeyTable<unknown>(state, unit, {
      table: 0,
      timerTable: 1,
      keyCodec,
      encode: packMaps,
      decode: unpackMaps,
      copy: value => cloneState(value),
    })
    this.#timers = new KeyTimers(this.#keys)
    this.#wallTimers = spec.onWallTimer === undefined ? undefined : new WallTimers(state, unit, keyCodec)
    this.#context = new Context(this)
  }

  protected process(batch: Batch): void {
    const out = this.#out
    out.size = 0
    const timers = this.#timers
    timers.beginBatch()
    this.#wallTimers?.beginBatch()
    const context = this.#context
    for (let at = 0; at < batch.size; at += 1) {
      context.eventTimeMs = batch.times[at] as number
      context.origin = batch.origins[at] as number
      this.#handle(batch.rows[at], batch.keys[at], batch.partitions[at] as number, undefined)
      if (timers.hasDueNow) this.#fireDueNow()
      if (this.#wallTimers?.hasDueNow === true) this.#fireWallDueNow(this.#wallTimers)
    }
    this.#sample()
    this.emit(out)
  }

  #fireDueNow(): void {
    for (let due = this.#timers.takeDue(); due !== undefined; due = this.#timers.takeDue()) {
      const { entry, name, timeMs } = due
      if (name === ttlTimer) {
        this.#forget(entry)
        continue
      }
      this.#context.eventTimeMs = timeMs
      this.#context.origin = noOrigin
      this.#handle({ key: entry.key, timer: name, at: timeMs }, entry.key, entry.partition, due)
    }
  }

  #fireWallDueNow(timers: WallTimers): void {
    const context = this.#context
    for (let due = timers.takeDue(); due !== undefined; due = timers.takeDue()) {
      const { key, partition } = due.entry
      const watermark = this.state.watermarkOf(partition, this.#timers.watermark)
      // The earliest moment that is not late.
      context.eventTimeMs = Number.isFinite(watermark) ? watermark + 1 : this.unit.wallTimeMs
      context.origin = noOrigin
      this.#handle({ key, timer: due.name, atWallTime: due.timeMs }, key, partition, undefined, due.name)
    }
  }

  /** Runs user code for one event, or one timer. A failure takes back what it did to the key, its timers and the output. */
  #handle(row: unknown, key: unknown, partition: number, due: DueTimer<unknown> | undefined, wallTimer?: string): void {
    const { unit } = this
    const context = this.#context
    const emitted = this.#out.size
    const timersSet = this.#timers.setCount
    let entry = due?.entry
    let before: unknown
    let timersBefore: Timers | undefined
    const takeBackWall = unit.careful ? this.#wallTimers?.save(key, partition) : undefined
    try {
      if (entry === undefined) entry = this.#stateOf(key, partition)
      else this.#keys.changing(entry)
      if (unit.careful) {
        before = cloneState(entry.value)
        timersBefore = entry.timers?.copy()
      }
      this.#current = entry
      context.key = entry.key
      context.partition = entry.partition
      context.state = entry.value
      context.watermarkMs = this.state.watermarkOf(entry.partition, this.#timers.watermark)
      context.wallTimeMs = unit.wallTimeMs
      const returned = this.#call(context, row, due?.name, wallTimer)
      if (returned !== undefined) refusePromise(returned)
      entry.value = context.state
      if (entry.value === undefined) this.#forget(entry)
      else if (this.#ttlMs !== undefined && (due === undefined || entry.timers?.has(ttlTimer) !== true))
        this.#live(entry, context.eventTimeMs, this.#ttlMs)
    } catch (thrown) {
      if (thrown instanceof UnitSignal) throw thrown
      if (unit.undo && !unit.careful) throw new ReplaySignal()
      if (entry !== undefined && unit.careful) {
        // A failed timer is gone all the same: it would fail again.
        entry.value = before
        entry.timers = timersBefore
      }
      this.#out.size = emitted
      this.#timers.forgetSince(timersSet)
      takeBackWall?.()
      const isEvent = due === undefined && wallTimer === undefined
      unit.rowFailed(this.stage, context.origin, thrown, row, isEvent ? { time: context.eventTimeMs, key, partition } : undefined)
    }
    checkEmitted(this.stage, this.#out)
  }

  #call(context: Context, row: unknown, timer: string | undefined, wallTimer: string | undefined): unknown {
    if (timer !== undefined) return this.#spec.onTimer?.(context, timer)
    return wallTimer === undefined ? this.#spec.onEvent(context, row) : this.#spec.onWallTimer?.(context, wallTimer)
  }

  #stateOf(key: unknown, partition: number): KeyState {
    const entry = this.#keys.get(key, partition)
    if (entry !== undefined) {
      this.#keys.changing(entry)
      return entry
    }
    const state = this.#spec.state()
    refusePromise(state)
    return this.#keys.add(key, partition, state)
  }

  /** Moves the key's end, now and then: not at every event. A timer of a key that was forgotten before it gives it one again. */
  #live(entry: KeyState, timeMs: number, ttlMs: number): void {
    if (!Number.isFinite(timeMs)) return
    const end = entry.timers?.get(ttlTimer)
    if (end === undefined || end < timeMs + ttlMs) this.#timers.set(entry, ttlTimer, timeMs + ttlMs + Math.floor(ttlMs / 8))
  }

  #forget(entry: KeyState): void {
    this.#timers.clear(entry, ttlTimer)
    // Its timers still come: they find the state of a key that is seen for the first time.
    if (entry.timers !== undefined && entry.timers.size > 0) entry.value = this.#spec.state()
    else this.#keys.remove(entry)
  }

  emitted(context: Context, out: unknown): void {
    const row = this.#emits === undefined ? out : checkValue(this.#emits, out)
    this.#out.push(row, context.eventTimeMs, context.origin, context.key, context.partition)
    checkEmitted(this.stage, this.#out)
  }

  recordNow(key: Uint8Array, partition: number): Uint8Array | undefined {
    return this.#keys.recordNow(key, partition)
  }

  setTimer(name: string, timeMs: number): void {
    checkTimer(name, timeMs)
    if (this.#spec.onTimer === undefined) throw invalidArgument(`Cannot set timer "${name}": the stage has no onTimer`)
    if (this.#current !== undefined) this.#timers.set(this.#current, name, timeMs)
  }

  clearTimer(name: string): void {
    if (this.#current !== undefined) this.#timers.clear(this.#current, name)
  }

  setWallTimer({ key, partition }: Context, name: string, wallTimeMs: number): void {
    checkTimer(name, wallTimeMs)
    if (this.#wallTimers === undefined) throw invalidArgument(`Cannot set wall timer "${name}": the stage has no onWallTimer`)
    this.#wallTimers.set(key, partition, name, wallTimeMs)
  }

  clearWallTimer({ key, partition }: Context, name: string): void {
    this.#wallTimers?.clear(key, partition, name)
  }

  setTime(nowMs: number, wallTimeMs: number): void {
    this.#wallTimers?.setTime(nowMs, wallTimeMs)
  }

  get wakeAtMs(): number {
    return this.#wallTimers?.wakeAtMs ?? Number.POSITIVE_INFINITY
  }

  advanceTo(watermark: number): void {
    this.#timers.advanceTo(watermark)
    if (watermark === Number.POSITIVE_INFINITY) this.#wallTimers?.end()
  }

  prepareFire(limit: number): boolean {
    const isDue = this.#timers.prepare(limit)
    this.#isFiringWall = !isDue && this.#wallTimers?.prepare(limit) === true
    return isDue || this.#isFiringWall
  }

  fire(): void {
    this.#out.size = 0
    if (this.#isFiringWall && this.#wallTimers !== undefined) {
      this.#wallTimers.beginFiring()
      this.#fireWallDueNow(this.#wallTimers)
    } else {
      this.#timers.beginFiring()
    }
    this.#fireDueNow()
    this.emit(this.#out)
  }

  fired(): void {
    if (this.#isFiringWall) this.#wallTimers?.fired()
    else this.#timers.fired()
  }

  dropFirst(): unknown {
    if (this.#isFiringWall) return this.#wallTimers?.dropFirst()
    const due = this.#timers.dropFirst()
    return due === undefined ? undefined : { key: due.entry.key, timer: due.name, at: due.timeMs }
  }

  override commit(): void {
    this.#timers.commit()
    this.#wallTimers?.commit()
  }

  override rollback(): void {
    this.#timers.rollback()
    this.#wallTimers?.rollback()
  }

  #sample(): void {
    this.#batches += 1
    if (this.#batches % sampleEvery !== 1 || this.#current === undefined) return
    const { value, timers } = this.#current
    const bytes = 120 + roughBytes(value) + (timers?.size ?? 0) * 120
    this.#averageBytes = this.#averageBytes === 0 ? bytes : this.#averageBytes * 0.9 + bytes * 0.1
  }

  override get stateBytes(): number {
    return Math.round(this.#keys.size * this.#averageBytes)
  }
}

/** Of plain values as they are written; undefined: the stage has none. */
export function upgradeFunction({ upgrade }: Spec): ((old: unknown) => unknown) | undefined {
  if (upgrade === undefined) return undefined
  return old => {
    const state = upgrade(unpackMaps(old))
    refusePromise(state)
    return packMaps(state)
  }
}

function checkTimer(name: string, timeMs: number): void {
  if (typeof name !== 'string') throw invalidArgument('Cannot set timer: its name must be a text')
  if (name === ttlTimer) throw invalidArgument('Cannot set timer: its name is one that the engine uses')
  if (typeof timeMs !== 'number' || Number.isNaN(timeMs))
    throw invalidArgument(`Cannot set timer "${name}": its time must be a number of milliseconds`)
}
