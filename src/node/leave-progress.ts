/** How far a leaving member is, as the table shows it. */
import type { NodeId } from '../base/ids.ts'
import type { ClusterState } from '../membership/cluster-state.ts'
import { stayingMembers } from '../membership/replica-transitions.ts'

export interface LeaveProgress {
  /** Partitions that it still leads. */
  readonly primaries: number
  /** Replicas that it still holds, those included. */
  readonly copies: number
  /** Somebody else stays who could take them. */
  readonly canMove: boolean
}

export function leaveProgress(state: ClusterState, node: NodeId): LeaveProgress {
  let primaries = 0
  let copies = 0
  for (const { primary, backups } of state.partitions) {
    if (primary?.node === node) primaries += 1
    if (primary?.node === node || backups.some(replica => replica.node === node)) copies += 1
  }
  return { primaries, copies, canMove: stayingMembers(state).some(({ id }) => id !== node) }
}
