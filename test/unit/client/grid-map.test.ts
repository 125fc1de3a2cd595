import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { NearstateError } from '../../../src/base/errors.ts'
import type { Schema } from '../../../src/base/schema.ts'
import { GridMap } from '../../../src/client/grid-map.ts'
import { Router } from '../../../src/client/router.ts'
import { defineKey } from '../../../src/keys/key-space.ts'
import { OperationKind } from '../../../src/wire/generated/nearstate/v1/data.ts'
import type { OperationReader } from '../../../src/wire/operations.ts'
import { encodeValue } from '../../../src/wire/value-codec.ts'
import { describeFake, FakeShard } from './fake-cluster.ts'

const Customer = defineKey('customer', 'string')
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

let a: FakeShard
let b: FakeShard
let router: Router
let map: GridMap<typeof Customer, unknown>

const makeRouter = (routing: 'direct' | 'gateway' = 'direct', limits = {}): Router => {
  const made = new Router({
    routing,
    limits: { inFlightMax: 1000, waitingMax: 10, inFlightMaxBytes: 1e7, ...limits },
    connectShard: address => (address === 'a:1' ? a : b).connection(),
    onPipeUp: () => undefined,
    onPipeDown: () => undefined,
    onStale: () => undefined,
  })
  made.update(describeFake(1n))
  return made
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] })
  a = new FakeShard('a:1')
  b = new FakeShard('b:1')
  router = makeRouter()
  map = new GridMap(router, 'profiles', Customer, undefined, 1000)
})
afterEach(() => {
  router.close()
  vi.useRealTimers()
})

/** Keys of the shard's partitions: murmur2 mod 4, found by trying. */
const keysOf = async (shard: FakeShard, wanted: number): Promise<string[]> => {
  const found: string[] = []
  for (let i = 0; found.length < wanted; i += 1) {
    const pending = map.get(`k${i}`)
    pending.catch(() => undefined)
    await turn()
    if (shard.take().length > 0) found.push(`k${i}`)
    ;(shard === a ? b : a).take()
  }
  return found
}

/** Keys of the shard's partitions whose sessions are open: writes leave at once. */
const openedKeysOf = async (shard: FakeShard, wanted: number): Promise<string[]> => {
  const keys = await keysOf(shard, wanted)
  const writes = keys.map(key => map.delete(key))
  await turn()
  for (const reader of shard.take()) {
    for (let i = 0; i < reader.count; i += 1) shard.answer(results => results.absent(reader.idAt(i)))
  }
  await Promise.all(writes)
  return keys
}

const only = (readers: OperationReader[]): OperationReader => {
  expect(readers).toHaveLength(1)
  return readers[0] as OperationReader
}

