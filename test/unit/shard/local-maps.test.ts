import { describe, expect, test } from 'vitest'
import type { KeyCodec } from '../../../src/keys/key-codec.ts'
import type { LocalMap } from '../../../src/streaming/ports.ts'
import { OperationKind } from '../../../src/wire/generated/nearstate/v1/data.ts'
import { encodeValue } from '../../../src/wire/value-codec.ts'
import { holdOf, keyIn, settled, World } from './fixture.ts'

const { GET, SET, DELETE } = OperationKind

const open = (world: World, name = 'm', keySpace = 'm', codec: KeyCodec = 'string'): Promise<LocalMap> =>
  settled(world, holdOf(world.one).maps.open(name, keySpace, codec))

describe('maps of jobs', () => {
  test('see the writes of clients at once, and clients see theirs', async () => {
    const world = new World()
    const map = await open(world)
    const client = world.one.connect()
    const key = keyIn(4)
    expect(map.get(4, key)).toBeUndefined()
    map.setEncoded(4, key, encodeValue({ n: 1 }))
    expect(client.value(client.call(GET, 'm', key))).toEqual({ n: 1 })
    expect(map.get(4, key)).toEqual({ n: 1 })
    expect(map.get(4, key)).toBe(map.get(4, key))
    client.call(SET, 'm', key, { n: 2 })
    expect(map.get(4, key)).toEqual({ n: 2 })
    client.call(DELETE, 'm', key)
    expect(map.get(4, key)).toBeUndefined()
  })

  test('keep no copy of what time or another write has taken away', async () => {
    const world = new World()
    const map = await open(world)
    const client = world.one.connect()
    const keys = [keyIn(4), keyIn(4, 1)]
    for (const [n, key] of keys.entries()) map.setEncoded(4, key, encodeValue(n))
    for (let round = 0; round < 3; round += 1) expect(keys.map(key => map.get(4, key))).toEqual([0, 1])
    client.call(SET, 'm', keys[0], 10)
    expect(keys.map(key => map.get(4, key))).toEqual([10, 1])
    client.call(SET, 'm', keys[1], 11, { ttlMs: 1000n })
    for (let round = 0; round < 3; round += 1) expect(keys.map(key => map.get(4, key))).toEqual([10, 11])
    world.clock.advance(1001)
    expect(keys.map(key => map.get(4, key))).toEqual([10, undefined])
  })

  test('tuple keys and long keys', async () => {
    const world = new World()
    const map = await open(world, 'days', 'country-day', ['tuple', 'string', 'string'])
    map.setEncoded(3, ['Spain', 'mon'], encodeValue(1))
    map.setEncoded(3, ['Spain', 'tue'], encodeValue(2))
    expect([map.get(3, ['Spain', 'mon']), map.get(3, ['Spain', 'tue']), map.get(3, ['Spain', 'tue'])]).toEqual([1, 2, 2])
    const long = await open(world, 'long', 'long')
    long.setEncoded(1, 'x'.repeat(10_000), encodeValue('v'))
    expect(long.get(1, 'x'.repeat(10_000))).toBe('v')
  })

  test('refuse another key space, values above the limit, and partitions that left', async () => {
    const world = new World({ shards: 2 })
    const map = await open(world)
    await expect(open(world, 'm', 'other')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(() => map.setEncoded(0, 'k', encodeValue('x'.repeat(6_000_000)))).toThrow('limit is 5242880')
    map.setEncoded(0, keyIn(0), encodeValue(1))
    world.publish(() => world.shards[1])
    expect(() => map.get(0, keyIn(0))).toThrow(expect.objectContaining({ code: 'UNAVAILABLE' }))
  })

  test('refuse a map that was destroyed', async () => {
    const world = new World()
    const map = await open(world)
    world.publishMaps()
    map.setEncoded(0, keyIn(0), encodeValue(1))
    world.definitions.clear()
    world.publishMaps()
    expect(() => map.setEncoded(0, keyIn(0), encodeValue(1))).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }))
  })
})
