import { describe, expect, it } from 'vitest'
import type { Epoch, NodeId, PartitionId, ShardId } from '../../../src/base/ids.ts'
import type { ClusterState, Member } from '../../../src/membership/cluster-state.ts'
import { decodeClusterState, encodeClusterState } from '../../../src/membership/cluster-state-codec.ts'
import { MigrationSteps } from '../../../src/membership/migration-steps.ts'
import {
  availabilityOf,
  beginLeave,
  decideRequest,
  giveUpLost,
  recordDeath,
  returnMember,
  suspectMember,
} from '../../../src/membership/replica-transitions.ts'
import { type ClusterProposal, ReplicatedMembership } from '../../../src/membership/replicated-membership.ts'
import { emptyCluster, joinMember } from '../../../src/membership/transitions.ts'
import type { PartitionRecord, Replica, ReplicaRequest } from '../../../src/partitioning/partition-table.ts'

const expected = { cluster: 'test', partitionCount: 12 }
const id = (name: string, incarnation = 1): NodeId => `${name}#${incarnation}` as NodeId
const member = (name: string, incarnation = 1): Member => ({
  name,
  id: id(name, incarnation),
  pid: 1,
  status: 'alive',
  zone: '',
  version: '0.1.0',
  address: `${name}:7400`,
  http: `${name}:7480`,
  shards: [{ id: `${name}.0#${incarnation}` as ShardId, address: `${name}:7500` }],
  startedAtMs: 5,
})

/** One node per name, all of which see everything at once unless told otherwise. */
class TestCluster {
  nowMs = 0
  version = 0
  state: ClusterState
  readonly nodes = new Map<string, ReplicatedMembership>()

  constructor(names: readonly string[], backups = 1) {
    this.state = names.reduce((state, name) => joinMember(state, member(name), expected), emptyCluster('test', 12))
    for (const name of names) this.addNode(name, backups, names.length)
    this.write(this.state)
    this.round()
  }

  addNode(name: string, backups = 1, expectedNodes = 3): void {
    const node = new ReplicatedMembership({
      self: id(name),
      expectedNodes,
      backups,
      sessionTtlMs: 3000,
      silenceMs: 1000,
      leaderSilenceMs: 500,
      movesPerNode: 2,
    })
    this.nodes.set(name, node)
    for (const other of this.nodes.keys()) {
      node.handleSession(this.nowMs, other, id(other))
      this.nodes.get(other)?.handleSession(this.nowMs, name, id(name))
    }
  }

  at(name: string): ReplicatedMembership {
    const node = this.nodes.get(name)
    if (node === undefined) throw new Error(`no node ${name}`)
    return node
  }

  write(state: ClusterState): void {
    this.version += 1
    this.state = decodeClusterState(encodeClusterState(state))
    for (const node of this.nodes.values()) node.handleView(this.nowMs, { version: this.version, state: this.state })
  }

  /** Heartbeats between those named; then whoever proposes first wins. Answers what was proposed. */
  round(alive = [...this.nodes.keys()], ms = 250): ClusterProposal | undefined {
    this.nowMs += ms
    for (const from of alive) {
      for (const to of alive) {
        if (from === to) continue
        this.at(to).handleHeard(this.nowMs, id(from))
        this.at(to).handleVotes(this.nowMs, id(from), this.at(from).suspects(this.nowMs))
      }
    }
    for (const name of alive) {
      const proposal = this.at(name).propose(this.nowMs)
      if (proposal === undefined) continue
      this.write(proposal.state)
      return proposal
    }
    return undefined
  }

  /** What primaries would ask, and hand-overs, at once. */
  obey(): void {
    for (const [partition, record] of this.state.partitions.entries()) {
      const learner = record.backups.find(replica => !record.inSync.some(({ shard }) => shard === replica.shard))
      if (learner !== undefined && record.primary !== undefined)
        this.write(decideRequest(this.state, requestOf('add', partition, record, learner)))
    }
    for (const order of [...this.nodes.values()].flatMap(node => node.orders())) {
      const record = this.state.partitions[order.partition] as PartitionRecord
      this.write(decideRequest(this.state, requestOf('handOver', order.partition, record, order.to)))
    }
  }
}

