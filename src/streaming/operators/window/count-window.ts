/**
 * Windows over a key's last `size` rows, a result every `every` rows (fewer rows at the key's beginning, as in Flink); the same number
 * twice: tumbling. In the order in which rows come: what a count window holds depends on that order, unlike windows of time.
 *
 * Rows are aggregated in panes of the greatest common divisor of both numbers, which a result combines. windowStart is the least time
 * of the rows, windowEnd 1 ms behind the greatest. A window that is not full at the end of the input gives nothing.
 */
import type { KeyCodec } from '../../../keys/key-codec.ts'
import type { Aggregates } from '../../graph/aggregate.ts'
import type { StageState } from '../../state/stage-state.ts'
import type { Batch } from '../batch.ts'
import { ExpiringKeys } from '../expiring-keys.ts'
import { ExpiringOperator } from '../expiring-operator.ts'
import { type Accumulator, Reducer } from '../reducer.ts'
import type { Unit } from '../unit.ts'
import { windowTimes } from './window-times.ts'

export interface CountWindowOptions {
  readonly size: number
  readonly every: number
  /** Of event time, since the key's latest row. */
  readonly ttlMs?: number | undefined
  readonly aggregates: Aggregates<never>
  readonly keyCodec: KeyCodec
}

interface RowPane {
  rows: number
  first: number
  last: number
  accumulator: Accumulator
}

interface Counted {
  /** Since the last result. */
  rows: number
  /** Oldest first; only the last one is not full. */
  panes: RowPane[]
}

export class CountWindowOperator extends ExpiringOperator<Counted> {
  protected readonly kept: ExpiringKeys<Counted>
  readonly #reducer: Reducer
  readonly #size: number
  readonly #every: number
  readonly #paneRows: number
  readonly #ttlMs: number

  constructor(stage: number, unit: Unit, state: StageState, options: CountWindowOptions) {
    super(stage, unit, state)
    const { size, every, ttlMs = Number.POSITIVE_INFINITY, aggregates, keyCodec } = options
    const reducer = new Reducer(aggregates)
    this.#reducer = reducer
    this.#size = size
    this.#every = every
    this.#paneRows = windowTimes(size, every).paneMs
    this.#ttlMs = ttlMs
    this.kept = new ExpiringKeys<Counted>(state, unit, {
      keyCodec,
      encode: ({ rows, panes }) => [rows, panes.map(pane => [pane.rows, pane.first, pane.last, reducer.encode(pane.accumulator)])],
      decode: plain => decodeCounted(plain as WrittenCounted, reducer),
      copy: ({ rows, panes }) => ({ rows, panes: panes.map(pane => ({ ...pane, accumulator: reducer.copy(pane.accumulator) })) }),
    })
  }

  protected take(batch: Batch, at: number): void {
    const key = batch.keys[at]
    const partition = batch.partitions[at] as number
    const time = batch.times[at] as number
    const reducer = this.#reducer
    reducer.read(batch.rows[at])
    const known = this.kept.find(key, partition, time)
    if (known !== undefined) this.kept.changing(key, partition)
    const counted = known?.value ?? { rows: 0, panes: [] }
    let pane = counted.panes.at(-1)
    const isNew = pane === undefined || pane.rows === this.#paneRows
    if (pane === undefined || isNew) pane = { rows: 0, first: time, last: time, accumulator: reducer.create() }
    reducer.add(pane.accumulator, this.unit)
    if (isNew) counted.panes.push(pane)
    pane.rows += 1
    pane.first = Math.min(pane.first, time)
    pane.last = Math.max(pane.last, time)
    counted.rows += 1
    const isDue = counted.rows === this.#every
    if (isDue) counted.rows = 0
    const result = isDue ? this.#result(key, counted.panes) : undefined
    // The next result takes the rows that follow, and so many panes before them.
    const keptPanes = this.#size / this.#paneRows - (pane.rows === this.#paneRows ? 1 : 0)
    while (counted.panes.length > keptPanes) reducer.forget((counted.panes.shift() as RowPane).accumulator)
    this.kept.put(key, partition, counted, Math.max(known?.until ?? time, time + this.#ttlMs))
    if (result !== undefined) this.out.pushFrom(batch, at, result)
  }

  #result(key: unknown, panes: readonly RowPane[]): Record<string, unknown> | undefined {
    const reducer = this.#reducer
    const [one] = panes
    if (one === undefined) return undefined
    let { first, last, accumulator } = one
    if (panes.length > 1) {
      accumulator = reducer.create()
      for (const pane of panes) {
        reducer.merge(accumulator, pane.accumulator)
        first = Math.min(first, pane.first)
        last = Math.max(last, pane.last)
      }
    }
    const row: Record<string, unknown> = { key, windowStart: first, windowEnd: last + 1 }
    try {
      reducer.write(accumulator, row)
    } catch (thrown) {
      this.unit.rowFailed(this.stage, -1, thrown, row)
      return undefined
    }
    if (panes.length > 1) reducer.forget(accumulator)
    return row
  }

  override get stateBytes(): number {
    return this.kept.size * 120 + this.#reducer.bytesOf(this.kept.size * Math.max(1, this.#size / this.#paneRows / 2))
  }
}

type WrittenCounted = readonly [rows: number, panes: readonly (readonly [number, number, number, readonly unknown[]])[]]

function decodeCounted([rows, panes]: WrittenCounted, reducer: Reducer): Counted {
  return {
    rows,
    panes: panes.map(([count, first, last, accumulator]) => ({ rows: count, first, last, accumulator: reducer.decode(accumulator) })),
  }
}
