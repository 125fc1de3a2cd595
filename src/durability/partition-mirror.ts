/**
 * What one partition's replica did, on its way to the mirror: from applied entries to rows.
 *
 * Owns: the queue of what is not written yet; which copy and tables the rows go to; how far the disk is.
 * Does not: write (shard-mirror.ts), copy the bytes of effects (the log's own, which do not change).
 *
 *   replica --handle...--> queue --take--> rows of one transaction --noteWritten--> written --noteSynced--> synced
 *
 * 1. A transaction holds whole entries in their order, with the copy's row: what is on disk is always what the store was at some entry.
 * 2. The tail (accepted, not applied yet) is written only behind everything applied; an entry that is cut does not count as written.
 * 3. A copy counts for nothing while a snapshot is under way (`whole`); a store that begins anew is another copy.
 */
import { unreachable } from '../base/assert.ts'
import type { MapId } from '../base/ids.ts'
import { type Effect, effectBytes, type PutEffect } from '../storage/effect.ts'
import type { ImageChunk } from '../storage/image.ts'
import type { PartitionStore } from '../storage/partition-store.ts'
import {
  copyKey,
  type CopyRow,
  entryKey,
  type EntryName,
  entryRow,
  garbageKey,
  type Incarnation,
  jsonValue,
  mapKey,
  type MapRow,
  prefixesOfCopy,
  recordKey,
  recordRow,
  resultRow,
  type RowChange,
  sessionPrefix,
  sessionRow,
  tablePrefix,
  tailKey,
} from './mirror-format.ts'
import { encodeTailEntry, type LoggedEntry } from './tail-codec.ts'

type ImageEffect = ImageChunk['effects'][number]

/** Where a mirror finds what is not in its queue. */
export interface MirroredReplica {
  readonly store: PartitionStore
  /** Entries accepted after `position`, of about so many bytes. */
  logAfter(position: number, maxBytes: number): readonly LoggedEntry[]
}

export interface MirrorIds {
  nextCopy(): number
  nextTable(): number
}

export interface PartitionMirrorOptions {
  readonly partition: number
  readonly self: Incarnation
  /** An acknowledged write is on disk. */
  readonly always: boolean
  readonly ids: MirrorIds
  /** Something is in the queue; so many bytes more or less wait. */
  onQueued(bytes: number): void
}

/** A found copy that a replica takes over, or a new one. */
export interface CopyState {
  readonly id: number
  identity: Incarnation & { readonly givenUp: number; readonly complete: boolean }
  applied: EntryName
  whole: boolean
  readonly maps: Map<number, MapRow>
}

type Item =
  | { readonly kind: 'reset'; readonly start: EntryName; readonly givenUp: number }
  | { readonly kind: 'held' }
  | { readonly kind: 'image'; readonly effects: readonly ImageEffect[] }
  | { readonly kind: 'whole' }
  /** `moved`: entries whose expiry changed, as they stand after it. */
  | { readonly kind: 'entry'; readonly entry: LoggedEntry; readonly moved: readonly MovedEntry[] }
  | { readonly kind: 'adopt'; readonly start: EntryName; readonly givenUp: number }

interface MovedEntry {
  readonly put: PutEffect
  readonly version: number
}

const tailSliceBytes = 1024 * 1024

export class PartitionMirror {
  readonly #options: PartitionMirrorOptions
  #replica: MirroredReplica | undefined
  #queue: Item[] = []
  #head = 0
  #queuedBytes = 0
  #start: EntryName = { epoch: 0, position: 0 }
  #givenUp = 0
  #copy: CopyState | undefined
  /** Positions of tail rows, ascending. */
  #tail: EntryName[] = []
  #tailGone: number[] = []
  #isTailDue = false
  /** There is a copy, or will be when the queue is written. */
  #isOpen = false
  #written = Number.NEGATIVE_INFINITY
  #synced = Number.NEGATIVE_INFINITY
  /** Transactions taken and not synced: their last positions, lowered by cuts. */
  readonly #syncing = new Map<number, number>()
  #takes = 0
  /** The shard's backlog is full. */
  isHeldBack = false

