import { describe, expect, test } from 'vitest'
import type { LocalMap } from '../../../src/streaming/ports.ts'
import { OperationKind } from '../../../src/wire/generated/nearstate/v1/data.ts'
import { keyIn, settled, World } from './fixture.ts'

const { GET, SET, DELETE } = OperationKind

const open = (
  world: World,
  name = 'm',
  keySpace = 'm',
  codec: Parameters<NonNullable<World['one']['needs']>['maps']['open']>[2] = 'string',
): Promise<LocalMap> => settled(world, (world.one.needs as NonNullable<World['one']['needs']>).maps.open(name, keySpace, codec))

describe('maps of jobs', () => {
  test('see the writes of clients at once, and clients see theirs', async () => {
    const world = new World()
    const map = await open(world)
    const client = world.one.connect()
    const key = keyIn(4)
    expect(map.get(4, key)).toBeUndefined()
    map.set(4, key, { n: 1 })
    expect(client.value(client.call(GET, 'm', key))).toEqual({ n: 1 })
    expect(map.get(4, key)).toEqual({ n: 1 })
    expect(map.get(4, key)).toBe(map.get(4, key))
    client.call(SET, 'm', key, { n: 2 })
    expect(map.get(4, key)).toEqual({ n: 2 })
    client.call(DELETE, 'm', key)
    expect(map.get(4, key)).toBeUndefined()
  })

  test('tuple keys and long keys', async () => {
    const world = new World()
    const map = await open(world, 'days', 'country-day', ['tuple', 'string', 'string'])
    map.set(3, ['Spain', 'mon'], 1)
    map.set(3, ['Spain', 'tue'], 2)
    expect([map.get(3, ['Spain', 'mon']), map.get(3, ['Spain', 'tue']), map.get(3, ['Spain', 'tue'])]).toEqual([1, 2, 2])
    const long = await open(world, 'long', 'long')
    long.set(1, 'x'.repeat(10_000), 'v')
    expect(long.get(1, 'x'.repeat(10_000))).toBe('v')
  })

  test('refuse another key space, values above the limit, and partitions that left', async () => {
    const world = new World({ shards: 2 })
    const map = await open(world)
    await expect(open(world, 'm', 'other')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(() => map.set(0, 'k', 'x'.repeat(6_000_000))).toThrow('limit is 5242880')
    map.set(0, keyIn(0), 1)
    world.publish(() => world.shards[1])
    expect(() => map.get(0, keyIn(0))).toThrow(expect.objectContaining({ code: 'UNAVAILABLE' }))
  })

  test('refuse a map that was destroyed', async () => {
    const world = new World()
    const map = await open(world)
    world.publishMaps()
    map.set(0, keyIn(0), 1)
    world.definitions.clear()
    world.publishMaps()
    expect(() => map.set(0, keyIn(0), 1)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }))
  })
})
