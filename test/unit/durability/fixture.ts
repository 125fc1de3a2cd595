/** A replica as the mirror sees it: a store, a log, and what was accepted and not applied. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { MapId } from '../../../src/base/ids.ts'
import type { FsyncMode } from '../../../src/durability/fsync-modes.ts'
import type { FoundCopy } from '../../../src/durability/found-copy.ts'
import type { Incarnation } from '../../../src/durability/mirror-format.ts'
import type { PartitionMirror } from '../../../src/durability/partition-mirror.ts'
import { ShardMirror, type ShardMirrorOptions } from '../../../src/durability/shard-mirror.ts'
import type { LoggedEntry } from '../../../src/durability/tail-codec.ts'
import { applyEffect, type Effect } from '../../../src/storage/effect.ts'
import { type ImageCursor, readImage } from '../../../src/storage/image.ts'
import { MemoryBudget } from '../../../src/storage/memory-budget.ts'
import { PartitionStore } from '../../../src/storage/partition-store.ts'

export const map = 7 as MapId
export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
export const newStore = (): PartitionStore => new PartitionStore(new MemoryBudget(256 * 1024 * 1024), 1)
export const tempDir = (): string => mkdtempSync(join(tmpdir(), 'nearstate-mirror-'))
export const run = (n: number): Incarnation => ({ node: `a#${n}`, shard: `a.0#${n}` })

export const openMap = (id: MapId = map): Effect => ({ kind: 'openMap', map: id, limits: { maxBytes: 0, eviction: 'none' } })
export function put(key: string | Uint8Array, value: string | Uint8Array, more: { expiresAtMs?: number; maxIdleMs?: number } = {}): Effect {
  const keyBytes = typeof key === 'string' ? bytes(key) : key
  const valueBytes = typeof value === 'string' ? bytes(value) : value
  const times = { expiresAtMs: 0, maxIdleMs: 0, wallTimeMs: 5, ...more }
  const ends = { keyStart: 0, keyEnd: keyBytes.length, valueStart: 0, valueEnd: valueBytes.length }
  return { kind: 'put', map, key: keyBytes, value: valueBytes, ...ends, ...times }
}
export const remove = (key: string): Effect => ({
  kind: 'remove',
  map,
  key: bytes(key),
  keyStart: 0,
  keyEnd: bytes(key).length,
  reason: 'deleted',
})
export const expire = (key: string, expiresAtMs: number): Effect => ({
  kind: 'expire',
  map,
  key: bytes(key),
  keyStart: 0,
  keyEnd: bytes(key).length,
  expiresAtMs,
  maxIdleMs: 0,
  wallTimeMs: 6,
})

export class MirroredStore {
  store = newStore()
  readonly log: LoggedEntry[] = []
  epoch = 1
  readonly #mirror: PartitionMirror

  constructor(mirror: PartitionMirror) {
    this.#mirror = mirror
    mirror.attach({
      store: this.store,
      logAfter: position => this.log.filter(entry => entry.position > position),
    })
    mirror.handleReset({ epoch: 0, position: 0 }, 0)
    mirror.handleHeld()
  }

  get last(): number {
    return this.log.at(-1)?.position ?? this.store.position
  }

  /** As a primary writes. */
  write(...effects: Effect[]): number {
    this.accept(...effects)
    this.apply()
    return this.last
  }

  /** Into the log, not yet applied. */
  accept(...effects: Effect[]): number {
    this.log.push({ epoch: this.epoch, position: this.last + effects.length, effects })
    this.#mirror.handleAccepted()
    return this.last
  }

  /** The next `count` entries of the log. */
  apply(count = Number.POSITIVE_INFINITY): void {
    for (const entry of this.log.filter(({ position }) => position > this.store.position).slice(0, count)) {
      for (const effect of entry.effects) applyEffect(this.store, effect)
      this.#mirror.handleApplied(entry)
    }
  }

  cutAfter(position: number): void {
    while (this.last > position && this.log.length > 0) this.log.pop()
    this.#mirror.handleCut(position)
  }
}

/** All of a store, in an order of its own: two that are equal hold the same. */
export function digest(store: PartitionStore): unknown {
  const lines: string[] = []
  let cursor: ImageCursor | undefined
  do {
    const chunk = readImage(store, cursor, 64 * 1024)
    for (const effect of chunk.effects) {
      if (effect.kind === 'restore') {
        const { put: at, version } = effect
        const key = Buffer.from(at.key).toString('hex')
        const value = Buffer.from(at.value).toString('hex')
        lines.push(`entry ${at.map} ${key} = ${value} v${version} ${at.expiresAtMs} ${at.maxIdleMs} ${at.wallTimeMs}`)
      } else if (effect.kind === 'openMap') lines.push(`map ${effect.map} ${effect.limits.maxBytes} ${effect.limits.eviction}`)
      else if (effect.kind === 'putRecord') {
        lines.push(`record ${effect.space} ${Buffer.from(effect.key).toString('hex')} = ${Buffer.from(effect.value).toString('hex')}`)
      } else {
        const { epoch, position, trimmedTo, results } = effect.session
        const kept = [...results].filter(([number]) => number > trimmedTo).sort(([a], [b]) => a - b)
        const texts = kept.map(([number, { result, position: at }]) => `${number}@${at}:${Buffer.from(result).toString('hex')}`)
        lines.push(`session ${epoch}/${position} ${trimmedTo} ${texts.join(' ')}`)
      }
    }
    cursor = chunk.cursor
  } while (cursor !== undefined)
  return [...new Set(lines)].sort()
}

export const identity = { cluster: 'test', node: 'a', partitions: 8 }

export async function openMirror(
  path: string,
  n: number,
  fsync: FsyncMode = 'always',
  more: Partial<ShardMirrorOptions> = {},
): Promise<ShardMirror> {
  return ShardMirror.open({
    path,
    orphans: [],
    identity,
    self: run(n),
    fsync,
    intervalMs: 5,
    onProgress: () => {},
    onTrouble: () => {},
    ...more,
  })
}

/** The copy as a restart would read it. */
export async function restored(mirror: ShardMirror, copy: FoundCopy, position = 2 ** 36): Promise<PartitionStore> {
  const store = newStore()
  await mirror.restore(copy.partition, copy, store, { start: { epoch: 0, position }, givenUp: copy.givenUp + 1 })
  return store
}
