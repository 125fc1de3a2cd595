/** A durable mirror on a disk that is full for a while. Needs root, for a small file system in memory. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { eventually } from '../contract/eventually.ts'
import { MirroredStore, openMap, openMirror, put, tempDir } from '../unit/durability/fixture.ts'

const disk = join(tempDir(), 'disk')
mkdirSync(disk)
const isMounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', disk]).status === 0
afterAll(() => {
  if (isMounted) spawnSync('umount', [disk])
})

test.skipIf(!isMounted)('while a disk is full nothing more counts, it is said why, and all goes on when there is room', async () => {
  const reasons: (string | undefined)[] = []
  const mirror = await openMirror(join(disk, 'shard-0.mdb'), 1, 'always', { onTrouble: reason => reasons.push(reason) })
  const held = new MirroredStore(mirror.partition(0))
  const before = held.write(openMap(), put('a', '1'))
  await mirror.flush()
  writeFileSync(join(disk, 'other'), Buffer.alloc(6 * 1024 * 1024))
  for (let i = 0; i < 3000; i += 1) held.write(put(`k${i}`, new Uint8Array(1000)))
  await eventually(() => mirror.trouble).toMatch(/is the disk full/)
  expect(mirror.partition(0).durablePosition()).toBeGreaterThanOrEqual(before)
  expect(mirror.partition(0).durablePosition()).toBeLessThan(held.last)
  rmSync(join(disk, 'other'))
  await eventually(() => mirror.partition(0).durablePosition()).toBe(held.last)
  expect(reasons.at(-1)).toBeUndefined()
  expect(mirror.trouble).toBeUndefined()
  await mirror.close(true)
})
