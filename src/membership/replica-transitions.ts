/**
 * What can happen to the replicas in the table: one function per arrow, from a state to the next, as in `transitions.ts`.
 *
 * 1. An in-sync set never becomes empty by suspicion or request: its last replica is never taken out. Where no in-sync replica is
 *    within reach the partition is unavailable; only the known death of them all makes it lost.
 * 2. A promotion takes the old primary out of the in-sync set; a hand-over leaves it in, and marks the very record it makes.
 * 3. A request counts only in the epoch that it names and from the primary of it; then it always makes a new epoch, also as a refusal.
 * 4. What is given up counts up `givenUp`: who holds older data starts empty.
 */
import { assert, unreachable } from '../base/assert.ts'
import type { Epoch, NodeId } from '../base/ids.ts'
import { isSameReplica, type PartitionRecord, type Replica, type ReplicaRequest } from '../partitioning/partition-table.ts'
import { placementTarget } from '../partitioning/placement.ts'
import type { ClusterState, Member, MemberStatus } from './cluster-state.ts'
import { everyMembershipRule, type MembershipRules } from './rules.ts'
import { findMember, hasFormed, toPlacementMember } from './transitions.ts'

/** May serve: neither suspected nor dead. */
export const isReachable = (member: Member): boolean => member.status !== 'suspect' && member.status !== 'dead'
export const reachableMembers = (state: ClusterState): readonly Member[] => state.members.filter(isReachable)
/** Members that should hold replicas. */
export const stayingMembers = (state: ClusterState): readonly Member[] =>
  state.members.filter(member => isReachable(member) && member.status !== 'leaving')

export type Availability = 'available' | 'unavailable' | 'lost'

export function availabilityOf(state: ClusterState, record: PartitionRecord): Availability {
  if (record.primary === undefined) return 'lost'
  const member = findMember(state, record.primary.node)
  return member !== undefined && isReachable(member) ? 'available' : 'unavailable'
}

/** Gives the partitions, all copies empty and in sync, to the members once there are enough of them. */
export function formCluster(state: ClusterState, expectedNodes: number, backups: number): ClusterState {
  const members = stayingMembers(state)
  if (hasFormed(state) || members.length === 0 || members.length < expectedNodes) return state
  const nothing = Array.from({ length: state.partitionCount }, () => ({ primary: undefined, backups: [] }))
  const target = placementTarget(members.map(toPlacementMember), nothing, { backups })
  const partitions = target.map(placed => {
    assert(placed.primary !== undefined, 'a member can hold every partition')
    return { epoch: 1 as Epoch, primary: placed.primary, backups: placed.backups, inSync: [placed.primary, ...placed.backups] }
  })
  return { ...state, partitions }
}

/** That member is treated as gone: its partitions pass to in-sync replicas within reach. Wrong suspicion costs nothing but this. */
export const suspectMember = (state: ClusterState, node: NodeId, rules: MembershipRules = everyMembershipRule): ClusterState =>
  withStatus(state, node, 'suspect', rules)

/** A suspect is there again. */
export const returnMember = (state: ClusterState, node: NodeId, rules: MembershipRules = everyMembershipRule): ClusterState =>
  withStatus(state, node, 'alive', rules)

/** A member wants to go: the leader moves its replicas away, and forgets it when it holds none. */
export function beginLeave(state: ClusterState, node: NodeId): ClusterState {
  const member = findMember(state, node)
  return member === undefined || !isReachable(member) ? state : withStatus(state, node, 'leaving', everyMembershipRule)
}

/** That incarnation has ended for certain, and what it held with it. */
export function recordDeath(state: ClusterState, node: NodeId, rules: MembershipRules = everyMembershipRule): ClusterState {
  const settled = withStatus(state, node, 'dead', rules)
  if (settled === state) return state
  const isElsewhere = (replica: Replica): boolean => replica.node !== node
  const partitions = settled.partitions.map((record): PartitionRecord => {
    const backups = record.backups.every(isElsewhere) ? record.backups : record.backups.filter(isElsewhere)
    if (record.inSync.every(isElsewhere)) return backups === record.backups ? record : { ...record, backups }
    const inSync = record.inSync.filter(isElsewhere)
    // Whoever is left in the set is out of reach now, or `settle` had promoted it; it keeps the data and is its primary.
    const primary = record.primary !== undefined && isElsewhere(record.primary) ? record.primary : inSync[0]
    const next = newEpoch(record, { primary, backups: backups.filter(replica => !isSameReplica(replica, primary)), inSync })
    return primary === undefined ? { ...next, ...lastOf(record) } : next
  })
  return { ...settled, partitions }
}

/**
 * Gives up the data of every lost partition: it is placed, empty, on members within reach. Never by itself: an operator asks, who first
 * declares dead (`recordDeath`) what will not come back. Nothing changes where no member is within reach.
 */
export function giveUpLost(state: ClusterState, rules: MembershipRules = everyMembershipRule): ClusterState {
  const isGivenUp = (record: PartitionRecord): boolean =>
    rules.onlyDeadGivenUp ? record.primary === undefined : availabilityOf(state, record) !== 'available'
  const members = stayingMembers(state)
  if (members.length === 0 || !state.partitions.some(isGivenUp)) return state
  const today = state.partitions.map(record => (isGivenUp(record) ? { primary: undefined, backups: [] } : record))
  const target = placementTarget(members.map(toPlacementMember), today, { backups: 0, fillOnly: true })
  const partitions = state.partitions.map((record, partition): PartitionRecord => {
    const primary = target[partition]?.primary
    if (!isGivenUp(record) || primary === undefined) return record
    return { epoch: nextEpoch(record), primary, backups: [], inSync: [primary], givenUp: (record.givenUp ?? 0) + 1 }
  })
  const isUsed = usedNodes(partitions)
  return { ...state, partitions, members: state.members.filter(member => member.status !== 'dead' || isUsed.has(member.id)) }
}

