/**
 * User code with state per key and timers on event time.
 *
 * Owns: the working state of the keys of this shard, and their timers.
 *
 * 1. A key's events and timers are handled one by one, in the order of their arrival and of their times.
 * 2. Before a key is first touched in a unit its state is copied, where the job goes on after errors: a unit that is cut off
 *    leaves no trace. In a careful unit it is copied before every event, and a failing event alone leaves no trace.
 * 3. A timer is what its key's table says; entries of the heap that say otherwise are skipped. Heap and table agree between
 *    units: the heap is touched only then.
 */
import { invalidArgument } from '../../base/errors.ts'
import type { Schema } from '../../base/schema.ts'
import { checkValue } from '../graph/broken-row.ts'
import type { ProcessContext, ProcessSpec } from '../graph/stage-types.ts'
import { refusePromise } from '../graph/refuse-async.ts'
import { Batch } from './batch.ts'
import { cloneState, roughBytes } from './clone-state.ts'
import type { KeyId } from './key-id.ts'
import { checkEmitted, type Due, Operator } from './operator.ts'
import { noOrigin } from './origin.ts'
import { type Timer, TimerHeap } from './timer-heap.ts'
import { ReplaySignal, type Undoable, type Unit, UnitSignal } from './unit.ts'

type Spec = ProcessSpec<unknown, unknown, unknown, unknown>
type KeyTimer = Timer<KeyState>

/** In every how many batches the state of one key is measured. */
const sampleEvery = 16

class KeyState implements Undoable {
  readonly key: unknown
  readonly partition: number
  state: unknown
  /** Name -> time. */
  timers: Map<string, number> | undefined
  touchedIn = -1
  #savedState: unknown
  #savedTimers: Map<string, number> | undefined

  constructor(key: unknown, partition: number, state: unknown) {
    this.key = key
    this.partition = partition
    this.state = state
  }

  touch(unit: Unit): void {
    if (this.touchedIn === unit.number) return
    this.#savedState = cloneState(this.state)
    this.#savedTimers = this.timers === undefined ? undefined : new Map(this.timers)
    unit.changing(this)
    this.touchedIn = unit.number
  }

  undo(): void {
    this.state = this.#savedState
    this.timers = this.#savedTimers
  }
}

/** The `ctx` of user code: one per stage, pointed at one event or timer after the other. */
class Context implements ProcessContext<unknown, unknown, unknown> {
  key: unknown
  state: unknown
  eventTimeMs = 0
  watermarkMs = 0
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
}

export class ProcessOperator extends Operator implements Due {
  readonly #spec: Spec
  readonly #emits: Schema<unknown> | undefined
  readonly #idOf: (key: unknown) => KeyId
  readonly #byKey = new Map<KeyId, KeyState>()
  readonly #out = new Batch()
  readonly #context: Context
  #current: KeyState | undefined
  #watermark = Number.NEGATIVE_INFINITY

  readonly #heap = new TimerHeap<KeyState>()
  /** Timers set in the unit that are not due within it. */
  #newTimers: KeyTimer[] = []
  /** Timers due within the unit: those laid out, and those that user code sets meanwhile. */
  readonly #dueNow = new TimerHeap<KeyState>()
  #dueUntil = Number.NEGATIVE_INFINITY
  #laidOut: KeyTimer[] = []
  #timerOrder = 0

  #batches = 0
  #averageBytes = 0

  constructor(stage: number, unit: Unit, spec: Spec, emits: Schema<unknown> | undefined, idOf: (key: unknown) => KeyId) {
    super(stage, unit)
    this.#spec = spec
    this.#emits = emits
    this.#idOf = idOf
    this.#context = new Context(this)
  }

  protected process(batch: Batch): void {
    const out = this.#out
    out.size = 0
    this.#dueUntil = this.#watermark
    const context = this.#context
    for (let at = 0; at < batch.size; at += 1) {
      context.eventTimeMs = batch.times[at] as number
      context.origin = batch.origins[at] as number
      this.#handle(batch.rows[at], undefined, batch.keys[at], batch.partitions[at] as number, undefined)
      if (this.#dueNow.size > 0) this.#fireDueNow()
    }
    this.#sample()
    this.emit(out)
  }

  #fireDueNow(): void {
    for (let timer = this.#dueNow.take(); timer !== undefined; timer = this.#dueNow.take()) {
      const { owner, name, timeMs } = timer
      if (owner.timers?.get(name) !== timeMs) continue
      this.#context.eventTimeMs = timeMs
      this.#context.origin = noOrigin
      this.#handle({ key: owner.key, timer: name, at: timeMs }, owner, owner.key, owner.partition, name)
    }
  }

