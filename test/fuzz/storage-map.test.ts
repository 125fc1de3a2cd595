import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { MapId } from '../../src/base/ids.ts'
import { applyEffect, type Effect } from '../../src/storage/effect.ts'
import { applyImage, type ImageChunk, type ImageCursor, readImage } from '../../src/storage/image.ts'
import type { Eviction } from '../../src/storage/map-limits.ts'
import { type MapStore, scanEnd } from '../../src/storage/map-store.ts'
import { MemoryBudget } from '../../src/storage/memory-budget.ts'
import { PartitionStore } from '../../src/storage/partition-store.ts'

const mapId = 7 as MapId
const unlimited = { maxBytes: 0, eviction: 'none' as Eviction }

interface Entry {
  value: string
  version: number
  expiresAtMs: number
  maxIdleMs: number
  idleSinceMs: number
}

/** The naive store: a Map of everything that an entry is. */
class Model {
  entries = new Map<string, Entry>()
  position = 0

  apply(effect: Effect): void {
    this.position += 1
    if (effect.kind === 'clear' || effect.kind === 'dropMap') this.entries.clear()
    if (effect.kind === 'put') {
      const { expiresAtMs, maxIdleMs, wallTimeMs } = effect
      const idleSinceMs = maxIdleMs > 0 ? wallTimeMs : 0
      this.entries.set(keyText(effect), { value: valueText(effect), version: this.position, expiresAtMs, maxIdleMs, idleSinceMs })
    }
    if (effect.kind === 'remove') this.entries.delete(keyText(effect))
    if (effect.kind === 'expire') {
      const entry = this.entries.get(keyText(effect))
      if (entry === undefined) return
      entry.expiresAtMs = effect.expiresAtMs
      entry.maxIdleMs = effect.maxIdleMs
      entry.idleSinceMs = effect.maxIdleMs > 0 ? effect.wallTimeMs : 0
    }
  }

  isDue(entry: Entry, wallTimeMs: number): boolean {
    if (entry.expiresAtMs > 0 && entry.expiresAtMs <= wallTimeMs) return true
    return entry.maxIdleMs > 0 && entry.idleSinceMs + entry.maxIdleMs <= wallTimeMs
  }
}

const text = (bytes: Uint8Array, start: number, end: number): string => Buffer.from(bytes.subarray(start, end)).toString('latin1')
const keyText = (effect: { key: Uint8Array; keyStart: number; keyEnd: number }): string => text(effect.key, effect.keyStart, effect.keyEnd)
const valueText = (effect: { value: Uint8Array; valueStart: number; valueEnd: number }): string =>
  text(effect.value, effect.valueStart, effect.valueEnd)

/** Bytes somewhere within a larger buffer, as they come from a message. */
function within(content: string): { bytes: Uint8Array; start: number; end: number } {
  const bytes = Buffer.from(`<<${content}>`, 'latin1')
  return { bytes, start: 2, end: bytes.length - 1 }
}

function put(key: string, value: string, wallTimeMs: number, ttlMs = 0, maxIdleMs = 0): Effect {
  const k = within(key)
  const v = within(value)
  return {
    kind: 'put',
    map: mapId,
    key: k.bytes,
    keyStart: k.start,
    keyEnd: k.end,
    value: v.bytes,
    valueStart: v.start,
    valueEnd: v.end,
    expiresAtMs: ttlMs > 0 ? wallTimeMs + ttlMs : 0,
    maxIdleMs,
    wallTimeMs,
  }
}

function remove(key: string): Effect {
  const k = within(key)
  return { kind: 'remove', map: mapId, key: k.bytes, keyStart: k.start, keyEnd: k.end, reason: 'deleted' }
}

function expire(key: string, wallTimeMs: number, ttlMs: number, maxIdleMs: number): Effect {
  const k = within(key)
  const expiresAtMs = ttlMs > 0 ? wallTimeMs + ttlMs : 0
  return { kind: 'expire', map: mapId, key: k.bytes, keyStart: k.start, keyEnd: k.end, expiresAtMs, maxIdleMs, wallTimeMs }
}

function contentOf(map: MapStore | undefined): Map<string, Entry> {
  const content = new Map<string, Entry>()
  map?.scanPage(0, { maxEntries: Number.POSITIVE_INFINITY, maxBytes: Number.POSITIVE_INFINITY }, Number.NEGATIVE_INFINITY, entry => {
    const key = text(entry.segment, entry.keyStart, entry.keyEnd)
    expect(content.has(key)).toBe(false)
    const { version, expiresAtMs, maxIdleMs, idleSinceMs } = entry
    content.set(key, { value: text(entry.segment, entry.valueStart, entry.valueEnd), version, expiresAtMs, maxIdleMs, idleSinceMs })
  })
  return content
}

