import { describe, expect, test } from 'vitest'
import type { ShardStateStore } from '../../../../src/shard/jobs/state-store.ts'
import { encodeValue } from '../../../../src/wire/value-codec.ts'
import type { TestShard } from '../fixture.ts'
import { holdOf, keyIn, settled, World } from '../fixture.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (value: Uint8Array | undefined): string | undefined => (value === undefined ? undefined : new TextDecoder().decode(value))
const fresh = { attempt: 0, n: 0 }

function begun(world: World, shard: TestShard, attempt: number, restore = fresh, partitions = [3]): ShardStateStore {
  const store = holdOf(shard, partitions).createStateStore(attempt, restore)
  let isDone = false
  store.begin(partitions, () => void (isDone = true))
  world.pass(10)
  expect(isDone).toBe(true)
  return store
}

function barrier(world: World, store: ShardStateStore, n: number, partition = 3): { isDone: boolean; error?: string } {
  const end: { isDone: boolean; error?: string } = { isDone: false }
  store.endBarrier(partition, n, bytes(`barrier ${n}`), error => {
    end.isDone = true
    if (error !== undefined) end.error = error.message
  })
  expect(end.isDone).toBe(false)
  world.pass(10)
  return end
}

const manyChanges = (count: number, value: string): { key: Uint8Array; value: Uint8Array }[] =>
  Array.from({ length: count }, (_, i) => ({ key: bytes(`${i}`), value: bytes(value) }))

describe.each([false, true])('state of jobs (backups: %s)', backups => {
  const make = (): World => {
    const world = new World({ shards: 2, backups })
    world.pass(50)
    return world
  }
  const primary = (world: World): TestShard => world.shards[1] as TestShard

  test('what a checkpoint holds is there for the next attempt, what came after is not', () => {
    const world = make()
    const store = begun(world, primary(world), 1)
    expect(store.isFresh).toBe(true)
    store.write(3, 'count', [{ key: bytes('a'), value: bytes('one') }], 1)
    expect(barrier(world, store, 1)).toEqual({ isDone: true })
    store.committed(1)
    store.write(3, 'count', [{ key: bytes('a'), value: bytes('two') }], 2)
    expect(text(store.read(3, 'count', bytes('a')))).toBe('two')
    const next = begun(world, primary(world), 2, { attempt: 1, n: 1 })
    expect(next.isFresh).toBe(false)
    expect(text(next.restored(3))).toBe('barrier 1')
    expect(text(next.read(3, 'count', bytes('a')))).toBe('one')
    expect(next.scan(3, 'count', bytes(''), bytes('z'), 9).map(({ key }) => text(key))).toEqual(['a'])
    expect(() => store.write(3, 'count', [{ key: bytes('a'), value: bytes('old') }], 2)).toThrow('attempt 2 has begun')
  })

  test('dead state of an older attempt, more than one slice of it, is gone when the first barrier is done', () => {
    const world = make()
    const old = begun(world, primary(world), 1)
    old.write(3, 'count', manyChanges(1200, 'dead'), 1)
    world.pass(50)
    const store = begun(world, primary(world), 2)
    expect(barrier(world, store, 1)).toEqual({ isDone: true })
    store.committed(1)
    expect(store.scan(3, 'count', bytes(''), bytes('z'), 9)).toEqual([])
  })

  test('a partition that is not served here is refused, and a restore point that is not there as well', () => {
    const world = make()
    expect(() => begun(world, primary(world), 1, fresh, [2])).toThrow('Cannot use partition 2')
    expect(() => begun(world, primary(world), 2, { attempt: 1, n: 4 })).toThrow('does not hold checkpoint 4')
  })

  test('removed records go once their removal is committed', () => {
    const world = make()
    const store = begun(world, primary(world), 1)
    store.write(3, 'count', [{ key: bytes('a'), value: bytes('one') }], 1)
    barrier(world, store, 1)
    store.committed(1)
    store.write(3, 'count', [{ key: bytes('a'), value: undefined }], 2)
    expect(barrier(world, store, 2)).toEqual({ isDone: true })
    store.committed(2)
    world.pass(10)
    expect(store.read(3, 'count', bytes('a'))).toBe(undefined)
  })

  test('more than one entry of the log may hold is written in several, and all of it is read', () => {
    const world = make()
    const store = begun(world, primary(world), 1)
    store.write(3, 'count', manyChanges(1200, 'long'.repeat(100)), 1)
    expect(barrier(world, store, 1)).toEqual({ isDone: true })
    expect(store.scan(3, 'count', bytes(''), bytes('z'), 2000)).toHaveLength(1200)
    expect(text(store.read(3, 'count', bytes('1199')))).toBe('long'.repeat(100))
  })

  test('no word of a barrier comes after the store was closed', () => {
    const world = make()
    const store = begun(world, primary(world), 1)
    let calls = 0
    store.endBarrier(3, 1, bytes('barrier'), () => void (calls += 1))
    store.close()
    world.pass(50)
    expect(calls).toBe(0)
  })
})

describe('state of jobs on two replicas', () => {
  test('a barrier waits for the backup, and is never done when the primary was deposed meanwhile', () => {
    const world = new World({ shards: 2, backups: true })
    world.pass(50)
    const [other, shard] = world.shards as [TestShard, TestShard]
    const store = begun(world, shard, 1)
    world.cut.add('s1>s0')
    const end = barrier(world, store, 1)
    expect(end.isDone).toBe(false)
    world.publish(() => other)
    world.pass(2000)
    expect(end.isDone).toBe(false)
    expect(() => store.read(3, 'count', bytes('a'))).toThrow('is not served by this shard any more')
  })

  test('a primary that was deposed and is primary again refuses what was opened before, state and maps', async () => {
    const world = new World({ shards: 2, backups: true })
    world.pass(50)
    const [other, shard] = world.shards as [TestShard, TestShard]
    const hold = holdOf(shard, [3])
    const map = await settled(world, hold.maps.open('m', 'm', 'string'))
    const store = begun(world, shard, 1)
    expect(store.pointIn(3)).toEqual(fresh)
    world.publish(() => other)
    world.pass(2000)
    world.publish(() => shard)
    world.pass(2000)
    // Readers ask those who know of later checkpoints.
    expect(store.pointIn(3)).toBe(undefined)
    expect(() => map.get(3, keyIn(3))).toThrow('not without a break')
    expect(() => map.setEncoded(3, keyIn(3), encodeValue(1))).toThrow('not without a break')
    expect(() => store.read(3, 'count', bytes('a'))).toThrow('not without a break')
    expect(text(begun(world, shard, 2).restored(3))).toBe(undefined)
  })

  test('the backup that takes over has the checkpoint', () => {
    const world = new World({ shards: 2, backups: true })
    world.pass(50)
    const [other, shard] = world.shards as [TestShard, TestShard]
    const store = begun(world, shard, 1)
    store.write(3, 'count', [{ key: bytes('a'), value: bytes('one') }], 1)
    expect(barrier(world, store, 1).isDone).toBe(true)
    world.publish(() => other)
    world.pass(2000)
    const next = begun(world, other, 2, { attempt: 1, n: 1 })
    expect(text(next.read(3, 'count', bytes('a')))).toBe('one')
  })
})
