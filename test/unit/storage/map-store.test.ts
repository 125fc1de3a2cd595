import { describe, expect, test } from 'vitest'
import { parseByteSize } from '../../../src/base/byte-size.ts'
import { optionTable } from '../../../src/config/option-table.ts'
import { applyEffect, copyEffect, type Effect, type PutEffect } from '../../../src/storage/effect.ts'
import { KeptBytes } from '../../../src/storage/kept-bytes.ts'
import { hashKey } from '../../../src/storage/key-hash.ts'
import { scanEnd } from '../../../src/storage/map-store.ts'
import { mapId, Scenario, startMs } from './scenario.ts'

const hour = 3_600_000

describe('versions', () => {
  test('a version is the position of the write, and never repeats after a delete, a clear or a drop', () => {
    const at = new Scenario()
    const versionOf = (): number => {
      at.get('a')
      return at.map.found.version
    }
    at.set('a', '1')
    expect(versionOf()).toBe(at.store.position)
    const first = versionOf()
    at.expire('a', hour)
    expect(versionOf()).toBe(first)
    at.delete('a')
    at.set('a', '1')
    expect(versionOf()).toBeGreaterThan(first)
    const second = versionOf()
    at.apply({ kind: 'clear', map: mapId })
    at.set('a', '1')
    expect(versionOf()).toBeGreaterThan(second)
  })

  test('a version beyond 32 bits is kept whole', () => {
    const at = new Scenario()
    at.store.position = 2 ** 44
    at.set('a', '1')
    at.get('a')
    expect(at.map.found.version).toBe(2 ** 44 + 1)
  })

  test('an effect on a map or key that is not there does nothing but take its position', () => {
    const at = new Scenario()
    const { position } = at.store
    at.delete('nobody')
    at.expire('nobody', 5)
    applyEffect(at.store, { kind: 'clear', map: 99 as typeof mapId })
    expect(at.store.position).toBe(position + 3)
    expect(at.map.entries).toBe(0)
  })
})

describe('admission and the put after it', () => {
  const none = (): void => undefined

  test('a put is of its own key, though another one was admitted from the same bytes', () => {
    const at = new Scenario()
    at.set('a', '1')
    at.set('b', '2')
    const key = Buffer.from('a')
    expect(at.map.admitPut(key, 0, 1, 1, false, false, none)).toBe('admitted')
    key.write('b')
    at.apply(putOf(key, '3'))
    expect([at.get('a'), at.get('b')]).toEqual(['1', '3'])
  })

  test('a put finds no entry that was removed, moved or cleared after its admission', () => {
    for (const meanwhile of ['remove', 'grow', 'clear'] as const) {
      const at = new Scenario()
      at.set('a', '1')
      const key = Buffer.from('a')
      at.map.admitPut(key, 0, 1, 1, false, false, none)
      if (meanwhile === 'remove') at.apply({ kind: 'remove', map: mapId, key, keyStart: 0, keyEnd: 1, reason: 'deleted' })
      if (meanwhile === 'grow') at.apply(putOf(Buffer.from('a'), 'x'.repeat(500)))
      if (meanwhile === 'clear') at.apply({ kind: 'clear', map: mapId })
      at.apply(putOf(key, '2'))
      expect(at.get('a')).toBe('2')
      expect(at.map.entries).toBe(1)
    }
  })

  test('a dropped map is not found any more, and one opened in its place is empty', () => {
    const at = new Scenario()
    at.set('a', '1')
    const { limits } = at.map
    expect(at.store.findMap(mapId)).toBe(at.map)
    at.apply({ kind: 'dropMap', map: mapId })
    expect(at.store.findMap(mapId)).toBeUndefined()
    at.apply({ kind: 'openMap', map: mapId, limits })
    expect(at.store.findMap(mapId)?.entries).toBe(0)
  })

  test('looking ahead changes nothing, whatever is there', () => {
    const at = new Scenario()
    const lookAhead = (hash: number): void => {
      at.map.warmIndex(hash)
      at.map.warmEntry(hash)
    }
    lookAhead(0)
    // Also while the index grows, and beyond its first and its last entry.
    for (let i = 0; i < 300; i += 1) {
      at.set(`k${i}`, String(i))
      for (const key of ['k0', `k${i}`, 'b', '']) lookAhead(hashKey(Buffer.from(key), 0, key.length))
      for (const hash of [-0x80000000, -1, 0, 0x7fffffff]) lookAhead(hash)
    }
    for (let i = 0; i < 300; i += 1) expect(at.get(`k${i}`)).toBe(String(i))
    expect(at.map.entries).toBe(300)
  })
})