describe('a map', () => {
  it('sends all calls of one turn to a shard as one message', async () => {
    const [k1, k2] = (await openedKeysOf(a, 2)) as [string, string]
    const got = Promise.all([map.get(k1), map.set(k2, { points: 1 }), map.delete(k1)])
    await turn()
    const batch = only(a.take())
    expect(batch.count).toBe(3)
    expect([0, 1, 2].map(i => batch.kindAt(i))).toEqual([OperationKind.GET, OperationKind.SET, OperationKind.DELETE])
    const value = encodeValue({ points: 7 })
    a.answer(results => {
      results.absent(batch.idAt(2))
      results.value(batch.idAt(0), value, 0, value.length)
      results.ok(batch.idAt(1))
    })
    expect(await got).toEqual([{ points: 7 }, undefined, false])
  })

  it('declares itself once per stream', async () => {
    const [k1] = (await keysOf(a, 1)) as [string]
    void map.get(k1).catch(() => undefined)
    await turn()
    expect(only(a.take()).batch.maps).toEqual([])
    a.listener?.onDown(new NearstateError('UNAVAILABLE', 'gone'))
    vi.advanceTimersByTime(100)
    await turn()
    expect(a.batches.flatMap(batch => batch.maps)).toEqual([{ slot: 0, name: 'profiles', keySpace: 'customer', keyCodec: 'string' }])
  })

  it('repeats reads whose stream broke, and calls what was sent without a number OUTCOME_UNKNOWN', async () => {
    const [k1] = (await keysOf(a, 1)) as [string]
    const read = map.get(k1)
    const calls = map.invokeAll({}, 'f')
    await turn()
    a.take()
    a.listener?.onDown(new NearstateError('UNAVAILABLE', 'gone'))
    await expect(calls).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
    vi.advanceTimersByTime(100)
    await turn()
    const again = a.take().at(-1) as OperationReader
    const value = encodeValue('back')
    for (let i = 0; i < again.count; i += 1) a.answer(results => results.value(again.idAt(i), value, 0, value.length))
    expect(await read).toBe('back')
  })

  it('repeats a write that was never sent, however the stream failed', async () => {
    a.open = false
    b.open = false
    const write = map.set('x', 1)
    await turn()
    const shard = a.opened > 0 ? a : b
    shard.listener?.onDown(new NearstateError('UNAVAILABLE', 'connection refused'))
    shard.open = true
    vi.advanceTimersByTime(100)
    await turn()
    const batch = only(shard.take())
    shard.answer(results => results.ok(batch.idAt(0)))
    expect(await write).toBeUndefined()
  })

  it('goes to the new owner after NOT_OWNER, once it knows the table', async () => {
    const [k1] = (await keysOf(a, 1)) as [string]
    const write = map.set(k1, 'moved')
    await turn()
    const refused = only(a.take())
    a.answer(results => results.notOwner(refused.idAt(0)), 2n)
    router.update(describeFake(2n, [1, 1, 1, 1]))
    await turn()
    const accepted = only(b.take())
    expect(accepted.batch.tableVersion).toBe(2n)
    b.answer(results => results.ok(accepted.idAt(0)), 2n)
    expect(await write).toBeUndefined()
  })

  it('fails a read at its deadline with DEADLINE_EXCEEDED and a sent write with OUTCOME_UNKNOWN', async () => {
    const read = map.get('x', { timeout: '50ms' })
    const write = map.set('x', 1, { timeout: '50ms' })
    await turn()
    const failures = Promise.allSettled([read, write])
    vi.advanceTimersByTime(80)
    expect((await failures).map(f => (f as PromiseRejectedResult).reason.code)).toEqual(['DEADLINE_EXCEEDED', 'OUTCOME_UNKNOWN'])
  })

  it('keeps its deadline when it was put off and sent again', async () => {
    const [k1] = (await keysOf(a, 1)) as [string]
    const read = map.get(k1, { timeout: '300ms' })
    read.catch(() => undefined)
    await turn()
    a.answer(results => results.notOwner(only(a.take()).idAt(0)))
    vi.advanceTimersByTime(100)
    await turn()
    expect(a.take()).toHaveLength(1)
    vi.advanceTimersByTime(300)
    await expect(read).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
  })

  it('says DEADLINE_EXCEEDED of a write that was never sent', async () => {
    a.open = false
    b.open = false
    const write = map.set('x', 1, { timeout: '50ms' })
    write.catch(() => undefined)
    await turn()
    vi.advanceTimersByTime(80)
    await expect(write).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
  })

  it('refuses a lost partition at once', async () => {
    router.update(describeFake(2n, [-1, -1, -1, -1]))
    await expect(map.get('x')).rejects.toMatchObject({ code: 'PARTITION_LOST', message: expect.stringContaining('--accept-loss') })
  })

  it('rejects with CANCELLED when its caller aborts, also before it begins', async () => {
    const controller = new AbortController()
    const read = map.get('x', { signal: controller.signal })
    controller.abort()
    await expect(read).rejects.toMatchObject({ code: 'CANCELLED' })
    await expect(map.get('x', { signal: controller.signal })).rejects.toMatchObject({ code: 'CANCELLED' })
  })

  it('waits in order above the in-flight bound and refuses above the waiting bound', async () => {
    router.close()
    router = makeRouter('direct', { inFlightMax: 1, waitingMax: 1 })
    map = new GridMap(router, 'profiles', Customer, undefined, 1000)
    const calls = [map.get('x'), map.get('x'), map.get('x')]
    await expect(calls[2]).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED', message: expect.stringContaining('which is the limit') })
    await turn()
    const shard = a.opened > 0 ? a : b
    const first = only(shard.take())
    expect(first.count).toBe(1)
    shard.answer(results => results.absent(first.idAt(0)))
    await turn()
    const second = only(shard.take())
    shard.answer(results => results.absent(second.idAt(0)))
    expect(await Promise.all([calls[0], calls[1]])).toEqual([undefined, undefined])
  })

  it('stops writing when the shard reads slowly, and goes on when it has drained', async () => {
    const [k1] = (await openedKeysOf(a, 1)) as [string]
    a.accepts = false
    void map.set(k1, 1).catch(() => undefined)
    await turn()
    expect(a.take()).toHaveLength(1)
    void map.set(k1, 2).catch(() => undefined)
    await turn()
    expect(a.take()).toHaveLength(0)
    a.listener?.onDrain()
    expect(a.take()).toHaveLength(1)
  })

  it('sends a value above 256 KiB in chunks ahead of its operation, and puts chunked answers together', async () => {
    const [k1] = (await keysOf(a, 1)) as [string]
    const large = 'x'.repeat(600_000)
    const write = map.set(k1, large)
    await turn()
    const chunks = a.batches.filter(batch => batch.chunk !== undefined)
    expect(chunks.map(batch => batch.chunk?.data.length)).toEqual([262_144, 262_144, 600_005 - 524_288])
    const batch = only(a.take())
    expect(batch.optionsAt(0)?.upload).toBe(chunks[0]?.chunk?.id)
    a.answer(results => results.ok(batch.idAt(0)))
    await write
    const read = map.get(k1)
    await turn()
    const get = only(a.take())
    const value = encodeValue(large)
    a.answer(results => results.value(get.idAt(0), value, 0, value.length))
    expect(await read).toBe(large)
  })

  it('refuses a value over the limit, an undefined value, a key of the wrong type and unknown options, by rejecting', async () => {
    const misuse = map as unknown as { set(...args: unknown[]): Promise<unknown>; replace(...args: unknown[]): Promise<unknown> }
    await expect(map.set('x', 'x'.repeat(2 ** 20))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: 'Cannot store entry in map "profiles": value is 1048581 bytes, limit is 1048576',
    })
    await expect(map.set('x', undefined)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(misuse.set(7, 1)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining('string') })
    await expect(misuse.set('x', 1, { tll: '5s' })).rejects.toThrow(/"tll"/)
    await expect(misuse.set('x', 1, { ttl: '5 parsecs' })).rejects.toThrow(/5 parsecs/)
    await expect(misuse.replace('x', 1, {})).rejects.toThrow(/ifVersion/)
  })

  it('checks written values with its schema and says what the schema says', async () => {
    const schema: Schema<{ points: number }> = {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: value =>
          typeof (value as { points: unknown }).points === 'number'
            ? { value }
            : { issues: [{ message: 'wanted a number', path: ['points'] }] },
      },
    }
    const typed = new GridMap(router, 'typed', Customer, schema, 1000)
    await expect(typed.set('x', { points: 'many' } as unknown as { points: number })).rejects.toThrow(/points: wanted a number/)
  })

  it('closes the stream on an answer that is broken', async () => {
    const [k1] = (await keysOf(a, 1)) as [string]
    const write = map.set(k1, 1)
    const read = map.get(k1)
    read.catch(() => undefined)
    await turn()
    a.send({
      tableVersion: 1n,
      ids: [],
      firstId: 0,
      count: 5,
      statuses: [1, 1],
      valueLengths: [],
      values: Buffer.alloc(0),
      details: [],
      chunk: undefined,
      last: false,
    })
    await expect(write).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
    await expect(read).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})

describe('a gateway client', () => {
  it('sends everything through one shard, marked as such', async () => {
    router.close()
    router = makeRouter('gateway')
    map = new GridMap(router, 'profiles', Customer, undefined, 1000)
    for (let i = 0; i < 20; i += 1) map.get(`k${i}`).catch(() => undefined)
    await turn()
    expect([a.opened, b.opened]).toEqual([1, 0])
    const batch = only(a.take())
    expect(batch.count).toBe(20)
    expect(batch.batch.gateway).toBe(true)
  })
})
