/** What becomes of writes when shards, streams and tables fail: every rule of a retry, against shards whose answers are written by hand. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { NearstateError } from '../../../src/base/errors.ts'
import { GridMap } from '../../../src/client/grid-map.ts'
import { Router } from '../../../src/client/router.ts'
import { defineKey } from '../../../src/keys/key-space.ts'
import { encodeKey } from '../../../src/keys/encode-key.ts'
import { partitionOfKey } from '../../../src/keys/partition-of.ts'
import { OperationKind } from '../../../src/wire/generated/nearstate/v1/data.ts'
import type { OperationReader } from '../../../src/wire/operations.ts'
import { decodeValue, encodeValue } from '../../../src/wire/value-codec.ts'
import { describeFake, FakeShard } from './fake-cluster.ts'

const Customer = defineKey('customer', 'string')
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
const unavailable = (): NearstateError => new NearstateError('UNAVAILABLE', 'the connection was cut')

let a: FakeShard
let b: FakeShard
let router: Router
let map: GridMap<typeof Customer, unknown>
let staleCount: number

const makeRouter = (routing: 'direct' | 'gateway' = 'direct', limits = {}): void => {
  router?.close()
  router = new Router({
    routing,
    limits: { inFlightMax: 5000, waitingMax: 5000, inFlightMaxBytes: 1e7, ...limits },
    connectShard: address => (address === 'a:1' ? a : b).connection(),
    onPipeUp: () => undefined,
    onPipeDown: () => undefined,
    onStale: () => {
      staleCount += 1
    },
  })
  router.update(describeFake(1n))
  map = new GridMap(router, 'profiles', Customer, undefined, 1000)
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] })
  a = new FakeShard('a:1')
  b = new FakeShard('b:1')
  staleCount = 0
  makeRouter()
})
afterEach(() => {
  router.close()
  vi.useRealTimers()
})

/** Keys in that partition; even ones are on a. */
const keysIn = (partition: number, count: number): string[] => {
  const keys: string[] = []
  for (let i = 0; keys.length < count; i += 1) {
    const bytes = encodeKey(Customer.codec, `k${i}`)
    if (partitionOfKey(Customer.codec, bytes, 0, bytes.length, 4) === partition) keys.push(`k${i}`)
  }
  return keys
}
const [k1, k2] = keysIn(0, 2) as [string, string]

/** A call whose failure is looked at later. */
const quiet = <T>(call: Promise<T>): Promise<T> => {
  call.catch(() => undefined)
  return call
}

/** The operations that a shard has got, in order; and forgets them. */
interface Got {
  readonly reader: OperationReader
  readonly index: number
  readonly id: number
  readonly kind: number
  readonly number: number
  readonly lowest: number
  readonly value: unknown
}
const got = (shard: FakeShard): Got[] => {
  const all = shard.take().flatMap(reader =>
    Array.from({ length: reader.count }, (_, index) => {
      const number = reader.numberAt(index)
      const [start, end] = [reader.valueBounds[index] as number, reader.valueBounds[index + 1] as number]
      return {
        reader,
        index,
        id: reader.idAt(index),
        kind: reader.kindAt(index),
        number,
        lowest: number - reader.distanceAt(index),
        value: end > start ? decodeValue(reader.values, start, end) : undefined,
      }
    }),
  )
  return shard.opensSessions ? all.filter(({ kind }) => kind !== OperationKind.OPEN_SESSION) : all
}
const ok = (shard: FakeShard, operations: readonly Got[], tableVersion = 1n): void =>
  shard.answer(results => {
    for (const { id } of operations) results.ok(id)
  }, tableVersion)
const numbers = (operations: readonly Got[]): number[] => operations.map(({ number }) => number)
const values = (operations: readonly Got[]): unknown[] => operations.map(({ value }) => value)
/** Lets put-off operations go. */
const later = async (ms: number): Promise<void> => {
  vi.advanceTimersByTime(ms)
  await turn()
}
const cut = (shard: FakeShard): void => shard.listener?.onDown(unavailable())