const putOf = (key: Buffer, text: string): PutEffect => {
  const value = Buffer.from(text)
  const places = { keyStart: 0, keyEnd: key.length, valueStart: 0, valueEnd: value.length }
  return { kind: 'put', map: mapId, key, value, ...places, expiresAtMs: 0, maxIdleMs: 0, wallTimeMs: startMs }
}

describe('time', () => {
  test('an entry past its time is found expired at once, and removed by the sweep', () => {
    const at = new Scenario()
    at.set('a', '1', { ttlMs: 1000 })
    at.wallTimeMs += 999
    expect(at.get('a')).toBe('1')
    expect(at.map.found.expiresAtMs).toBe(startMs + 1000)
    at.wallTimeMs += 1
    expect(at.get('a')).toBe('expired')
    expect(at.map.entries).toBe(1)
    at.wallTimeMs += 200
    at.sweep()
    expect(at.removed).toEqual(['expired a'])
    expect(at.map.expired).toBe(1)
    expect(at.get('a')).toBe('absent')
  })

  test.each([1, 100, 9000, 60_000, hour, 24 * hour, 400 * 24 * hour, 300 * 365 * 24 * hour])(
    'a time to live of %d ms ends on time, not before',
    ttlMs => {
      const at = new Scenario()
      at.set('a', '1', { ttlMs })
      at.wallTimeMs = startMs + ttlMs - 1
      at.sweep()
      expect(at.map.entries).toBe(1)
      at.wallTimeMs += 129
      at.sweep()
      expect(at.map.entries).toBe(0)
    },
  )

  test('reads put off the end of an entry with a maximal idle time', () => {
    const at = new Scenario()
    at.set('a', '1', { maxIdleMs: 1000 })
    for (let i = 0; i < 5; i += 1) {
      at.wallTimeMs += 900
      at.sweep()
      expect(at.get('a')).toBe('1')
    }
    at.wallTimeMs += 1000
    expect(at.get('a')).toBe('expired')
    at.wallTimeMs += 200
    at.sweep()
    expect(at.map.entries).toBe(0)
  })

  test('a sweep does no more than its budget and goes on next time', () => {
    const at = new Scenario()
    for (let i = 0; i < 100; i += 1) at.set(`k${i}`, 'v', { ttlMs: 1 + i })
    at.wallTimeMs += hour
    expect(at.sweep(30)).toBe(30)
    expect(at.map.entries).toBe(70)
    while (at.sweep(30) > 0) continue
    expect(at.map.entries).toBe(0)
  })

  test('writing an expiring key over and over holds no more memory', () => {
    const at = new Scenario()
    at.set('a', 'value', { ttlMs: hour })
    const held = at.budget.heldBytes
    for (let i = 0; i < 10_000; i += 1) {
      at.wallTimeMs += 1
      at.set('a', 'value', { ttlMs: i % 2 === 0 ? hour : 500 * hour })
    }
    expect(at.budget.heldBytes).toBe(held)
  })

  test('expiry can be set on an entry, changed and lifted, and the value stays', () => {
    const at = new Scenario()
    at.set('a', 'value')
    at.expire('a', 5000)
    at.expire('a', 9000, 7000)
    expect(at.get('a')).toBe('value')
    expect(at.map.found).toMatchObject({ expiresAtMs: startMs + 9000, maxIdleMs: 7000 })
    at.expire('a', 0)
    at.wallTimeMs += 1000 * hour
    at.sweep()
    expect(at.get('a')).toBe('value')
    expect(at.map.found).toMatchObject({ expiresAtMs: 0, maxIdleMs: 0 })
  })
})

