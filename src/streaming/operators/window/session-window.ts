/**
 * Session windows: rows of a key that are less than `gapMs` apart belong to one session, [first row, last row + gap).
 *
 * A row is a session of its own, [time, time + gap), which merges with every open one that it meets. So a session depends on the rows'
 * times alone; it closes when the watermark is at or past its last millisecond.
 *
 * 1. A row is late when its own session is past the allowed lateness and meets no session that is kept. Within it, a session that was
 *    closed gives a new result; one that grew past the watermark again is open, and its result comes when it closes.
 * 2. A key has one timer at a time: the earliest moment at which one of its sessions closes, goes, or gives an early result. A session
 *    that has grown meanwhile moves it when it fires, not at every row.
 */
import type { KeyCodec } from '../../../keys/key-codec.ts'
import type { Aggregates } from '../../graph/aggregate.ts'
import { type KeyEntry, KeyTable } from '../../state/key-table.ts'
import { KeyTimers } from '../../state/key-timers.ts'
import type { Queried } from '../../state/queried.ts'
import type { StageState, Stateful } from '../../state/stage-state.ts'
import { Batch } from '../batch.ts'
import { checkEmitted, type Due, Operator } from '../operator.ts'
import { noOrigin } from '../origin.ts'
import { type Accumulator, Reducer } from '../reducer.ts'
import { type Unit, UnitSignal } from '../unit.ts'

export interface SessionWindowOptions {
  readonly gapMs: number
  readonly latenessMs?: number
  readonly earlyMs?: number | undefined
  readonly aggregates: Aggregates<never>
  readonly keyCodec: KeyCodec
}

interface Session {
  first: number
  last: number
  readonly accumulator: Accumulator
  /** Its result was given, and nothing came since. */
  isGiven: boolean
  /** The watermark at which its next early result is due; infinite: none is. */
  earlyAt: number
}

type Entry = KeyEntry<Session[]>

const timerName = 's'
const never = Number.POSITIVE_INFINITY

export class SessionWindowOperator extends Operator implements Due, Stateful, Queried {
  readonly state: StageState
  readonly #gapMs: number
  readonly #latenessMs: number
  readonly #earlyMs: number
  readonly #reducer: Reducer
  readonly #keys: KeyTable<Session[]>
  readonly #timers: KeyTimers<Session[]>
  readonly #out = new Batch()
  readonly #late = new Batch()
  #sessions = 0