function requestOf(
  kind: ReplicaRequest['kind'],
  partition: number,
  record: PartitionRecord,
  replica: PartitionRecord['primary'],
): ReplicaRequest {
  if (record.primary === undefined || replica === undefined) throw new Error('no replica')
  return { kind, partition: partition as PartitionId, epoch: record.epoch, from: record.primary, replica }
}

const kinds = (proposal: ClusterProposal | undefined): readonly string[] => proposal?.changes.map(({ kind }) => kind) ?? []
const copiesOf = (state: ClusterState, name: string): number =>
  state.partitions.filter(({ inSync }) => inSync.some(({ node }) => node === id(name))).length

describe('a replicated cluster', () => {
  it('forms with every copy in sync', () => {
    const { state } = new TestCluster(['a', 'b', 'c'])
    expect(state.partitions.every(({ inSync, backups, epoch }) => inSync.length === 2 && backups.length === 1 && epoch === 1)).toBe(true)
    expect(['a', 'b', 'c'].map(name => copiesOf(state, name))).toEqual([8, 8, 8])
  })

  it('promotes in one step when more than half of the others report a suspect, and takes it back', () => {
    const cluster = new TestCluster(['a', 'b', 'c'])
    const before = cluster.state
    for (let i = 0; i < 3; i += 1) expect(cluster.round(['a', 'b'])).toBeUndefined()
    const proposal = cluster.round(['a', 'b'])
    expect(kinds(proposal).slice(0, 1)).toEqual(['suspect'])
    for (const [partition, record] of cluster.state.partitions.entries()) {
      const old = before.partitions[partition] as PartitionRecord
      expect(record.primary?.node).not.toBe(id('c'))
      expect(record.inSync.every(({ node }) => node !== id('c'))).toBe(true)
      expect(record.epoch).toBe(old.inSync.some(({ node }) => node === id('c')) ? old.epoch + 1 : old.epoch)
    }
    expect(kinds(cluster.round()).slice(0, 1)).toEqual(['returned'])
  })

  it('a node cut off from all others takes over nothing', () => {
    const cluster = new TestCluster(['a', 'b', 'c'])
    for (let i = 0; i < 20; i += 1) {
      cluster.nowMs += 250
      expect(cluster.at('a').propose(cluster.nowMs)).toBeUndefined()
    }
    expect(cluster.at('a').suspects(cluster.nowMs)).toEqual([id('b'), id('c')])
  })

  it('the next in order leads when the leader is suspected', () => {
    const cluster = new TestCluster(['a', 'b', 'c'])
    for (let i = 0; i < 3; i += 1) cluster.round(['b', 'c'])
    expect(kinds(cluster.round(['b', 'c'])).slice(0, 2)).toEqual(['leader', 'suspect'])
    expect(cluster.state.leader).toBe('b')
  })

  it('a request that the leader leaves unanswered for 500 ms goes to the next, who takes over', () => {
    const cluster = new TestCluster(['a', 'b', 'c'])
    const partition = cluster.state.partitions.findIndex(({ primary }) => primary?.node === id('c'))
    const record = cluster.state.partitions[partition] as PartitionRecord
    const request = requestOf('remove', partition, record, record.backups[0])
    expect(cluster.at('c').routeRequest(cluster.nowMs, request)).toEqual({ to: id('a'), silentLeader: undefined })
    expect(cluster.at('c').routeRequest(cluster.nowMs + 499, request)?.to).toBe(id('a'))
    const route = cluster.at('c').routeRequest(cluster.nowMs + 500, request)
    expect(route).toEqual({ to: id('b'), silentLeader: 'a' })
    cluster.at('b').handleRequest(cluster.nowMs, request, 'a')
    expect(kinds(cluster.at('b').propose(cluster.nowMs)).slice(0, 2)).toEqual(['leader', 'request'])
  })

  it('after an outage of the coordinator sessions count as fresh for one time to live', () => {
    const cluster = new TestCluster(['a', 'b', 'c'])
    const { nowMs } = cluster
    const a = cluster.at('a')
    a.handleCoordinator(nowMs, true)
    a.handleSessionEnd(nowMs + 100, 'c')
    for (const name of ['b', 'c']) a.handleHeard(nowMs + 60_000, id(name))
    expect(kinds(a.propose(nowMs + 60_000))).toEqual([])
    a.handleCoordinator(nowMs + 60_000, false)
    expect(kinds(a.propose(nowMs + 60_500))).toEqual([])
    for (const name of ['b', 'c']) a.handleHeard(nowMs + 63_000, id(name))
    expect(kinds(a.propose(nowMs + 63_000)).slice(0, 1)).toEqual(['suspect'])
  })

  it('orders no hand-over while the coordinator is out: a primary that stopped for it could not go on', () => {
    const cluster = new TestCluster(['a', 'b', 'c'])
    cluster.write({ ...cluster.state, members: cluster.state.members.map(one => (one.name === 'c' ? { ...one, status: 'leaving' } : one)) })
    const a = cluster.at('a')
    expect(a.orders()).not.toEqual([])
    a.handleCoordinator(cluster.nowMs, true)
    expect(a.orders()).toEqual([])
    a.handleCoordinator(cluster.nowMs + 1000, false)
    expect(a.orders()).not.toEqual([])
  })

  it('a session of another incarnation, which may be old news, is no proof of a death', () => {
    const cluster = new TestCluster(['a', 'b', 'c'])
    const before = cluster.state
    cluster.at('a').handleSession(cluster.nowMs, 'c', id('c', 0))
    for (let i = 0; i < 20; i += 1) cluster.round()
    expect(cluster.state.members.map(({ status }) => status)).not.toContain('dead')
    expect(cluster.state.partitions.every(({ inSync }) => inSync.length > 0)).toBe(true)
    cluster.at('a').handleSession(cluster.nowMs, 'c', id('c'))
    for (let i = 0; i < 4; i += 1) cluster.round()
    expect(cluster.state.members.map(({ status }) => status)).toEqual(before.members.map(({ status }) => status))
  })

  it('a session that ends just after an outage has its time to live from the end of the outage', () => {
    const cluster = new TestCluster(['a', 'b', 'c'])
    const { nowMs } = cluster
    const a = cluster.at('a')
    const hear = (atMs: number): void => {
      for (const name of ['b', 'c']) a.handleHeard(atMs, id(name))
    }
    a.handleCoordinator(nowMs, true)
    a.handleCoordinator(nowMs + 10_000, false)
    hear(nowMs + 10_000)
    a.handleSessionEnd(nowMs + 10_100, 'c')
    expect(kinds(a.propose(nowMs + 10_100))).toEqual([])
    hear(nowMs + 13_000)
    expect(kinds(a.propose(nowMs + 13_000)).slice(0, 1)).toEqual(['suspect'])
  })

  it('a node that stood still itself suspects nobody, but those whose connections were reset', () => {
    const cluster = new TestCluster(['a', 'b', 'c'])
    const a = cluster.at('a')
    a.handleReset(cluster.nowMs, id('c'))
    expect(a.suspects(cluster.nowMs + 5000)).toEqual([id('b'), id('c')])
    a.handleStandstill(cluster.nowMs + 5000)
    expect(a.suspects(cluster.nowMs + 5000)).toEqual([id('c')])
  })
})

