/** What nodes say to each other about membership and replicas, as messages of peer.proto and back. What comes in is checked here. */
import { invalidArgument } from '../base/errors.ts'
import type { Epoch, NodeId, PartitionId, ShardId } from '../base/ids.ts'
import type { ClusterView } from '../membership/cluster-state.ts'
import { decodeClusterState, encodeClusterState } from '../membership/cluster-state-codec.ts'
import type { HandOverOrder, Replica, ReplicaRequest } from '../partitioning/partition-table.ts'
import type {
  ClusterViewMessage,
  HandOverOrderMessage,
  ReplicaMessage,
  ReplicaRequestMessage,
} from '../wire/generated/nearstate/v1/peer.ts'

/** Encodes the newest view once for all that it is sent to. */
export class ViewEncoder {
  #last: ClusterViewMessage = { version: 0n, state: Buffer.alloc(0) }

  encode({ version, state }: ClusterView): ClusterViewMessage {
    if (Number(this.#last.version) !== version) this.#last = { version: BigInt(version), state: Buffer.from(encodeClusterState(state)) }
    return this.#last
  }
}

/** Everybody tells everybody of a new view: most of what comes is known, and need not be read. */
export const isNews = ({ version }: ClusterViewMessage, known: ClusterView | undefined): boolean =>
  known === undefined || version > BigInt(known.version)

export const viewOf = ({ version, state }: ClusterViewMessage): ClusterView => ({
  version: numberOf(version, 'version'),
  state: decodeClusterState(state),
})

export const requestMessage = (request: ReplicaRequest, silentLeader: string | undefined): ReplicaRequestMessage => ({
  kind: request.kind,
  partition: request.partition,
  epoch: BigInt(request.epoch),
  from: { ...request.from },
  replica: { ...request.replica },
  silentLeader: silentLeader ?? '',
})

export function requestOf({ kind, partition, epoch, from, replica }: ReplicaRequestMessage): ReplicaRequest {
  if (kind !== 'add' && kind !== 'remove' && kind !== 'handOver') {
    throw invalidArgument(`Cannot take a request for replicas of kind "${kind}": add, remove or handOver is wanted`)
  }
  return {
    kind,
    partition: partition as PartitionId,
    epoch: numberOf(epoch, 'epoch') as Epoch,
    from: replicaOf(from, 'from'),
    replica: replicaOf(replica, 'replica'),
  }
}

export const orderMessage = ({ partition, epoch, from, to }: HandOverOrder): HandOverOrderMessage => ({
  partition,
  epoch: BigInt(epoch),
  from: { ...from },
  to: { ...to },
})

export const orderOf = ({ partition, epoch, from, to }: HandOverOrderMessage): HandOverOrder => ({
  kind: 'handOver',
  partition: partition as PartitionId,
  epoch: numberOf(epoch, 'epoch') as Epoch,
  from: replicaOf(from, 'from'),
  to: replicaOf(to, 'to'),
})

export function numberOf(value: bigint, what: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw invalidArgument(`Cannot read a message between nodes: ${what} ${value} is out of range`)
  return Number(value)
}

function replicaOf(message: ReplicaMessage | undefined, what: string): Replica {
  if (message === undefined || message.node === '' || message.shard === '') {
    throw invalidArgument(`Cannot read a message between nodes: "${what}" names no replica`)
  }
  return { node: message.node as NodeId, shard: message.shard as ShardId }
}