describe('memory', () => {
  test('deleting everything gives the memory back', () => {
    const at = new Scenario()
    const empty = at.budget.usedBytes
    for (let i = 0; i < 20_000; i += 1) at.set(`key-${i}`, 'v'.repeat(i % 300), i % 3 === 0 ? { ttlMs: hour } : {})
    expect(at.budget.usedBytes).toBeGreaterThan(20_000 * 150)
    for (let i = 0; i < 20_000; i += 1) at.delete(`key-${i}`)
    expect(at.budget.usedBytes).toBe(empty)
    expect(at.budget.pooledBytes).toBeLessThanOrEqual(64 * (1 + 4 + 16 + 64) * 1024)
  })

  test('deleting most of it gives most of it back, while the rest stays readable', () => {
    const at = new Scenario()
    for (let i = 0; i < 20_000; i += 1) at.set(`key-${i}`, `value-${i}`.padEnd(100))
    const full = at.budget.usedBytes
    for (let i = 0; i < 20_000; i += 1) if (i % 10 !== 0) at.delete(`key-${i}`)
    expect(at.budget.usedBytes).toBeLessThan(full / 4)
    for (let i = 0; i < 20_000; i += 10) expect(at.get(`key-${i}`)).toBe(`value-${i}`.padEnd(100))
  })

  test('overwriting with other sizes for ever does not grow the store', () => {
    const at = new Scenario()
    for (let i = 0; i < 200_000; i += 1) at.set(`key-${(i * 7919) % 2000}`, 'v'.repeat((i * 31) % 500))
    expect(at.budget.usedBytes).toBeLessThan(2000 * (250 + 40) * 1.6)
  })

  test('an entry of 16 + 100 bytes costs at most 40 bytes above that, whatever the number', () => {
    for (const count of [3000, 9000, 12_500, 50_000]) {
      const at = new Scenario()
      for (let i = 0; i < count; i += 1) at.set(`key-${i}`.padEnd(16), 'v'.repeat(100))
      expect(at.budget.usedBytes / count - 116).toBeLessThan(count < 5000 ? 56 : 40)
    }
  })

  test('a value of 16 MiB is kept, and its memory goes with it', () => {
    const at = new Scenario()
    const value = new Uint8Array(16 * 1024 * 1024).fill(65)
    at.set('small', 's')
    const before = at.budget.usedBytes
    expect(at.set('big', value)).toBe('admitted')
    at.get('big')
    const { segment, valueStart, valueEnd } = at.map.found
    expect(Buffer.compare(segment.subarray(valueStart, valueEnd), value)).toBe(0)
    at.delete('big')
    expect(at.budget.usedBytes).toBeLessThanOrEqual(before)
  })

  test('at the limit a growing write is refused; removal and same-size overwrite work, and make room again', () => {
    const at = new Scenario(undefined, 400_000)
    let stored = 0
    while (at.set(`key-${stored}`, 'v'.repeat(100)) === 'admitted') stored += 1
    expect(stored).toBeGreaterThan(1000)
    const { position } = at.store
    expect(at.set('one-more', 'v'.repeat(100))).toBe('memoryFull')
    expect(at.store.position).toBe(position)
    expect(at.set('key-5', 'w'.repeat(100))).toBe('admitted')
    expect(at.set('key-5', 'w')).toBe('admitted')
    for (let i = 0; i < stored; i += 4) at.delete(`key-${i}`)
    expect(at.set('one-more', 'v'.repeat(100))).toBe('admitted')
    expect(at.budget.heldBytes).toBeLessThanOrEqual(400_000)
  })

  test('releasing a store gives everything back', () => {
    const at = new Scenario()
    for (let i = 0; i < 1000; i += 1) at.set(`k${i}`, 'v'.repeat(i), { ttlMs: 5 })
    at.store.records.put(1, Buffer.from('k'), Buffer.from('v'))
    at.store.release()
    expect(at.budget.usedBytes).toBe(0)
  })
})

