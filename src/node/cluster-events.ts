/** What changed between two cluster states, in words that people and programs can follow. */
import type { ClusterState, Member, PartitionRecord } from '../membership/cluster-state.ts'
import { availabilityOf, isReachable } from '../membership/replica-transitions.ts'
import { findMember, lostCount } from '../membership/transitions.ts'
import { isSameReplica } from '../partitioning/partition-table.ts'

interface OfNode {
  readonly node: string
  readonly id: string
}

export type ClusterEvent =
  | (OfNode & { readonly event: 'nodeJoined' })
  /** Out of reach; treated as gone until it is back. */
  | (OfNode & { readonly event: 'nodeSuspected' })
  | (OfNode & { readonly event: 'nodeReturned' })
  | (OfNode & { readonly event: 'nodeLeaving' })
  | (OfNode & { readonly event: 'nodeDead' })
  | (OfNode & { readonly event: 'nodeLeft' })
  | { readonly event: 'leaderChanged'; readonly leader: string | null }
  | { readonly event: 'partitionsAssigned'; readonly partitions: number }
  /** Backups were promoted: `partitions` that the node led. */
  | (OfNode & { readonly event: 'failover'; readonly partitions: number })
  /** Primaries were handed over in good order. */
  | { readonly event: 'partitionsHandedOver'; readonly partitions: number }
  /** Copies are being built, the first of them `copies`; and all are. */
  | { readonly event: 'migrationBegun'; readonly copies: number }
  | { readonly event: 'migrationDone' }
  /** No copy is within reach; served again as soon as one is. */
  | { readonly event: 'partitionsUnavailable'; readonly partitions: number; readonly unavailable: number }
  | { readonly event: 'partitionsLost'; readonly partitions: number; readonly lost: number }
  | { readonly event: 'partitionsRecovered'; readonly partitions: number; readonly lost: number }

/** `before` is undefined at the first look. */
export function clusterEventsBetween(before: ClusterState | undefined, after: ClusterState): readonly ClusterEvent[] {
  const events: ClusterEvent[] = [...memberEvents(before, after)]
  if (before?.leader !== after.leader) events.push({ event: 'leaderChanged', leader: after.leader ?? null })
  if ((before?.partitions.length ?? 0) === 0 && after.partitions.length > 0) {
    events.push({ event: 'partitionsAssigned', partitions: after.partitions.length })
  }
  events.push(...primaryEvents(before, after), ...copyEvents(before, after), ...lossEvents(before, after))
  return events
}

function* memberEvents(before: ClusterState | undefined, after: ClusterState): Iterable<ClusterEvent> {
  const now = new Map(after.members.map(member => [member.id, member]))
  for (const { id, name, status } of before?.members ?? []) {
    if (status === 'dead') continue // told before
    const current = now.get(id)
    if (current === undefined) yield { event: after.members.some(member => member.name === name) ? 'nodeDead' : 'nodeLeft', node: name, id }
    else if (current.status !== status) yield* statusEvents(status, current)
  }
  const known = new Set((before?.members ?? []).map(member => member.id))
  for (const { id, name, status } of after.members) if (status !== 'dead' && !known.has(id)) yield { event: 'nodeJoined', node: name, id }
}

function* statusEvents(before: Member['status'], { id, name, status }: Member): Iterable<ClusterEvent> {
  if (status === 'dead') yield { event: 'nodeDead', node: name, id }
  else if (status === 'suspect') yield { event: 'nodeSuspected', node: name, id }
  else if (before === 'suspect') yield { event: 'nodeReturned', node: name, id }
  else if (status === 'leaving') yield { event: 'nodeLeaving', node: name, id }
}

/** Who led before and is out of reach now was replaced; who is within reach has handed over. */
function* primaryEvents(before: ClusterState | undefined, after: ClusterState): Iterable<ClusterEvent> {
  const promoted = new Map<string, { readonly node: string; readonly id: string; partitions: number }>()
  let handedOver = 0
  for (const [partition, record] of (before?.partitions ?? []).entries()) {
    const old = record.primary
    const next = after.partitions[partition]?.primary
    if (before === undefined || old === undefined || next === undefined || isSameReplica(old, next)) continue
    const member = findMember(after, old.node)
    if (member !== undefined && isReachable(member)) handedOver += 1
    else {
      const entry = promoted.get(old.node) ?? { node: findMember(before, old.node)?.name ?? old.node, id: old.node, partitions: 0 }
      entry.partitions += 1
      promoted.set(old.node, entry)
    }
  }
  for (const entry of promoted.values()) yield { event: 'failover', ...entry }
  if (handedOver > 0) yield { event: 'partitionsHandedOver', partitions: handedOver }
}

function* copyEvents(before: ClusterState | undefined, after: ClusterState): Iterable<ClusterEvent> {
  const had = before === undefined ? 0 : copyCount(before)
  const copies = copyCount(after)
  if (had === 0 && copies > 0) yield { event: 'migrationBegun', copies }
  if (had > 0 && copies === 0) yield { event: 'migrationDone' }
}

function* lossEvents(before: ClusterState | undefined, after: ClusterState): Iterable<ClusterEvent> {
  const unavailableBefore = before === undefined ? 0 : unavailableCount(before)
  const unavailable = unavailableCount(after)
  if (unavailable > unavailableBefore) yield { event: 'partitionsUnavailable', partitions: unavailable - unavailableBefore, unavailable }
  const lostBefore = before === undefined ? 0 : lostCount(before)
  const lost = lostCount(after)
  if (lost > lostBefore) yield { event: 'partitionsLost', partitions: lost - lostBefore, lost }
  const recovered = (before?.partitions ?? []).filter((record, partition) => isGivenUp(record, after.partitions[partition])).length
  if (recovered > 0) yield { event: 'partitionsRecovered', partitions: recovered, lost }
}

const isGivenUp = (before: PartitionRecord, after: PartitionRecord | undefined): boolean => (after?.givenUp ?? 0) > (before.givenUp ?? 0)

/** Replicas being filled whose node is within reach. */
export function copyCount(state: ClusterState): number {
  const reachable = new Set(state.members.filter(isReachable).map(({ id }) => id))
  let copies = 0
  for (const { backups, inSync } of state.partitions) {
    for (const backup of backups) if (reachable.has(backup.node) && !inSync.some(replica => isSameReplica(replica, backup))) copies += 1
  }
  return copies
}

const unavailableCount = (state: ClusterState): number =>
  state.partitions.filter(record => availabilityOf(state, record) === 'unavailable').length