type Step =
  | { kind: 'put'; key: number; size: number; ttlMs: number; maxIdleMs: number }
  | { kind: 'fill'; from: number; count: number; size: number; ttlMs: number }
  | { kind: 'drain'; from: number; count: number }
  | { kind: 'remove'; key: number }
  | { kind: 'expire'; key: number; ttlMs: number; maxIdleMs: number }
  | { kind: 'read'; key: number }
  | { kind: 'clear' }
  | { kind: 'drop' }
  | { kind: 'time'; ms: number }
  | { kind: 'sweep'; budget: number }
  | { kind: 'page'; size: number }

const keyNumber = fc.integer({ min: 0, max: 400 })
const size = fc.oneof({ weight: 8, arbitrary: fc.nat(200) }, { weight: 2, arbitrary: fc.nat(5000) }, fc.nat(40_000))
const ttlMs = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 20_000_000 }), fc.constant(10 ** 13))
const maxIdleMs = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 100_000 }))
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('put'), key: keyNumber, size, ttlMs, maxIdleMs }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('fill'), from: keyNumber, count: fc.nat(300), size: fc.nat(150), ttlMs }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('drain'), from: keyNumber, count: fc.nat(400) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('remove'), key: keyNumber }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('expire'), key: keyNumber, ttlMs, maxIdleMs }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('read'), key: keyNumber }) },
  { weight: 1, arbitrary: fc.constantFrom({ kind: 'clear' }, { kind: 'drop' }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('time'), ms: fc.oneof(fc.nat(200), fc.nat(60_000), fc.nat(10 ** 9)) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('sweep'), budget: fc.integer({ min: 1, max: 200 }) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('page'), size: fc.integer({ min: 1, max: 100 }) }) },
) as fc.Arbitrary<Step>

/** Runs steps on a store and a model side by side; what every step did is handed to `onEffect`. */
class Run {
  readonly budget = new MemoryBudget(1 << 30)
  readonly store = new PartitionStore(this.budget, 1)
  readonly model = new Model()
  readonly log: Effect[] = []
  wallTimeMs = 1_700_000_000_000
  /** The scan under way: its cursor, what it has seen, and the keys that were there at its start and ever since. */
  scan = { cursor: 0, seen: new Map<string, number>(), throughout: new Set<string>() }

  apply(effect: Effect): void {
    applyEffect(this.store, effect)
    this.model.apply(effect)
    this.log.push(effect)
    for (const key of this.scan.throughout) if (!this.model.entries.has(key)) this.scan.throughout.delete(key)
  }

  step(step: Step): void {
    if (this.store.findMap(mapId) === undefined) this.apply({ kind: 'openMap', map: mapId, limits: unlimited })
    switch (step.kind) {
      case 'put':
        return this.apply(put(`k${step.key}`, '#'.repeat(step.size), this.wallTimeMs, step.ttlMs, step.maxIdleMs))
      case 'fill':
        for (let i = 0; i < step.count; i += 1)
          this.apply(put(`k${step.from + i}`, `${i}`.repeat(step.size / 3), this.wallTimeMs, step.ttlMs))
        return
      case 'drain':
        for (let i = 0; i < step.count; i += 1) this.apply(remove(`k${step.from + i}`))
        return
      case 'remove':
        return this.apply(remove(`k${step.key}`))
      case 'expire':
        return this.apply(expire(`k${step.key}`, this.wallTimeMs, step.ttlMs, step.maxIdleMs))
      case 'clear':
        return this.apply({ kind: 'clear', map: mapId })
      case 'drop':
        return this.apply({ kind: 'dropMap', map: mapId })
      case 'time':
        this.wallTimeMs += step.ms
        for (const [key, entry] of this.model.entries) if (this.model.isDue(entry, this.wallTimeMs)) this.scan.throughout.delete(key)
        return
      case 'read':
        return this.read(`k${step.key}`)
      case 'sweep':
        return this.sweep(step.budget)
      case 'page':
        return this.page(step.size)
    }
  }

