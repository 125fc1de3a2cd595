import { describe, expect, it } from 'vitest'
import type { Epoch, NodeId, ShardId } from '../../../src/base/ids.ts'
import type { ClusterState, Member, PartitionRecord } from '../../../src/membership/cluster-state.ts'
import { clusterEventsBetween } from '../../../src/node/cluster-events.ts'

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
const partition = (node: string | undefined): PartitionRecord => {
  const primary = node === undefined ? undefined : { node: node as NodeId, shard: `${node}-0` as ShardId }
  return { epoch: 1 as Epoch, primary, backups: [], inSync: primary === undefined ? [] : [primary] }
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
    expect(clusterEventsBetween(before, state([member('n1', 'a')], [partition('a'), partition('a')]))).toEqual([
      { event: 'nodeLeft', node: 'n2', id: 'b' },
      { event: 'partitionsRecovered', partitions: 1, lost: 0 },
    ])
  })
})
