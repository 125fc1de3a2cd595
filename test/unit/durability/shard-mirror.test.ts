import { existsSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { claimMirrorDirectory } from '../../../src/durability/mirror-directory.ts'
import type { FoundCopy } from '../../../src/durability/found-copy.ts'
import { readImage } from '../../../src/storage/image.ts'
import type { ShardMirror } from '../../../src/durability/shard-mirror.ts'
import {
  bytes,
  digest,
  expire,
  identity,
  map,
  MirroredStore,
  newStore,
  openMap,
  openMirror,
  put,
  remove,
  restored,
  run,
  tempDir,
} from './fixture.ts'

const path = (): string => join(tempDir(), 'shard-0.mdb')

function onlyCopy(mirror: ShardMirror): FoundCopy {
  expect(mirror.found).toHaveLength(1)
  return mirror.found[0] as FoundCopy
}

test('what a store applied is there after a restart, with versions, expiry, records and sessions', async () => {
  const file = path()
  const mirror = await openMirror(file, 1)
  const held = new MirroredStore(mirror.partition(3))
  held.write(openMap(), put('a', '1'), put('b', '2', { expiresAtMs: 99 }), put('c', '3', { maxIdleMs: 50 }))
  held.write(put('a', '4'))
  held.write(remove('b'), expire('c', 1234))
  held.write(put(new Uint8Array(5000).fill(9), 'long key'))
  held.write({ kind: 'putRecord', space: 2, key: bytes('k'), value: bytes('v') })
  held.write({ kind: 'putRecord', space: 2, key: new Uint8Array(3000).fill(1), value: bytes('long') })
  held.write({ kind: 'putRecord', space: 3, key: bytes('gone'), value: bytes('v') })
  held.write({ kind: 'removeRecord', space: 3, key: bytes('gone') })
  const ticketPosition = held.write({ kind: 'openSession', epoch: 1 })
  const result = (number: number, trimTo: number) =>
    ({ kind: 'recordResult', ticketEpoch: 1, ticketPosition, number, result: bytes(`r${number}`), trimTo }) as const
  held.write(put('d', 'x'), result(1, 0))
  held.write(put('d', 'y'), result(2, 0))
  held.write(put('d', 'z'), result(3, 1))
  const closed = held.write({ kind: 'openSession', epoch: 1 })
  held.write({ kind: 'closeSession', ticketEpoch: 1, ticketPosition: closed })
  await mirror.flush()
  await mirror.close(false)

  const again = await openMirror(file, 2)
  const copy = onlyCopy(again)
  expect(copy).toMatchObject({ partition: 3, ...run(1), givenUp: 0, whole: true, complete: true, last: { epoch: 1, position: held.last } })
  const store = await restored(again, copy)
  expect(digest(store)).toEqual(digest(held.store))
  expect(again.found).toEqual([])
  await again.close(true)
})

test('what was accepted and not applied is restored too, without what was cut off', async () => {
  const file = path()
  const mirror = await openMirror(file, 1)
  const held = new MirroredStore(mirror.partition(0))
  held.write(openMap(), put('a', '1'))
  const kept = held.accept(put('a', '2'))
  held.accept(put('b', 'cut'))
  held.accept(put('c', 'cut'))
  await mirror.flush()
  held.cutAfter(kept)
  held.epoch = 2
  held.accept(put('b', 'new'), expire('a', 77))
  await mirror.flush()
  await mirror.close(false)

  const again = await openMirror(file, 2)
  const copy = onlyCopy(again)
  expect(copy.applied).toEqual({ epoch: 1, position: 2 })
  expect(copy.last).toEqual({ epoch: 2, position: held.last })
  const store = await restored(again, copy)
  held.apply()
  expect(digest(store)).toEqual(digest(held.store))
  await again.close(false)

  // Restored once, it is the new incarnation's.
  const third = await openMirror(file, 3)
  expect(onlyCopy(third)).toMatchObject({ ...run(2), givenUp: 1, applied: { epoch: 0, position: 2 ** 36 } })
  expect(digest(await restored(third, onlyCopy(third), 2 ** 37))).toEqual(digest(held.store))
  await third.close(false)
})

test('cleared and dropped maps are gone, and what replaces them stays', async () => {
  const file = path()
  const mirror = await openMirror(file, 1)
  const held = new MirroredStore(mirror.partition(0))
  held.write(openMap(), ...Array.from({ length: 3000 }, (_, i) => put(`k${i}`, 'old')))
  held.write({ kind: 'clear', map })
  held.write(put('k1', 'new'))
  await mirror.flush()
  held.write({ kind: 'dropMap', map }, openMap(), put('k2', 'newest'))
  await mirror.flush()
  await mirror.close(true)
  const again = await openMirror(file, 2)
  expect(digest(await restored(again, onlyCopy(again)))).toEqual(digest(held.store))
  await again.close(true)
})

test('a snapshot that is not whole counts for nothing, and replaces what was there', async () => {
  const file = path()
  const mirror = await openMirror(file, 1)
  const source = new MirroredStore(mirror.partition(0))
  source.write(openMap(), put('a', '1'), put('b', '2'))
  const target = mirror.partition(1)
  const held = new MirroredStore(target)
  held.write(openMap(), put('old', 'x'))
  await mirror.flush()

  target.handleReset({ epoch: 1, position: source.last }, 0)
  target.handleImage(readImage(source.store, undefined, 1000).effects)
  await mirror.flush()
  expect(target.durablePosition()).toBe(Number.NEGATIVE_INFINITY)
  await mirror.close(true)
  let again = await openMirror(file, 2)
  expect(again.found.find(copy => copy.partition === 1)).toMatchObject({ whole: false, complete: false })
  await expect(again.restore(1, run(1), newStore(), { start: { epoch: 0, position: 9 }, givenUp: 1 })).rejects.toThrow(/no whole copy/)

  const filled = again.partition(1)
  filled.handleReset({ epoch: 1, position: source.last }, 0)
  filled.handleImage(readImage(source.store, undefined, 1000).effects)
  filled.handleWhole()
  await again.flush()
  expect(filled.durablePosition()).toBe(source.last)
  await again.discard(1)
  await again.close(true)
  again = await openMirror(file, 3)
  expect(again.found.filter(copy => copy.partition === 1)).toHaveLength(1)
  const copy = again.found.find(({ partition }) => partition === 1) as FoundCopy
  expect(copy).toMatchObject({ ...run(2), whole: true, complete: true })
  expect(digest(await restored(again, copy))).toEqual(digest(source.store))
  await again.close(true)
})

test('with fsync always a position counts only when it is on disk; otherwise none is waited for', async () => {
  const progress: number[][] = []
  const mirror = await openMirror(path(), 1, 'always', { onProgress: partitions => progress.push([...partitions]) })
  const held = new MirroredStore(mirror.partition(0))
  const position = held.write(openMap(), put('a', '1'))
  expect(mirror.partition(0).durablePosition()).toBe(Number.NEGATIVE_INFINITY)
  await mirror.flush()
  expect(mirror.partition(0).durablePosition()).toBe(position)
  expect(progress).toContainEqual([0])
  const tail = held.accept(put('a', '2'))
  await mirror.flush()
  expect(mirror.partition(0).durablePosition()).toBe(tail)
  held.cutAfter(position)
  expect(mirror.partition(0).durablePosition()).toBe(position)
  await mirror.close(true)

  const lazy = await openMirror(path(), 1, 'interval')
  expect(lazy.partition(0).durablePosition()).toBe(Number.POSITIVE_INFINITY)
  await lazy.close(true)
})

test('an entry cut off while it is being written does not count as written', async () => {
  const mirror = await openMirror(path(), 1)
  const held = new MirroredStore(mirror.partition(0))
  const position = held.write(openMap())
  await mirror.flush()
  held.accept(put('a', '1'))
  const flushed = mirror.flush()
  held.cutAfter(position)
  await flushed
  expect(mirror.partition(0).durablePosition()).toBe(position)
  await mirror.close(true)
})

test('above the bound of the backlog nothing more counts, until it is written', async () => {
  const mirror = await openMirror(path(), 1, 'interval', { backlogMaxBytes: 10_000, intervalMs: 60_000 })
  const held = new MirroredStore(mirror.partition(0))
  const first = held.write(openMap())
  await mirror.flush()
  held.write(put('a', new Uint8Array(20_000)))
  expect(mirror.partition(0).durablePosition()).toBe(first)
  expect(mirror.partition(5).durablePosition()).toBe(Number.NEGATIVE_INFINITY)
  await mirror.flush()
  expect(mirror.backlogBytes).toBe(0)
  expect(mirror.partition(0).durablePosition()).toBe(Number.POSITIVE_INFINITY)
  await mirror.close(true)
})

test('without a sync for each answer, only an orderly end makes a copy complete', async () => {
  const file = path()
  let mirror = await openMirror(file, 1, 'interval')
  const held = new MirroredStore(mirror.partition(0))
  held.write(openMap(), put('a', '1'))
  await mirror.flush()
  await mirror.close(false)
  mirror = await openMirror(file, 2, 'interval')
  expect(onlyCopy(mirror)).toMatchObject({ complete: false, whole: true })
  await restored(mirror, onlyCopy(mirror))
  await mirror.close(true)
  mirror = await openMirror(file, 3, 'interval')
  expect(onlyCopy(mirror)).toMatchObject({ complete: true, ...run(2) })
  await mirror.close(true)
})

test('an empty partition leaves a copy too', async () => {
  const file = path()
  let mirror = await openMirror(file, 1)
  const held = new MirroredStore(mirror.partition(0))
  expect(held.last).toBe(0)
  await mirror.close(true)
  mirror = await openMirror(file, 2)
  expect(onlyCopy(mirror)).toMatchObject({ whole: true, complete: true, last: { epoch: 0, position: 0 } })
  await mirror.close(true)
})

test('the file of a shard that is no more is read by another, which takes its partitions over', async () => {
  const dir = tempDir()
  const files = [join(dir, 'shard-0.mdb'), join(dir, 'shard-1.mdb')] as const
  const first = await openMirror(files[1], 1)
  const held = new MirroredStore(first.partition(5))
  held.write(openMap(), ...Array.from({ length: 2000 }, (_, i) => put(`k${i}`, `v${i}`)))
  held.accept(put('k1', 'tail'))
  await first.close(true)

  const second = await openMirror(files[0], 2, 'always', { orphans: [files[1]] })
  const store = await restored(second, onlyCopy(second))
  held.apply()
  expect(digest(store)).toEqual(digest(held.store))
  await second.close(true)

  const third = await openMirror(files[0], 3, 'always', { orphans: [files[1]] })
  expect(onlyCopy(third)).toMatchObject({ ...run(2), complete: true })
  expect(digest(await restored(third, onlyCopy(third)))).toEqual(digest(held.store))
  await third.close(true)
})

test('a mirror of another cluster, node or number of partitions, or a damaged one, is refused', async () => {
  const file = path()
  await (await openMirror(file, 1)).close(true)
  const refused = (more: Partial<typeof identity>) => openMirror(file, 2, 'always', { identity: { ...identity, ...more } })
  await expect(refused({ cluster: 'other' })).rejects.toThrow(/belongs to cluster "test", this node to "other"/)
  await expect(refused({ node: 'b' })).rejects.toThrow(/belongs to node "a", this one is "b"/)
  await expect(refused({ partitions: 9 })).rejects.toThrow(/8 partitions, this one 9/)
})

test('a damaged file is refused by name, whatever is wrong with it', async () => {
  const refusal = { code: 'INVALID_ARGUMENT', message: expect.stringMatching(/damaged/) }
  const foreign = path()
  writeFileSync(foreign, Buffer.alloc(20_000, 7))
  await expect(openMirror(foreign, 1)).rejects.toMatchObject(refusal)
  for (const spoil of [
    (file: string, size: number) => truncateSync(file, size / 2),
    (file: string, size: number) => writeFileSync(file, Buffer.alloc(size - 8192, 3), { flag: 'r+', flush: true }),
  ]) {
    const file = path()
    const mirror = await openMirror(file, 1)
    const held = new MirroredStore(mirror.partition(0))
    held.write(openMap(), ...Array.from({ length: 2000 }, (_, i) => put(`k${i}`, new Uint8Array(300))))
    await mirror.close(true)
    spoil(file, statSync(file).size)
    const read = async (): Promise<unknown> => {
      const again = await openMirror(file, 2)
      try {
        return await restored(again, onlyCopy(again))
      } finally {
        await again.close(false)
      }
    }
    await expect(read()).rejects.toMatchObject(refusal)
  }
})

test('one process at a time uses a directory; a lock left by a dead one is taken', () => {
  const dir = tempDir()
  const claimed = claimMirrorDirectory(dir, 'a')
  expect(() => claimMirrorDirectory(dir, 'a')).toThrow(/process \d+ uses it/)
  claimMirrorDirectory(dir, 'b').release()
  claimed.release()
  expect(existsSync(join(dir, 'a', 'lock'))).toBe(false)
  writeFileSync(join(dir, 'a', 'lock'), '999999999 1')
  claimMirrorDirectory(dir, 'a').release()
  expect(() => claimMirrorDirectory('/dev/null', 'a')).toThrow(/persistenceDir/)
})