  read(key: string): void {
    const { bytes, start, end } = within(key)
    const entry = this.model.entries.get(key)
    const map = this.store.findMap(mapId)
    const lookup = map?.find(bytes, start, end, this.wallTimeMs) ?? 'absent'
    expect(lookup).toBe(entry === undefined ? 'absent' : this.model.isDue(entry, this.wallTimeMs) ? 'expired' : 'found')
    if (lookup !== 'found' || map === undefined || entry === undefined) return
    if (entry.maxIdleMs > 0) entry.idleSinceMs = this.wallTimeMs
    expect(text(map.found.segment, map.found.valueStart, map.found.valueEnd)).toBe(entry.value)
    expect(map.found.version).toBe(entry.version)
  }

  sweep(budget: number): void {
    const done = this.store.advanceExpiry(this.wallTimeMs, budget, effect => {
      expect(effect.reason).toBe('expired')
      const entry = this.model.entries.get(keyText(effect))
      expect(entry !== undefined && this.model.isDue(entry, this.wallTimeMs)).toBe(true)
      this.apply(effect)
    })
    expect(done).toBeLessThanOrEqual(budget)
  }

  page(maxEntries: number): void {
    const map = this.store.findMap(mapId)
    if (map === undefined) return
    if (this.scan.cursor === 0) {
      const there = [...this.model.entries].filter(([, entry]) => !this.model.isDue(entry, this.wallTimeMs))
      this.scan = { cursor: 0, seen: new Map(), throughout: new Set(there.map(([key]) => key)) }
    }
    const { seen, throughout } = this.scan
    this.scan.cursor = map.scanPage(this.scan.cursor, { maxEntries, maxBytes: 10_000 }, this.wallTimeMs, entry => {
      const key = text(entry.segment, entry.keyStart, entry.keyEnd)
      seen.set(key, (seen.get(key) ?? 0) + 1)
    })
    if (this.scan.cursor !== scanEnd) return
    for (const key of throughout) expect(seen.get(key), key).toBe(1)
    this.scan = { cursor: 0, seen: new Map(), throughout: new Set() }
  }

  check(): void {
    const map = this.store.findMap(mapId)
    expect(contentOf(map)).toEqual(this.model.entries)
    expect(map?.entries ?? 0).toBe(this.model.entries.size)
    expect(this.store.position).toBe(this.model.position)
    for (const key of this.model.entries.keys()) this.read(key)
  }
}

const steps = fc.array(step, { minLength: 1, maxLength: 60, size: 'max' })

test('a store behaves like a Map, whatever is written, read, swept and scanned while time goes on', () => {
  fc.assert(
    fc.property(steps, steps => {
      const run = new Run()
      for (const step of steps) run.step(step)
      run.check()
      // Every entry with a time goes when its time has come, and what is left can be removed; then nothing is held.
      run.wallTimeMs += 10 ** 14
      while (run.store.advanceExpiry(run.wallTimeMs, 50, effect => run.apply(effect)) > 0) continue
      for (const entry of run.model.entries.values()) expect(entry.expiresAtMs + entry.maxIdleMs).toBe(0)
      run.check()
      for (const key of run.model.entries.keys()) run.apply(remove(key))
      expect(run.store.bytes).toBe(0)
      run.apply({ kind: 'dropMap', map: mapId })
      expect(run.budget.usedBytes).toBe(0)
    }),
    { numRuns: 100 },
  )
})

test('an image read while writes go on, and the effects since, make the same store', () => {
  fc.assert(
    fc.property(
      steps,
      fc.array(steps, { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 20_000 }),
      fc.boolean(),
      (before, between, maxBytes, interleaved) => {
        const run = new Run()
        for (const step of before) run.step(step)
        const chunks: ImageChunk[] = []
        const copy = new PartitionStore(new MemoryBudget(1 << 30), 2)
        let cursor: ImageCursor | undefined
        const logStart = run.log.length
        let shipped = logStart
        for (let i = 0; i === 0 || cursor !== undefined; i += 1) {
          const chunk = readImage(run.store, cursor, maxBytes)
          chunks.push(chunk)
          if (interleaved) {
            for (; shipped < run.log.length; shipped += 1) applyEffect(copy, run.log[shipped] as Effect)
            applyImage(copy, chunk)
          }
          cursor = chunk.cursor
          for (const step of between[i] ?? []) run.step(step)
        }
        if (!interleaved) for (const chunk of chunks) applyImage(copy, chunk)
        for (; shipped < run.log.length; shipped += 1) applyEffect(copy, run.log[shipped] as Effect)
        expect(copy.position).toBe(run.store.position)
        const idleAside = (entries: Map<string, Entry>): unknown =>
          new Map(Array.from(entries, ([key, entry]) => [key, { ...entry, idleSinceMs: 0 }]))
        expect(idleAside(contentOf(copy.findMap(mapId)))).toEqual(idleAside(contentOf(run.store.findMap(mapId))))
      },
    ),
    { numRuns: 50 },
  )
})

