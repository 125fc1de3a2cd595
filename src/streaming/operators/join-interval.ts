/**
 * Joins two inputs by key and time: every left row with every right row of its key whose time is from left - before to left + after,
 * both included. `left` also gives left rows that found none, `outer` those of either side.
 *
 * 1. A pair comes at once when its second row does, with the later time of both. A row that found none comes when no partner can follow
 *    any more, with that moment as its time: left + after, right + before.
 * 2. A row at or before the watermark is late: partners may be gone. With an allowed lateness rows, and so their partners, are kept
 *    that much longer, and only a row that far behind is late.
 * 3. A key has one timer: the earliest moment at which one of its rows can have no partner any more.
 */
import type { KeyCodec } from '../../keys/key-codec.ts'
import { refusePromise } from '../graph/refuse-async.ts'
import { type KeyEntry, KeyTable } from '../state/key-table.ts'
import { KeyTimers } from '../state/key-timers.ts'
import type { StageState, Stateful } from '../state/stage-state.ts'
import { Batch } from './batch.ts'
import { JoinPort, type JoinType, type TakesInputs } from './join-port.ts'
import { checkEmitted, type Due, Operator } from './operator.ts'
import { noOrigin } from './origin.ts'
import { type Unit, UnitSignal } from './unit.ts'

export interface JoinIntervalOptions {
  readonly beforeMs: number
  readonly afterMs: number
  readonly type: JoinType
  readonly latenessMs?: number
  readonly join: (left: unknown, right: unknown) => unknown
  readonly keyCodec: KeyCodec
}

interface Item {
  readonly time: number
  readonly row: unknown
  isMatched: boolean
}

/** Rows of both inputs, each in the order of time. */
type Buffers = readonly [Item[], Item[]]
type Entry = KeyEntry<Buffers>

const timerName = 'x'

export class JoinIntervalOperator extends Operator implements Due, Stateful, TakesInputs {
  readonly state: StageState
  readonly #type: JoinType
  readonly #join: JoinIntervalOptions['join']
  readonly #latenessMs: number
  /** By input: a partner's time is from time - earlier to time + later. */
  readonly #earlierMs: readonly [number, number]
  readonly #laterMs: readonly [number, number]
  readonly #keys: KeyTable<Buffers>
  readonly #timers: KeyTimers<Buffers>
  readonly #ports: readonly [Operator, Operator]
  readonly #out = new Batch()
  readonly #late = new Batch()
  #items = 0

