import { describe, expect, test } from 'vitest'
import type { MapDefinition } from '../../../src/grid/map-definition.ts'
import { OperationKind } from '../../../src/wire/generated/nearstate/v1/data.ts'
import { emptyBatch } from '../../../src/wire/operations.ts'
import { keyIn, World, replication } from './fixture.ts'

const { GET, GET_ENTRY, SET, DELETE, PUT_IF_ABSENT, REPLACE, EXPIRE, SIZE, CLEAR } = OperationKind

describe('operations on a pipe', () => {
  test('a value that was set is read back, and is gone after delete', () => {
    const client = new World().one.connect()
    expect(client.call(SET, 'm', 'a', { n: 1 }).status).toBe('ok')
    expect(client.value(client.call(GET, 'm', 'a'))).toEqual({ n: 1 })
    expect(client.call(DELETE, 'm', 'a').status).toBe('ok')
    expect(client.call(DELETE, 'm', 'a').status).toBe('absent')
    expect(client.call(GET, 'm', 'a').status).toBe('absent')
  })

  test('reads of a map that nobody made answer absent and make none', () => {
    const world = new World()
    const client = world.one.connect()
    expect(client.call(GET, 'm', 'a').status).toBe('absent')
    expect(client.call(SIZE, 'm', undefined, undefined, { partition: 3 }).bytes.readBigUInt64BE()).toBe(0n)
    expect(client.call(REPLACE, 'm', 'a', 1, { ifVersion: 1n }).detail?.errorCode).toBe('CONFLICT')
    expect(world.asks).toHaveLength(0)
  })

  test('versions, conditional writes and expiry', () => {
    const world = new World()
    const client = world.one.connect()
    client.call(SET, 'm', 'a', 1)
    const version = client.call(GET_ENTRY, 'm', 'a').detail?.version ?? 0n
    expect(client.call(REPLACE, 'm', 'a', 2, { ifVersion: version + 1n }).detail?.errorCode).toBe('CONFLICT')
    expect(client.call(REPLACE, 'm', 'a', 2, { ifVersion: version }).status).toBe('ok')
    expect(client.value(client.call(PUT_IF_ABSENT, 'm', 'a', 3))).toBe(2)
    expect(client.call(PUT_IF_ABSENT, 'm', 'b', 3).status).toBe('absent')
    const later = client.call(GET_ENTRY, 'm', 'b').detail?.version ?? 0n
    expect(client.call(DELETE, 'm', 'b', undefined, { ifVersion: later + 1n }).detail?.errorCode).toBe('CONFLICT')
    expect(client.call(DELETE, 'm', 'b', undefined, { ifVersion: later }).status).toBe('ok')
    expect(client.call(DELETE, 'm', 'b', undefined, { ifVersion: later }).status).toBe('absent')
    expect(client.call(EXPIRE, 'm', 'a', undefined, { ttlMs: 100n }).status).toBe('ok')
    expect(client.call(GET_ENTRY, 'm', 'a').detail?.expiresAtMs).toBe(BigInt(world.clock.wallTimeMs() + 100))
    world.clock.advance(100)
    expect(client.call(GET, 'm', 'a').status).toBe('absent')
    expect(client.call(EXPIRE, 'm', 'a', undefined, { ttlMs: 100n }).status).toBe('absent')
  })

  test('size and clear work on one partition', () => {
    const client = new World().one.connect()
    client.call(SET, 'm', keyIn(3, 0), 1)
    client.call(SET, 'm', keyIn(3, 1), 1)
    client.call(SET, 'm', keyIn(4, 0), 1)
    const size = (partition: number): bigint => client.call(SIZE, 'm', undefined, undefined, { partition }).bytes.readBigUInt64BE()
    expect([size(3), size(4)]).toEqual([2n, 1n])
    client.call(CLEAR, 'm', undefined, undefined, { partition: 3 })
    expect([size(3), size(4)]).toEqual([0n, 1n])
    expect(client.call(SIZE, 'm', undefined, undefined, { partition: 12 }).detail?.errorCode).toBe('INVALID_ARGUMENT')
  })

  test('a value above the limit is refused with value and limit', () => {
    const client = new World().one.connect()
    client.call(SET, 'orders', 'a', 1)
    const { detail } = client.call(SET, 'orders', 'a', Buffer.alloc(5_242_881))
    expect(detail).toMatchObject({
      errorCode: 'INVALID_ARGUMENT',
      errorMessage: 'Cannot store entry in map "orders": value is 5242881 bytes, limit is 5242880',
    })
  })

  test('a ttl of more than a thousand years is refused', () => {
    const client = new World().one.connect()
    expect(client.call(SET, 'm', 'a', 1, { ttlMs: 2n ** 63n }).detail?.errorMessage).toMatch(/ttl of 9\d+ ms: limit is 31557600000000/)
  })
})