  constructor(options: PartitionMirrorOptions) {
    this.#options = options
  }

  get partition(): number {
    return this.#options.partition
  }

  get isDirty(): boolean {
    return this.#head < this.#queue.length || this.#isTailDue
  }

  get queuedBytes(): number {
    return this.#queuedBytes
  }

  get copy(): CopyState | undefined {
    return this.#copy
  }

  attach(replica: MirroredReplica): void {
    this.#replica = replica
  }

  /** How far an acknowledgement may go. */
  durablePosition(): number {
    if (this.#options.always) return this.#synced
    return this.isHeldBack ? this.#written : Number.POSITIVE_INFINITY
  }

  /** The store begins anew, empty, after that entry. */
  handleReset(start: EntryName, givenUp: number): void {
    this.#unqueue()
    this.#written = Number.NEGATIVE_INFINITY
    this.#synced = Number.NEGATIVE_INFINITY
    this.#syncing.clear()
    this.#isOpen = false
    if (this.#copy === undefined) {
      this.#start = start
      this.#givenUp = givenUp
      this.#isTailDue = false
    } else this.#push({ kind: 'reset', start, givenUp }, 0)
  }

  /** This replica is in sync: also an empty copy is worth a row. */
  handleHeld(): void {
    if (!this.#isOpen) this.#push({ kind: 'held' }, 0)
  }

  /** A piece of a snapshot, as the store took it. */
  handleImage(effects: readonly ImageEffect[]): void {
    this.#push({ kind: 'image', effects }, imageBytes(effects))
  }

  /** The snapshot and the log that makes it whole have been applied. */
  handleWhole(): void {
    this.#push({ kind: 'whole' }, 0)
  }

  /** The store has applied that entry just now. */
  handleApplied(entry: LoggedEntry): void {
    let bytes = 0
    for (const effect of entry.effects) bytes += effectBytes(effect)
    this.#push({ kind: 'entry', entry, moved: this.#moved(entry) }, bytes)
  }

  /** The log took entries that the store does not apply yet. */
  handleAccepted(): void {
    if (this.#isTailDue) return
    this.#isTailDue = true
    this.#options.onQueued(0)
  }

  /** What was accepted after `position` is gone from the log. */
  handleCut(position: number): void {
    this.#written = Math.min(this.#written, position)
    this.#synced = Math.min(this.#synced, position)
    for (const [take, last] of this.#syncing) if (last > position) this.#syncing.set(take, position)
    let at = this.#tail.length
    while (at > 0 && (this.#tail[at - 1] as EntryName).position > position) at -= 1
    for (const { position: gone } of this.#tail.splice(at)) this.#tailGone.push(gone)
    this.handleAccepted()
  }

  /** That found copy is this replica's from here on, when its tail has been applied and `handleAdopted` says so. */
  handleFound(copy: CopyState, tail: readonly EntryName[]): void {
    this.#unqueue()
    this.#copy = copy
    this.#tail = tail.map(nameOf)
    this.#isOpen = true
  }

  /** All that was found is applied; it belongs to this incarnation from here on, and its log begins anew at `start`. */
  handleAdopted(start: EntryName, givenUp: number): void {
    this.#push({ kind: 'adopt', start, givenUp }, 0)
  }

  /** Rows of whole entries from the queue's front, until `maxRows` or `maxBytes` are passed; [] where there is nothing to do. */
  take(maxRows: number, maxBytes: number): { readonly rows: RowChange[]; readonly number: number } {
    const rows: RowChange[] = []
    const before = this.#copy
    let left = maxBytes
    while (this.#head < this.#queue.length && rows.length < maxRows && left > 0) {
      const item = this.#queue[this.#head] as Item
      this.#head += 1
      left -= this.#write(item, rows)
    }
    if (this.#head === this.#queue.length) {
      this.#queue = []
      this.#head = 0
      this.#dequeued(this.#queuedBytes)
      this.#writeTail(rows)
    } else {
      this.#dequeued(Math.min(this.#queuedBytes, maxBytes - left))
      if (this.#head > 1024 && this.#head * 2 > this.#queue.length) {
        this.#queue = this.#queue.slice(this.#head)
        this.#head = 0
      }
    }
    const copy = this.#copy
    if (copy === undefined || (rows.length === 0 && before === copy)) return { rows, number: 0 }
    this.#takes += 1
    const last = this.#lastName()
    rows.push({ key: copyKey(copy.id), value: jsonValue(this.row(copy, last)) })
    // A copy that is not whole bears no acknowledgement.
    this.#syncing.set(this.#takes, copy.whole ? last.position : Number.NEGATIVE_INFINITY)
    return { rows, number: this.#takes }
  }

  noteWritten(take: number): void {
    this.#written = Math.max(this.#written, this.#syncing.get(take) ?? Number.NEGATIVE_INFINITY)
  }

  noteSynced(take: number): void {
    this.#synced = Math.max(this.#synced, this.#syncing.get(take) ?? Number.NEGATIVE_INFINITY)
    this.#syncing.delete(take)
  }

  /** The copy's row; `complete`: said at an orderly end. */
  row(copy: CopyState, last: EntryName = this.#lastName(), complete = copy.identity.complete): CopyRow {
    const { applied, whole, identity } = copy
    return { ...identity, partition: this.partition, applied: nameOf(applied), last: nameOf(last), whole, complete: complete && whole }
  }

  #lastName(): EntryName {
    return this.#tail.at(-1) ?? (this.#copy as CopyState).applied
  }

  #push(item: Item, bytes: number): void {
    this.#isOpen = item.kind !== 'reset'
    this.#queue.push(item)
    this.#queuedBytes += bytes + itemBytes
    this.#options.onQueued(bytes + itemBytes)
  }

  #dequeued(bytes: number): void {
    this.#queuedBytes -= bytes
    if (bytes > 0) this.#options.onQueued(-bytes)
  }

  #unqueue(): void {
    this.#queue = []
    this.#head = 0
    this.#dequeued(this.#queuedBytes)
  }

  /** Bytes that the item counted for. */
  #write(item: Item, rows: RowChange[]): number {
    switch (item.kind) {
      case 'reset':
        this.#dropCopy(rows)
        this.#start = item.start
        this.#givenUp = item.givenUp
        return itemBytes
      case 'held':
        this.#openCopy(rows)
        return itemBytes
      case 'image': {
        const copy = this.#openCopy(rows)
        copy.whole = false
        for (const effect of item.effects) this.#writeImage(copy, effect, rows)
        return imageBytes(item.effects) + itemBytes
      }
      case 'whole':
        this.#openCopy(rows).whole = true
        return itemBytes
      case 'entry': {
        const copy = this.#openCopy(rows)
        const { entry, moved } = item
        let position = entry.position - entry.effects.length
        let bytes = 0
        for (const effect of entry.effects) {
          position += 1
          bytes += effectBytes(effect)
          this.#writeEffect(copy, effect, position, rows)
        }
        for (const { put, version } of moved) this.#writeEntry(copy, put, version, rows)
        copy.applied = nameOf(entry)
        this.#applyTail(copy, rows)
        return bytes + itemBytes
      }
      case 'adopt': {
        const copy = this.#copy as CopyState
        copy.identity = { ...this.#options.self, givenUp: item.givenUp, complete: this.#options.always }
        copy.applied = item.start
        // Later names are lower only for what was given up.
        for (const { position } of this.#tail) rows.push({ key: tailKey(copy.id, position), value: undefined })
        this.#tail = []
        this.#givenUp = item.givenUp
        this.#start = item.start
        return itemBytes
      }
      default:
        return unreachable(item)
    }
  }

  #openCopy(rows: RowChange[]): CopyState {
    if (this.#copy !== undefined) return this.#copy
    const identity = { ...this.#options.self, givenUp: this.#givenUp, complete: this.#options.always }
    this.#copy = { id: this.#options.ids.nextCopy(), identity, applied: this.#start, whole: true, maps: new Map() }
    // Its own row comes with every transaction; this one marks that there is something.
    rows.push({ key: copyKey(this.#copy.id), value: jsonValue(this.row(this.#copy, this.#start)) })
    return this.#copy
  }

  #dropCopy(rows: RowChange[]): void {
    const copy = this.#copy
    if (copy !== undefined) rows.push(...rowsOfDrop(copy.id, copy.maps.values()))
    this.#copy = undefined
    this.#tail = []
    this.#tailGone = []
  }

  #applyTail(copy: CopyState, rows: RowChange[]): void {
    let applied = 0
    while (applied < this.#tail.length && (this.#tail[applied] as EntryName).position <= copy.applied.position) {
      rows.push({ key: tailKey(copy.id, (this.#tail[applied] as EntryName).position), value: undefined })
      applied += 1
    }
    if (applied > 0) this.#tail.splice(0, applied)
  }

  #writeTail(rows: RowChange[]): void {
    const copy = this.#copy
    if (!this.#isTailDue) return
    if (copy === undefined || this.#replica === undefined) {
      this.#isTailDue = false
      return
    }
    for (const position of this.#tailGone.splice(0)) rows.push({ key: tailKey(copy.id, position), value: undefined })
    const entries = this.#replica.logAfter(this.#lastName().position, tailSliceBytes)
    for (const entry of entries) {
      rows.push({ key: tailKey(copy.id, entry.position), value: encodeTailEntry(entry) })
      this.#tail.push(nameOf(entry))
    }
    this.#isTailDue = entries.length > 0 && this.#replica.logAfter(this.#lastName().position, 1).length > 0
  }

  #writeImage(copy: CopyState, effect: ImageEffect, rows: RowChange[]): void {
    switch (effect.kind) {
      case 'openMap':
        return this.#openMap(copy, effect.map, effect.limits, rows)
      case 'restore':
        return this.#writeEntry(copy, effect.put, effect.version, rows)
      case 'putRecord':
        rows.push(recordRow(copy.id, effect.space, effect.key, effect.value))
        return
      case 'restoreSession': {
        const { position, epoch, trimmedTo, results } = effect.session
        rows.push(sessionRow(copy.id, position, epoch, trimmedTo))
        for (const [number, recorded] of results) {
          rows.push(resultRow(copy.id, position, { number, position: recorded.position, trimTo: trimmedTo, result: recorded.result }))
        }
        return
      }
      default:
        return unreachable(effect)
    }
  }

  #writeEffect(copy: CopyState, effect: Effect, position: number, rows: RowChange[]): void {
    switch (effect.kind) {
      case 'put':
        return this.#writeEntry(copy, effect, position, rows)
      case 'remove': {
        const table = copy.maps.get(effect.map)?.table
        if (table !== undefined) rows.push({ key: entryKey(table, effect.key, effect.keyStart, effect.keyEnd), value: undefined })
        return
      }
      case 'openMap':
        return this.#openMap(copy, effect.map, effect.limits, rows)
      case 'clear': {
        const map = copy.maps.get(effect.map)
        if (map === undefined) return
        rows.push(garbageRow(tablePrefix(map.table)))
        return this.#putMap(copy, effect.map, { table: this.#options.ids.nextTable(), limits: map.limits }, rows)
      }
      case 'dropMap': {
        const map = copy.maps.get(effect.map)
        if (map === undefined) return
        copy.maps.delete(effect.map)
        rows.push(garbageRow(tablePrefix(map.table)), { key: mapKey(copy.id, effect.map), value: undefined })
        return
      }
      case 'putRecord':
        rows.push(recordRow(copy.id, effect.space, effect.key, effect.value))
        return
      case 'removeRecord':
        rows.push({ key: recordKey(copy.id, effect.space, effect.key), value: undefined })
        return
      case 'openSession':
        rows.push(sessionRow(copy.id, position, effect.epoch, 0))
        return
      case 'recordResult': {
        const { ticketPosition, number, trimTo, result } = effect
        rows.push(resultRow(copy.id, ticketPosition, { number, position, trimTo, result }))
        return
      }
      case 'closeSession':
        rows.push(garbageRow(sessionPrefix(copy.id, effect.ticketPosition)))
        return
      case 'expire':
      case 'mark':
        return
      default:
        return unreachable(effect)
    }
  }

  #openMap(copy: CopyState, map: number, limits: MapRow['limits'], rows: RowChange[]): void {
    this.#putMap(copy, map, { table: copy.maps.get(map)?.table ?? this.#options.ids.nextTable(), limits }, rows)
  }

  #putMap(copy: CopyState, map: number, row: MapRow, rows: RowChange[]): void {
    copy.maps.set(map, row)
    rows.push({ key: mapKey(copy.id, map), value: jsonValue(row) })
  }

  /** As the store has it: on a map that is not there a put does nothing. */
  #writeEntry(copy: CopyState, put: PutEffect, version: number, rows: RowChange[]): void {
    const table = copy.maps.get(put.map)?.table
    if (table !== undefined) rows.push(entryRow(table, version, put))
  }

  /** An `expire` changes a row whose value it does not have: the store has. */
  #moved(entry: LoggedEntry): readonly MovedEntry[] {
    let moved: MovedEntry[] | undefined
    for (const effect of entry.effects) {
      if (effect.kind !== 'expire') continue
      const found = this.#find(effect.map, effect.key, effect.keyStart, effect.keyEnd)
      if (found !== undefined) (moved ??= []).push(found)
    }
    return moved ?? nothing
  }

  #find(map: MapId, key: Uint8Array, keyStart: number, keyEnd: number): MovedEntry | undefined {
    const store = this.#replica?.store.findMap(map)
    if (store === undefined || store.find(key, keyStart, keyEnd, Number.NEGATIVE_INFINITY, false) !== 'found') return undefined
    const { segment, valueStart, valueEnd, expiresAtMs, maxIdleMs, idleSinceMs, version } = store.found
    const value = segment.slice(valueStart, valueEnd)
    const bytes = { key, keyStart, keyEnd, value, valueStart: 0, valueEnd: value.length }
    return { put: { kind: 'put', map, ...bytes, expiresAtMs, maxIdleMs, wallTimeMs: idleSinceMs }, version }
  }
}

const itemBytes = 64
const nothing: readonly never[] = []
const nameOf = ({ epoch, position }: EntryName): EntryName => ({ epoch, position })
const garbageRow = (prefix: Uint8Array): RowChange => ({ key: garbageKey(prefix), value: new Uint8Array(0) })

/** A copy goes: its row at once, the rest in the background. */
export const rowsOfDrop = (copy: number, maps: Iterable<MapRow>): readonly RowChange[] => [
  { key: copyKey(copy), value: undefined },
  ...prefixesOfCopy(
    copy,
    Array.from(maps, ({ table }) => table),
  ).map(garbageRow),
]

function imageBytes(effects: readonly ImageEffect[]): number {
  let bytes = 0
  for (const effect of effects) {
    switch (effect.kind) {
      case 'restore':
        bytes += effectBytes(effect.put)
        break
      case 'restoreSession':
        for (const { result } of effect.session.results.values()) bytes += result.length + itemBytes
        break
      case 'openMap':
      case 'putRecord':
        bytes += effectBytes(effect)
        break
      default:
        unreachable(effect)
    }
  }
  return bytes
}
