/** What changed between two cluster states, in words that people and programs can follow. */
import type { ClusterState } from '../membership/cluster-state.ts'
import { lostCount } from '../membership/transitions.ts'

export type ClusterEvent =
  | { readonly event: 'nodeJoined'; readonly node: string; readonly id: string }
  | { readonly event: 'nodeDead'; readonly node: string; readonly id: string }
  | { readonly event: 'nodeLeft'; readonly node: string; readonly id: string }
  | { readonly event: 'leaderChanged'; readonly leader: string | null }
  | { readonly event: 'partitionsAssigned'; readonly partitions: number }
  | { readonly event: 'partitionsLost'; readonly partitions: number; readonly lost: number }
  | { readonly event: 'partitionsRecovered'; readonly partitions: number; readonly lost: number }

/** `before` is undefined at the first look. */
export function clusterEventsBetween(before: ClusterState | undefined, after: ClusterState): readonly ClusterEvent[] {
  const events: ClusterEvent[] = [...memberEvents(before, after)]
  if (before?.leader !== after.leader) events.push({ event: 'leaderChanged', leader: after.leader ?? null })
  if ((before?.partitions.length ?? 0) === 0 && after.partitions.length > 0) {
    events.push({ event: 'partitionsAssigned', partitions: after.partitions.length })
  }
  const lostBefore = before === undefined ? 0 : lostCount(before)
  const lost = lostCount(after)
  if (lost > lostBefore) events.push({ event: 'partitionsLost', partitions: lost - lostBefore, lost })
  if (lost < lostBefore) events.push({ event: 'partitionsRecovered', partitions: lostBefore - lost, lost })
  return events
}

function* memberEvents(before: ClusterState | undefined, after: ClusterState): Iterable<ClusterEvent> {
  const now = new Map(after.members.map(member => [member.id, member]))
  for (const { id, name, status } of before?.members ?? []) {
    if (status === 'dead') continue // told before
    const current = now.get(id)
    if (current?.status === 'dead') yield { event: 'nodeDead', node: name, id }
    else if (current === undefined)
      yield { event: after.members.some(member => member.name === name) ? 'nodeDead' : 'nodeLeft', node: name, id }
  }
  const known = new Set((before?.members ?? []).map(member => member.id))
  for (const { id, name, status } of after.members) if (status !== 'dead' && !known.has(id)) yield { event: 'nodeJoined', node: name, id }
}