describe('eviction', () => {
  test('the largest value that a configuration can allow is stored', () => {
    const at = new Scenario()
    const largest = parseByteSize('63mb')
    expect(optionTable.valueMaxBytes.schema.safeParse(largest).success).toBe(true)
    expect(optionTable.valueMaxBytes.schema.safeParse(largest + 1).success).toBe(false)
    expect(at.set('k', new Uint8Array(largest))).toBe('admitted')
    expect(at.get('k')).toHaveLength(largest)
  })

  test('none refuses at maxBytes, and lets a smaller value in', () => {
    const at = new Scenario({ maxBytes: 200, eviction: 'none' })
    expect(at.set('a', 'v'.repeat(100))).toBe('admitted')
    expect(at.set('b', 'v'.repeat(100))).toBe('mapFull')
    expect(at.set('b', 'v'.repeat(50))).toBe('admitted')
    expect(at.set('a', 'v'.repeat(20))).toBe('admitted')
    expect(at.removed).toEqual([])
  })

  test('an entry larger than maxBytes is refused and evicts nothing', () => {
    const at = new Scenario({ maxBytes: 2000, eviction: 'lru' })
    at.set('a', 'v'.repeat(100))
    expect(at.set('b', 'v'.repeat(3000))).toBe('mapFull')
    expect(at.removed).toEqual([])
  })

  test('lru keeps what is read', () => {
    const at = new Scenario({ maxBytes: 100_000, eviction: 'lru' })
    for (let i = 0; i < 5000; i += 1) {
      at.wallTimeMs += 50
      at.set(`k${i}`, 'v'.repeat(80))
      for (let hot = 0; hot < 20; hot += 1) at.get(`k${hot}`)
    }
    expect(at.map.bytes).toBeLessThanOrEqual(100_000)
    expect(at.map.evicted).toBeGreaterThan(3000)
    for (let hot = 0; hot < 20; hot += 1) expect(at.get(`k${hot}`)).toBe('v'.repeat(80))
  })

  test('lfu keeps what is read often, though others were read later', () => {
    const at = new Scenario({ maxBytes: 100_000, eviction: 'lfu' })
    for (let hot = 0; hot < 20; hot += 1) at.set(`k${hot}`, 'v'.repeat(80))
    for (let i = 0; i < 20_000; i += 1) at.get(`k${i % 20}`)
    for (let i = 20; i < 5000; i += 1) {
      at.wallTimeMs += 5
      at.set(`k${i}`, 'v'.repeat(80))
      at.get(`k${i}`)
    }
    for (let hot = 0; hot < 20; hot += 1) expect(at.get(`k${hot}`)).toBe('v'.repeat(80))
  })

  test('what is past its time goes first', () => {
    const at = new Scenario({ maxBytes: 3000, eviction: 'lru' })
    for (let i = 0; i < 3; i += 1) at.set(`old${i}`, 'v'.repeat(500), { ttlMs: 10 })
    at.wallTimeMs += 60_000
    at.set('young', 'v'.repeat(500))
    at.set('younger', 'v'.repeat(900))
    expect(at.removed.every(line => line.startsWith('expired old'))).toBe(true)
    expect(at.removed.length).toBeGreaterThan(0)
  })
})

describe('scans', () => {
  test('pages keep to their limits, cover everything, and their cursor means the same in another store', () => {
    const left = new Scenario()
    const right = new Scenario()
    for (let i = 0; i < 3000; i += 1) left.set(`k${i}`, 'v')
    for (let i = 2999; i >= 0; i -= 1) right.set(`k${i}`, 'other')
    const seen = new Set<string>()
    let pages = 0
    for (let cursor = 0; cursor !== scanEnd; pages += 1) {
      const { map } = pages % 2 === 0 ? left : right
      let entries = 0
      cursor = map.scanPage(cursor, { maxEntries: 50, maxBytes: 1e6 }, startMs, entry => {
        entries += 1
        const key = Buffer.from(entry.segment.subarray(entry.keyStart, entry.keyEnd)).toString()
        expect(seen.has(key)).toBe(false)
        seen.add(key)
      })
      expect(entries).toBeLessThanOrEqual(50)
    }
    expect(seen.size).toBe(3000)
    expect(pages).toBe(60)
    expect(left.map.scanPage(scanEnd, { maxEntries: 1, maxBytes: 1 }, startMs, () => expect.unreachable())).toBe(scanEnd)
  })
})

test('a copy of an effect has bytes of its own', () => {
  const key = Buffer.from('xkeyx')
  const kept = new KeptBytes()
  const keyOf = (effect: Effect): string => {
    if (effect.kind !== 'put' && effect.kind !== 'remove') throw new Error('no key')
    return Buffer.from(effect.key.subarray(effect.keyStart, effect.keyEnd)).toString()
  }
  const removal = copyEffect({ kind: 'remove', map: mapId, key, keyStart: 1, keyEnd: 4, reason: 'deleted' }, kept)
  const value = Buffer.alloc(5000, 7)
  const times = { expiresAtMs: 0, maxIdleMs: 0, wallTimeMs: 1 }
  const puts = Array.from({ length: 100 }, (_, i) => {
    const valueEnd = i % 10 === 0 ? 5000 : 20
    return copyEffect({ kind: 'put', map: mapId, key, keyStart: 1, keyEnd: 4, value, valueStart: 0, valueEnd, ...times }, kept)
  })
  key.fill(0)
  value.fill(0)
  expect([removal, ...puts].map(keyOf)).toEqual(Array.from({ length: 101 }, () => 'key'))
  for (const put of puts) {
    if (put.kind !== 'put') throw new Error('a copy keeps its kind')
    expect(put.value.subarray(put.valueStart, put.valueEnd).every(byte => byte === 7)).toBe(true)
    expect(put.valueEnd - put.valueStart === 5000 || put.valueEnd - put.valueStart === 20).toBe(true)
  }
})