describe('maps named on a pipe', () => {
  test('another key space is refused for every operation', () => {
    const world = new World()
    world.define('m', { keySpace: 'customer' })
    world.publishMaps()
    const client = world.one.connect()
    client.map('m', 'country')
    for (const kind of [GET, SET, DELETE]) {
      expect(client.call(kind, 'm', 'a', kind === SET ? 1 : undefined).detail).toMatchObject({
        errorCode: 'INVALID_ARGUMENT',
        errorMessage:
          'Cannot use map "m" with key space "country" (string): its keys are "customer" (string); use that key space, or a map of another name',
      })
    }
  })

  test('system maps are refused, and the stream goes on', () => {
    const client = new World().one.connect()
    expect(client.call(SET, '__bundles', 'a', 1).detail?.errorCode).toBe('PERMISSION_DENIED')
    expect(client.call(SET, 'm', 'a', 1).status).toBe('ok')
  })

  test('with autoCreateMaps off a write answers NOT_FOUND', () => {
    const client = new World({ autoCreateMaps: false }).one.connect()
    expect(client.call(SET, 'm', 'a', 1).detail?.errorCode).toBe('NOT_FOUND')
  })

  test('writes to an unknown map wait in order for one ask, other partitions and reads behind them too', () => {
    const world = new World({ answersAsks: false })
    const client = world.one.connect()
    const [a, b] = [keyIn(1), keyIn(2)]
    const ids = [client.add(SET, 'm', a, 1), client.add(SET, 'm', b, 1), client.add(SET, 'm', a, 2), client.add(GET, 'm', a)]
    const other = client.add(GET, 'other', keyIn(3))
    client.flush()
    world.later.run()
    expect(client.order).toEqual([other])
    expect(world.asks).toHaveLength(1)
    world.one.tell({ type: 'reply', id: world.asks[0]?.id ?? 0, value: world.define('m') })
    world.later.run()
    expect(ids.map(id => client.answer(id).status)).toEqual(['ok', 'ok', 'ok', 'ok'])
    expect(client.value(client.answer(ids[3] as number))).toBe(2)
  })

  test('when the map cannot be made all that wait fail, and the next write asks anew', () => {
    const world = new World({ answersAsks: false })
    const client = world.one.connect()
    const ids = [client.add(SET, 'm', 'a', 1), client.add(SET, 'm', 'a', 2), client.add(SET, 'm', 'b', 2)]
    client.flush()
    world.one.tell({
      type: 'reply',
      id: world.asks[0]?.id ?? 0,
      value: undefined,
      failure: { code: 'UNAVAILABLE', message: 'no coordinator' },
    })
    world.later.run()
    expect(ids.map(id => client.answer(id).detail?.errorCode)).toEqual(['UNAVAILABLE', 'UNAVAILABLE', 'UNAVAILABLE'])
    client.add(SET, 'm', 'a', 1)
    client.flush()
    expect(world.asks).toHaveLength(2)
  })

  test('a map that is destroyed and made anew is a new, empty map to an open pipe', async () => {
    const world = new World()
    world.define('m')
    world.publishMaps()
    const client = world.one.connect()
    client.call(SET, 'm', 'a', 1)
    world.definitions.delete('m')
    world.publishMaps()
    expect(client.call(GET, 'm', 'a').status).toBe('absent')
    world.define('m')
    world.publishMaps()
    expect(client.call(GET, 'm', 'a').status).toBe('absent')
    expect(client.call(SET, 'm', 'a', 2).status).toBe('ok')
    expect((await world.one.ask({ kind: 'stats' })).entries).toBe(1)
  })
})

