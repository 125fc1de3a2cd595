/**
 * One shard's durable mirror: group commits of what its replicas did, and what earlier incarnations left on the disk.
 *
 * Owns: the file, the pace of commits, the bound of the backlog, the removal of what is not needed any more.
 * Does not: know roles or tables; decide which copy is restored (membership) or dropped (the shard says so).
 *
 * 1. One transaction at a time; a failed one is tried again, every second, with the same rows: nothing is skipped.
 * 2. While more than `backlogMaxBytes` wait, no partition's position moves on: its replica acknowledges no further.
 * 3. A found copy is changed only by `restore`, and removed only by `discard`.
 */
import { present } from '../base/assert.ts'
import { messageOf, NearstateError } from '../base/errors.ts'
import type { PartitionStore } from '../storage/partition-store.ts'
import { applyLogged, type FoundCopy, listCopies, loadCopy, mapsOf } from './found-copy.ts'
import type { FsyncMode } from './fsync-modes.ts'
import type { MirrorEnvironment } from './mirror-environment.ts'
import {
  copyKey,
  factKey,
  garbageKey,
  garbagePrefix,
  type EntryName,
  type Incarnation,
  jsonValue,
  prefixOfGarbage,
  type RowChange,
} from './mirror-format.ts'
import { PartitionMirror, rowsOfDrop } from './partition-mirror.ts'
import { type MirrorIdentity, openMirrorFile } from './open-mirror-file.ts'

export interface ShardMirrorOptions {
  /** The shard's own file. */
  readonly path: string
  /** Files of shards that this node has no more; read, and emptied in time. */
  readonly orphans: readonly string[]
  readonly identity: MirrorIdentity
  readonly self: Incarnation
  readonly fsync: FsyncMode
  readonly intervalMs: number
  readonly backlogMaxBytes?: number
  /** Of these partitions the durable position may have moved on. */
  onProgress(partitions: readonly number[]): void
  /** Writing does not work, or works again (undefined). */
  onTrouble(reason: string | undefined): void
}

interface Slice {
  readonly rows: RowChange[]
  readonly parts: readonly (readonly [PartitionMirror, number])[]
}

interface Source {
  readonly environment: MirrorEnvironment
  copies: FoundCopy[]
}

const defaultBacklogMaxBytes = 64 * 1024 * 1024
/** More is written before its time. */
const earlyBytes = 8 * 1024 * 1024
/** Of one transaction, and so of the time that a shard's thread spends on it at once. */
const sliceRows = 1024
const sliceBytes = 1024 * 1024
const retryMs = 1000
const sweepRows = 1000
const lazyPaceMs = 100

export class ShardMirror {
  readonly #options: ShardMirrorOptions
  readonly #environment: MirrorEnvironment
  readonly #sources: readonly Source[]
  readonly #backlogMaxBytes: number
  readonly #partitions = new Map<number, PartitionMirror>()
  readonly #dirty = new Set<PartitionMirror>()
  #nextCopy = 1
  #nextTable = 1
  #backlogBytes = 0
  #isHeldBack = false
  #timer: NodeJS.Timeout | undefined
  #immediate: NodeJS.Immediate | undefined
  #run: Promise<void> | undefined
  #garbage: RowChange[] = []
  #hasGarbage = true
  #trouble: string | undefined
  #lastSyncedAtMs = 0
  #syncs: Promise<unknown> = Promise.resolve()
  #isClosing = false

  private constructor(options: ShardMirrorOptions, environments: readonly MirrorEnvironment[]) {
    this.#options = options
    this.#environment = present(environments[0], 'the own file')
    this.#backlogMaxBytes = options.backlogMaxBytes ?? defaultBacklogMaxBytes
    this.#sources = environments.map(environment => ({ environment, copies: listCopies(environment) }))
    this.#numberOn()
  }

  /** INVALID_ARGUMENT: the file is damaged, or another cluster's or node's. */
  static async open(options: ShardMirrorOptions): Promise<ShardMirror> {
    const environments: MirrorEnvironment[] = []
    try {
      for (const path of [options.path, ...options.orphans]) {
        environments.push(await openMirrorFile(path, options.identity, options.fsync, reason => options.onTrouble(reason)))
      }
      return new ShardMirror(options, environments)
    } catch (error) {
      for (const environment of environments) await environment.close()
      throw error
    }
  }

