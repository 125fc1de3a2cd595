import { describe, expect, test } from 'vitest'
import { OperationKind, ScanPage } from '../../../src/wire/generated/nearstate/v1/data.ts'
import { keyIn, type TestClient, World } from './fixture.ts'

const { SET, SCAN, SIZE } = OperationKind

interface ScanOptions {
  readonly limit?: number
  readonly prefix?: string
  readonly keysOnly?: boolean
}

/** All keys of the partition in pages. */
function scan(client: TestClient, partition: number, options: ScanOptions = {}): { keys: string[]; pages: number } {
  const keys: string[] = []
  let pages = 0
  let cursor = Buffer.alloc(0)
  do {
    const { bytes } = client.call(SCAN, 'm', undefined, undefined, {
      partition,
      cursor,
      ...options,
      prefix: Buffer.from(options.prefix ?? ''),
    })
    const page = ScanPage.decode(bytes)
    expect(page.keyLengths.length).toBeLessThanOrEqual(options.limit ?? 1024)
    expect(page.valueLengths).toHaveLength(options.keysOnly === true ? 0 : page.keyLengths.length)
    let at = 0
    for (const length of page.keyLengths) keys.push(page.keys.toString('utf8', at, (at += length)))
    cursor = page.cursor as typeof cursor
    pages += 1
  } while (cursor.length > 0)
  return { keys: keys.sort(), pages }
}

describe('scans', () => {
  test('pages hold every entry of the partition once, by count and by bytes', () => {
    const client = new World().one.connect()
    const expected = Array.from({ length: 200 }, (_, n) => keyIn(5, n)).sort()
    for (const key of expected) client.add(SET, 'm', key, 'x'.repeat(5000))
    client.add(SET, 'm', keyIn(6), 'other')
    client.flush()
    expect(scan(client, 5, { limit: 7 })).toEqual({ keys: expected, pages: expect.any(Number) })
    expect(scan(client, 5).pages).toBeGreaterThanOrEqual(3)
    expect(scan(client, 5, { keysOnly: true })).toMatchObject({ keys: expected })
    expect(scan(client, 6).keys).toEqual([keyIn(6)])
    expect(scan(client, 7)).toEqual({ keys: [], pages: 1 })
  })

  test('a prefix leaves out the others', () => {
    const client = new World().one.connect()
    for (let n = 0; n < 300; n += 1) client.add(SET, 'm', keyIn(5, n), n)
    client.flush()
    const all = scan(client, 5).keys
    expect(scan(client, 5, { prefix: 'k1', limit: 3 }).keys).toEqual(all.filter(key => key.startsWith('k1')))
    expect(scan(client, 5, { prefix: 'nothing' }).keys).toEqual([])
  })

  test('a page tells the version of each entry and when it goes, and of keys alone neither', () => {
    const world = new World()
    const client = world.one.connect()
    const [stays, goes, idles, both] = [0, 1, 2, 3].map(n => keyIn(5, n)) as [string, string, string, string]
    client.call(SET, 'm', stays, 1)
    client.call(SET, 'm', goes, 1, { ttlMs: 5000n })
    client.call(SET, 'm', idles, 1, { maxIdleMs: 2000n })
    client.call(SET, 'm', both, 1, { ttlMs: 1500n, maxIdleMs: 2000n })
    const writtenAtMs = world.clock.wallTimeMs()
    world.clock.advance(1000)
    const page = ScanPage.decode(client.call(SCAN, 'm', undefined, undefined, { partition: 5 }).bytes)
    const rows = new Map<string, readonly [number, number]>()
    let at = 0
    for (const [index, length] of page.keyLengths.entries()) {
      const key = page.keys.toString('utf8', at, (at += length))
      rows.set(key, [Number(page.versions[index]), Number(page.expiresAtMs[index] ?? 0n)])
    }
    expect(new Set([...rows.values()].map(([version]) => version)).size).toBe(4)
    for (const [key, [version]] of rows) {
      expect(version).toBe(Number(client.call(OperationKind.GET_ENTRY, 'm', key).detail?.version))
    }
    // A scan is no access: idle times go on from the write.
    expect(rows.get(stays)?.[1]).toBe(0)
    expect(rows.get(goes)?.[1]).toBe(writtenAtMs + 5000)
    expect(rows.get(idles)?.[1]).toBe(writtenAtMs + 2000)
    expect(rows.get(both)?.[1]).toBe(writtenAtMs + 1500)
    const keys = ScanPage.decode(client.call(SCAN, 'm', undefined, undefined, { partition: 5, keysOnly: true }).bytes)
    expect([keys.keyLengths.length, keys.versions, keys.expiresAtMs]).toEqual([4, [], []])
    client.call(SET, 'm', keyIn(6), 1)
    expect(ScanPage.decode(client.call(SCAN, 'm', undefined, undefined, { partition: 6 }).bytes).expiresAtMs).toEqual([])
  })

  test('a broken cursor is refused', () => {
    const client = new World().one.connect()
    client.call(SET, 'm', keyIn(0), 1)
    expect(client.call(SCAN, 'm', undefined, undefined, { cursor: Buffer.alloc(3) }).detail?.errorCode).toBe('INVALID_ARGUMENT')
  })
})

describe('expiry', () => {
  test('a sweep removes what is past its time, in slices, and counts it', async () => {
    const world = new World()
    world.define('m', { ttlMs: 1000 })
    world.publishMaps()
    const client = world.one.connect()
    for (let n = 0; n < 5000; n += 1) client.add(SET, 'm', `k${n}`, n)
    client.flush()
    world.later.run()
    world.clock.advance(2000)
    world.one.shard.sweepExpired()
    world.later.run()
    const stats = await world.one.ask({ kind: 'stats' })
    expect(stats).toMatchObject({ entries: 0, maps: [{ name: 'm', entries: 0, expired: 5000 }] })
    expect(client.call(SIZE, 'm', undefined, undefined, { partition: 0 }).bytes.readBigUInt64BE()).toBe(0n)
  })
})
