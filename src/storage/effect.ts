/**
 * What happens to a partition: the closed union of physical effects, and the one function that applies them.
 *
 * Owns: the shape of effects; `applyEffect`, which advances the store's `position` by one for each.
 * Does not: decide (grid), refuse (admission comes before, `MapStore.admitPut`), know a clock: moments are in the effect.
 *
 * 1. Effects are facts. Applying one never fails and never asks; on a key, map or record that is not there it does nothing
 *    (but still takes a position), so that a replica may apply effects that its image holds already.
 * 2. An entry's version is the position of the effect that wrote its value; `expire` leaves it as it is.
 * 3. Bytes are borrowed: they are copied when applied, and whoever keeps an effect longer keeps a `copyEffect` of it.
 */
import { unreachable } from '../base/assert.ts'
import type { MapId } from '../base/ids.ts'
import { copyInto } from '../base/copy-into.ts'
import type { KeptBytes } from './kept-bytes.ts'
import type { MapLimits } from './map-limits.ts'
import type { PartitionStore } from './partition-store.ts'
import { recordIn, type Session } from './session-table.ts'

export type RemoveReason = 'deleted' | 'expired' | 'evicted'

/** The first effect of a map in a partition; repeated, it changes the limits. */
export interface OpenMapEffect {
  readonly kind: 'openMap'
  readonly map: MapId
  readonly limits: MapLimits
}

/** Writes an entry: the key is `key[keyStart, keyEnd)`, the value `value[valueStart, valueEnd)`. Fields are mutable so that one object can be reused. */
export interface PutEffect {
  kind: 'put'
  map: MapId
  key: Uint8Array
  keyStart: number
  keyEnd: number
  value: Uint8Array
  valueStart: number
  valueEnd: number
  /** Wall time from which the entry is gone; 0: none. */
  expiresAtMs: number
  /** It is gone as well when not read or written for so long; 0: none. */
  maxIdleMs: number
  /** The moment of the write, from which idleness and recency count. */
  wallTimeMs: number
}

export interface RemoveEffect {
  kind: 'remove'
  map: MapId
  key: Uint8Array
  keyStart: number
  keyEnd: number
  reason: RemoveReason
}

/** Changes or lifts (0) the expiry of an entry without writing its value. */
export interface ExpireEffect {
  kind: 'expire'
  map: MapId
  key: Uint8Array
  keyStart: number
  keyEnd: number
  expiresAtMs: number
  maxIdleMs: number
  wallTimeMs: number
}

/** Removes all entries; the map stays. */
export interface ClearEffect {
  readonly kind: 'clear'
  readonly map: MapId
}

/** Removes the map and all entries. */
export interface DropMapEffect {
  readonly kind: 'dropMap'
  readonly map: MapId
}

export interface PutRecordEffect {
  readonly kind: 'putRecord'
  readonly space: number
  readonly key: Uint8Array
  readonly value: Uint8Array
}

export interface RemoveRecordEffect {
  readonly kind: 'removeRecord'
  readonly space: number
  readonly key: Uint8Array
}

/** Opens a client's session; its ticket is this effect's name. */
export interface OpenSessionEffect {
  readonly kind: 'openSession'
  readonly epoch: number
}

/** The result of one write of a session, and up to which number results are no longer needed. */
export interface RecordResultEffect {
  readonly kind: 'recordResult'
  readonly ticketEpoch: number
  readonly ticketPosition: number
  readonly number: number
  readonly result: Uint8Array
  readonly trimTo: number
}

export interface CloseSessionEffect {
  readonly kind: 'closeSession'
  readonly ticketEpoch: number
  readonly ticketPosition: number
}

/** Takes a position and changes nothing: proves, once committed, that its writer was the primary. */
export interface MarkEffect {
  readonly kind: 'mark'
}

export type Effect =
  | OpenMapEffect
  | PutEffect
  | RemoveEffect
  | ExpireEffect
  | ClearEffect
  | DropMapEffect
  | PutRecordEffect
  | RemoveRecordEffect
  | OpenSessionEffect
  | RecordResultEffect
  | CloseSessionEffect
  | MarkEffect

