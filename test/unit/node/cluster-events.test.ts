import { describe, expect, it } from 'vitest'
import type { Epoch, NodeId, ShardId } from '../../../src/base/ids.ts'
import type { ClusterState, Member, PartitionRecord, Replica } from '../../../src/membership/cluster-state.ts'
import { clusterEventsBetween } from '../../../src/node/cluster-events.ts'
import { ClusterHistory } from '../../../src/node/cluster-history.ts'

const member = (name: string, id: string, status: Member['status'] = 'alive'): Member => ({
  name,
  id: id as NodeId,
  pid: 1,
  status,
  zone: '',
  version: '0',
  address: 'localhost:1',
  http: 'localhost:2',
  shards: [{ id: `${id}-0` as ShardId, address: 'localhost:3' }],
  startedAtMs: 0,
})
const replica = (node: string): Replica => ({ node: node as NodeId, shard: `${node}-0` as ShardId })
const partition = (node: string | undefined, ...backups: string[]): PartitionRecord => {
  const primary = node === undefined ? undefined : replica(node)
  const others = backups.map(replica)
  return { epoch: 1 as Epoch, primary, backups: others, inSync: primary === undefined ? [] : [primary, ...others] }
}
const state = (members: readonly Member[], partitions: readonly PartitionRecord[] = [], leader = 'n1'): ClusterState => ({
  cluster: 'c',
  partitionCount: 2,
  leader,
  members,
  partitions,
})

describe('cluster events', () => {
  it('tell of the first node, the leader and the assignment at the first look', () => {
    expect(clusterEventsBetween(undefined, state([member('n1', 'a')], [partition('a'), partition('a')]))).toEqual([
      { event: 'nodeJoined', node: 'n1', id: 'a' },
      { event: 'leaderChanged', leader: 'n1' },
      { event: 'partitionsAssigned', partitions: 2 },
    ])
  })

  it('tell of a death and of what was lost with it, once', () => {
    const before = state([member('n1', 'a'), member('n2', 'b')], [partition('a'), partition('b')])
    const after = state([member('n1', 'a'), member('n2', 'b', 'dead')], [partition('a'), partition(undefined)])
    expect(clusterEventsBetween(before, after)).toEqual([
      { event: 'nodeDead', node: 'n2', id: 'b' },
      { event: 'partitionsLost', partitions: 1, lost: 1 },
    ])
    expect(clusterEventsBetween(after, after)).toEqual([])
  })

  it('tell of a name that returned with a new incarnation as a death and a joining', () => {
    const before = state([member('n1', 'a')])
    expect(clusterEventsBetween(before, state([member('n1', 'b')]))).toEqual([
      { event: 'nodeDead', node: 'n1', id: 'a' },
      { event: 'nodeJoined', node: 'n1', id: 'b' },
    ])
  })

  it('tell of a node that left and of recovered partitions', () => {
    const before = state([member('n1', 'a'), member('n2', 'b')], [partition('a'), partition(undefined)])
    expect(clusterEventsBetween(before, state([member('n1', 'a')], [partition('a'), { ...partition('a'), givenUp: 1 }]))).toEqual([
      { event: 'nodeLeft', node: 'n2', id: 'b' },
      { event: 'partitionsRecovered', partitions: 1, lost: 0 },
    ])
  })

  it('tell of a suspect, of what its backups took over, and of its return', () => {
    const before = state([member('n1', 'a'), member('n2', 'b')], [partition('a', 'b'), partition('b', 'a'), partition('b')])
    const after = state([member('n1', 'a'), member('n2', 'b', 'suspect')], [partition('a'), partition('a'), partition('b')])
    expect(clusterEventsBetween(before, after)).toEqual([
      { event: 'nodeSuspected', node: 'n2', id: 'b' },
      { event: 'failover', node: 'n2', id: 'b', partitions: 1 },
      { event: 'partitionsUnavailable', partitions: 1, unavailable: 1 },
    ])
    expect(clusterEventsBetween(after, state([member('n1', 'a'), member('n2', 'b')], after.partitions))).toEqual([
      { event: 'nodeReturned', node: 'n2', id: 'b' },
    ])
  })

  it('tell of a leave, of copies being built, and of primaries handed over', () => {
    const members = [member('n1', 'a'), member('n2', 'b')]
    const before = state(members, [partition('a')])
    const leaving = [member('n1', 'a', 'leaving'), member('n2', 'b')]
    const copying = state(leaving, [{ ...partition('a', 'b'), inSync: partition('a').inSync }])
    expect(clusterEventsBetween(before, copying)).toEqual([
      { event: 'nodeLeaving', node: 'n1', id: 'a' },
      { event: 'migrationBegun', copies: 1 },
    ])
    const copied = state(leaving, [partition('a', 'b')])
    expect(clusterEventsBetween(copying, copied)).toEqual([{ event: 'migrationDone' }])
    expect(clusterEventsBetween(copied, state(leaving, [partition('b', 'a')]))).toEqual([{ event: 'partitionsHandedOver', partitions: 1 }])
  })
})

describe('the history of a cluster', () => {
  it('counts failovers, hand-overs and copies from one state to the next', () => {
    const history = new ClusterHistory()
    const members = [member('n1', 'a'), member('n2', 'b')]
    history.handleState(state(members, [{ ...partition('a', 'b'), inSync: partition('a').inSync }]))
    history.handleState(state(members, [partition('a', 'b')]))
    history.handleState(state(members, [partition('b', 'a')]))
    history.handleState(state([member('n1', 'a'), member('n2', 'b', 'suspect')], [partition('a')]))
    expect(history.counts).toEqual({ failovers: 1, handOvers: 1, migrations: 1 })
  })
})
