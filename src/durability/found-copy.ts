/** What a mirror held when it was opened: the copies of earlier incarnations, and how one is read back. */
import type { MapId } from '../base/ids.ts'
import { applyEffect } from '../storage/effect.ts'
import { applyImage, type ImageChunk } from '../storage/image.ts'
import type { PartitionStore } from '../storage/partition-store.ts'
import type { RecordedResult } from '../storage/session-table.ts'
import { damaged, type MirrorEnvironment, type Row } from './mirror-environment.ts'
import {
  copyOfKey,
  copyPrefix,
  type CopyRow,
  mapOfKey,
  mapPrefix,
  type MapRow,
  positionOfTail,
  readEntryRow,
  readRecordRow,
  readSessionRow,
  recordPrefix,
  sessionsPrefix,
  tablePrefix,
  tailPrefix,
} from './mirror-format.ts'
import type { CopyState } from './partition-mirror.ts'
import { decodeTailEntry, type LoggedEntry } from './tail-codec.ts'

type ImageEffect = ImageChunk['effects'][number]

/** A copy that some incarnation left behind. Plain data. */
export interface FoundCopy extends CopyRow {
  /** In its file. */
  readonly id: number
}

export interface LoadedCopy {
  readonly state: CopyState
  /** To be applied after the rest, in order. */
  readonly tail: readonly LoggedEntry[]
}

const sliceRows = 512

export function listCopies(environment: MirrorEnvironment): FoundCopy[] {
  return scanAll(environment, copyPrefix).map(({ key, value }) => ({ ...parse<CopyRow>(environment, value), id: copyOfKey(key) }))
}

export function mapsOf(environment: MirrorEnvironment, copy: number): Map<number, MapRow> {
  return new Map(scanAll(environment, mapPrefix(copy)).map(({ key, value }) => [mapOfKey(key), parse<MapRow>(environment, value)]))
}

/**
 * Fills `store` with what the copy's rows hold, up to its `applied`; in slices, `pause` between them. Answers the tail.
 * `onImage`: each piece as an image's, for another mirror.
 */
export async function loadCopy(
  environment: MirrorEnvironment,
  copy: FoundCopy,
  store: PartitionStore,
  pause: () => Promise<void>,
  onImage?: (effects: readonly ImageEffect[]) => void,
): Promise<LoadedCopy> {
  const take = (effects: readonly ImageEffect[]): void => {
    applyImage(store, { position: 0, first: false, effects, cursor: undefined })
    onImage?.(effects)
  }
  const maps = mapsOf(environment, copy.id)
  for (const [id, { table, limits }] of maps) {
    const map = id as MapId
    take([{ kind: 'openMap', map, limits }])
    await inSlices(environment, tablePrefix(table), pause, rows => take(rows.map(row => restored(map, row))))
  }
  await inSlices(environment, recordPrefix(copy.id), pause, rows =>
    take(rows.map(({ key, value }) => ({ kind: 'putRecord', ...readRecordRow(key, value) }))),
  )
  await loadSessions(environment, copy, pause, take)
  store.position = copy.applied.position
  const tail = readTail(environment, copy)
  const { node, shard, givenUp, complete, applied, whole } = copy
  return { state: { id: copy.id, identity: { node, shard, givenUp, complete }, applied, whole, maps }, tail }
}

/** As a replica does: whole entries, one after the other. */
export function applyLogged(store: PartitionStore, entry: LoggedEntry): void {
  for (const effect of entry.effects) applyEffect(store, effect)
}

function restored(map: MapId, { key: rowKey, value: rowValue }: Row): ImageEffect {
  const { version, key, value, expiresAtMs, maxIdleMs, wallTimeMs } = readEntryRow(rowKey, rowValue)
  const bytes = { key, keyStart: 0, keyEnd: key.length, value, valueStart: 0, valueEnd: value.length }
  return { kind: 'restore', put: { kind: 'put', map, ...bytes, expiresAtMs, maxIdleMs, wallTimeMs }, version }
}

async function loadSessions(
  environment: MirrorEnvironment,
  copy: FoundCopy,
  pause: () => Promise<void>,
  take: (effects: readonly ImageEffect[]) => void,
): Promise<void> {
  let session: { epoch: number; position: number; trimmedTo: number; results: Map<number, RecordedResult> } | undefined
  const flush = (): void => {
    if (session === undefined) return
    const { results, trimmedTo } = session
    // In the order in which they were recorded, without those that a later one let go.
    const kept = [...results].filter(([number]) => number > trimmedTo).sort(([a], [b]) => a - b)
    take([{ kind: 'restoreSession', session: { ...session, results: new Map(kept) } }])
    session = undefined
  }
  await inSlices(environment, sessionsPrefix(copy.id), pause, rows => {
    for (const { key, value } of rows) {
      const row = readSessionRow(key, value)
      if (row.kind === 'session') {
        flush()
        session = { epoch: row.epoch, position: row.position, trimmedTo: row.trimmedTo, results: new Map() }
      } else if (session?.position === row.ticketPosition) {
        session.trimmedTo = Math.max(session.trimmedTo, row.trimTo)
        session.results.set(row.number, { result: row.result, position: row.position })
      }
    }
  })
  flush()
}

function readTail(environment: MirrorEnvironment, copy: FoundCopy): readonly LoggedEntry[] {
  const entries: LoggedEntry[] = []
  let at = copy.applied.position
  for (const { key, value } of scanAll(environment, tailPrefix(copy.id))) {
    const position = positionOfTail(key)
    // Others were cut off or applied, and their rows not removed yet.
    if (position <= at || position > copy.last.position) continue
    const entry = decodeTailEntry(position, Buffer.from(value))
    if (entry.position - entry.effects.length !== at) throw damaged(environment.path, `an entry at ${position} does not follow ${at}`)
    entries.push(entry)
    at = position
  }
  const last = entries.at(-1) ?? copy.applied
  if (last.position !== copy.last.position || last.epoch !== copy.last.epoch)
    throw damaged(environment.path, `its log ends at ${last.epoch}/${last.position} instead of ${copy.last.epoch}/${copy.last.position}`)
  return entries
}

async function inSlices(
  environment: MirrorEnvironment,
  prefix: Buffer,
  pause: () => Promise<void>,
  take: (rows: readonly Row[]) => void,
): Promise<void> {
  for (let rows = environment.scan(prefix, sliceRows); rows.length > 0; ) {
    const last = Buffer.from((rows.at(-1) as Row).key)
    take(rows)
    if (rows.length < sliceRows) return
    await pause()
    rows = environment.scan(prefix, sliceRows, last)
  }
}

function scanAll(environment: MirrorEnvironment, prefix: Buffer): Row[] {
  return environment.scan(prefix, Number.MAX_SAFE_INTEGER)
}

function parse<T>(environment: MirrorEnvironment, value: Buffer): T {
  try {
    return JSON.parse(value.toString()) as T
  } catch (cause) {
    throw damaged(environment.path, 'a row is no JSON', cause)
  }
}