/** A session at partition 0 on shard a, with one write answered. */
const warm = async (): Promise<void> => {
  const write = map.set(k1, 'first')
  await turn()
  ok(a, got(a))
  await write
}

describe('a session', () => {
  it('is opened before the first write to a partition, once, and declared on the stream with it', async () => {
    a.opensSessions = false
    const writes = [map.set(k1, 1), map.set(k2, 2), map.delete(k1)]
    await turn()
    const [open, ...none] = got(a)
    expect(none).toEqual([])
    expect([open?.kind, open?.reader.optionsAt(0)?.partition]).toEqual([OperationKind.OPEN_SESSION, 0])
    const ticket = a.ticket()
    a.answer(results => results.value(open?.id as number, ticket, 0, 16))
    await turn()
    const operations = got(a)
    expect(operations.map(({ kind, number, lowest }) => [kind, number, lowest])).toEqual([
      [OperationKind.SET, 1, 1],
      [OperationKind.SET, 2, 1],
      [OperationKind.DELETE, 3, 1],
    ])
    expect(operations[0]?.reader.sessions).toEqual([{ partition: 0, ticket }])
    ok(a, operations)
    expect(await Promise.all(writes)).toEqual([undefined, undefined, true])
    void quiet(map.set(k1, 4))
    await turn()
    const [fourth] = got(a)
    expect([fourth?.number, fourth?.lowest, fourth?.reader.sessions]).toEqual([4, 4, []])
  })

  it('is not opened for reads, which do not wait for one either', async () => {
    void quiet(map.get(k1))
    await turn()
    expect(got(a).map(({ kind, number }) => [kind, number])).toEqual([[OperationKind.GET, 0]])
    expect(a.sessionsOpened).toBe(0)
  })

  it('keeps calls in order while it is opened: a read behind a write stays behind it', async () => {
    void quiet(map.set(k1, 1))
    void quiet(map.get(k1))
    await turn()
    expect(got(a).map(({ kind }) => kind)).toEqual([OperationKind.SET, OperationKind.GET])
  })

  it('that cannot be opened fails its writes with the reason', async () => {
    a.opensSessions = false
    const write = map.set(k1, 1)
    await turn()
    a.answer(results => results.error(got(a)[0]?.id as number, new NearstateError('NOT_ENOUGH_REPLICAS', '1 of 2')))
    await expect(write).rejects.toMatchObject({ code: 'NOT_ENOUGH_REPLICAS' })
  })

  it('with a ticket that is none fails its writes', async () => {
    a.opensSessions = false
    const write = map.set(k1, 1)
    await turn()
    a.answer(results => results.value(got(a)[0]?.id as number, Buffer.alloc(8), 0, 8))
    await expect(write).rejects.toMatchObject({ code: 'INTERNAL' })
  })

  it('lets 1024 writes go, and the next one when the oldest is answered', async () => {
    await warm()
    for (let i = 0; i < 1030; i += 1) void quiet(map.set(k1, i))
    await turn()
    const operations = got(a)
    expect([operations.length, operations.at(-1)?.number]).toEqual([1024, 1025])
    // Not the oldest one: the window does not move.
    ok(a, operations.slice(1, 3))
    await turn()
    expect(got(a)).toEqual([])
    ok(a, operations.slice(0, 1))
    await turn()
    expect(got(a).map(({ number, lowest, value }) => [number, lowest, value])).toEqual([
      [1026, 5, 1024],
      [1027, 5, 1025],
      [1028, 5, 1026],
    ])
  })

  it('numbers every kind of write but an invokeAll of all entries', async () => {
    await warm()
    const calls = [
      map.set(k1, 1),
      map.delete(k1),
      map.putIfAbsent(k1, 1),
      map.replace(k1, 1, { ifVersion: 1 }),
      map.expire(k1, { ttl: '1s' }),
      map.persist(k1),
      map.invoke(k1, 'f'),
      map.clear(),
      map.invokeAll({}, 'f'),
    ]
    for (const call of calls) void quiet(call)
    await turn()
    const operations = got(a)
    expect(new Set(operations.filter(({ number }) => number === 0).map(({ kind }) => kind))).toEqual(new Set([OperationKind.INVOKE_ALL]))
    expect(operations.filter(({ number, reader }) => number > 0 && reader.sessions.length === 0)).toHaveLength(8)
  })
})