  /** Runs user code for one event, or one timer of `known`. A failure takes back what it did to the key, its timers and the output. */
  #handle(row: unknown, known: KeyState | undefined, key: unknown, partition: number, timer: string | undefined): void {
    const { unit } = this
    const context = this.#context
    const emitted = this.#out.size
    const timersSet = this.#newTimers.length
    let owner = known
    let before: unknown
    let timersBefore: Map<string, number> | undefined
    try {
      owner ??= this.#stateOf(key, partition)
      if (unit.undo) owner.touch(unit)
      if (unit.careful) {
        before = cloneState(owner.state)
        timersBefore = owner.timers === undefined ? undefined : new Map(owner.timers)
      }
      this.#current = owner
      context.key = owner.key
      context.partition = owner.partition
      context.state = owner.state
      context.watermarkMs = this.#watermark
      const returned = timer === undefined ? this.#spec.onEvent(context, row) : this.#onTimer(owner, timer)
      if (returned !== undefined) refusePromise(returned)
      owner.state = context.state
      if (owner.state === undefined) this.#forget(owner)
    } catch (thrown) {
      if (thrown instanceof UnitSignal) throw thrown
      if (unit.undo && !unit.careful) throw new ReplaySignal()
      if (owner !== undefined && unit.careful) {
        owner.state = before
        owner.timers = timersBefore
        // A failed timer is gone all the same: it would fail again.
        if (timer !== undefined) owner.timers?.delete(timer)
      }
      this.#out.size = emitted
      this.#newTimers.length = timersSet
      unit.rowFailed(this.stage, context.origin, thrown, row)
    }
    checkEmitted(this.stage, this.#out)
  }

  #onTimer(owner: KeyState, timer: string): unknown {
    owner.timers?.delete(timer)
    return this.#spec.onTimer?.(this.#context, timer)
  }

  #stateOf(key: unknown, partition: number): KeyState {
    const id = this.#idOf(key)
    let entry = this.#byKey.get(id)
    if (entry !== undefined) return entry
    const state = this.#spec.state()
    refusePromise(state)
    entry = new KeyState(key, partition, state)
    if (this.unit.undo) this.unit.changing({ undo: () => this.#byKey.delete(id) })
    this.#byKey.set(id, entry)
    return entry
  }

  #forget(owner: KeyState): void {
    if (owner.timers !== undefined && owner.timers.size > 0) {
      // Its timers still come: they find the state of a key that is seen for the first time.
      owner.state = this.#spec.state()
      return
    }
    const id = this.#idOf(owner.key)
    if (this.unit.undo) this.unit.changing({ undo: () => this.#byKey.set(id, owner) })
    this.#byKey.delete(id)
  }

  emitted(context: Context, out: unknown): void {
    const row = this.#emits === undefined ? out : checkValue(this.#emits, out)
    this.#out.push(row, context.eventTimeMs, context.origin, context.key, context.partition)
    checkEmitted(this.stage, this.#out)
  }

  setTimer(name: string, timeMs: number): void {
    const owner = this.#current
    if (typeof name !== 'string') throw invalidArgument('Cannot set timer: its name must be a text')
    if (typeof timeMs !== 'number' || Number.isNaN(timeMs))
      throw invalidArgument(`Cannot set timer "${name}": its time must be a number of milliseconds`)
    if (this.#spec.onTimer === undefined) throw invalidArgument(`Cannot set timer "${name}": the stage has no onTimer`)
    if (owner === undefined) return
    owner.timers ??= new Map()
    if (owner.timers.get(name) === timeMs) return
    owner.timers.set(name, timeMs)
    this.#timerOrder += 1
    const timer = { timeMs, name, owner, order: this.#timerOrder }
    if (timeMs <= this.#dueUntil) this.#dueNow.push(timer)
    else this.#newTimers.push(timer)
  }

  clearTimer(name: string): void {
    this.#current?.timers?.delete(name)
  }

  advanceTo(watermark: number): void {
    this.#watermark = watermark
  }

  prepareFire(limit: number): boolean {
    const laidOut = this.#laidOut
    while (laidOut.length > limit) this.#heap.push(laidOut.pop() as KeyTimer)
    while (laidOut.length < limit) {
      const next = this.#heap.peek()
      if (next === undefined || next.timeMs > this.#watermark) break
      this.#heap.take()
      if (next.owner.timers?.get(next.name) === next.timeMs) laidOut.push(next)
    }
    return laidOut.length > 0
  }

  fire(): void {
    this.#out.size = 0
    this.#dueUntil = this.#laidOut.at(-1)?.timeMs ?? this.#watermark
    for (const timer of this.#laidOut) this.#dueNow.push(timer)
    this.#fireDueNow()
    this.emit(this.#out)
  }

  fired(): void {
    this.#laidOut = []
  }

  dropFirst(): unknown {
    const timer = this.#laidOut.shift()
    if (timer === undefined) return undefined
    timer.owner.timers?.delete(timer.name)
    return { key: timer.owner.key, timer: timer.name, at: timer.timeMs }
  }

  override commit(): void {
    if (this.#newTimers.length > 0) {
      for (const timer of this.#newTimers) this.#heap.push(timer)
      this.#newTimers = []
    }
  }

  override rollback(): void {
    this.#newTimers = []
    this.#dueNow.clear()
  }

  #sample(): void {
    this.#batches += 1
    if (this.#batches % sampleEvery !== 1 || this.#current === undefined) return
    const { state, timers } = this.#current
    const bytes = 120 + roughBytes(state) + (timers?.size ?? 0) * 120
    this.#averageBytes = this.#averageBytes === 0 ? bytes : this.#averageBytes * 0.9 + bytes * 0.1
  }

  override get stateBytes(): number {
    return Math.round(this.#byKey.size * this.#averageBytes)
  }
}
