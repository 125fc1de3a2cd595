/**
 * A map sink whose rows are seen when their checkpoint is committed (`visible: 'onCheckpoint'`).
 *
 *   row -> pending, the last of a key -> barrier n: a record beside the key -> committed: moved into the map -> tombstone
 *
 * 1. Records are in the partition of their key: whoever has it after a restart moves what a checkpoint has and nobody moved, before
 *    anything newer. A move that is done again writes the same value.
 * 2. What is to be moved is moved before the next barrier passes, which so has its tombstone.
 * 3. Each key by itself: a reader may see some keys of a checkpoint moved and others not yet.
 * 4. At most `pendingMaxBytes` of values wait for a barrier on one shard; more fail the job.
 */
import { NearstateError } from '../../base/errors.ts'
import { encodeKey } from '../../keys/encode-key.ts'
import type { KeyCodec } from '../../keys/key-codec.ts'
import type { Schema } from '../../base/schema.ts'
import type { HomeRecord } from '../checkpoint/home.ts'
import type { LocalMap } from '../ports.ts'
import { afterKey, tableStart, timedKey, timeOfKey } from '../state/record-key.ts'
import type { StageState } from '../state/stage-state.ts'
import { type KeyId, keyIdOf } from './key-id.ts'
import type { Due } from './operator.ts'
import { SinkOperator } from './sink.ts'
import { StageFailure, type Unit } from './unit.ts'

export interface HeldSinkOptions {
  readonly map: LocalMap
  readonly keyCodec: KeyCodec
  readonly value: Schema<unknown> | undefined
  readonly rest: ((row: unknown) => unknown) | undefined
  readonly attempt: number
  /** Where records are read from after a restart. */
  readonly saved: StageState
}

interface Held {
  readonly partition: number
  readonly key: unknown
  readonly value: Uint8Array
}

interface Move extends Held {
  readonly record: Uint8Array
}

const pendingMaxBytes = 256 * 1024 * 1024
const scanAtOnce = 1024

export class HeldSinkOperator extends SinkOperator implements Due {
  readonly #options: HeldSinkOptions
  readonly #idOf: (key: unknown) => KeyId
  #pending = new Map<KeyId, Held>()
  #pendingBytes = 0
  #passed: { readonly n: number; readonly moves: readonly Move[] }[] = []
  #moves: Move[] = []
  #laidOut = 0
  #records: HomeRecord[] = []

  constructor(stage: number, unit: Unit, options: HeldSinkOptions) {
    const { map, saved, value, rest, keyCodec } = options
    super(stage, unit, map, saved.codec, value, rest)
    this.#options = options
    this.#idOf = keyIdOf(keyCodec)
    this.#moves = this.#restored()
  }

  override commit(): void {
    const { laidDown } = this
    if (laidDown.size === 0) return
    for (let at = 0; at < laidDown.size; at += 1) {
      const key = laidDown.keys[at]
      const value = laidDown.rows[at] as Uint8Array
      const id = this.#idOf(key)
      this.#pendingBytes += value.length - (this.#pending.get(id)?.value.length ?? 0)
      this.#pending.set(id, { partition: laidDown.partitions[at] as number, key, value })
    }
    laidDown.clear()
    if (this.#pendingBytes <= pendingMaxBytes) return
    const limit = `more than ${pendingMaxBytes} bytes wait on one shard; take checkpoints more often`
    throw new StageFailure(this.stage, -1, new NearstateError('RESOURCE_EXHAUSTED', `Cannot hold rows for the next checkpoint: ${limit}`))
  }

  override passBarrier(n: number): void {
    const { attempt, keyCodec, saved } = this.#options
    const moves: Move[] = []
    for (const held of this.#pending.values()) {
      const record = timedKey(0, attempt, timedKey(0, n, encodeKey(keyCodec, held.key)))
      moves.push({ ...held, record })
      this.#records.push({ partition: held.partition, stage: saved.stage, key: record, value: this.codec.encode([held.key, held.value]) })
    }
    this.#passed.push({ n, moves })
    this.#pending = new Map()
    this.#pendingBytes = 0
  }

  override takeRecords(): readonly HomeRecord[] {
    return this.#records.splice(0)
  }

  override committed(n: number): void {
    for (const passed of this.#passed) if (passed.n <= n) for (const move of passed.moves) this.#moves.push(move)
    this.#passed = this.#passed.filter(passed => passed.n > n)
  }

  override get isCommitting(): boolean {
    return this.#moves.length > 0
  }

  // ---- moves are done in pieces, between units

  advanceTo(): void {
    // It hands nothing on that could be too late.
  }

  prepareFire(limit: number): boolean {
    this.#laidOut = Math.min(limit, this.#moves.length)
    return this.#laidOut > 0
  }

  fire(): void {
    // No user code: all is done when the unit has returned.
  }

  fired(): void {
    const { map, saved } = this.#options
    for (const { partition, key, value, record } of this.#moves.splice(0, this.#laidOut)) {
      map.setEncoded(partition, key, value)
      this.#records.push({ partition, stage: saved.stage, key: record, value: undefined })
    }
  }

  dropFirst(): unknown {
    return undefined
  }

  /** What checkpoints have and nobody is known to have moved, the oldest first. */
  #restored(): Move[] {
    const { saved } = this.#options
    if (saved.isFresh) return []
    const found: Move[] = []
    for (const partition of saved.partitions) {
      let from = tableStart(0)
      for (;;) {
        const records = saved.scan(partition, from, tableStart(1), scanAtOnce)
        for (const { key: record, value: bytes } of records) {
          const [key, value] = saved.codec.decode(bytes) as readonly [unknown, Uint8Array]
          found.push({ partition, key, value, record })
        }
        const last = records.at(-1)
        if (last === undefined || records.length < scanAtOnce) break
        from = afterKey(last.key)
      }
    }
    const numberOf = ({ record }: Move): number => timeOfKey(record.subarray(9))
    return found.sort((a, b) => timeOfKey(a.record) - timeOfKey(b.record) || numberOf(a) - numberOf(b))
  }
}