  /** What earlier incarnations left behind and is not restored or discarded yet. */
  get found(): readonly FoundCopy[] {
    return this.#sources.flatMap(({ copies }) => copies)
  }

  /** Waiting to be written. */
  get backlogBytes(): number {
    return this.#backlogBytes
  }

  /** Why nothing can be written now. */
  get trouble(): string | undefined {
    return this.#trouble
  }

  /** Wall time; 0: nothing yet. */
  get lastSyncedAtMs(): number {
    return this.#lastSyncedAtMs
  }

  partition(partition: number): PartitionMirror {
    const known = this.#partitions.get(partition)
    if (known !== undefined) return known
    const mirror: PartitionMirror = new PartitionMirror({
      partition,
      self: this.#options.self,
      always: this.#options.fsync === 'always',
      ids: { nextCopy: () => this.#nextCopy++, nextTable: () => this.#nextTable++ },
      onQueued: bytes => this.#noteQueued(mirror, bytes),
    })
    mirror.isHeldBack = this.#isHeldBack
    this.#partitions.set(partition, mirror)
    return mirror
  }

  /**
   * Reads that copy into `store`, which takes it over as this incarnation's; resolves when that is on disk, so that from then on nobody
   * finds it under its old name. The log goes on after `start`. Rejects where it is not there or cannot be read.
   */
  async restore(
    partition: number,
    of: Incarnation,
    store: PartitionStore,
    next: { readonly start: EntryName; readonly givenUp: number },
  ): Promise<void> {
    const source = this.#sources.find(({ copies }) => copies.some(copy => isCopyOf(copy, partition, of)))
    const found = source?.copies.find(copy => isCopyOf(copy, partition, of))
    if (source === undefined || found === undefined) {
      throw new NearstateError(
        'NOT_FOUND',
        `Cannot restore partition ${partition}: ${this.#environment.path} holds no whole copy of ${of.node}/${of.shard}`,
      )
    }
    const mirror = this.partition(partition)
    mirror.attach({ store, logAfter: () => [] })
    const isOwn = source.environment === this.#environment
    if (isOwn) await this.#takeOver(mirror, found, store, next)
    else await this.#copyOver(mirror, source.environment, found, store, next)
    await this.#settled(mirror)
    if (isOwn) source.copies = source.copies.filter(copy => copy !== found)
    else await this.#remove(source, found)
  }

  async #takeOver(
    mirror: PartitionMirror,
    found: FoundCopy,
    store: PartitionStore,
    { start, givenUp }: { readonly start: EntryName; readonly givenUp: number },
  ): Promise<void> {
    const { state, tail } = await loadCopy(this.#environment, found, store, nextTurn)
    mirror.handleFound(state, tail)
    for (const entry of tail) {
      applyLogged(store, entry)
      mirror.handleApplied(entry)
    }
    mirror.handleAdopted(start, givenUp)
  }

  async #copyOver(
    mirror: PartitionMirror,
    from: MirrorEnvironment,
    found: FoundCopy,
    store: PartitionStore,
    { start, givenUp }: { readonly start: EntryName; readonly givenUp: number },
  ): Promise<void> {
    mirror.handleReset(found.applied, found.givenUp)
    const written = async (): Promise<void> => {
      await nextTurn()
      if (this.#backlogBytes > earlyBytes) await this.flush()
    }
    const { tail } = await loadCopy(from, found, store, written, effects => mirror.handleImage(copyImage(effects)))
    for (const entry of tail) {
      applyLogged(store, entry)
      mirror.handleApplied(entry)
    }
    mirror.handleAdopted(start, givenUp)
    mirror.handleWhole()
  }

  /** Removes what was found of that partition: it is held elsewhere, or anew here, which gets to the disk before. */
  async discard(partition: number): Promise<void> {
    const mirror = this.#partitions.get(partition)
    if (mirror !== undefined) await this.#settled(mirror)
    for (const source of this.#sources) {
      for (const found of source.copies.filter(copy => copy.partition === partition)) await this.#remove(source, found)
    }
  }

  async #remove(source: Source, found: FoundCopy): Promise<void> {
    source.copies = source.copies.filter(copy => copy !== found)
    const rows = rowsOfDrop(found.id, mapsOf(source.environment, found.id).values())
    if (source.environment === this.#environment) {
      this.#garbage.push(...rows)
      this.#hasGarbage = true
      this.#schedule()
    } else await source.environment.commit(rows)
  }