  constructor(stage: number, unit: Unit, state: StageState, options: JoinIntervalOptions) {
    super(stage, unit)
    const { beforeMs, afterMs, type, latenessMs = 0, join, keyCodec } = options
    this.state = state
    this.#type = type
    this.#join = join
    this.#latenessMs = latenessMs
    this.#earlierMs = [beforeMs, afterMs]
    this.#laterMs = [afterMs, beforeMs]
    this.#keys = new KeyTable<Buffers>(state, unit, {
      table: 0,
      timerTable: 1,
      keyCodec,
      encode: buffers => buffers.map(items => items.flatMap(({ time, row, isMatched }) => [time, row, isMatched])),
      decode: plain => (plain as unknown[][]).map(read) as [Item[], Item[]],
      // Each change is taken back by itself: a copy would cost as much as the key has rows.
      copy: buffers => buffers,
    })
    this.#timers = new KeyTimers(this.#keys)
    this.#ports = [new JoinPort(unit, this, 0), new JoinPort(unit, this, 1)]
  }

  override port(input: number): Operator {
    return this.#ports[input === 0 ? 0 : 1]
  }

  protected process(batch: Batch): void {
    this.take(batch, 0)
  }

  take(batch: Batch, input: 0 | 1): void {
    this.#out.size = 0
    this.#timers.beginBatch()
    for (let at = 0; at < batch.size; at += 1) {
      const emitted = this.#out.size
      try {
        this.#takeRow(batch, at, input)
      } catch (thrown) {
        if (thrown instanceof UnitSignal) throw thrown
        this.#out.size = emitted
        this.rowFailed(batch, at, thrown)
      }
      checkEmitted(this.stage, this.#out)
    }
    this.emit(this.#out)
    const late = this.#late
    if (late.size === 0) return
    const counted = this.unit.counters.late
    counted[this.stage] = (counted[this.stage] as number) + late.size
    this.emitAside(late)
    late.clear()
  }

  #takeRow(batch: Batch, at: number, input: 0 | 1): void {
    const time = batch.times[at] as number
    const key = batch.keys[at]
    const partition = batch.partitions[at] as number
    const row = batch.rows[at]
    if (time + this.#latenessMs <= this.state.watermarkOf(partition, this.#timers.watermark)) {
      this.#late.pushFrom(batch, at, row)
      return
    }
    let entry = this.#keys.get(key, partition)
    const item: Item = { time, row, isMatched: false }
    const found: Item[] = []
    if (entry !== undefined) {
      const partners = entry.value[input === 0 ? 1 : 0]
      const until = time + this.#laterMs[input]
      for (let i = firstAtOrAfter(partners, time - this.#earlierMs[input]); i < partners.length; i += 1) {
        const partner = partners[i] as Item
        if (partner.time > until) break
        const joined = input === 0 ? this.#join(row, partner.row) : this.#join(partner.row, row)
        refusePromise(joined)
        this.#out.push(joined, Math.max(time, partner.time), batch.origins[at] as number, key, partition)
        found.push(partner)
      }
    }
    // User code has run: now the state changes.
    if (entry === undefined) entry = this.#keys.add(key, partition, [[], []])
    else this.#keys.changing(entry)
    item.isMatched = found.length > 0
    for (const partner of found) if (!partner.isMatched) this.#match(partner)
    this.#insert(entry.value[input], item)
    const expiresAt = time + this.#laterMs[input] + this.#latenessMs
    const timer = entry.timers?.get(timerName)
    if (timer === undefined || expiresAt < timer) this.#timers.set(entry, timerName, expiresAt)
  }

  #match(item: Item): void {
    if (this.unit.undo) this.unit.changing({ undo: () => void (item.isMatched = false) })
    item.isMatched = true
  }

  #insert(items: Item[], item: Item): void {
    let at = items.length
    while (at > 0 && (items[at - 1] as Item).time > item.time) at -= 1
    if (this.unit.undo) {
      this.unit.changing({
        undo: () => {
          const found = items.lastIndexOf(item)
          if (found !== -1) items.splice(found, 1)
        },
      })
    }
    if (at === items.length) items.push(item)
    else items.splice(at, 0, item)
    this.#items += 1
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
    for (let due = this.#timers.takeDue(); due !== undefined; due = this.#timers.takeDue()) this.#expire(due.entry)
    this.emit(this.#out)
  }

  #expire(entry: Entry): void {
    const watermark = this.state.watermarkOf(entry.partition, this.#timers.watermark)
    let next = Number.POSITIVE_INFINITY
    for (const input of [0, 1] as const) {
      const items = entry.value[input]
      const keptMs = this.#laterMs[input] + this.#latenessMs
      let count = 0
      for (; count < items.length; count += 1) {
        const item = items[count] as Item
        if (item.time + keptMs > watermark) break
        if (!item.isMatched && (input === 0 ? this.#type !== 'inner' : this.#type === 'outer')) this.#giveAlone(entry, item, input)
      }
      if (count > 0) this.#cut(items, count)
      const first = items[0]
      if (first !== undefined) next = Math.min(next, first.time + keptMs)
    }
    if (next === Number.POSITIVE_INFINITY) this.#keys.remove(entry)
    else this.#timers.set(entry, timerName, next)
  }

  #cut(items: Item[], count: number): void {
    const gone = items.slice(0, count)
    if (this.unit.undo) {
      this.unit.changing({
        undo: () => {
          if (items[0] !== gone[0]) items.unshift(...gone)
        },
      })
    }
    items.splice(0, count)
    this.#items -= count
  }

  #giveAlone(entry: Entry, { time, row }: Item, input: 0 | 1): void {
    try {
      const joined = input === 0 ? this.#join(row, undefined) : this.#join(undefined, row)
      refusePromise(joined)
      this.#out.push(joined, time + this.#laterMs[input] + this.#latenessMs, noOrigin, entry.key, entry.partition)
    } catch (thrown) {
      this.unit.rowFailed(this.stage, noOrigin, thrown, row)
    }
    checkEmitted(this.stage, this.#out)
  }

  fired(): void {
    this.#timers.fired()
  }

  /** The rows of the key whose turn it was go with it. */
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
    return this.#keys.size * 200 + Math.max(0, this.#items) * 72
  }
}

function read(plain: unknown[]): Item[] {
  const items: Item[] = []
  for (let i = 0; i + 2 < plain.length; i += 3)
    items.push({ time: plain[i] as number, row: plain[i + 1], isMatched: plain[i + 2] as boolean })
  return items
}

function firstAtOrAfter(items: readonly Item[], time: number): number {
  let low = 0
  let high = items.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((items[middle] as Item).time < time) low = middle + 1
    else high = middle
  }
  return low
}
