import { expect, test } from 'vitest'
import type { Epoch, NodeId, ShardId } from '../../../src/base/ids.ts'
import type { ClusterState, Member } from '../../../src/membership/cluster-state.ts'
import { decodeClusterState, encodeClusterState } from '../../../src/membership/cluster-state-codec.ts'
import { recoverPartitions } from '../../../src/membership/recovery.ts'
import { decideRequest, recordDeath, suspectMember } from '../../../src/membership/replica-transitions.ts'
import { type FoundMirror, type MirrorReport, restoreFromMirrors } from '../../../src/membership/restore-transitions.ts'
import { joinMember } from '../../../src/membership/transitions.ts'
import type { PartitionRecord, Replica } from '../../../src/partitioning/partition-table.ts'

/** `a1`: the first incarnation of node a. */
const replica = (name: string): Replica => ({ node: name as NodeId, shard: `${name}.0` as ShardId })
const member = (name: string): Member => ({
  name: name.slice(0, 1),
  id: name as NodeId,
  pid: 1,
  status: 'alive',
  zone: '',
  version: '1',
  address: 'x:1',
  http: 'x:2',
  shards: [{ id: `${name}.0` as ShardId, address: 'x:3' }],
  startedAtMs: 0,
})

function cluster(names: readonly string[], primary: string, others: readonly string[], more: Partial<PartitionRecord> = {}): ClusterState {
  const inSync = [primary, ...others].map(replica)
  const record: PartitionRecord = { epoch: 5 as Epoch, primary: replica(primary), backups: inSync.slice(1), inSync, ...more }
  return { cluster: 'c', partitionCount: 1, leader: 'a', members: names.map(member), partitions: [record] }
}
const expected = { cluster: 'c', partitionCount: 1 }
const row = (state: ClusterState): PartitionRecord => state.partitions[0] as PartitionRecord

/** The old incarnation has ended, and a new one of the name is there. */
function restart(state: ClusterState, name: string): ClusterState {
  const older = state.members.find(other => other.name === name) as Member
  return joinMember(recordDeath(state, older.id), member(`${name}2`), expected)
}

const found = (of: string, at: string, more: Partial<FoundMirror> = {}): FoundMirror => ({
  partition: 0,
  of: replica(of),
  givenUp: 0,
  last: { epoch: 5, position: 10 },
  whole: true,
  complete: true,
  at: replica(at).shard,
  ...more,
})
const report = (node: string, ...copies: readonly FoundMirror[]): MirrorReport => ({ node: node as NodeId, copies })

test('who returns while another in-sync replica lives is nobody: its mirror is not asked', () => {
  const state = restart(cluster(['a1', 'b1'], 'a1', ['b1']), 'a')
  expect(row(state).primary).toEqual(replica('b1'))
  expect(restoreFromMirrors(state, [report('a2', found('a1', 'a2'))])).toBe(state)
})

test('a lost record names who was in sync at last, and only their copies count', () => {
  // b was the last one, as far as the table knows: a may have missed what b served alone.
  const state = restart(restart(cluster(['a1', 'b1'], 'a1', ['b1']), 'a'), 'b')
  expect(row(state)).toMatchObject({ primary: undefined, inSync: [], lastInSync: [replica('b1')] })
  expect(restoreFromMirrors(state, [report('a2', found('a1', 'a2'))])).toBe(state)
  const restored = restoreFromMirrors(state, [report('a2', found('a1', 'a2')), report('b2', found('b1', 'b2'))])
  expect(row(restored)).toEqual({
    epoch: row(state).epoch + 1,
    primary: replica('b2'),
    backups: [],
    inSync: [replica('b2')],
    givenUp: 1,
    restoredFrom: { of: replica('b1'), givenUp: 0, by: replica('b2') },
  })
})

const lostOf = (...set: readonly string[]): ClusterState => {
  const state = cluster(['a2', 'b2', 'c2'], 'a2', [])
  const record = { epoch: 7 as Epoch, primary: undefined, backups: [], inSync: [], lastInSync: set.map(replica) }
  return { ...state, partitions: [record] }
}

test('one complete copy of the set is enough', () => {
  const state = lostOf('a1', 'b1')
  expect(row(restoreFromMirrors(state, [report('b2', found('b1', 'b2'))])).primary).toEqual(replica('b2'))
})