  /** Writes until nothing waits; resolves when it is on disk. */
  async flush(): Promise<void> {
    while (this.#dirty.size > 0 || this.#garbage.length > 0 || this.#run !== undefined) {
      this.#startRun()
      await this.#run
    }
    await this.#syncs
  }

  /** What that replica did up to now is on disk. */
  async #settled(mirror: PartitionMirror): Promise<void> {
    while (mirror.isDirty && !this.#isClosing) {
      this.#startRun()
      await this.#run
    }
    await this.#syncs
  }

  /** `inOrder`: no replica acknowledges anything any more; what it holds is then whole for whoever restores it. */
  async close(inOrder: boolean): Promise<void> {
    if (this.#isClosing) return
    if (inOrder) await this.#closeInOrder()
    this.#isClosing = true
    clearTimeout(this.#timer)
    clearImmediate(this.#immediate)
    await this.#run
    for (const { environment } of this.#sources) await environment.close()
  }

  async #closeInOrder(): Promise<void> {
    await this.flush()
    const rows: RowChange[] = []
    for (const mirror of this.#partitions.values()) {
      const { copy } = mirror
      if (copy !== undefined) rows.push({ key: copyKey(copy.id), value: jsonValue(mirror.row(copy, undefined, true)) })
    }
    rows.push({ key: factKey('run'), value: jsonValue({ fsync: this.#options.fsync, isOpen: false }) })
    const { synced } = await this.#environment.commit(rows)
    await synced
  }

  #noteQueued(mirror: PartitionMirror, bytes: number): void {
    this.#backlogBytes += bytes
    if (bytes < 0) return
    this.#dirty.add(mirror)
    if (this.#backlogBytes > this.#backlogMaxBytes) this.#holdBack(true)
    this.#schedule()
  }

  #holdBack(isHeldBack: boolean): void {
    if (this.#isHeldBack === isHeldBack) return
    this.#isHeldBack = isHeldBack
    for (const mirror of this.#partitions.values()) mirror.isHeldBack = isHeldBack
    if (!isHeldBack) this.#options.onProgress([...this.#partitions.keys()])
  }

  #schedule(): void {
    if (this.#run !== undefined || this.#isClosing) return
    const isUrgent = this.#options.fsync === 'always' || this.#backlogBytes > earlyBytes
    if (isUrgent) {
      // After the turn, so that all of it is one group.
      this.#immediate ??= setImmediate(() => this.#startRun())
      return
    }
    this.#timer ??= setTimeout(() => this.#startRun(), this.#options.fsync === 'interval' ? this.#options.intervalMs : lazyPaceMs)
  }

  #startRun(): void {
    if (this.#run !== undefined || this.#isClosing) return
    clearTimeout(this.#timer)
    clearImmediate(this.#immediate)
    this.#timer = undefined
    this.#immediate = undefined
    this.#run = this.#writeAll().finally(() => {
      this.#run = undefined
      if (this.#dirty.size > 0 || this.#garbage.length > 0) this.#schedule()
    })
  }

  async #writeAll(): Promise<void> {
    // What comes meanwhile has its turn too; an even stream of it is written as it comes.
    while ((this.#dirty.size > 0 || this.#garbage.length > 0) && !this.#isClosing) {
      const slice = this.#takeSlice()
      if (slice.rows.length === 0) continue
      if (!(await this.#write(slice))) return
      if (this.#backlogBytes <= this.#backlogMaxBytes / 2) this.#holdBack(false)
    }
    if (this.#hasGarbage && !this.#isClosing) await this.#sweep()
  }

  #takeSlice(): Slice {
    const rows = this.#garbage
    this.#garbage = []
    const parts: [PartitionMirror, number][] = []
    let bytes = 0
    for (const mirror of this.#dirty) {
      if (rows.length >= sliceRows || bytes >= sliceBytes) break
      const before = mirror.queuedBytes
      const taken = mirror.take(sliceRows - rows.length, sliceBytes - bytes)
      bytes += before - mirror.queuedBytes
      for (const row of taken.rows) rows.push(row)
      if (taken.number > 0) parts.push([mirror, taken.number])
      this.#dirty.delete(mirror)
      // To the end of the round.
      if (mirror.isDirty) this.#dirty.add(mirror)
    }
    return { rows, parts }
  }

  /** False: the mirror is closed. */
  async #write({ rows, parts }: Slice): Promise<boolean> {
    if (rows.some(({ key }) => key[0] === garbagePrefix[0])) this.#hasGarbage = true
    for (;;) {
      try {
        const { synced } = await this.#environment.commit(rows)
        this.#noteTrouble(undefined)
        for (const [mirror, take] of parts) mirror.noteWritten(take)
        this.#syncs = Promise.all([this.#syncs, synced.then(() => this.#noteSynced(parts))])
        if (this.#isHeldBack) this.#options.onProgress(parts.map(([mirror]) => mirror.partition))
        return true
      } catch (error) {
        this.#noteTrouble(messageOf(error))
        if (this.#isClosing) return false
        await new Promise(resolve => setTimeout(resolve, retryMs))
        if (this.#isClosing) return false
      }
    }
  }

  #noteSynced(parts: Slice['parts']): void {
    this.#lastSyncedAtMs = Date.now()
    for (const [mirror, take] of parts) mirror.noteSynced(take)
    if (this.#options.fsync === 'always' && !this.#isClosing) this.#options.onProgress(parts.map(([mirror]) => mirror.partition))
  }

  #noteTrouble(reason: string | undefined): void {
    if (reason === this.#trouble) return
    this.#trouble = reason
    this.#options.onTrouble(reason)
  }

  /** Rows of what was dropped, a bounded number each time; goes on with the next run. */
  async #sweep(): Promise<void> {
    for (const garbage of this.#environment.keys(garbagePrefix, 64)) {
      const prefix = prefixOfGarbage(garbage)
      for (;;) {
        if (this.#isClosing) return
        const rows: RowChange[] = this.#environment.keys(prefix, sweepRows).map(key => ({ key, value: undefined }))
        const isLast = rows.length < sweepRows
        if (isLast) rows.push({ key: garbageKey(prefix), value: undefined })
        if (!(await this.#write({ rows, parts: [] }))) return
        if (isLast) break
        if (this.#dirty.size > 0) return
      }
    }
    this.#hasGarbage = this.#environment.keys(garbagePrefix, 1).length > 0
  }

  /** Ids after all that the file knows, garbage too. */
  #numberOn(): void {
    const environment = this.#environment
    for (const { id } of this.#sources[0]?.copies ?? []) {
      this.#nextCopy = Math.max(this.#nextCopy, id + 1)
      for (const { table } of mapsOf(environment, id).values()) this.#nextTable = Math.max(this.#nextTable, table + 1)
    }
    for (const key of environment.keys(garbagePrefix, Number.MAX_SAFE_INTEGER)) {
      const id = prefixOfGarbage(key).readUInt32BE(1) + 1
      this.#nextCopy = Math.max(this.#nextCopy, id)
      this.#nextTable = Math.max(this.#nextTable, id)
    }
  }
}

const isCopyOf = (copy: FoundCopy, partition: number, of: Incarnation): boolean =>
  copy.partition === partition && copy.node === of.node && copy.shard === of.shard && copy.whole

const nextTurn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** Rows are views of the library's memory; what waits must own its bytes. */
function copyImage(effects: Parameters<PartitionMirror['handleImage']>[0]): Parameters<PartitionMirror['handleImage']>[0] {
  return effects.map(effect => {
    if (effect.kind === 'restore') {
      const { put } = effect
      return { ...effect, put: { ...put, key: new Uint8Array(put.key), value: new Uint8Array(put.value) } }
    }
    if (effect.kind === 'putRecord') return { ...effect, key: new Uint8Array(effect.key), value: new Uint8Array(effect.value) }
    return effect
  })
}