describe('a write that was not done is sent again with its number', () => {
  it('to the same shard, soon, after NOT_NOW', async () => {
    await warm()
    const write = map.set(k1, 'x')
    await turn()
    for (let i = 0; i < 3; i += 1) {
      const [operation] = got(a)
      expect(operation?.number).toBe(2)
      a.answer(results => results.notNow(operation?.id as number))
      await turn()
      expect(got(a)).toEqual([])
      await later(5 * 2 ** i + 5)
    }
    ok(a, got(a))
    expect(await write).toBeUndefined()
  })

  it('to the new owner, at once, when the table names it after NOT_OWNER', async () => {
    await warm()
    const write = map.set(k1, 'x')
    await turn()
    const [operation] = got(a)
    a.answer(results => results.notOwner(operation?.id as number), 2n)
    expect(staleCount).toBe(1)
    await turn()
    router.update(describeFake(2n, [1, 1, 1, 1]))
    await turn()
    const [again] = got(b)
    expect([again?.number, again?.reader.sessions.map(({ partition }) => partition)]).toEqual([2, [0]])
    ok(b, [again as Got], 2n)
    expect(await write).toBeUndefined()
    expect([a.sessionsOpened, b.sessionsOpened]).toEqual([1, 0])
  })

  it('elsewhere, also without a number, when the shard stops in order', async () => {
    await warm()
    const write = map.set(k1, 'x')
    const call = quiet(map.invokeAll({}, 'f'))
    await turn()
    const first = got(a)
    const done = first.find(({ number }) => number === 2) as Got
    a.answerLast(results => results.ok(done.id))
    expect(await write).toBeUndefined()
    router.update(describeFake(2n, [1, 1, 1, 1]))
    got(b)
    await later(50)
    const resent = got(b).filter(({ kind }) => kind === OperationKind.INVOKE_ALL)
    expect(resent.length).toBeGreaterThan(0)
    router.close()
    await expect(call).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
  })

  it('within its deadline: then DEADLINE_EXCEEDED', async () => {
    await warm()
    const write = quiet(map.set(k1, 'x', { timeout: '50ms' }))
    await turn()
    a.answer(results => results.notNow(got(a)[0]?.id as number))
    a.open = false
    cut(a)
    await later(80)
    await expect(write).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
  })
})

