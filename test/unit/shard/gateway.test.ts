import { describe, expect, test } from 'vitest'
import { chunksOf } from '../../../src/wire/chunks.ts'
import { OperationKind } from '../../../src/wire/generated/nearstate/v1/data.ts'
import { emptyBatch } from '../../../src/wire/operations.ts'
import { decodeValue, encodeValue } from '../../../src/wire/value-codec.ts'
import { keyIn, settled, World } from './fixture.ts'

const { GET, GET_ENTRY, SET, DELETE, SCAN, SIZE } = OperationKind

describe('a gateway', () => {
  test('serves keys of every shard, in order per key, with details', () => {
    const world = new World({ shards: 3 })
    const client = world.one.connect(true)
    for (let partition = 0; partition < 12; partition += 1) expect(client.call(SET, 'm', keyIn(partition), partition).status).toBe('ok')
    for (let partition = 0; partition < 12; partition += 1) {
      const answer = client.call(GET_ENTRY, 'm', keyIn(partition))
      expect(client.value(answer)).toBe(partition)
      expect(answer.detail?.version).toBeGreaterThan(0n)
    }
    const key = keyIn(1)
    const ids = [client.add(SET, 'm', key, 'x'), client.add(GET, 'm', key), client.add(DELETE, 'm', key), client.add(GET, 'm', key)]
    client.flush()
    world.later.run()
    expect(ids.map(id => client.answer(id).status)).toEqual(['ok', 'ok', 'ok', 'absent'])
    expect(client.call(SIZE, 'm', undefined, undefined, { partition: 4 }).bytes.readBigUInt64BE()).toBe(1n)
    expect(client.call(SCAN, 'm', undefined, undefined, { partition: 5 }).status).toBe('ok')
  })

  test('without the gateway flag nothing is forwarded', () => {
    const world = new World({ shards: 2 })
    expect(world.one.connect().call(SET, 'm', keyIn(1), 1).status).toBe('notOwner')
  })

  test('carries values above 256 KiB both ways', () => {
    const world = new World({ shards: 2 })
    const client = world.one.connect(true)
    client.call(GET, 'm', keyIn(0))
    const value = Buffer.alloc(3_000_000, 7)
    const encoded = encodeValue(value)
    for (let n = 0; n < 10; n += 1) {
      for (const chunk of chunksOf(n + 1, encoded)) client.pipe.handleBatch({ ...emptyBatch(), chunk })
      client.add(SET, 'm', keyIn(1, n), undefined, { upload: n + 1 })
      client.flush()
    }
    world.later.run()
    expect(client.order).toHaveLength(11)
    expect(client.value(client.call(GET, 'm', keyIn(1, 9)))).toEqual(value)
  })

  test('errors of the owner pass through', () => {
    const world = new World({ shards: 2, autoCreateMaps: false })
    expect(world.one.connect(true).call(SET, 'm', keyIn(1), 1).detail?.errorCode).toBe('NOT_FOUND')
  })

  test('a peer that goes down answers NOT_NOW for reads and OUTCOME_UNKNOWN for writes; then a new pipe begins', () => {
    const world = new World({ shards: 2 })
    const [one, two] = world.shards as [World['one'], World['one']]
    const client = one.connect(true)
    client.call(SET, 'm', keyIn(1), 1)
    world.cut.add('s1>s0')
    const read = client.add(GET, 'm', keyIn(1))
    const write = client.add(SET, 'm', keyIn(1), 2)
    client.flush()
    world.later.run()
    expect(client.answers.has(read)).toBe(false)
    one.listener?.onPeerDown(two.id)
    two.listener?.onPeerDown(one.id)
    expect(client.answer(read).status).toBe('notNow')
    expect(client.answer(write).detail?.errorCode).toBe('OUTCOME_UNKNOWN')
    world.cut.clear()
    expect(client.value(client.call(GET, 'm', keyIn(1)))).toBe(2)
  })

  test('a link broken on one side only does not mix up maps', () => {
    const world = new World({ shards: 2 })
    const client = world.one.connect(true)
    client.call(SET, 'a', keyIn(1), 'in a')
    client.call(SET, 'b', keyIn(1), 'in b')
    world.one.listener?.onPeerDown(world.shards[1]?.id as never)
    expect(client.value(client.call(GET, 'b', keyIn(1)))).toBe('in b')
    expect(client.value(client.call(GET, 'a', keyIn(1)))).toBe('in a')
  })

  test('a peer that leaves the table answers what is under way', () => {
    const world = new World({ shards: 2 })
    const client = world.one.connect(true)
    client.call(SET, 'm', keyIn(1), 1)
    world.cut.add('s1>s0')
    const id = client.add(GET, 'm', keyIn(1))
    client.flush()
    world.later.run()
    world.publish(partition => (partition % 2 === 0 ? world.one : undefined), [world.one], [world.shards[1] as World['one']])
    expect(client.answer(id).status).toBe('notNow')
    expect(client.call(GET, 'm', keyIn(1)).detail?.errorCode).toBe('PARTITION_LOST')
  })

  test('while the link is full operations wait, and go on in order', () => {
    const world = new World({ shards: 2 })
    const client = world.one.connect(true)
    client.call(SET, 'm', keyIn(1), 0)
    world.linksDrain = false
    client.call(SET, 'm', keyIn(1), 1)
    const id = client.add(SET, 'm', keyIn(1), 2)
    client.flush()
    world.later.run()
    expect(client.answers.has(id)).toBe(false)
    world.linksDrain = true
    world.one.listener?.onPeerDrain(world.shards[1]?.id as never)
    world.shards[1]?.listener?.onPeerDrain(world.one.id)
    world.later.run()
    expect(client.answer(id).status).toBe('ok')
    expect(client.value(client.call(GET, 'm', keyIn(1)))).toBe(2)
  })

  test('a broken batch from a peer ends its pipe and says so', () => {
    const world = new World({ shards: 2 })
    const client = world.one.connect(true)
    client.call(SET, 'm', keyIn(1), 1)
    world.cut.add('s1>s0')
    const id = client.add(GET, 'm', keyIn(1))
    client.flush()
    world.later.run()
    world.cut.clear()
    world.shards[1]?.listener?.onPeerMessage(world.one.id, 'operations', Buffer.from([0xff, 0xff]))
    world.later.run()
    expect(client.answer(id).status).toBe('notNow')
    expect(client.call(GET, 'm', keyIn(1)).status).toBe('ok')
  })
})