  constructor(stage: number, unit: Unit, state: StageState, options: SessionWindowOptions) {
    super(stage, unit)
    const { gapMs, latenessMs = 0, earlyMs = 0, aggregates, keyCodec } = options
    this.state = state
    this.#gapMs = gapMs
    this.#latenessMs = latenessMs
    this.#earlyMs = earlyMs
    const reducer = new Reducer(aggregates)
    this.#reducer = reducer
    this.#keys = new KeyTable<Session[]>(state, unit, {
      table: 0,
      timerTable: 1,
      keyCodec,
      encode: sessions =>
        sessions.map(({ first, last, accumulator, isGiven, earlyAt }) => [
          first,
          last,
          isGiven,
          earlyAt === never ? null : earlyAt,
          reducer.encode(accumulator),
        ]),
      decode: plain => (plain as Written[]).map(written => read(written, reducer)),
      copy: sessions => sessions.map(session => ({ ...session, accumulator: reducer.copy(session.accumulator) })),
    })
    this.#timers = new KeyTimers(this.#keys)
  }

  protected process(batch: Batch): void {
    this.#out.size = 0
    this.#timers.beginBatch()
    for (let at = 0; at < batch.size; at += 1) {
      try {
        this.#add(batch, at)
      } catch (thrown) {
        if (thrown instanceof UnitSignal) throw thrown
        this.rowFailed(batch, at, thrown)
      }
    }
    this.emit(this.#out)
    const late = this.#late
    if (late.size === 0) return
    const counted = this.unit.counters.late
    counted[this.stage] = (counted[this.stage] as number) + late.size
    this.emitAside(late)
    late.clear()
  }

  recordNow(key: Uint8Array, partition: number): Uint8Array | undefined {
    return this.#keys.recordNow(key, partition)
  }

  #add(batch: Batch, at: number): void {
    const time = batch.times[at] as number
    const key = batch.keys[at]
    const partition = batch.partitions[at] as number
    const watermark = this.state.watermarkOf(partition, this.#timers.watermark)
    let entry = this.#keys.get(key, partition)
    // The first session that the row meets; others are rare.
    let met = entry === undefined ? -1 : this.#nextMet(entry.value, time, 0)
    if (met === -1 && time + this.#gapMs - 1 + this.#latenessMs <= watermark) {
      this.#late.pushFrom(batch, at, batch.rows[at])
      return
    }
    const reducer = this.#reducer
    reducer.read(batch.rows[at])
    if (entry === undefined) entry = this.#keys.add(key, partition, [])
    else this.#keys.changing(entry)
    const sessions = entry.value
    const session = sessions[met] ?? { first: time, last: time, accumulator: reducer.create(), isGiven: false, earlyAt: never }
    // Custom aggregates may throw, and leave it as it was.
    try {
      reducer.add(session.accumulator, this.unit)
    } catch (thrown) {
      if (sessions.length === 0) this.#keys.remove(entry)
      throw thrown
    }
    if (met === -1) {
      met = sessions.length
      sessions.push(session)
      this.#sessions += 1
    }
    session.first = Math.min(time, session.first)
    session.last = Math.max(time, session.last)
    session.earlyAt = Math.min(session.earlyAt, this.#firstEarly(time, watermark))
    if (sessions.length > 1) this.#mergeOthers(sessions, session, time, met + 1)
    session.isGiven = session.last + this.#gapMs - 1 <= watermark
    if (session.isGiven) {
      session.earlyAt = never
      this.#give(entry, session, false)
    }
    this.#setTimer(entry, Math.min(this.#dueOf(session), entry.timers?.get(timerName) ?? never))
  }

  /** The next session, from index `from` on, that a row of this time belongs to; -1: none. */
  #nextMet(sessions: readonly Session[], time: number, from: number): number {
    for (let i = from; i < sessions.length; i += 1) {
      const { first, last } = sessions[i] as Session
      if (time - last < this.#gapMs && first - time < this.#gapMs) return i
    }
    return -1
  }

  #mergeOthers(sessions: Session[], session: Session, time: number, from: number): void {
    const reducer = this.#reducer
    for (let i = this.#nextMet(sessions, time, from); i !== -1; i = this.#nextMet(sessions, time, i)) {
      const [other] = sessions.splice(i, 1)
      if (other === undefined) return
      reducer.merge(session.accumulator, other.accumulator)
      reducer.forget(other.accumulator)
      session.first = Math.min(session.first, other.first)
      session.last = Math.max(session.last, other.last)
      session.earlyAt = Math.min(session.earlyAt, other.earlyAt)
      this.#sessions -= 1
    }
  }

  #firstEarly(time: number, watermark: number): number {
    if (this.#earlyMs === 0) return never
    return (watermark === Number.NEGATIVE_INFINITY ? time : watermark) + this.#earlyMs
  }

  /** The next moment at which something of the session is due. */
  #dueOf({ last, isGiven, earlyAt }: Session): number {
    const closesAt = last + this.#gapMs - 1
    return isGiven ? closesAt + this.#latenessMs : Math.min(closesAt, earlyAt)
  }

  #setTimer(entry: Entry, timeMs: number): void {
    if (timeMs !== never && entry.timers?.get(timerName) !== timeMs) this.#timers.set(entry, timerName, timeMs)
  }

  advanceTo(watermark: number): void {
    this.#timers.advanceTo(watermark)
  }

  prepareFire(limit: number): boolean {
    return this.#timers.prepare(limit)
  }

  fire(): void {
    this.#out.size = 0
    this.#timers.beginFiring()
    for (let due = this.#timers.takeDue(); due !== undefined; due = this.#timers.takeDue()) this.#fireKey(due.entry)
    this.emit(this.#out)
  }

  #fireKey(entry: Entry): void {
    const watermark = this.state.watermarkOf(entry.partition, this.#timers.watermark)
    const kept: Session[] = []
    let next = never
    const sessions = [...entry.value].sort((a, b) => a.first - b.first)
    for (const session of sessions) {
      const closesAt = session.last + this.#gapMs - 1
      let { isGiven, earlyAt } = session
      if (!isGiven && closesAt <= watermark) {
        this.#give(entry, session, false)
        isGiven = true
      } else if (!isGiven && earlyAt <= watermark) {
        this.#give(entry, session, true)
        // The next one needs rows first.
        earlyAt = never
      }
      if (isGiven && closesAt + this.#latenessMs <= watermark) {
        this.#reducer.forget(session.accumulator)
        this.#sessions -= 1
        continue
      }
      const after = { ...session, isGiven, earlyAt }
      kept.push(after)
      next = Math.min(next, this.#dueOf(after))
    }
    entry.value = kept
    if (kept.length === 0) this.#keys.remove(entry)
    else this.#setTimer(entry, next)
  }

  #give(entry: Entry, { first, last, accumulator }: Session, isEarly: boolean): void {
    const windowEnd = last + this.#gapMs
    const row: Record<string, unknown> = { key: entry.key, windowStart: first, windowEnd }
    if (this.#earlyMs > 0) row['early'] = isEarly
    try {
      this.#reducer.write(accumulator, row)
    } catch (thrown) {
      this.unit.rowFailed(this.stage, noOrigin, thrown, row)
      return
    }
    this.#out.push(row, windowEnd - 1, noOrigin, entry.key, entry.partition)
    checkEmitted(this.stage, this.#out)
  }

  fired(): void {
    this.#timers.fired()
  }

  dropFirst(): unknown {
    const due = this.#timers.dropFirst()
    if (due === undefined) return undefined
    this.#keys.remove(due.entry)
    return { key: due.entry.key, at: due.timeMs }
  }

  override commit(): void {
    this.#timers.commit()
  }

  override rollback(): void {
    this.#late.clear()
    this.#timers.rollback()
  }

  override get stateBytes(): number {
    return this.#keys.size * 160 + this.#reducer.bytesOf(Math.max(0, this.#sessions))
  }
}

type Written = readonly [first: number, last: number, isGiven: boolean, earlyAt: number | null, accumulator: readonly unknown[]]

function read([first, last, isGiven, earlyAt, accumulator]: Written, reducer: Reducer): Session {
  return { first, last, isGiven, earlyAt: earlyAt ?? never, accumulator: reducer.decode(accumulator) }
}
