/**
 * What an operator does about partitions that no node within reach holds, and what a member leaves behind.
 *
 * 1. Only in-sync replicas out of reach that are the last of a partition are declared dead: whoever comes back late and holds nothing
 *    that is needed stays a member.
 */
import type { NodeId } from '../base/ids.ts'
import type { ClusterState } from './cluster-state.ts'
import { availabilityOf, giveUpLost, isReachable, recordDeath } from './replica-transitions.ts'
import { type MirrorReport, restoreFurthest } from './restore-transitions.ts'
import { findMember, lostCount } from './transitions.ts'

export interface Recovery {
  readonly state: ClusterState
  /** Partitions taken from the furthest mirror that there is. */
  readonly restored: number
  /** Partitions whose data is given up by this. */
  readonly recovered: number
  /** Names of members that are declared dead for it. */
  readonly declaredDead: readonly string[]
}

/** The same state when every partition is served, or no member is within reach. `mirrors`: what nodes found on their disks. */
export function recoverPartitions(state: ClusterState, mirrors: readonly MirrorReport[] = []): Recovery {
  const nothing: Recovery = { state, restored: 0, recovered: 0, declaredDead: [] }
  if (!state.members.some(isReachable)) return nothing
  const unavailable = state.partitions.filter(record => availabilityOf(state, record) === 'unavailable')
  const holders = new Set(unavailable.flatMap(({ inSync }) => inSync.map(({ node }) => node)))
  const settled = [...holders].reduce((before, node) => recordDeath(before, node), state)
  const filled = restoreFurthest(settled, mirrors)
  const next = giveUpLost(filled)
  const countOf = (from: ClusterState, to: ClusterState): number =>
    to.partitions.filter((record, partition) => record.givenUp !== from.partitions[partition]?.givenUp).length
  const restored = countOf(settled, filled)
  const recovered = countOf(filled, next)
  // Nobody may hold replicas (all are leaving): then nobody is declared dead in vain.
  if (restored + recovered === 0) return nothing
  return { state: next, restored, recovered, declaredDead: [...holders].map(node => findMember(state, node)?.name ?? node) }
}

/** A member that leaves has ended. It is forgotten, unless what it alone held is lost with it. */
export function recordEnd(state: ClusterState, node: NodeId): ClusterState {
  const settled = recordDeath(state, node)
  if (lostCount(settled) > lostCount(state)) return settled
  return settled === state ? state : { ...settled, members: settled.members.filter(({ id }) => id !== node) }
}