describe('single calls', () => {
  test('get, set and delete work for any key through any shard', async () => {
    const world = new World({ shards: 2 })
    const server = world.one.server
    if (server === undefined) throw new Error('not serving')
    for (const partition of [0, 1]) {
      const key = Buffer.from(keyIn(partition))
      const none = { ttlMs: undefined, maxIdleMs: undefined, request: undefined }
      const { version } = await settled(world, server.set({ map: 'm', key, value: encodeValue('v'), ...none }))
      const found = await settled(world, server.get({ map: 'm', key }))
      expect(found).toMatchObject({ found: true, version })
      expect(decodeValue(found.value)).toBe('v')
      expect(await settled(world, server.delete({ map: 'm', key, request: undefined }))).toEqual({ existed: true })
      expect(await settled(world, server.get({ map: 'm', key }))).toMatchObject({ found: false })
    }
    await expect(
      settled(
        world,
        server.set({
          map: '__x',
          key: Buffer.from('k'),
          value: encodeValue(1),
          ttlMs: undefined,
          maxIdleMs: undefined,
          request: undefined,
        }),
      ),
    ).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
    })
    await expect(settled(world, server.get({ map: 'm', key: Buffer.alloc(0) }))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test('system requests keep raw bytes, wherever their key lives, also large ones', async () => {
    const world = new World({ shards: 2, autoCreateMaps: false })
    const value = Buffer.alloc(1_000_000, 9)
    for (const key of [keyIn(0), keyIn(1)]) {
      await world.one.ask({ kind: 'systemSet', map: '__bundles', key, value })
      expect(Buffer.from((await world.one.ask({ kind: 'systemGet', map: '__bundles', key })).value ?? [])).toEqual(value)
      await world.one.ask({ kind: 'systemDelete', map: '__bundles', key })
      expect(await world.one.ask({ kind: 'systemGet', map: '__bundles', key })).toEqual({ value: undefined })
    }
  })

  test('a call waits while no shard serves its partition, and says UNAVAILABLE in the end', async () => {
    const world = new World({ shards: 2 })
    const [, two] = world.shards as [World['one'], World['one']]
    // One has not heard of the change yet; two has.
    world.publish(() => world.one, [two])
    const server = world.one.server
    if (server === undefined) throw new Error('not serving')
    const key = Buffer.from(keyIn(1))
    await expect(settled(world, server.get({ map: 'm', key }))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    const found = server.get({ map: 'm', key })
    world.publish(() => world.one)
    expect(await settled(world, found)).toMatchObject({ found: false })
  })
})
