/**
 * Runs a keyed operator on several shards over a list of events: in batches of random size, with watermarks that no event to come is
 * late for, with barriers written in slices between other units, with units that are cut off and run again, and with crashes after
 * which other shards go on from the last checkpoint. What it gives is what an exactly-once sink would have.
 */
import type { RestorePoint } from '../../../../src/streaming/master/record.ts'
import { decodeValue, encodeValue } from '../../../../src/wire/value-codec.ts'
import type { OnError } from '../../../../src/streaming/graph/job-graph.ts'
import { Batch } from '../../../../src/streaming/operators/batch.ts'
import { type Due, hasDue, Operator } from '../../../../src/streaming/operators/operator.ts'
import { ReplaySignal, Unit } from '../../../../src/streaming/operators/unit.ts'
import type { StateStore } from '../../../../src/streaming/ports.ts'
import { MemoryState } from '../../../../src/streaming/state/memory-state.ts'
import { type StageMark, StageState } from '../../../../src/streaming/state/stage-state.ts'

export interface Event {
  readonly key: string | number
  readonly time: number
  readonly row: unknown
  /** Which input of the operator. */
  readonly input?: number
}

export interface Output {
  readonly row: unknown
  readonly time: number
  readonly key: unknown
}

export type Make = (unit: Unit, state: StageState) => Operator

export interface RigOptions {
  readonly seed: number
  readonly events: readonly Event[]
  readonly make: Make
  readonly onError?: OnError
  readonly shardsMax?: number
  /** Of each step: crashes, barriers, units cut off. */
  readonly crashShare?: number
  readonly barrierShare?: number
  readonly cutShare?: number
  /** Watermarks lag this much behind what is safe, at most; negative: rows come late. */
  readonly lagMax?: number
}

export interface RigResult {
  readonly rows: readonly unknown[]
  readonly outputs: readonly Output[]
  readonly late: readonly unknown[]
  readonly failed: number
  readonly crashes: number
  readonly checkpoints: number
  /** Records left in the store after everything has closed. */
  readonly recordsLeft: number
  readonly stateBytes: number
}