test('admitted writes never take the memory past its limit, refused ones change nothing, and the room comes back', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 60_000, max: 600_000 }),
      fc.array(
        fc.record({ key: fc.nat(3000), size: fc.oneof(fc.nat(300), fc.nat(12_000)), ttlMs, removes: fc.integer({ min: 0, max: 3 }) }),
        {
          minLength: 50,
          maxLength: 600,
          size: 'max',
        },
      ),
      (limitBytes, writes) => {
        const budget = new MemoryBudget(limitBytes)
        const store = new PartitionStore(budget, 1)
        const model = new Model()
        const apply = (effect: Effect): void => {
          applyEffect(store, effect)
          model.apply(effect)
        }
        apply({ kind: 'openMap', map: mapId, limits: unlimited })
        const map = store.findMap(mapId) as MapStore
        let refused = 0
        for (const write of writes) {
          const { bytes, start, end } = within(`k${write.key}`)
          const admission = map.admitPut(bytes, start, end, write.size, write.ttlMs > 0, false, () =>
            expect.unreachable('nothing is evicted'),
          )
          if (admission === 'admitted') apply(put(`k${write.key}`, 'v'.repeat(write.size), 1000, write.ttlMs))
          else {
            refused += 1
            const present = model.entries.get(`k${write.key}`)
            if (present !== undefined) {
              // Same size, or smaller: always possible.
              const hasExpiry = present.expiresAtMs > 0
              expect(map.admitPut(bytes, start, end, present.value.length, hasExpiry, false, () => undefined)).toBe('admitted')
              apply(put(`k${write.key}`, 'w'.repeat(present.value.length), 1000, hasExpiry ? 5 : 0))
            }
            for (const key of [...model.entries.keys()].slice(0, write.removes)) apply(remove(key))
          }
          expect(budget.heldBytes).toBeLessThanOrEqual(limitBytes)
        }
        expect(contentOf(map)).toEqual(model.entries)
        for (const key of Array.from(model.entries.keys())) apply(remove(key))
        const { bytes, start, end } = within('after')
        expect(map.admitPut(bytes, start, end, 1000, false, false, () => undefined)).toBe('admitted')
        return refused >= 0
      },
    ),
    { numRuns: 100 },
  )
})

test('a map within its maxBytes evicts for a write and keeps it, whatever the sizes', () => {
  fc.assert(
    fc.property(
      fc.constantFrom<Eviction>('lru', 'lfu'),
      fc.integer({ min: 200, max: 100_000 }),
      fc.array(fc.record({ key: fc.nat(200), size: fc.oneof(fc.nat(100), fc.nat(20_000)), readKey: fc.nat(200), ttlMs }), {
        minLength: 1,
        maxLength: 300,
        size: 'max',
      }),
      (eviction, maxBytes, writes) => {
        const store = new PartitionStore(new MemoryBudget(1 << 30), 3)
        const model = new Model()
        const apply = (effect: Effect): void => {
          applyEffect(store, effect)
          model.apply(effect)
        }
        apply({ kind: 'openMap', map: mapId, limits: { maxBytes, eviction } })
        const map = store.findMap(mapId) as MapStore
        let wallTimeMs = 1_000_000
        for (const write of writes) {
          wallTimeMs += 37
          const read = within(`k${write.readKey}`)
          map.find(read.bytes, read.start, read.end, wallTimeMs)
          const key = `k${write.key}`
          const { bytes, start, end } = within(key)
          const before = map.entries
          const evicted: Effect[] = []
          const admission = map.admitPut(bytes, start, end, write.size, write.ttlMs > 0, false, effect => {
            expect(keyText(effect)).not.toBe(key)
            evicted.push(effect)
            apply(effect)
          })
          if (admission !== 'admitted') {
            expect(admission).toBe('mapFull')
            expect(write.size + key.length + 40).toBeGreaterThan(maxBytes)
            expect(evicted.length).toBe(0)
            expect(map.entries).toBe(before)
            continue
          }
          apply(put(key, 'v'.repeat(write.size), wallTimeMs, write.ttlMs))
          expect(map.bytes).toBeLessThanOrEqual(maxBytes)
        }
        expect(contentOf(map)).toEqual(model.entries)
      },
    ),
    { numRuns: 100 },
  )
})