test('copies that may lack their end are used only when all of the set are known, and then the furthest by epoch before position', () => {
  const state = lostOf('a1', 'b1', 'c1')
  const lazy = (of: string, at: string, epoch: number, position: number): MirrorReport =>
    report(at, found(of, at, { complete: false, last: { epoch, position } }))
  const a = lazy('a1', 'a2', 4, 30)
  const b = lazy('b1', 'b2', 5, 20)
  const c = lazy('c1', 'c2', 5, 19)
  expect(restoreFromMirrors(state, [a, b])).toBe(state)
  // A node that lost its disk says so: its copy is not known.
  expect(restoreFromMirrors(state, [a, b, report('c2')])).toBe(state)
  expect(restoreFromMirrors(state, [a, b, report('c2', found('c1', 'c2', { complete: false, whole: false }))])).toBe(state)
  expect(row(restoreFromMirrors(state, [a, b, c])).primary).toEqual(replica('b2'))
})

test('a copy in the middle of a snapshot, of older data, or of a member out of reach is not used', () => {
  const state = lostOf('a1')
  expect(restoreFromMirrors(state, [report('a2', found('a1', 'a2', { whole: false }))])).toBe(state)
  expect(restoreFromMirrors(state, [report('a9', found('a1', 'a9'))])).toBe(state)
  const again = { ...state, partitions: [{ ...row(state), givenUp: 1 }] }
  expect(restoreFromMirrors(again, [report('a2', found('a1', 'a2'))])).toBe(again)
  const suspected = suspectMember(state, 'a2' as NodeId)
  expect(restoreFromMirrors(suspected, [report('a2', found('a1', 'a2'))])).toBe(suspected)
})

test('a primary that dies before it has made the copy its own can be restored from that copy again, and afterwards only from its own', () => {
  const first = restoreFromMirrors(lostOf('a1'), [report('a2', found('a1', 'a2'))])
  const lost = joinMember(recordDeath(first, 'a2' as NodeId), member('a3'), expected)
  expect(row(lost)).toMatchObject({ primary: undefined, lastInSync: [replica('a2')], givenUp: 1 })
  const old = found('a1', 'a3')
  const own = found('a2', 'a3', { givenUp: 1, last: { epoch: 8, position: 2 ** 36 + 3 } })
  expect(row(restoreFromMirrors(lost, [report('a3', old)])).restoredFrom?.of).toEqual(replica('a1'))
  expect(row(restoreFromMirrors(lost, [report('a3', old, own)])).restoredFrom?.of).toEqual(replica('a2'))
  expect(row(restoreFromMirrors(lost, [report('a3', own)])).givenUp).toBe(2)
  // Without a sync per answer, and its own copy not whole: only the old one stands for it.
  expect(row(restoreFromMirrors(lost, [report('a3', old, { ...own, whole: false })])).restoredFrom?.of).toEqual(replica('a1'))
})

test('the copy is forgotten when another replica becomes primary', () => {
  let state = restoreFromMirrors(lostOf('a1'), [report('a2', found('a1', 'a2'))])
  const from = replica('a2')
  state = { ...state, partitions: [{ ...row(state), backups: [replica('b2')] }] }
  state = decideRequest(state, { kind: 'add', partition: 0 as never, epoch: row(state).epoch, from, replica: replica('b2') })
  expect(row(state).restoredFrom).toBeDefined()
  state = suspectMember(state, 'a2' as NodeId)
  expect(row(state).primary).toEqual(replica('b2'))
  expect(row(state).restoredFrom).toBeUndefined()
})

test('an operator who accepts loss gets the furthest copy that there is, and an empty partition only without any', () => {
  const state = lostOf('a1', 'b1')
  const older = found('c1', 'c2', { complete: false, last: { epoch: 3, position: 5 } })
  const newer = found('b1', 'b2', { complete: false })
  const recovery = recoverPartitions(state, [report('c2', older), report('b2', newer)])
  expect(recovery).toMatchObject({ restored: 1, recovered: 0 })
  expect(row(recovery.state)).toMatchObject({ primary: replica('b2'), givenUp: 1 })
  const empty = recoverPartitions(state, [report('b2', { ...newer, whole: false })])
  expect(empty).toMatchObject({ restored: 0, recovered: 1 })
  expect(row(empty.state).restoredFrom).toBeUndefined()
})

test('what records say of mirrors travels with the cluster state, also when nobody of them is a member any more', () => {
  const lost = restart(restart(cluster(['a1', 'b1'], 'a1', ['b1']), 'a'), 'b')
  expect(decodeClusterState(encodeClusterState(lost))).toEqual(lost)
  const restored = restoreFromMirrors(lost, [report('b2', found('b1', 'b2'))])
  expect(decodeClusterState(encodeClusterState(restored))).toEqual(restored)
  const again = joinMember(recordDeath(restored, 'b2' as NodeId), member('b3'), expected)
  expect(decodeClusterState(encodeClusterState(again))).toEqual(again)
})
