/**
 * Lets the first row of a key through, or, with `of`, the first of each value of a key; those that follow are dropped.
 *
 * With a time to live a value is forgotten so long after the row that was let through, by event time. A row so far behind the watermark
 * that its first may have been forgotten is late: nobody can say whether it is the first.
 */
import { invalidArgument } from '../../base/errors.ts'
import type { KeyCodec } from '../../keys/key-codec.ts'
import { BrokenRow } from '../graph/broken-row.ts'
import { refusePromise } from '../graph/refuse-async.ts'
import type { StageState } from '../state/stage-state.ts'
import type { Batch } from './batch.ts'
import { ExpiringKeys, type Kept } from './expiring-keys.ts'
import { ExpiringOperator } from './expiring-operator.ts'
import { latin1Of } from './key-id.ts'
import type { Unit } from './unit.ts'

export interface DedupeOptions {
  readonly of?: ((row: unknown) => unknown) | undefined
  /** Of event time, since the row that was let through. */
  readonly ttlMs?: number | undefined
  readonly keyCodec: KeyCodec
}

/** When each value is forgotten; without `of` there is one, the empty text. */
type Seen = Map<string | number, number>

export class DedupeOperator extends ExpiringOperator<Seen> {
  protected readonly kept: ExpiringKeys<Seen>
  readonly #of: ((row: unknown) => unknown) | undefined
  readonly #ttlMs: number

  constructor(stage: number, unit: Unit, state: StageState, { of, ttlMs = Number.POSITIVE_INFINITY, keyCodec }: DedupeOptions) {
    super(stage, unit, state)
    this.#of = of
    this.#ttlMs = ttlMs
    this.kept = new ExpiringKeys<Seen>(state, unit, {
      keyCodec,
      encode: seen => [...seen].flat().map(part => (part === Number.POSITIVE_INFINITY ? null : part)),
      decode: plain => decodeSeen(plain as (string | number | null)[]),
      // Each value takes its own coming back.
      copy: seen => seen,
    })
  }

  protected take(batch: Batch, at: number): void {
    const time = batch.times[at] as number
    const key = batch.keys[at]
    const partition = batch.partitions[at] as number
    if (time + this.#ttlMs <= this.state.watermarkOf(partition, this.kept.watermark)) {
      this.isLate(batch, at)
      return
    }
    const value = this.#of === undefined ? '' : valueOf(this.#of(batch.rows[at]))
    const known = this.kept.find(key, partition, Number.NEGATIVE_INFINITY)
    const seen = known?.value ?? new Map<string | number, number>()
    const before = seen.get(value)
    if (before !== undefined && time < before) return
    const until = time + this.#ttlMs
    if (known !== undefined) this.kept.changing(key, partition)
    if (this.unit.undo) {
      this.unit.changing({
        undo: () => {
          if (before === undefined) seen.delete(value)
          else seen.set(value, before)
        },
      })
    }
    seen.set(value, until)
    this.kept.put(key, partition, seen, Math.min(known?.until ?? until, until))
    this.out.pushFrom(batch, at, batch.rows[at])
  }

  protected override restOf(seen: Seen, watermark: number): Kept<Seen> | undefined {
    const rest: Seen = new Map()
    let until = Number.POSITIVE_INFINITY
    for (const [value, at] of seen) {
      if (at <= watermark) continue
      rest.set(value, at)
      until = Math.min(until, at)
    }
    return rest.size === 0 ? undefined : { value: rest, until }
  }
}

function valueOf(value: unknown): string | number {
  refusePromise(value)
  if (typeof value === 'string') return value
  if (typeof value === 'number' && !Number.isNaN(value)) return value
  if (value instanceof Uint8Array) return `\u0000bytes\u0000${latin1Of(value)}`
  const got = typeof value === 'number' ? 'NaN' : value === null ? 'null' : typeof value
  const sentence = `dedupe got ${got}, a number, a text or bytes are wanted`
  throw got === 'object' ? invalidArgument(sentence) : new BrokenRow(sentence)
}

function decodeSeen(plain: readonly (string | number | null)[]): Seen {
  const seen: Seen = new Map()
  for (let i = 0; i + 1 < plain.length; i += 2)
    seen.set(plain[i] as string | number, (plain[i + 1] as number | null) ?? Number.POSITIVE_INFINITY)
  return seen
}