describe('a write that may have been done is sent again with its number', () => {
  it('when its stream breaks, in the session that it was in', async () => {
    await warm()
    const write = map.set(k1, 'x')
    await turn()
    expect(numbers(got(a))).toEqual([2])
    cut(a)
    await later(50)
    const [again] = got(a)
    expect([again?.number, again?.value, again?.reader.sessions.length]).toEqual([2, 'x', 1])
    ok(a, [again as Got])
    expect(await write).toBeUndefined()
    expect(a.sessionsOpened).toBe(1)
  })

  it.each(['OUTCOME_UNKNOWN', 'UNAVAILABLE'] as const)('when the shard says %s', async code => {
    await warm()
    const write = map.set(k1, 'x')
    await turn()
    a.answer(results => results.error(got(a)[0]?.id as number, new NearstateError(code, 'deposed')))
    await later(50)
    const again = got(a)
    expect(numbers(again)).toEqual([2])
    ok(a, again)
    expect(await write).toBeUndefined()
  })

  it('in order with those that were sent after it, and before newer ones', async () => {
    await warm()
    const writes = ['x', 'y', 'z'].map(value => map.set(k1, value))
    await turn()
    expect(numbers(got(a))).toEqual([2, 3, 4])
    cut(a)
    writes.push(map.set(k1, 'new'))
    await later(50)
    const again = got(a)
    expect(again.map(({ number, lowest, value }) => [number, lowest, value])).toEqual([
      [2, 2, 'x'],
      [3, 2, 'y'],
      [4, 2, 'z'],
      [5, 2, 'new'],
    ])
    ok(a, again)
    expect(await Promise.all(writes)).toEqual([undefined, undefined, undefined, undefined])
  })

  it('and fails with OUTCOME_UNKNOWN when the session is not known any more', async () => {
    await warm()
    const write = quiet(map.set(k1, 'x'))
    await turn()
    got(a)
    cut(a)
    await later(50)
    a.answer(results => results.sessionUnknown(got(a)[0]?.id as number))
    await expect(write).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
  })

  it('and fails with OUTCOME_UNKNOWN at its deadline', async () => {
    await warm()
    const write = quiet(map.set(k1, 'x', { timeout: '200ms' }))
    await turn()
    got(a)
    a.open = false
    cut(a)
    await later(300)
    await expect(write).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
  })

  it('and fails with OUTCOME_UNKNOWN when the partition is lost meanwhile, or the client closed', async () => {
    await warm()
    const lost = quiet(map.set(k1, 'x'))
    await turn()
    cut(a)
    router.update(describeFake(2n, [-1, 1, -1, 1]))
    await expect(lost).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
    router.update(describeFake(3n))
    const closed = quiet(map.set(k1, 'y'))
    const closedToo = quiet(map.set(k1, 'z'))
    await later(50)
    expect(values(got(a)).slice(-2)).toEqual(['y', 'z'])
    a.open = false
    cut(a)
    router.close()
    await expect(closed).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
    await expect(closedToo).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
  })

  it('not when something else than the loss of the shard broke the stream: it may be the cause', async () => {
    await warm()
    const write = quiet(map.set(k1, 'x'))
    await turn()
    a.listener?.onDown(new NearstateError('INTERNAL', 'a defect'))
    await expect(write).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
  })

  it('through another gateway, with the same ticket', async () => {
    makeRouter('gateway')
    await warm()
    const write = map.set(k1, 'x')
    await turn()
    const ticket = Buffer.from('00000000000000010000000000000001', 'hex')
    expect(numbers(got(a))).toEqual([2])
    a.open = false
    cut(a)
    await later(50)
    const again = got(b)
    expect([numbers(again), again[0]?.reader.sessions, again[0]?.reader.batch.gateway]).toEqual([[2], [{ partition: 0, ticket }], true])
    ok(b, again)
    expect(await write).toBeUndefined()
  })
})

describe('a session that the shard has forgotten', () => {
  it('is opened anew for a write that was sent once', async () => {
    await warm()
    const writes = [map.set(k1, 'x'), map.set(k1, 'y')]
    await turn()
    const first = got(a)
    a.answer(results => {
      for (const { id } of first) results.sessionUnknown(id)
    })
    await turn()
    const again = got(a)
    expect(a.sessionsOpened).toBe(2)
    expect(again.map(({ value, reader }) => [value, reader.sessions.length])).toEqual([
      ['x', 1],
      ['y', 1],
    ])
    expect(again[0]?.reader.sessions[0]?.ticket.at(-1)).toBe(2)
    ok(a, again)
    expect(await Promise.all(writes)).toEqual([undefined, undefined])
  })

  it('is opened anew for a write that was refused with certainty before', async () => {
    await warm()
    const write = map.set(k1, 'x')
    await turn()
    a.answer(results => results.notNow(got(a)[0]?.id as number))
    await later(10)
    a.answer(results => results.sessionUnknown(got(a)[0]?.id as number))
    await turn()
    const again = got(a)
    expect(values(again)).toEqual(['x'])
    ok(a, again)
    expect(await write).toBeUndefined()
  })

  it('is not replaced while writes are under way in it; what may have happened in it is not sent in another', async () => {
    await warm()
    const writes = [map.set(k1, 'x'), map.set(k1, 'y')].map(quiet)
    await turn()
    const first = got(a)
    a.answer(results => results.sessionUnknown(first[0]?.id as number))
    await turn()
    expect(a.sessionsOpened).toBe(1)
    cut(a)
    await later(50)
    const again = got(a)
    expect([values(again), a.sessionsOpened]).toEqual([['x'], 2])
    ok(a, again)
    expect(await writes[0]).toBeUndefined()
    await expect(writes[1]).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
  })
})

