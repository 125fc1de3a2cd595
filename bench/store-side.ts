/** One side of the store benchmark, in a process of its own: `nearstate` or `map` (a Map of Buffers). Keys arrive as bytes, as they do on a shard. */
import { PerformanceObserver } from 'node:perf_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import type { MapId } from '../src/base/ids.ts'
import { applyEffect, type PutEffect } from '../src/storage/effect.ts'
import type { MapStore } from '../src/storage/map-store.ts'
import { MemoryBudget } from '../src/storage/memory-budget.ts'
import { PartitionStore } from '../src/storage/partition-store.ts'
import { serveSide } from './rounds.ts'

const partitions = 240
const keyBytes = 16
const valueBytes = 100
const opsPerTurn = 20_000
const now = Date.now()

interface Store {
  put(key: Uint8Array, partition: number, value: Uint8Array): void
  /** Reads a value; the sum of its first and last byte, -1 when it is not there. */
  read(key: Uint8Array, partition: number): number
  heldBytes(): number
}

function nearstateStore(): Store {
  const id = 1 as MapId
  const budget = new MemoryBudget(16 * 1024 ** 3)
  const stores = Array.from({ length: partitions }, (_, partition) => new PartitionStore(budget, partition))
  const maps = stores.map((store): MapStore => {
    applyEffect(store, { kind: 'openMap', map: id, limits: { maxBytes: 0, eviction: 'none' } })
    return store.openMap(id, { maxBytes: 0, eviction: 'none' })
  })
  const none = new Uint8Array(0)
  const put: PutEffect = {
    kind: 'put',
    map: id,
    key: none,
    keyStart: 0,
    keyEnd: keyBytes,
    value: none,
    valueStart: 0,
    valueEnd: valueBytes,
    expiresAtMs: 0,
    maxIdleMs: 0,
    wallTimeMs: now,
  }
  return {
    put(key, partition, value) {
      const map = maps[partition] as MapStore
      const admission = map.admitPut(key, 0, keyBytes, valueBytes, false, false, () => undefined)
      if (admission !== 'admitted') throw new Error(admission)
      put.key = key
      put.value = value
      applyEffect(stores[partition] as PartitionStore, put)
    },
    read(key, partition) {
      const map = maps[partition] as MapStore
      if (map.find(key, 0, keyBytes, now) !== 'found') return -1
      const { segment, valueStart, valueEnd } = map.found
      return (segment[valueStart] as number) + (segment[valueEnd - 1] as number)
    },
    heldBytes: () => budget.heldBytes,
  }
}

function mapOfBuffers(): Store {
  const map = new Map<string, Buffer>()
  const textOf = (key: Uint8Array): string => Buffer.prototype.latin1Slice.call(key, 0, keyBytes)
  return {
    put(key, _partition, value) {
      map.set(textOf(key), Buffer.from(value))
    },
    read(key) {
      const value = map.get(textOf(key))
      return value === undefined ? -1 : (value[0] as number) + (value[valueBytes - 1] as number)
    },
    heldBytes: () => 0,
  }
}

const side = process.argv[2] === 'map' ? mapOfBuffers : nearstateStore
const key = Buffer.alloc(keyBytes)
const keyWords = new Uint32Array(key.buffer, key.byteOffset, 4)
const value = Buffer.alloc(valueBytes)
let store = side()
let entries = 0
let seed = 12345
let gcLongestMs = 0
let checksum = 0

new PerformanceObserver(list => {
  for (const entry of list.getEntries()) gcLongestMs = Math.max(gcLongestMs, entry.duration)
}).observe({ entryTypes: ['gc'] })

const next = (): number => {
  seed ^= seed << 13
  seed ^= seed >>> 17
  seed ^= seed << 5
  return seed >>> 0
}

/** Writes the key of an entry; answers its partition. */
function keyOf(entry: number): number {
  keyWords[0] = Math.imul(entry, 0x9e3779b1)
  keyWords[1] = entry
  keyWords[2] = Math.imul(entry, 0x85ebca6b)
  keyWords[3] = ~entry
  return (Math.imul(entry, 0xc2b2ae35) >>> 0) % partitions
}

function fillValue(): void {
  for (let i = 0; i < valueBytes; i += 4) value.writeUInt32LE(next(), i)
}

/** Runs `op` for a time, in turns of the event loop so that the pauses are reported; operations a second of `op` alone. */
async function rate(durationMs: number, op: () => void): Promise<number> {
  let done = 0
  let busyMs = 0
  const until = performance.now() + durationMs
  while (performance.now() < until) {
    const started = performance.now()
    for (let i = 0; i < opsPerTurn; i += 1) op()
    busyMs += performance.now() - started
    done += opsPerTurn
    await turn()
  }
  return done / (busyMs / 1000)
}

async function load(count: number): Promise<void> {
  for (entries = 0; entries < count; entries += 1) {
    fillValue()
    store.put(key, keyOf(entries), value)
    if (entries % opsPerTurn === 0) await turn()
  }
}

serveSide({
  /** Compiles the hot paths on a small store, and starts anew with an empty one. */
  async warmUp(params: { readonly entries: number }) {
    await load(params.entries)
    await rate(500, readOne)
    store = side()
    entries = 0
    await turn()
    gcLongestMs = 0
    return process.memoryUsage.rss()
  },
  async load(params: { readonly entries: number }) {
    const started = performance.now()
    await load(params.entries)
    return { seconds: (performance.now() - started) / 1000, rss: process.memoryUsage.rss(), held: store.heldBytes() }
  },
  reads: (params: { readonly ms: number }) => rate(params.ms, readOne),
  overwrites: (params: { readonly ms: number }) =>
    rate(params.ms, () => {
      const partition = keyOf(next() % entries)
      store.put(key, partition, value)
    }),
  async gcLongestMs() {
    await turn()
    return { gcLongestMs, checksum }
  },
})

function readOne(): void {
  checksum = (checksum + store.read(key, keyOf(next() % entries))) | 0
}
