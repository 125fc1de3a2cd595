/** A map on a partition against a naive model: any operations, time moving, a small limit with eviction off. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { MapId } from '../../src/base/ids.ts'
import type { MapDefinition } from '../../src/grid/map-definition.ts'
import { Outcome, PartitionMap, unchanged } from '../../src/grid/partition-map.ts'
import { applyEffect } from '../../src/storage/effect.ts'
import { scanEnd } from '../../src/storage/map-store.ts'
import { MemoryBudget } from '../../src/storage/memory-budget.ts'
import { PartitionStore } from '../../src/storage/partition-store.ts'

interface ModelEntry {
  value: string
  version: number
  expiresAtMs: number
  maxIdleMs: number
  touchedMs: number
}

const definition: MapDefinition = {
  id: 1 as MapId,
  name: 'm',
  keySpace: 'm',
  keyCodec: 'string',
  ttlMs: 50,
  maxIdleMs: 0,
  maxBytes: 0,
  eviction: 'none',
  createdAtMs: 0,
}

const key = fc.integer({ min: 0, max: 15 }).map(n => `key-${n}`)
const value = fc.integer({ min: 0, max: 300 }).map(n => 'v'.repeat(n))
const duration = fc.constantFrom(unchanged, 0, 10, 40)
const command = fc.oneof(
  fc.record({ kind: fc.constant('get' as const), key }),
  fc.record({ kind: fc.constant('set' as const), key, value, ttl: duration, idle: duration }),
  fc.record({ kind: fc.constant('putIfAbsent' as const), key, value, ttl: duration, idle: duration }),
  fc.record({ kind: fc.constant('replace' as const), key, value, rightVersion: fc.boolean(), ttl: duration, idle: duration }),
  fc.record({ kind: fc.constant('update' as const), key, value, ttl: duration }),
  fc.record({ kind: fc.constant('expire' as const), key, ttl: duration, idle: duration }),
  fc.record({ kind: fc.constant('delete' as const), key }),
  fc.record({ kind: fc.constant('clear' as const) }),
  fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 30 }) }),
  fc.record({ kind: fc.constant('scan' as const), limit: fc.integer({ min: 1, max: 5 }) }),
)

test('a map on a partition answers as a Map with times and versions does', () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 120 }), commands => {
      const store = new PartitionStore(new MemoryBudget(8 * 1024 * 1024), 1)
      const append = (effect: Parameters<typeof applyEffect>[1]): void => applyEffect(store, effect)
      const map = new PartitionMap({ definition, partitionCount: 1, store, valueMaxBytes: 256, append })
      const model = new Map<string, ModelEntry>()
      let wall = 1_000_000
      const live = (name: string): ModelEntry | undefined => {
        const entry = model.get(name)
        if (entry === undefined) return undefined
        const gone =
          (entry.expiresAtMs !== 0 && wall >= entry.expiresAtMs) || (entry.maxIdleMs !== 0 && wall >= entry.touchedMs + entry.maxIdleMs)
        if (gone) model.delete(name)
        return gone ? undefined : entry
      }
      const bytes = (name: string): [Uint8Array, number, number] => {
        const padded = Buffer.from(`--${name}`)
        return [padded, 2, padded.length]
      }
      const write = (name: string, text: string, expiresAtMs: number, maxIdleMs: number): void =>
        void model.set(name, { value: text, version: store.position, expiresAtMs, maxIdleMs, touchedMs: wall })
      const at = (ttl: number): number => (ttl === 0 ? 0 : wall + ttl)

      for (const step of commands) {
        if (step.kind === 'wait') wall += step.ms
        else if (step.kind === 'clear') {
          map.clear()
          model.clear()
        } else if (step.kind === 'scan') {
          const seen: string[] = []
          for (let cursor = 0; cursor < scanEnd; ) {
            cursor = map.scanPage(cursor, { maxEntries: step.limit, maxBytes: 1e6 }, wall, entry => {
              seen.push(Buffer.from(entry.segment.subarray(entry.keyStart, entry.keyEnd)).toString())
            })
          }
          expect(seen.sort()).toEqual([...model.keys()].filter(name => live(name) !== undefined).sort())
        } else {
          const there = live(step.key)
          const [k, s, e] = bytes(step.key)
          if (step.kind === 'get') {
            expect(map.find(k, s, e, wall)).toBe(there !== undefined)
            if (there !== undefined) {
              const { found } = map
              expect(Buffer.from(found.segment.subarray(found.valueStart, found.valueEnd)).toString()).toBe(there.value)
              expect([found.version, found.expiresAtMs, found.maxIdleMs]).toEqual([there.version, there.expiresAtMs, there.maxIdleMs])
              there.touchedMs = wall
            }
          } else if (step.kind === 'delete') {
            expect(map.delete(k, s, e, wall)).toBe(there === undefined ? Outcome.absent : Outcome.done)
            model.delete(step.key)
          } else if (step.kind === 'expire') {
            expect(map.expire(k, s, e, step.ttl, step.idle, wall)).toBe(there === undefined ? Outcome.absent : Outcome.done)
            if (there !== undefined) {
              if (step.ttl !== unchanged) there.expiresAtMs = at(step.ttl)
              if (step.idle !== unchanged) there.maxIdleMs = step.idle
              there.touchedMs = wall
            }
          } else {
            const text = Buffer.from(step.value)
            const tooLarge = text.length > 256
            const ttl = step.ttl
            const idle = step.kind === 'update' ? unchanged : step.idle
            if (step.kind === 'replace') {
              const version = (there?.version ?? 0) + (step.rightVersion ? 0 : 1)
              const outcome = map.replace(k, s, e, text, 0, text.length, version, ttl, idle, wall)
              const fits = there !== undefined && step.rightVersion
              expect(outcome).toBe(!fits ? Outcome.conflict : tooLarge ? Outcome.refused : Outcome.done)
            } else if (step.kind === 'putIfAbsent') {
              const outcome = map.putIfAbsent(k, s, e, text, 0, text.length, ttl, idle, wall)
              expect(outcome).toBe(there !== undefined ? Outcome.present : tooLarge ? Outcome.refused : Outcome.done)
            } else {
              const outcome =
                step.kind === 'set'
                  ? map.set(k, s, e, text, 0, text.length, ttl, idle, wall)
                  : map.update(k, s, e, text, 0, text.length, ttl, wall)
              expect(outcome).toBe(tooLarge ? Outcome.refused : Outcome.done)
            }
            if (there !== undefined && step.kind !== 'set') there.touchedMs = wall
            const wrote =
              !tooLarge &&
              (step.kind === 'replace' ? there !== undefined && step.rightVersion : step.kind !== 'putIfAbsent' || there === undefined)
            if (wrote) {
              const keeps = there !== undefined && (step.kind === 'replace' || step.kind === 'update')
              const expiresAtMs = ttl === unchanged ? (keeps ? there.expiresAtMs : at(definition.ttlMs)) : at(ttl)
              const maxIdleMs = idle === unchanged ? (keeps ? there.maxIdleMs : definition.maxIdleMs) : idle
              write(step.key, step.value, expiresAtMs, maxIdleMs)
            }
          }
        }
      }
    }),
    { numRuns: 150 },
  )
})
