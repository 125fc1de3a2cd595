/**
 * What can happen to members and leader: one function per arrow, from a state to the next one (for replicas: replica-transitions.ts).
 * Whoever applies one writes the result with a compare-and-set against the version that it read, and starts over from the new state
 * when that fails.
 *
 * A function that has nothing to change returns the very state that it was given.
 *
 * 1. A member's name is unique. A new process under a dead member's name is a new incarnation, which holds nothing.
 */
import { NearstateError } from '../base/errors.ts'
import type { NodeId } from '../base/ids.ts'
import type { PlacementMember } from '../partitioning/placement.ts'
import type { ClusterState, Member } from './cluster-state.ts'

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
 * A process joins. It gets partitions when the cluster forms, or by migration. Refused with INVALID_ARGUMENT when it means another
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

/** That member leads from now on. */
export function takeLeadership(state: ClusterState, node: NodeId): ClusterState {
  const member = findMember(state, node)
  return member === undefined || !isLive(member) || state.leader === member.name ? state : { ...state, leader: member.name }
}

export const toPlacementMember = (member: Member): PlacementMember => ({
  node: member.id,
  name: member.name,
  zone: member.zone,
  shards: member.shards.map(({ id }) => id),
})