describe('order', () => {
  it('holds when the first of two writes is refused: the second waits for its own answer and goes behind', async () => {
    await warm()
    const writes = [map.set(k1, 'x'), map.set(k1, 'y')]
    await turn()
    const first = got(a)
    a.answer(results => results.notNow(first[0]?.id as number))
    writes.push(map.set(k1, 'z'))
    await later(50)
    expect(got(a)).toEqual([])
    a.answer(results => results.notNow(first[1]?.id as number))
    await later(50)
    const again = got(a)
    expect(values(again)).toEqual(['x', 'y', 'z'])
    ok(a, again)
    await Promise.all(writes)
  })

  it('holds when the table moves a partition with writes under way: newer ones wait for the old owner', async () => {
    await warm()
    const writes = [map.set(k1, 'x')]
    await turn()
    const first = got(a)
    router.update(describeFake(2n, [1, 1, 1, 1]))
    writes.push(map.set(k1, 'y'))
    void quiet(map.get(k2))
    await turn()
    expect(got(b)).toEqual([])
    a.answer(results => results.notOwner(first[0]?.id as number), 2n)
    await turn()
    const moved = got(b)
    expect(moved.map(({ kind, value }) => [kind, value])).toEqual([
      [OperationKind.SET, 'x'],
      [OperationKind.SET, 'y'],
      [OperationKind.GET, undefined],
    ])
    ok(b, moved.slice(0, 2), 2n)
    await Promise.all(writes)
  })

  it('holds for what waited in the stream above its bound', async () => {
    makeRouter('direct', { inFlightMax: 1 })
    await warm()
    const writes = ['x', 'y'].map(value => map.set(k1, value))
    await turn()
    const first = got(a)
    expect(values(first)).toEqual(['x'])
    a.answer(results => results.notNow(first[0]?.id as number))
    await turn()
    expect(got(a)).toEqual([])
    await later(10)
    const again = got(a)
    expect(values(again)).toEqual(['x'])
    ok(a, again)
    await turn()
    const second = got(a)
    expect(values(second)).toEqual(['y'])
    ok(a, second)
    await Promise.all(writes)
  })

  it('does not hold up other partitions', async () => {
    await warm()
    const [other] = keysIn(2, 1) as [string]
    void quiet(map.set(k1, 'x'))
    await turn()
    a.answer(results => results.notNow(got(a)[0]?.id as number))
    void quiet(map.set(other, 'free'))
    await turn()
    expect(values(got(a))).toEqual(['free'])
  })
})

describe('a shard out of reach', () => {
  it('is left, and what it owes asked for elsewhere, once the table names others for its partitions', async () => {
    await warm()
    const write = map.set(k1, 'x')
    const read = map.get(k2)
    await turn()
    got(a)
    router.update(describeFake(2n, [0, 1, 0, 1], ['suspect', 'alive']))
    await later(50)
    expect(a.opened).toBe(1)
    router.update(describeFake(3n, [1, 1, 1, 1], ['suspect', 'alive']))
    await later(50)
    const moved = got(b)
    expect(moved.map(({ kind, number }) => [kind, number]).sort()).toEqual([
      [OperationKind.GET, 0],
      [OperationKind.SET, 2],
    ])
    const value = encodeValue('v')
    b.answer(results => {
      for (const { id, kind } of moved) {
        if (kind === OperationKind.SET) results.ok(id)
        else results.value(id, value, 0, value.length)
      }
    }, 3n)
    expect([await write, await read]).toEqual([undefined, 'v'])
  })

  it('that is silent while it owes answers makes the client ask for a newer table', async () => {
    await warm()
    void quiet(map.set(k1, 'x', { timeout: '5s' }))
    await turn()
    await later(900)
    expect(staleCount).toBe(0)
    await later(200)
    expect(staleCount).toBeGreaterThan(0)
  })
})

