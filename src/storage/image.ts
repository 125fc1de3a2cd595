/**
 * A partition's image: all of it, in chunks of effects that rebuild it elsewhere, while writes go on.
 *
 * Each chunk holds what its part of the partition is at the moment it is read. An image is made whole by effects: applied in
 * order after it, those from the first chunk's position on, or each between the chunks in the order in which they happened.
 * Either way the copy equals the original, versions included (an effect that a chunk holds already changes nothing in the end).
 *
 * Not part of an image: counters, and accesses of `lru` and `lfu`, which start anew.
 */
import { unreachable } from '../base/assert.ts'
import type { OpenMapEffect, PutEffect, PutRecordEffect } from './effect.ts'
import { type MapStore, scanEnd } from './map-store.ts'
import type { PartitionStore } from './partition-store.ts'
import type { SessionRecord } from './session-table.ts'

/** An entry as it stands, with the version that it has. */
interface RestoreEffect {
  readonly kind: 'restore'
  readonly put: PutEffect
  readonly version: number
}

/** A client's session with its results. */
interface RestoreSessionEffect {
  readonly kind: 'restoreSession'
  readonly session: SessionRecord
}

type ImageEffect = OpenMapEffect | RestoreEffect | PutRecordEffect | RestoreSessionEffect

/** How far an image is: entries of maps by id and place, then records by space and key, then sessions by position. Plain data; valid on every replica. */
export type ImageCursor =
  | { readonly kind: 'entries'; readonly map: number; readonly place: number }
  | { readonly kind: 'records'; readonly space: number; readonly from: Uint8Array }
  | { readonly kind: 'sessions'; readonly from: number }

export interface ImageChunk {
  /** The store's position when the chunk was read. */
  readonly position: number
  readonly first: boolean
  readonly effects: readonly ImageEffect[]
  /** Where the next chunk starts; undefined: this was the last one. */
  readonly cursor: ImageCursor | undefined
}

const recordsStart: ImageCursor = { kind: 'records', space: Number.NEGATIVE_INFINITY, from: new Uint8Array(0) }

/** The chunk at `cursor` (undefined: the first), of about `maxBytes` of keys and values; bytes are copies. */
export function readImage(store: PartitionStore, cursor: ImageCursor | undefined, maxBytes: number): ImageChunk {
  const effects: ImageEffect[] = []
  const at = cursor ?? { kind: 'entries', map: Number.NEGATIVE_INFINITY, place: 0 }
  let next: ImageCursor | undefined
  if (at.kind === 'entries') next = readEntries(store, at.map, at.place, maxBytes, effects)
  else if (at.kind === 'records') next = readRecords(store, at.space, at.from, maxBytes, effects)
  else next = readSessions(store, at.from, maxBytes, effects)
  return { position: store.position, first: cursor === undefined, effects, cursor: next }
}

/** Applies a chunk to a copy; the first one sets its position, from which effects go on. */
export function applyImage(store: PartitionStore, chunk: ImageChunk): void {
  if (chunk.first) store.position = chunk.position
  for (const effect of chunk.effects) {
    switch (effect.kind) {
      case 'openMap':
        store.openMap(effect.map, effect.limits)
        break
      case 'restore':
        store.findMap(effect.put.map)?.put(effect.put, effect.version)
        break
      case 'putRecord':
        store.records.put(effect.space, effect.key, effect.value)
        break
      case 'restoreSession':
        store.sessions.restore(effect.session)
        break
      default:
        unreachable(effect)
    }
  }
}

function readEntries(store: PartitionStore, from: number, place: number, maxBytes: number, effects: ImageEffect[]): ImageCursor {
  let left = maxBytes
  for (const map of [...store.maps()].sort((a, b) => a.id - b.id)) {
    if (map.id < from) continue
    if (left <= 0) return { kind: 'entries', map: map.id, place: 0 }
    effects.push({ kind: 'openMap', map: map.id, limits: map.limits })
    const limits = { maxEntries: Number.POSITIVE_INFINITY, maxBytes: left }
    const next = map.scanPage(map.id === from ? place : 0, limits, Number.NEGATIVE_INFINITY, entry => {
      left -= entry.valueEnd - entry.keyStart
      effects.push(restoreOf(map, entry))
    })
    if (next !== scanEnd) return { kind: 'entries', map: map.id, place: next }
  }
  return recordsStart
}

function restoreOf(map: MapStore, entry: MapStore['found']): RestoreEffect {
  const key = entry.segment.slice(entry.keyStart, entry.keyEnd)
  const value = entry.segment.slice(entry.valueStart, entry.valueEnd)
  const { expiresAtMs, maxIdleMs, idleSinceMs, version } = entry
  const bytes = { key, keyStart: 0, keyEnd: key.length, value, valueStart: 0, valueEnd: value.length }
  return { kind: 'restore', put: { kind: 'put', map: map.id, ...bytes, expiresAtMs, maxIdleMs, wallTimeMs: idleSinceMs }, version }
}

function readRecords(
  store: PartitionStore,
  from: number,
  fromKey: Uint8Array,
  maxBytes: number,
  effects: ImageEffect[],
): ImageCursor | undefined {
  let left = maxBytes
  let next: ImageCursor | undefined
  for (const space of store.records.spaces()) {
    if (space < from) continue
    store.records.scanFrom(space, space === from ? fromKey : new Uint8Array(0), (key, value) => {
      if (left <= 0) next = { kind: 'records', space, from: key.slice() }
      else effects.push({ kind: 'putRecord', space, key: key.slice(), value: value.slice() })
      left -= key.length + value.length
      return next === undefined
    })
    if (next !== undefined) return next
  }
  return store.sessions.size > 0 ? { kind: 'sessions', from: Number.NEGATIVE_INFINITY } : undefined
}

function readSessions(store: PartitionStore, from: number, maxBytes: number, effects: ImageEffect[]): ImageCursor | undefined {
  let left = maxBytes
  const sessions = [...store.sessions.all()].filter(({ position }) => position >= from).sort((a, b) => a.position - b.position)
  for (const session of sessions) {
    if (left <= 0) return { kind: 'sessions', from: session.position }
    effects.push({ kind: 'restoreSession', session: { ...session, results: new Map(session.results) } })
    for (const { result } of session.results.values()) left -= result.length + 32
  }
  return undefined
}