/** mulberry32 */
export function random(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

export function shuffled<T>(list: readonly T[], next: () => number): T[] {
  const copy = [...list]
  for (let i = copy.length - 1; i > 0; i -= 1) {
    const j = Math.floor(next() * (i + 1))
    const kept = copy[i] as T
    copy[i] = copy[j] as T
    copy[j] = kept
  }
  return copy
}

class Collect extends Operator {
  readonly #to: (batch: Batch) => void

  constructor(unit: Unit, to: (batch: Batch) => void) {
    super(1, unit)
    this.#to = to
  }

  protected process(batch: Batch): void {
    this.#to(batch)
  }
}

/** While it is on, user code of the test that calls `maybeCut` is cut off. */
let cutIn = Number.POSITIVE_INFINITY

/** To be called by the user code of a test. */
export function maybeCut(): void {
  cutIn -= 1
  if (cutIn === 0) throw new ReplaySignal()
}

export const partitionsOfRig = 12

const codec = { encode: encodeValue, decode: decodeValue }
const partitionOf = (key: string | number): number => {
  let hash = 7
  for (const letter of String(key)) hash = (hash * 31 + letter.charCodeAt(0)) % 9973
  return hash % partitionsOfRig
}

export class Shard {
  readonly unit: Unit
  readonly state: StageState
  readonly operator: Operator
  readonly partitions: readonly number[]
  watermark = Number.NEGATIVE_INFINITY
  readonly #outputs: Output[]
  readonly #late: unknown[]
  #pending: Output[] = []
  #pendingLate: unknown[] = []

  constructor(
    make: Make,
    onError: OnError,
    store: StateStore | undefined,
    partitions: readonly number[],
    outputs: Output[],
    late: unknown[],
  ) {
    this.unit = new Unit(2, onError, onError)
    this.partitions = partitions
    this.#outputs = outputs
    this.#late = late
    const marks = new Map<number, StageMark>()
    if (store !== undefined && !store.isFresh) {
      for (const partition of partitions) {
        const value = store.restored(partition)
        const mark = (value === undefined ? undefined : decodeValue(value)) as
          | { watermark: number | string; kept: Record<string, number> }
          | undefined
        if (mark !== undefined) marks.set(partition, { watermark: Number(mark.watermark), kept: mark.kept })
      }
    }
    this.state = new StageState({ stage: 'stage', codec, store, partitions, restored: marks })
    this.operator = make(this.unit, this.state)
    this.operator.consumers.push(
      new Collect(this.unit, batch => {
        for (let i = 0; i < batch.size; i += 1)
          this.#pending.push({ row: batch.rows[i], time: batch.times[i] as number, key: batch.keys[i] })
      }),
    )
    this.operator.sideConsumers.push(
      new Collect(this.unit, batch => {
        for (let i = 0; i < batch.size; i += 1) this.#pendingLate.push(batch.rows[i])
      }),
    )
  }

  /** A unit; run again, carefully, as long as it asks for it. */
  run(work: () => void, cutAfter = Number.POSITIVE_INFINITY): void {
    cutIn = cutAfter
    for (let careful = false; ; careful = true) {
      this.unit.begin(careful, 0)
      this.#pending = []
      this.#pendingLate = []
      try {
        work()
        break
      } catch (thrown) {
        if (!(thrown instanceof ReplaySignal)) throw thrown
        this.operator.rollback()
        this.unit.rollback()
        this.state.writeLaidDown()
      }
    }
    this.operator.commit()
    this.unit.commit()
    this.state.writeLaidDown()
    this.#outputs.push(...this.#pending)
    this.#late.push(...this.#pendingLate)
    cutIn = Number.POSITIVE_INFINITY
  }

  feed(events: readonly Event[], cutAfter?: number): void {
    let from = 0
    while (from < events.length) {
      const input = events[from]?.input ?? 0
      const batch = new Batch(4)
      let to = from
      for (; to < events.length && (events[to]?.input ?? 0) === input; to += 1) {
        const { row, time, key } = events[to] as Event
        batch.push(row, time, to, key, partitionOf(key))
      }
      this.run(() => this.operator.port(input).accept(batch), cutAfter)
      from = to
    }
  }

  advance(watermark: number, limit: () => number, cutAfter?: number): void {
    this.watermark = watermark
    if (!hasDue(this.operator)) return
    const due: Operator & Due = this.operator
    due.advanceTo(watermark)
    let rounds = 0
    while (due.prepareFire(limit())) {
      this.run(() => due.fire(), cutAfter)
      due.fired()
      rounds += 1
      if (rounds > 1_000_000) throw new Error('due work never ends')
    }
  }
}

export function rig(options: RigOptions): RigResult {
  const { seed, events, make, onError = 'deadLetter', shardsMax = 3, crashShare = 0, barrierShare = 0, cutShare = 0, lagMax = 0 } = options
  const next = random(seed)
  const memory = new MemoryState(partitionsOfRig)
  const least = leastAhead(events)
  const outputs: Output[] = []
  const late: unknown[] = []
  const failedBefore = 0
  let failed = failedBefore
  let attempt = 0
  let point: RestorePoint = { attempt: 0, n: 0 }
  let shards: Shard[] = []
  let stores: StateStore[] = []
  let at = 0
  let n = 0
  let crashes = 0
  let checkpoints = 0
  let saved = { at: 0, outputs: 0, late: 0, failed: 0 }
  let barrier: { n: number; saved: typeof saved; watermarks: number[] } | undefined

  const start = (): void => {
    attempt += 1
    n = 0
    barrier = undefined
    at = saved.at
    outputs.length = saved.outputs
    late.length = saved.late
    for (let partition = 0; partition < partitionsOfRig; partition += 1) memory.begin(partition, attempt, point)
    const count = 1 + Math.floor(next() * shardsMax)
    stores = Array.from({ length: count }, () => memory.store(attempt, point))
    const hasStore = crashShare > 0 || barrierShare > 0
    shards = stores.map((store, shard) => {
      const partitions = Array.from({ length: partitionsOfRig }, (_, p) => p).filter(p => p % count === shard)
      return new Shard(make, onError, hasStore ? store : undefined, partitions, outputs, late)
    })
    failed = saved.failed
  }
  const limit = (): number => 1 + Math.floor(next() * 9)
  const cut = (): number => (next() < cutShare ? 1 + Math.floor(next() * 6) : Number.POSITIVE_INFINITY)
  const advanceAll = (): void => {
    for (const shard of shards) {
      if (next() < 0.3) continue
      const safe = at >= events.length ? Number.POSITIVE_INFINITY : (least[at] as number) - 1
      const watermark = safe - (lagMax === 0 ? 0 : next() * lagMax)
      if (watermark > shard.watermark) shard.advance(watermark, limit, cut())
    }
  }
  const feedSome = (): void => {
    const to = Math.min(events.length, at + 1 + Math.floor(next() * 12))
    const taken = events.slice(at, to)
    at = to
    for (const shard of shards) {
      const own = taken.filter(({ key }) => shard.partitions.includes(partitionOf(key)))
      if (own.length > 0) shard.feed(own, cut())
    }
  }
  const beginBarrier = (): void => {
    n += 1
    for (const { state } of shards) state.passBarrier(n)
    const watermarks = shards.map(({ watermark }) => watermark)
    barrier = { n, watermarks, saved: { at, outputs: outputs.length, late: late.length, failed } }
  }
  /** True: there is more of the barrier to write. */
  const writeSome = (): boolean => {
    if (barrier === undefined) return false
    let more = false
    for (const shard of shards) shard.run(() => void (more = shard.state.encodeSome(limit()) || more))
    if (more) return true
    for (const [index, shard] of shards.entries()) {
      for (const partition of shard.partitions) {
        const mark = shard.state.mark(partition, barrier.watermarks[index] as number)
        const value = encodeValue({ watermark: String(mark.watermark), kept: mark.kept })
        stores[index]?.endBarrier(partition, barrier.n, value, () => undefined)
      }
    }
    // The commit: known to the master before it is known here.
    point = { attempt, n: barrier.n }
    saved = barrier.saved
    checkpoints += 1
    for (const store of stores) store.committed(barrier.n)
    barrier = undefined
    return false
  }

  start()
  while (at < events.length) {
    const dice = next()
    if (dice < crashShare) {
      crashes += 1
      start()
    } else if (dice < crashShare + barrierShare) {
      if (barrier === undefined) beginBarrier()
      else writeSome()
    } else if (dice < crashShare + barrierShare + 0.3) advanceAll()
    else feedSome()
  }
  for (const shard of shards) {
    shard.advance(Number.POSITIVE_INFINITY, limit, cut())
    failed += shard.unit.counters.deadLetters[0] as number
  }
  while (writeSome());
  if (crashShare > 0 || barrierShare > 0) {
    for (let round = 0; round < 2; round += 1) {
      beginBarrier()
      while (writeSome());
    }
  }
  let stateBytes = 0
  for (const shard of shards) stateBytes += shard.operator.stateBytes
  return {
    rows: outputs.map(({ row }) => row),
    outputs,
    late,
    failed,
    crashes,
    checkpoints,
    recordsLeft: memory.size.records - partitionsOfRig,
    stateBytes,
  }
}

/** From each place on, the least time of an event. */
function leastAhead(events: readonly Event[]): Float64Array {
  const least = new Float64Array(events.length)
  let known = Number.POSITIVE_INFINITY
  for (let i = events.length - 1; i >= 0; i -= 1) {
    known = Math.min(known, (events[i] as Event).time)
    least[i] = known
  }
  return least
}

export const texts = (rows: readonly unknown[]): string[] => rows.map(row => JSON.stringify(row)).sort()