describe('routing', () => {
  test('word of one map makes it, replaces it or ends it, and leaves the others alone', async () => {
    const world = new World()
    world.define('m')
    world.define('other')
    world.publishMaps()
    const client = world.one.connect()
    const tell = (definition: MapDefinition | undefined): void =>
      world.one.tell({ type: 'command', command: { kind: 'map', name: 'm', definition } })
    client.call(SET, 'other', 'a', 1)
    client.call(SET, 'm', 'a', 1)
    tell(undefined)
    tell(undefined)
    expect(client.call(GET, 'm', 'a').status).toBe('absent')
    tell(world.define('m'))
    expect(client.call(SET, 'm', 'a', 2).status).toBe('ok')
    tell(world.definitions.get('m'))
    expect(client.call(GET, 'm', 'a').status).toBe('ok')
    tell(world.define('m'))
    expect(client.call(GET, 'm', 'a').status).toBe('absent')
    expect((await world.one.ask({ kind: 'stats' })).entries).toBe(1)
  })

  test('a key of another shard, and a table newer than ours, answer not owner', () => {
    const world = new World({ shards: 2 })
    const client = world.one.connect()
    expect(client.call(GET, 'm', keyIn(1)).status).toBe('notOwner')
    expect(client.call(GET, 'm', keyIn(0)).status).toBe('absent')
    client.tableVersion = 99n
    expect(client.call(GET, 'm', keyIn(0)).status).toBe('notOwner')
  })

  test('a lost partition says so, and one that comes back is empty with new versions', () => {
    const world = new World({ shards: 2 })
    const client = world.one.connect()
    const key = keyIn(0)
    client.call(SET, 'm', key, 1)
    const before = client.call(GET_ENTRY, 'm', key).detail?.version ?? 0n
    world.publish(partition => (partition === 0 ? undefined : world.shards[1]))
    expect(client.call(GET, 'm', key).detail?.errorCode).toBe('PARTITION_LOST')
    world.publish(() => world.one, world.shards, [], { givenUp: 1 })
    expect(client.call(GET, 'm', key).status).toBe('notNow')
    world.pass(replication.leaseMs)
    expect(client.call(GET, 'm', key).status).toBe('absent')
    client.call(SET, 'm', key, 1)
    expect(client.call(GET_ENTRY, 'm', key).detail?.version).toBeGreaterThan(before)
  })
})

describe('slices, admission and clients that go away', () => {
  test('a slice ends once a millisecond has passed, and another pipe has its turn', () => {
    const world = new World()
    const first = world.one.connect()
    const second = world.one.connect()
    first.call(SET, 'm', 'warm', 1)
    const answered = first.answers.size
    // Every look at the clock costs 0.6 ms.
    const { clock } = world
    const nowMs = clock.nowMs.bind(clock)
    clock.nowMs = () => (clock.advance(0.6), nowMs())
    for (let i = 0; i < 640; i += 1) first.add(SET, 'm', `a${i}`, i)
    first.flush()
    expect(first.answers.size - answered).toBeLessThan(640)
    second.add(GET, 'm', 'a0')
    second.flush()
    expect(second.answers.size).toBe(0)
    while (second.answers.size === 0 && world.later.one());
    expect(first.answers.size - answered).toBeLessThan(640)
    world.later.run()
    expect(first.answers.size - answered).toBe(640)
    expect(first.order).toEqual([...first.order].sort((a, b) => a - b))
  })

  test('above queuedOperationsMax operations are refused before any work', async () => {
    const world = new World({ answersAsks: false, limits: { queuedOperationsMax: 10 } })
    const client = world.one.connect()
    for (let i = 0; i < 8; i += 1) client.add(SET, 'm', `a${i}`, i)
    client.flush()
    const refused = [client.add(GET, 'x', 'a'), client.add(GET, 'x', 'b'), client.add(GET, 'x', 'c')]
    client.flush()
    expect(refused.map(id => client.answer(id).detail?.errorCode)).toEqual(Array(3).fill('RESOURCE_EXHAUSTED'))
    expect(client.paused).toBe(true)
    world.one.tell({ type: 'reply', id: world.asks[0]?.id ?? 0, value: world.define('m') })
    world.later.run()
    expect(client.paused).toBe(false)
    expect(client.answers.size).toBe(11)
    expect(await world.one.ask({ kind: 'stats' })).toMatchObject({ refused: 3, operations: 8, entries: 8 })
  })

  test('a pipe whose waiting operations hold more than 16 MiB is not read until they are done', () => {
    const world = new World({ answersAsks: false })
    const client = world.one.connect()
    const value = Buffer.alloc(200_000)
    const send = (count: number): void => {
      for (let i = 0; i < count; i += 1) client.add(SET, 'm', `a${i}`, value)
      client.flush()
    }
    for (let batch = 0; batch < 4; batch += 1) send(20)
    expect(client.paused).toBe(false)
    send(20)
    expect(client.paused).toBe(true)
    world.one.tell({ type: 'reply', id: world.asks[0]?.id ?? 0, value: world.define('m') })
    world.later.run()
    expect(client.paused).toBe(false)
    expect(client.answers.size).toBe(100)
  })

  test('nothing is executed for a client that does not read, until it has drained', () => {
    const world = new World()
    const client = world.one.connect()
    client.call(SET, 'm', 'a', 1)
    client.reads = false
    client.call(GET, 'm', 'a')
    const id = client.add(GET, 'm', 'a')
    client.flush()
    world.later.run()
    expect(client.answers.has(id)).toBe(false)
    client.reads = true
    client.pipe.drained()
    expect(client.answer(id).status).toBe('ok')
  })

  test('a client that disappears mid-batch leaves nothing behind', async () => {
    const world = new World({ answersAsks: false })
    const client = world.one.connect()
    for (let i = 0; i < 8; i += 1) client.add(SET, 'm', `a${i}`, i)
    client.flush()
    client.pipe.handleBatch({ ...emptyBatch(), chunk: { id: 1, data: Buffer.alloc(10), totalBytes: 100n } })
    client.pipe.closed()
    world.one.tell({ type: 'reply', id: world.asks[0]?.id ?? 0, value: world.define('m') })
    world.later.run()
    expect(client.answers.size).toBe(0)
    expect(await world.one.ask({ kind: 'stats' })).toMatchObject({ entries: 0, connections: 0 })
    // Admission has everything back: a stop does not wait.
    world.timeStandsStill = true
    await world.one.ask({ kind: 'stop', graceMs: 1 })
  })

  test('while stopping, what was taken is answered, then the stream ends; new streams are refused as unavailable', () => {
    const world = new World({ answersAsks: false })
    const client = world.one.connect()
    const taken = client.add(SET, 'm', 'a', 1)
    client.flush()
    world.one.tell({ type: 'request', id: 1, request: { kind: 'stop', graceMs: 100 } })
    const late = client.add(GET, 'm', 'b')
    client.flush()
    expect(client.batches).toEqual([])
    world.one.tell({ type: 'reply', id: world.asks[0]?.id ?? 0, value: world.define('m') })
    world.later.run()
    expect(client.answer(taken).status).toBe('ok')
    expect(client.batches.at(-1)?.last).toBe(true)
    expect(client.answers.has(late)).toBe(false)
    const other = world.one.connect()
    other.add(GET, 'm', 'a')
    other.flush()
    expect(other.answer(0).detail?.errorCode).toBe('UNAVAILABLE')
  })
})