/** Applies one effect and advances `store.position` by one. */
export function applyEffect(store: PartitionStore, effect: Effect): void {
  store.position += 1
  switch (effect.kind) {
    case 'put':
      return store.findMap(effect.map)?.put(effect, store.position)
    case 'remove':
      return store.findMap(effect.map)?.remove(effect)
    case 'expire':
      return store.findMap(effect.map)?.expire(effect)
    case 'openMap':
      store.openMap(effect.map, effect.limits)
      return
    case 'clear':
      return store.findMap(effect.map)?.clear()
    case 'dropMap':
      return store.dropMap(effect.map)
    case 'putRecord':
      return store.records.put(effect.space, effect.key, effect.value)
    case 'removeRecord':
      store.records.remove(effect.space, effect.key)
      return
    case 'openSession':
      return store.sessions.open(effect.epoch, store.position)
    case 'recordResult': {
      const { ticketEpoch, ticketPosition, number, result, trimTo } = effect
      return store.sessions.record(ticketEpoch, ticketPosition, number, resultOf(result), store.position, trimTo)
    }
    case 'closeSession':
      return store.sessions.close(effect.ticketEpoch, effect.ticketPosition)
    case 'mark':
      return
    default:
      return unreachable(effect)
  }
}

/** As `applyEffect` of a `recordResult` whose session is at hand. */
export function applyResult(store: PartitionStore, session: Session, number: number, result: Uint8Array, trimTo: number): void {
  store.position += 1
  recordIn(session, number, resultOf(result), store.position, trimTo)
}

/** The effect with bytes of its own, those of entries and records in `kept`. */
export function copyEffect(effect: Effect, kept: KeptBytes): Effect {
  switch (effect.kind) {
    case 'put': {
      const { key, keyStart, keyEnd, value, valueStart, valueEnd, map, expiresAtMs, maxIdleMs, wallTimeMs } = effect
      const at = kept.reserve(keyEnd - keyStart + valueEnd - valueStart)
      const { block } = kept
      const valueAt = at + keyEnd - keyStart
      const end = valueAt + valueEnd - valueStart
      copyInto(block, at, key, keyStart, keyEnd)
      copyInto(block, valueAt, value, valueStart, valueEnd)
      return {
        kind: 'put',
        map,
        key: block,
        keyStart: at,
        keyEnd: valueAt,
        value: block,
        valueStart: valueAt,
        valueEnd: end,
        expiresAtMs,
        maxIdleMs,
        wallTimeMs,
      }
    }
    case 'remove':
    case 'expire': {
      const keyStart = kept.keep(effect.key, effect.keyStart, effect.keyEnd)
      return { ...effect, key: kept.block, keyStart, keyEnd: keyStart + effect.keyEnd - effect.keyStart }
    }
    case 'putRecord':
      return { kind: 'putRecord', space: effect.space, key: kept.copy(effect.key), value: kept.copy(effect.value) }
    case 'removeRecord':
      return { kind: 'removeRecord', space: effect.space, key: kept.copy(effect.key) }
    case 'recordResult': {
      const { ticketEpoch, ticketPosition, number, result, trimTo } = effect
      return { kind: 'recordResult', ticketEpoch, ticketPosition, number, trimTo, result: resultOf(result) }
    }
    case 'openMap':
    case 'clear':
    case 'dropMap':
    case 'openSession':
    case 'closeSession':
    case 'mark':
      return effect
    default:
      return unreachable(effect)
  }
}

/** About how many bytes the effect takes in a log or a message. */
export function effectBytes(effect: Effect): number {
  const fixed = 48
  switch (effect.kind) {
    case 'put':
      return fixed + effect.keyEnd - effect.keyStart + effect.valueEnd - effect.valueStart
    case 'remove':
    case 'expire':
      return fixed + effect.keyEnd - effect.keyStart
    case 'putRecord':
      return fixed + effect.key.length + effect.value.length
    case 'removeRecord':
      return fixed + effect.key.length
    case 'recordResult':
      return fixed + effect.result.length
    case 'openMap':
    case 'clear':
    case 'dropMap':
    case 'openSession':
    case 'closeSession':
    case 'mark':
      return fixed
    default:
      return unreachable(effect)
  }
}

/** A copy. Not `slice`, which for a Buffer is a view. */
const bytesOf = (bytes: Uint8Array, start = 0, end = bytes.length): Uint8Array => new Uint8Array(bytes.subarray(start, end))

/** Results of one byte, which most are, share their copies. */
const resultOf = (result: Uint8Array): Uint8Array =>
  result.length === 1 ? (resultsOfOneByte[result[0] as number] as Uint8Array) : bytesOf(result)
const resultsOfOneByte: readonly Uint8Array[] = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte))