describe('reads from any replica', () => {
  it('go to the replicas in turn, and say so', async () => {
    for (let i = 0; i < 4; i += 1) void quiet(map.get(k1, { readFrom: 'any' }))
    await turn()
    const [fromA, fromB] = [got(a), got(b)]
    expect([fromA.length, fromB.length]).toEqual([2, 2])
    for (const { reader, index } of [...fromA, ...fromB]) expect(reader.optionsAt(index)?.anyReplica).toBe(true)
  })

  it('are a map’s own setting, which a call may overrule', async () => {
    const any = new GridMap(router, 'profiles', Customer, undefined, 1000, true)
    for (let i = 0; i < 2; i += 1) void quiet(any.get(k1))
    for (let i = 0; i < 2; i += 1) void quiet(any.get(k1, { readFrom: 'primary' }))
    await turn()
    expect([got(a).length, got(b).length]).toEqual([3, 1])
  })

  it('are not for the read of an update', async () => {
    const any = new GridMap(router, 'profiles', Customer, undefined, 1000, true)
    for (let i = 0; i < 2; i += 1) void quiet(any.update(k1, () => 1))
    await turn()
    expect([got(a).length, got(b).length]).toEqual([2, 0])
  })

  it('fall back to the primary after NOT_OWNER', async () => {
    const reads = [map.get(k1, { readFrom: 'any' }), map.get(k1, { readFrom: 'any' })]
    await turn()
    const value = encodeValue('v')
    const atPrimary = got(a)
    b.answer(results => results.notOwner(got(b)[0]?.id as number))
    await turn()
    atPrimary.push(...got(a))
    expect(atPrimary).toHaveLength(2)
    a.answer(results => {
      for (const { id } of atPrimary) results.value(id, value, 0, value.length)
    })
    expect(await Promise.all(reads)).toEqual(['v', 'v'])
  })

  it('do not go to replicas that are not in sync, or out of reach', async () => {
    router.update(describeFake(2n, [0, 1, 0, 1], ['alive', 'suspect']))
    for (let i = 0; i < 4; i += 1) void quiet(map.get(k1, { readFrom: 'any' }))
    await turn()
    expect([got(a).length, got(b).length]).toEqual([4, 0])
  })

  it('from anywhere else are INVALID_ARGUMENT', async () => {
    const read = map.get(k1, { readFrom: 'nearest' } as unknown as { readFrom: 'any' })
    await expect(read).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining('"nearest"') })
  })
})

describe('bounds', () => {
  it('refuse calls that would wait above the limit', async () => {
    makeRouter('direct', { waitingMax: 2 })
    a.opensSessions = false
    const calls = ['x', 'y', 'z'].map(value => quiet(map.set(k1, value)))
    await expect(calls[2]).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED', message: expect.stringContaining('2 calls wait') })
  })

  it('send nothing any more that has failed while the stream was not open', async () => {
    a.open = false
    const large = 'x'.repeat(400_000)
    const calls = [map.get(k1, { timeout: '50ms' }), map.get(k2), map.invokeAll({}, 'f', large, { timeout: '50ms' }), map.get(k1)].map(
      quiet,
    )
    await later(100)
    await expect(calls[0]).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    a.listener?.onOpen()
    await turn()
    expect(a.batches.filter(({ chunk }) => chunk !== undefined)).toEqual([])
    expect(
      got(a).map(({ kind, reader, index }) => [kind, reader.keys.toString('utf8', reader.keyBounds[index], reader.keyBounds[index + 1])]),
    ).toEqual([
      [OperationKind.GET, k2],
      [OperationKind.GET, k1],
    ])
  })

  it('keep a batch at its size while the stream is not open', async () => {
    a.open = false
    const large = 'x'.repeat(200_000)
    for (let i = 0; i < 20; i += 1) void quiet(map.putIfAbsent(k1, large))
    for (let i = 0; i < 20; i += 1) void quiet(map.invokeAll({}, 'f', large))
    await turn()
    a.listener?.onOpen()
    await turn()
    const sizes = a.take().map(reader => reader.keys.length + reader.values.length)
    expect(Math.max(...sizes)).toBeLessThan(1_500_000)
  })
})