describe('hostile batches', () => {
  const cases: [string, (client: ReturnType<World['one']['connect']>) => void, string][] = [
    ['a wire version of the future', c => c.pipe.handleBatch({ ...emptyBatch(), wireVersion: 9 }), 'UNSUPPORTED_VERSION'],
    ['no wire version at first', c => c.pipe.handleBatch(emptyBatch()), 'UNSUPPORTED_VERSION'],
    [
      'lengths that do not add up',
      c => c.pipe.handleBatch({ ...c.batch(), kinds: [1], mapSlots: [0], keyLengths: [5], keys: Buffer.alloc(4) }),
      'INVALID_ARGUMENT',
    ],
    [
      'a slot number out of range',
      c => c.pipe.handleBatch({ ...c.batch(), maps: [{ slot: 1e9, name: 'm', keySpace: 'm', keyCodec: 'string' }] }),
      'INVALID_ARGUMENT',
    ],
    [
      'a slot declared twice',
      c => c.pipe.handleBatch({ ...c.batch(), maps: [1, 2].map(() => ({ slot: 1, name: 'm', keySpace: 'm', keyCodec: 'string' })) }),
      'INVALID_ARGUMENT',
    ],
    [
      'a chunk that overflows its upload',
      c => c.pipe.handleBatch({ ...c.batch(), chunk: { id: 1, data: Buffer.alloc(11), totalBytes: 10n } }),
      'INVALID_ARGUMENT',
    ],
  ]
  test.each(cases)('%s ends the stream', (_, send, code) => {
    const client = new World().one.connect()
    send(client)
    expect(client.failure).toMatchObject({ code })
    client.add(GET, 'm', 'a')
    client.flush()
    expect(client.answers.size).toBe(0)
  })

  test('an undeclared slot, a bad codec and bytes that are no key fail their operations only', () => {
    const client = new World().one.connect()
    client.map('bad', 'bad', 'tuple(')
    expect(client.call(SET, 'bad', 'a', 1).detail?.errorCode).toBe('INVALID_ARGUMENT')
    expect(client.call(SET, 'm', Buffer.from([0xff, 0xfe]), 1).detail?.errorCode).toBe('INVALID_ARGUMENT')
    client.map('pairs', 'pairs', 'tuple(string,string)')
    expect(client.call(SET, 'pairs', Buffer.from('unended'), 1).detail?.errorCode).toBe('INVALID_ARGUMENT')
    expect(client.failure).toBeUndefined()
  })
})
