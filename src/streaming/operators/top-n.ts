/**
 * The first n rows of each key by a comparison, rolling: a row that gets a rank gives every rank that it changes, from its own down, as
 * { key, rank, row } with ranks from 1. A map sink by (key, rank) always holds the present ranking.
 */
import type { KeyCodec } from '../../keys/key-codec.ts'
import type { StageState } from '../state/stage-state.ts'
import type { Batch } from './batch.ts'
import { ExpiringKeys } from './expiring-keys.ts'
import { ExpiringOperator } from './expiring-operator.ts'
import { type Compare, decodeRanking, encodeRanking, type Ranked, rankOf, withRanked } from './ranking.ts'
import type { Unit } from './unit.ts'

export interface TopNOptions {
  readonly n: number
  readonly compare: Compare
  /** Of event time, since the key's latest row. */
  readonly ttlMs?: number | undefined
  readonly keyCodec: KeyCodec
}

const none: readonly Ranked[] = []

export class TopNOperator extends ExpiringOperator<readonly Ranked[]> {
  protected readonly kept: ExpiringKeys<readonly Ranked[]>
  readonly #n: number
  readonly #compare: Compare
  readonly #ttlMs: number

  constructor(stage: number, unit: Unit, state: StageState, { n, compare, ttlMs = Number.POSITIVE_INFINITY, keyCodec }: TopNOptions) {
    super(stage, unit, state)
    this.#n = n
    this.#compare = compare
    this.#ttlMs = ttlMs
    this.kept = new ExpiringKeys<readonly Ranked[]>(state, unit, {
      keyCodec,
      encode: encodeRanking,
      decode: decodeRanking,
      // Rankings are replaced, never changed.
      copy: ranking => ranking,
    })
  }

  protected take(batch: Batch, at: number): void {
    const key = batch.keys[at]
    const partition = batch.partitions[at] as number
    const time = batch.times[at] as number
    const ranked = { time, row: batch.rows[at] }
    const known = this.kept.find(key, partition, time)
    const before = known?.value ?? none
    const rank = rankOf(before, ranked, this.#compare)
    const isRanked = rank < this.#n
    if (!isRanked && this.#ttlMs === Number.POSITIVE_INFINITY) return
    const ranking = isRanked ? withRanked(before, rank, ranked, this.#n) : before
    this.kept.put(key, partition, ranking, Math.max(known?.until ?? time, time + this.#ttlMs))
    if (!isRanked) return
    for (let i = rank; i < ranking.length; i += 1) this.out.pushFrom(batch, at, { key, rank: i + 1, row: (ranking[i] as Ranked).row })
  }

  override get stateBytes(): number {
    return this.kept.size * (200 + this.#n * 100)
  }
}