describe('scaling', () => {
  it('a member that joins gets its share, two copies at a time, with no copy ever missing', () => {
    const cluster = new TestCluster(['a', 'b', 'c'])
    cluster.addNode('d')
    cluster.write(joinMember(cluster.state, member('d'), expected))
    for (let i = 0; i < 200; i += 1) {
      cluster.round()
      const moving = cluster.state.partitions.filter(({ backups, inSync }) => backups.length + 1 > inSync.length)
      expect(moving.length).toBeLessThanOrEqual(2)
      cluster.obey()
      expect(cluster.state.partitions.every(({ inSync }) => inSync.length >= 2)).toBe(true)
    }
    expect(['a', 'b', 'c', 'd'].map(name => copiesOf(cluster.state, name))).toEqual([6, 6, 6, 6])
    expect(cluster.state.partitions.every(({ inSync, backups }) => inSync.length === 2 && backups.length === 1)).toBe(true)
  })

  it('a member that leaves hands its primaries over, is replaced, and is forgotten', () => {
    const cluster = new TestCluster(['a', 'b', 'c'])
    cluster.write(beginLeave(cluster.state, id('b')))
    cluster.obey()
    expect(cluster.state.partitions.every(({ primary }) => primary?.node !== id('b'))).toBe(true)
    for (let i = 0; i < 100; i += 1) {
      cluster.round()
      cluster.obey()
      expect(cluster.state.partitions.every(({ inSync }) => inSync.length >= 2)).toBe(true)
    }
    expect(cluster.state.members.map(({ name }) => name)).toEqual(['a', 'c'])
  })
})

