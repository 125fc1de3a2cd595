/** One small scenario per rule of the membership: it holds with all rules, and breaks when this one is taken away. */
import { describe, expect, it } from 'vitest'
import type { Epoch, NodeId, PartitionId, ShardId } from '../../../src/base/ids.ts'
import type { ClusterState, Member } from '../../../src/membership/cluster-state.ts'
import { addLearner, decideRequest, dropReplica, giveUpLost, suspectMember } from '../../../src/membership/replica-transitions.ts'
import { everyMembershipRule, type MembershipRules } from '../../../src/membership/rules.ts'
import type { Replica, ReplicaRequest } from '../../../src/partitioning/partition-table.ts'

const replica = (name: string, incarnation = 1): Replica => ({
  node: `${name}#${incarnation}` as NodeId,
  shard: `${name}.0#${incarnation}` as ShardId,
})
const member = (name: string): Member => ({
  name,
  id: replica(name).node,
  pid: 1,
  status: 'alive',
  zone: '',
  version: '0.1.0',
  address: `${name}:7400`,
  http: `${name}:7480`,
  shards: [{ id: replica(name).shard, address: `${name}:7500` }],
  startedAtMs: 5,
})
const [a, b, c] = [replica('a'), replica('b'), replica('c')]
const state: ClusterState = {
  cluster: 'test',
  partitionCount: 1,
  leader: 'a',
  members: ['a', 'b', 'c'].map(member),
  partitions: [{ epoch: 5 as Epoch, primary: a, backups: [b], inSync: [a, b] }],
}
const request = (kind: ReplicaRequest['kind'], epoch: number, to: Replica): ReplicaRequest => ({
  kind,
  partition: 0 as PartitionId,
  epoch: epoch as Epoch,
  from: a,
  replica: to,
})

const scenarios: Record<keyof MembershipRules, (rules: MembershipRules) => boolean> = {
  requestsBoundToEpoch: rules => decideRequest(state, request('remove', 4, b), rules) === state,
  casNamesIncarnation: rules => {
    const learning = addLearner(dropReplica(state, 0, b), 0, c)
    const record = decideRequest(learning, request('add', 6, replica('c', 0)), rules).partitions[0]
    return record?.inSync.length === 1
  },
  promotionRemovesOldPrimary: rules => !suspectMember(state, a.node, rules).partitions[0]?.inSync.includes(a),
  lastReplicaStays: rules => suspectMember(suspectMember(state, a.node, rules), b.node, rules).partitions[0]?.inSync.length === 1,
  onlyDeadGivenUp: rules => {
    const unavailable = suspectMember(suspectMember(state, a.node), b.node)
    return giveUpLost(unavailable, rules) === unavailable
  },
}

describe('the rule', () => {
  for (const [name, scenario] of Object.entries(scenarios)) {
    it(`${name} holds, and breaks when taken away`, () => {
      expect(scenario(everyMembershipRule)).toBe(true)
      expect(scenario({ ...everyMembershipRule, [name]: false })).toBe(false)
    })
  }
})
