/**
 * What can happen to the cluster state: one function per arrow, from a state to the next one. Whoever applies one writes the result
 * with a compare-and-set against the version that it read, and starts over from the new state when that fails.
 *
 * A function that has nothing to change returns the very state that it was given.
 *
 * 1. A partition's epoch never falls, and grows with each change of its primary or in-sync set.
 * 2. Every replica in the table is a shard of a member that is not dead.
 * 3. A member's name is unique. A new process under a dead member's name is a new incarnation, which holds nothing.
 * 4. A partition whose last in-sync replica died is lost, and stays so until `recoverLost`; it never becomes an empty one by itself.
 * 5. The leader, if there is one, is a member that is not dead.
 */
import { NearstateError } from '../base/errors.ts'
import type { Epoch, NodeId } from '../base/ids.ts'
import { type PlacementMember, placementTarget } from '../partitioning/placement.ts'
import type { ClusterState, Member, PartitionRecord, Replica } from './cluster-state.ts'

/** A cluster without members, which has not formed yet. */
export const emptyCluster = (cluster: string, partitionCount: number): ClusterState => ({
  cluster,
  partitionCount,
  leader: undefined,
  members: [],
  partitions: [],
})

export const isLive = (member: Member): boolean => member.status !== 'dead'
export const liveMembers = (state: ClusterState): readonly Member[] => state.members.filter(isLive)
export const findMember = (state: ClusterState, node: NodeId): Member | undefined => state.members.find(({ id }) => id === node)
export const lostCount = (state: ClusterState): number => state.partitions.filter(({ primary }) => primary === undefined).length
export const hasFormed = (state: ClusterState): boolean => state.partitions.length > 0

/**
 * A process joins. It gets partitions when the cluster forms, or by `recoverLost`. Refused with INVALID_ARGUMENT when it means another
 * cluster or another number of partitions, with ALREADY_EXISTS while another process lives under its name.
 */
export function joinMember(
  state: ClusterState,
  member: Member,
  expected: { readonly cluster: string; readonly partitionCount: number },
): ClusterState {
  if (state.cluster !== expected.cluster || state.partitionCount !== expected.partitionCount) {
    throw new NearstateError(
      'INVALID_ARGUMENT',
      `Node "${member.name}" cannot join: it is configured for cluster "${expected.cluster}" with ${expected.partitionCount} partitions, the coordinator holds cluster "${state.cluster}" with ${state.partitionCount}. Both are fixed when a cluster is created`,
    )
  }
  const known = state.members.find(({ name }) => name === member.name)
  if (known?.id === member.id && isLive(known)) return state
  if (known !== undefined && isLive(known)) {
    throw new NearstateError(
      'ALREADY_EXISTS',
      `Node "${member.name}" cannot join cluster "${state.cluster}": a node of that name lives at ${known.address} (pid ${known.pid}). Give this one another name, or wait until the session of the other has lapsed`,
    )
  }
  const members = [...state.members.filter(other => other !== known), member]
  return { ...state, members, leader: state.leader ?? member.name }
}

/** Gives the partitions to the live members once there are enough of them. */
export function assignInitial(state: ClusterState, expectedNodes: number): ClusterState {
  const live = liveMembers(state)
  if (hasFormed(state) || live.length === 0 || live.length < expectedNodes) return state
  const nothing = Array.from({ length: state.partitionCount }, () => ({ primary: undefined, backups: [] }))
  const target = placementTarget(live.map(toPlacementMember), nothing, { backups: 0 })
  return { ...state, partitions: target.map(({ primary }) => servedBy(primary, 1 as Epoch)) }
}

/** That incarnation is known to be gone, and what it held with it. */
export function markDead(state: ClusterState, node: NodeId): ClusterState {
  const member = findMember(state, node)
  if (member === undefined || !isLive(member)) return state
  const members = state.members.map(other => (other === member ? { ...member, status: 'dead' as const } : other))
  return withLeader({ ...state, members, partitions: state.partitions.map(record => withoutNode(record, node)) })
}

/**
 * A member goes in good order. Nothing is handed over yet, so what it alone held is lost, as if it had died; it is forgotten at once
 * only if that was nothing.
 */
export function leaveMember(state: ClusterState, node: NodeId): ClusterState {
  const next = markDead(state, node)
  if (next === state) return state
  return lostCount(next) > lostCount(state) ? next : { ...next, members: next.members.filter(({ id }) => id !== node) }
}

/** That member leads from now on. */
export function takeLeadership(state: ClusterState, node: NodeId): ClusterState {
  const member = findMember(state, node)
  return member === undefined || !isLive(member) || state.leader === member.name ? state : { ...state, leader: member.name }
}

/**
 * Gives up the data of all lost partitions: they are placed, empty, on live members, and the dead are forgotten.
 * UNAVAILABLE when nobody lives.
 */
export function recoverLost(state: ClusterState): ClusterState {
  if (lostCount(state) === 0) return state
  const live = liveMembers(state)
  if (live.length === 0) {
    throw new NearstateError(
      'UNAVAILABLE',
      `Cannot recover ${lostCount(state)} lost partitions of cluster "${state.cluster}": no member is alive`,
    )
  }
  const target = placementTarget(live.map(toPlacementMember), state.partitions, { backups: 0, fillOnly: true })
  const partitions = state.partitions.map((record, partition) =>
    record.primary === undefined ? servedBy(target[partition]?.primary, nextEpoch(record)) : record,
  )
  return { ...state, members: live, partitions }
}

export const toPlacementMember = (member: Member): PlacementMember => ({
  node: member.id,
  name: member.name,
  zone: member.zone,
  shards: member.shards.map(({ id }) => id),
})

const servedBy = (primary: Replica | undefined, epoch: Epoch): PartitionRecord => ({
  epoch,
  primary,
  backups: [],
  inSync: primary === undefined ? [] : [primary],
})

const nextEpoch = (record: PartitionRecord): Epoch => (record.epoch + 1) as Epoch

/** Without that node's replicas; the first in-sync replica left is promoted where it was the primary. */
function withoutNode(record: PartitionRecord, node: NodeId): PartitionRecord {
  const isElsewhere = (replica: Replica): boolean => replica.node !== node
  const held = record.primary?.node === node || !record.backups.every(isElsewhere)
  if (!held) return record
  const inSync = record.inSync.filter(isElsewhere)
  const primary = record.primary !== undefined && isElsewhere(record.primary) ? record.primary : inSync[0]
  return {
    epoch: nextEpoch(record),
    primary,
    backups: record.backups.filter(replica => isElsewhere(replica) && !(replica.node === primary?.node && replica.shard === primary.shard)),
    inSync,
  }
}

/** Invariant 5: the next live member after the old leader, in order of joining, round the end. */
function withLeader(state: ClusterState): ClusterState {
  const at = state.members.findIndex(({ name }) => name === state.leader)
  const inTurn = [...state.members.slice(at + 1), ...state.members.slice(0, at + 1)]
  const old = state.members[at]
  return old !== undefined && isLive(old) ? state : { ...state, leader: inTurn.find(isLive)?.name }
}