describe('the table', () => {
  const formed = (): ClusterState => new TestCluster(['a', 'b', 'c']).state

  it('that leaves keeps a copy that is needed, while another moves between the shards of a node', () => {
    const cluster = new TestCluster(['a', 'b', 'c'], 2)
    const shard = (name: string, index = 0): Replica => ({ node: id(name), shard: `${name}.${index}#1` as ShardId })
    const [a0, a1, b, c] = [shard('a'), shard('a', 1), shard('b'), shard('c')]
    const record: PartitionRecord = { epoch: 7 as Epoch, primary: a1, backups: [c, a0, b], inSync: [a1, c, a0, b] }
    const members = cluster.state.members.map((one): Member => {
      if (one.name === 'c') return { ...one, status: 'leaving' }
      return one.name === 'a' ? { ...one, shards: [...one.shards, { id: a1.shard, address: 'a:7501' }] } : one
    })
    const steps = new MigrationSteps({ backups: 2, movesPerNode: 2 })
    const before = { ...cluster.state, members, partitions: [record] }
    const after = steps.step(before)
    expect(after.partitions[0]?.inSync).toEqual([a1, c, b])
    expect(steps.step(after)).toBe(after)
  })

  it('never takes the last in-sync replica out: suspected, its partition is unavailable; dead, it is lost', () => {
    const both = suspectMember(suspectMember(formed(), id('a')), id('b'))
    const at = both.partitions.findIndex(({ inSync }) => inSync.every(({ node }) => node !== id('c')))
    const record = both.partitions[at] as PartitionRecord
    expect(record.inSync).toHaveLength(1)
    expect(availabilityOf(both, record)).toBe('unavailable')
    const [last] = record.inSync
    const back = returnMember(both, last?.node as NodeId)
    expect(availabilityOf(back, back.partitions[at] as PartitionRecord)).toBe('available')
    const dead = recordDeath(recordDeath(both, id('a')), id('b'))
    expect(availabilityOf(dead, dead.partitions[at] as PartitionRecord)).toBe('lost')
    const given = giveUpLost(dead)
    expect(given.partitions[at]).toMatchObject({ givenUp: 1, primary: { node: id('c') }, inSync: [{ node: id('c') }] })
    expect(decodeClusterState(encodeClusterState(given))).toEqual(given)
  })

  it('promotes a returned backup whose primary is out of reach', () => {
    const state = formed()
    const record = state.partitions[0] as PartitionRecord
    const [backup] = record.backups
    if (record.primary === undefined || backup === undefined) throw new Error('formed with a backup')
    const both = suspectMember(suspectMember(state, backup.node), record.primary.node)
    // The backup had gone out before: only the primary may come back.
    expect(both.partitions[0]?.inSync).toEqual([record.primary])
    const together = suspectMember(suspectMember(state, record.primary.node), backup.node)
    expect(together.partitions[0]).toMatchObject({ primary: backup, inSync: [backup] })
  })

  it('decides a request only in its epoch, and then always makes a new one', () => {
    const state = formed()
    const record = state.partitions[0] as PartitionRecord
    const request = requestOf('remove', 0, record, record.backups[0])
    const next = decideRequest(state, request)
    expect(next.partitions[0]).toMatchObject({ epoch: 2, inSync: [record.primary], backups: record.backups })
    expect(decideRequest(next, request)).toBe(next)
    expect(
      decideRequest(next, requestOf('handOver', 0, next.partitions[0] as PartitionRecord, record.backups[0])).partitions[0],
    ).toMatchObject({
      epoch: 3,
      primary: record.primary,
    })
    expect(decideRequest(state, requestOf('handOver', 0, record, record.backups[0])).partitions[0]).toMatchObject({
      epoch: 2,
      handedOver: true,
      primary: record.backups[0],
      backups: [record.primary],
    })
  })
})
