import { describe, expect, it } from 'vitest'
import type { NodeId, ShardId } from '../../../src/base/ids.ts'
import type { ClusterState, Member } from '../../../src/membership/cluster-state.ts'
import { Membership } from '../../../src/membership/membership.ts'
import { assignInitial, emptyCluster, joinMember } from '../../../src/membership/transitions.ts'

const expected = { cluster: 'test', partitionCount: 12 }
const id = (name: string): NodeId => `${name}#1` as NodeId
const member = (name: string): Member => ({
  name,
  id: id(name),
  pid: 1,
  status: 'alive',
  zone: '',
  version: '0.1.0',
  address: `${name}:7400`,
  http: `${name}:7480`,
  shards: [{ id: `${name}/0` as ShardId, address: `${name}:7500` }],
  startedAtMs: 5,
})
const cluster = (...names: string[]): ClusterState =>
  names.reduce((state, name) => joinMember(state, member(name), expected), emptyCluster('test', 12))

function seenBy(self: string, state: ClusterState, sessions: readonly string[], expectedNodes = 3): Membership {
  const membership = new Membership({ self: id(self), expectedNodes, sessionTtlMs: 3000 })
  for (const name of sessions) membership.handleSession(0, name, id(name))
  membership.handleView(0, { version: 7, state })
  return membership
}

describe('a leader', () => {
  it('forms the cluster when the expected nodes are there', () => {
    const proposal = seenBy('a', cluster('a', 'b', 'c'), ['a', 'b', 'c']).propose(0)
    expect(proposal).toMatchObject({ expectedVersion: 7, changes: [{ kind: 'formed', nodes: 3, partitions: 12 }] })
  })

  it('has nothing to propose while nothing is wrong', () => {
    const formed = assignInitial(cluster('a', 'b'), 2)
    expect(seenBy('a', formed, ['a', 'b']).propose(0)).toBeUndefined()
    expect(seenBy('a', cluster('a', 'b'), ['a', 'b']).propose(0)).toBeUndefined()
  })

  it('declares a member dead as soon as its session ends', () => {
    const membership = seenBy('a', assignInitial(cluster('a', 'b'), 2), ['a', 'b'])
    membership.handleSessionEnd(10, 'b')
    const proposal = membership.propose(10)
    expect(proposal?.changes).toEqual([{ kind: 'dead', name: 'b', lostPartitions: 6 }])
    expect(proposal?.state.members.find(({ name }) => name === 'b')?.status).toBe('dead')
  })

  it('declares a member dead when another incarnation has its session', () => {
    const membership = seenBy('a', assignInitial(cluster('a', 'b'), 2), ['a', 'b'])
    membership.handleSession(10, 'b', 'b#2' as NodeId)
    expect(membership.propose(10)?.changes).toEqual([{ kind: 'dead', name: 'b', lostPartitions: 6 }])
  })

  it('waits one time to live for a session that it has not seen yet', () => {
    const membership = seenBy('a', assignInitial(cluster('a', 'b'), 2), ['a'])
    expect(membership.propose(2999)).toBeUndefined()
    expect(membership.nextDeadlineMs(2999)).toBe(3000)
    expect(membership.propose(3000)?.changes).toMatchObject([{ kind: 'dead', name: 'b' }])
    expect(membership.nextDeadlineMs(3000)).toBeUndefined()
    membership.handleSession(3000, 'b', id('b'))
    expect(membership.propose(9000)).toBeUndefined()
  })

  it('does not declare itself dead', () => {
    const membership = seenBy('a', assignInitial(cluster('a'), 1), ['a'])
    membership.handleSessionEnd(10, 'a')
    expect(membership.propose(10_000)).toBeUndefined()
  })

  it('ignores a state older than the last', () => {
    const membership = seenBy('a', assignInitial(cluster('a', 'b'), 2), ['a', 'b'])
    membership.handleView(1, { version: 6, state: cluster('a', 'b') })
    expect(membership.propose(1)).toBeUndefined()
  })

  it('knows nothing before it has seen a state', () => {
    expect(new Membership({ self: id('a'), expectedNodes: 1, sessionTtlMs: 3000 }).propose(0)).toBeUndefined()
  })
})

describe('when the leader is gone', () => {
  const formed = assignInitial(cluster('a', 'b', 'c'), 3)

  it('the next in order takes over and declares it dead, in one step', () => {
    const membership = seenBy('b', formed, ['a', 'b', 'c'])
    expect(membership.propose(0)).toBeUndefined()
    membership.handleSessionEnd(10, 'a')
    const proposal = membership.propose(10)
    expect(proposal?.changes).toEqual([
      { kind: 'leader', name: 'b' },
      { kind: 'dead', name: 'a', lostPartitions: 4 },
    ])
    expect(proposal?.state.leader).toBe('b')
  })

  it('the others leave it to the next, unless that one is gone too', () => {
    const membership = seenBy('c', formed, ['a', 'b', 'c'])
    membership.handleSessionEnd(10, 'a')
    expect(membership.propose(10)).toBeUndefined()
    membership.handleSessionEnd(20, 'b')
    expect(membership.propose(20)?.changes.map(change => 'name' in change && change.name)).toEqual(['c', 'a', 'b'])
  })
})