/** What a primary asked for; the same state when the request is out of date. */
export function decideRequest(state: ClusterState, request: ReplicaRequest, rules: MembershipRules = everyMembershipRule): ClusterState {
  const record = state.partitions[request.partition]
  if (record === undefined) return state
  if (rules.requestsBoundToEpoch && (record.epoch !== request.epoch || !isSameReplica(record.primary, request.from))) return state
  const next = decide(state, record, request, rules)
  return next === record ? state : withRecord(state, request.partition, next)
}

function decide(state: ClusterState, record: PartitionRecord, request: ReplicaRequest, rules: MembershipRules): PartitionRecord {
  const { replica } = request
  const isInSync = record.inSync.some(other => isSameReplica(other, replica))
  const member = findMember(state, replica.node)
  const reachable = member !== undefined && isReachable(member)
  switch (request.kind) {
    case 'add': {
      const isLearner = (other: Replica): boolean => !record.inSync.some(inSync => isSameReplica(inSync, other))
      const named = record.backups.find(other => isSameReplica(other, replica))
      const added = rules.casNamesIncarnation ? (reachable ? named : undefined) : (named ?? record.backups.find(isLearner))
      if (added === undefined || !isLearner(added)) return newEpoch(record, {})
      return newEpoch(record, { inSync: [...record.inSync, added] })
    }
    case 'remove': {
      if (isSameReplica(record.primary, replica)) return newEpoch(record, {})
      const inSync = record.inSync.filter(other => !isSameReplica(other, replica))
      assert(inSync.length > 0 || !rules.lastReplicaStays, 'the primary stays in the in-sync set')
      return newEpoch(record, { inSync })
    }
    case 'handOver': {
      if (!isInSync || !reachable || isSameReplica(record.primary, replica)) return newEpoch(record, {})
      const backups = record.backups.filter(other => !isSameReplica(other, replica))
      return newEpoch(record, { primary: replica, backups: [request.from, ...backups], handedOver: true })
    }
    default:
      return unreachable(request)
  }
}

/** One more replica to build: a learner, until its primary asks to add it. */
export function addLearner(state: ClusterState, partition: number, replica: Replica): ClusterState {
  const record = state.partitions[partition]
  assert(record !== undefined, 'a partition of the table')
  return withRecord(state, partition, { ...record, backups: [...record.backups, replica] })
}

/**
 * A replica that is not wanted there goes; never the primary. A learner's going is a new epoch too: taken in again in the same one, it
 * could acknowledge entries and then, late, learn that it has to go (hostile seed 21 with slow threads).
 */
export function dropReplica(state: ClusterState, partition: number, replica: Replica): ClusterState {
  const record = state.partitions[partition]
  assert(record !== undefined && !isSameReplica(record.primary, replica), 'a primary hands over before it goes')
  const backups = record.backups.filter(other => !isSameReplica(other, replica))
  const inSync = record.inSync.filter(other => !isSameReplica(other, replica))
  return withRecord(state, partition, newEpoch(record, { backups, inSync }))
}

const nextEpoch = (record: PartitionRecord): Epoch => (record.epoch + 1) as Epoch

/** `handedOver` belongs to the one record that the hand-over made, `restoredFrom` to the primary that it is about. */
const newEpoch = (record: PartitionRecord, change: Partial<PartitionRecord>): PartitionRecord => {
  const { handedOver: _, restoredFrom, ...rest } = record
  const next = { ...rest, ...change, epoch: nextEpoch(record) }
  return restoredFrom !== undefined && isSameReplica(next.primary, restoredFrom.by) ? { ...next, restoredFrom } : next
}

/** What a lost record keeps of the last one: where to look for mirrors. */
const lastOf = ({ inSync, restoredFrom }: PartitionRecord): Partial<PartitionRecord> => ({
  lastInSync: inSync,
  ...(restoredFrom === undefined ? {} : { restoredFrom }),
})

const withRecord = (state: ClusterState, partition: number, record: PartitionRecord): ClusterState => ({
  ...state,
  partitions: state.partitions.with(partition, record),
})

function withStatus(state: ClusterState, node: NodeId, status: MemberStatus, rules: MembershipRules): ClusterState {
  const member = findMember(state, node)
  if (member === undefined || member.status === status) return state
  const next = { ...state, members: state.members.map(other => (other === member ? { ...member, status } : other)) }
  const reachable = new Set(reachableMembers(next).map(({ id }) => id))
  return { ...next, partitions: next.partitions.map(record => settle(record, replica => reachable.has(replica.node), rules)) }
}

/** Invariants 1 and 2. */
function settle(record: PartitionRecord, isWithinReach: (replica: Replica) => boolean, rules: MembershipRules): PartitionRecord {
  const { primary } = record
  const inSync = record.inSync.filter(isWithinReach)
  if (primary === undefined || inSync.length === record.inSync.length) return record
  if (inSync.length === 0) return rules.lastReplicaStays ? record : newEpoch(record, { inSync: [], primary: undefined })
  const promoted = isWithinReach(primary) ? primary : (inSync[0] as Replica)
  if (promoted === primary) return newEpoch(record, { inSync })
  const backups = [...record.backups.filter(replica => !isSameReplica(replica, promoted)), primary]
  return newEpoch(record, { primary: promoted, backups, inSync: rules.promotionRemovesOldPrimary ? inSync : [...inSync, primary] })
}

const usedNodes = (partitions: readonly PartitionRecord[]): ReadonlySet<NodeId> =>
  new Set(partitions.flatMap(({ primary, backups }) => (primary === undefined ? backups : [primary, ...backups])).map(({ node }) => node))
