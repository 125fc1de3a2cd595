/** Replicas of a partition, each with a mirror on a disk. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { FoundCopy } from '../../../src/durability/found-copy.ts'
import type { FsyncMode } from '../../../src/durability/fsync-modes.ts'
import { ShardMirror } from '../../../src/durability/shard-mirror.ts'
import type { PartitionReplica } from '../../../src/replication/partition-replica.ts'
import { restoredStart } from '../../../src/replication/replica-state.ts'
import { recordOf, replicaOf, TestGroup } from '../replication/fixture.ts'
import { digest, identity, newStore, restored, tempDir } from './fixture.ts'

interface Mirrored {
  readonly group: TestGroup
  readonly mirrors: ReadonlyMap<string, ShardMirror>
  readonly file: (name: string) => string
}

async function groupOf(names: string, fsync: FsyncMode): Promise<Mirrored> {
  const dir = tempDir()
  const file = (name: string): string => join(dir, `${name.toLowerCase()}.mdb`)
  const mirrors = new Map<string, ShardMirror>()
  const replicas = new Map<string, PartitionReplica<string>>()
  for (const name of names) {
    const onProgress = (): void => replicas.get(name)?.handleDurable()
    mirrors.set(name, await openFor(file(name), name, fsync, onProgress))
  }
  const mirrorOf = (name: string) => (mirrors.get(name) as ShardMirror).partition(0)
  const group = new TestGroup(names, name => ({ mirror: mirrorOf(name) }))
  for (const name of names) {
    const replica = group.at(name)
    replicas.set(name, replica)
    attach(mirrorOf(name), replica)
  }
  return { group, mirrors, file }
}

function attach(mirror: ReturnType<ShardMirror['partition']>, replica: PartitionReplica<string>): void {
  mirror.attach({
    get store() {
      return replica.store
    },
    logAfter: (position, maxBytes) => replica.logAfter(position, maxBytes),
  })
}

const openFor = (path: string, name: string, fsync: FsyncMode, onProgress: () => void = () => {}): Promise<ShardMirror> =>
  ShardMirror.open({
    path,
    orphans: [],
    identity,
    self: replicaOf(name),
    fsync,
    intervalMs: 60_000,
    onProgress,
    onTrouble: () => {},
  })

async function flush({ mirrors, group }: Mirrored, names: string): Promise<void> {
  for (const name of names) await mirrors.get(name)?.flush()
  group.settle()
}

async function stop({ mirrors }: Mirrored, inOrder: boolean): Promise<void> {
  for (const mirror of mirrors.values()) await mirror.close(inOrder)
}

const onlyCopy = (mirror: ShardMirror): FoundCopy => {
  expect(mirror.found).toHaveLength(1)
  return mirror.found[0] as FoundCopy
}

test('with fsync always a write is answered when it is on every disk', async () => {
  const mirrored = await groupOf('ab', 'always')
  const { group } = mirrored
  group.tell(recordOf(1, 'a', 'ab'))
  group.settle()
  await flush(mirrored, 'ab')
  group.write('a', 'k', 'v1')
  group.settle()
  expect(group.answered('a')).toEqual([])
  await mirrored.mirrors.get('a')?.flush()
  // What b acknowledges has not arrived yet, whether it has it on its disk by now or not.
  expect(group.answered('a')).toEqual([])
  await flush(mirrored, 'b')
  expect(group.answered('a')).toEqual(['v1'])
  // The backup has not applied it yet, and both have it on disk.
  await stop(mirrored, false)
  for (const name of 'ab') {
    const mirror = await openFor(mirrored.file(name), name.toUpperCase(), 'always')
    const copy = onlyCopy(mirror)
    expect(copy).toMatchObject({ ...replicaOf(name), complete: true, last: { epoch: 1, position: 3 - 1 } })
    expect(digest(await restored(mirror, copy))).toEqual(digest(group.at('a').store))
    await mirror.close(false)
  }
})

test('a primary alone commits no further than its own disk', async () => {
  const mirrored = await groupOf('a', 'always')
  const { group } = mirrored
  group.tell(recordOf(1, 'a', 'a'))
  group.settle()
  group.write('a', 'k', 'v1')
  group.settle()
  expect(group.answered('a')).toEqual([])
  await flush(mirrored, 'a')
  expect(group.answered('a')).toEqual(['v1'])
  await stop(mirrored, true)
})

test('without that nobody waits for a disk', async () => {
  const mirrored = await groupOf('ab', 'interval')
  const { group } = mirrored
  group.tell(recordOf(1, 'a', 'ab'))
  group.settle()
  group.write('a', 'k', 'v1')
  group.settle()
  expect(group.answered('a')).toEqual(['v1'])
  await stop(mirrored, true)
  const mirror = await openFor(mirrored.file('b'), 'B', 'interval')
  expect(onlyCopy(mirror)).toMatchObject({ complete: true, last: { epoch: 1, position: 2 } })
  await mirror.close(true)
})

test('a learner counts when its copy is on its disk, and its mirror then holds what the primary has', async () => {
  const mirrored = await groupOf('ab', 'always')
  const { group } = mirrored
  group.tell(recordOf(1, 'a', 'a'))
  group.settle()
  for (let i = 0; i < 50; i += 1) group.write('a', `k${i}`, `v${i}`)
  await flush(mirrored, 'a')
  group.tell(recordOf(1, 'a', 'a', 'b'))
  for (let i = 0; i < 10; i += 1) group.pass(50)
  expect(group.requests.filter(({ kind }) => kind === 'add')).toEqual([])
  await flush(mirrored, 'b')
  for (let i = 0; i < 10; i += 1) {
    group.pass(50)
    await flush(mirrored, 'ab')
  }
  expect(group.requests.some(({ kind }) => kind === 'add')).toBe(true)
  await stop(mirrored, false)
  const mirror = await openFor(mirrored.file('b'), 'B', 'always')
  expect(onlyCopy(mirror)).toMatchObject({ whole: true, complete: true })
  expect(digest(await restored(mirror, onlyCopy(mirror)))).toEqual(digest(group.at('a').store))
  await mirror.close(true)
})

test('a backup whose tail differs from the new primary loses it on the disk too', async () => {
  const mirrored = await groupOf('ab', 'always')
  const { group } = mirrored
  group.tell(recordOf(1, 'a', 'ab'))
  group.settle()
  group.write('a', 'k', 'v1')
  group.settle()
  await flush(mirrored, 'ab')
  group.write('a', 'k', 'lost')
  group.collect()
  group.wire.length = 0
  // b takes over without it; a third copy of the tail is what a holds, which starts empty.
  group.tell(recordOf(2, 'b', 'b', 'a'), 'ab')
  await flush(mirrored, 'ab')
  group.write('b', 'k', 'v2')
  for (let i = 0; i < 20; i += 1) {
    group.pass(100)
    await flush(mirrored, 'ab')
  }
  expect(group.stored('a', 'k')).toBe('v2')
  await stop(mirrored, true)
  const mirror = await openFor(mirrored.file('a'), 'A', 'always')
  expect(digest(await restored(mirror, onlyCopy(mirror)))).toEqual(digest(group.at('b').store))
  await mirror.close(true)
})

test('what was restored leads on in a new range of positions, waits before it serves, and goes on into the same file', async () => {
  const first = await groupOf('a', 'always')
  first.group.tell(recordOf(1, 'a', 'a'))
  first.group.settle()
  first.group.write('a', 'k', 'v1')
  await flush(first, 'a')
  await stop(first, false)

  const mirror = await openFor(first.file('a'), 'A', 'always', () => group.at('A').handleDurable())
  const group: TestGroup = new TestGroup('A', () => ({ mirror: mirror.partition(0) }))
  const store = newStore()
  const record = recordOf(4, 'A', 'A', '', { givenUp: 1, restoredFrom: { of: replicaOf('a'), givenUp: 0, by: replicaOf('A') } })
  const restoredAs = { store, givenUp: 1, start: restoredStart(record) }
  await mirror.restore(0, replicaOf('a'), store, restoredAs)
  attach(mirror.partition(0), group.at('A'))
  group.at('A').handleRestored(group.nowMs, 1, record, Number.NEGATIVE_INFINITY, restoredAs)
  group.version = 1
  expect(group.at('A').isServing(group.nowMs)).toBe(false)
  group.pass(700)
  expect(group.stored('A', 'k')).toBe('v1')
  expect(group.write('A', 'k', 'v2')).toBe(restoredAs.start.position + 1)
  await mirror.flush()
  group.settle()
  expect(group.answered('A')).toEqual(['v2'])
  await mirror.close(false)
  const again = await openFor(first.file('a'), 'b', 'always')
  expect(onlyCopy(again)).toMatchObject({ ...replicaOf('A'), givenUp: 1, last: { epoch: 4, position: restoredAs.start.position + 1 } })
  expect(digest(await restored(again, onlyCopy(again), 2 ** 37))).toEqual(digest(group.at('A').store))
  await again.close(true)
})

test('a learner of a restored primary gets all of it: an empty log is not where the restored one begins', async () => {
  const group = new TestGroup('Ab')
  const first = new TestGroup('a')
  first.tell(recordOf(1, 'a', 'a'))
  first.settle()
  first.write('a', 'k', 'v1')
  first.settle()
  const record = recordOf(4, 'A', 'A', '', { givenUp: 1, restoredFrom: { of: replicaOf('a'), givenUp: 0, by: replicaOf('A') } })
  const restoredAs = { store: first.at('a').store, givenUp: 1, start: restoredStart(record) }
  group.version = 1
  group.at('A').handleRestored(group.nowMs, 1, record, Number.NEGATIVE_INFINITY, restoredAs)
  group.tell({ ...record, backups: [replicaOf('b')] })
  for (let i = 0; i < 20; i += 1) group.pass(100)
  expect(group.requests.some(({ kind }) => kind === 'add')).toBe(true)
  expect(group.stored('b', 'k')).toBe('v1')
})
