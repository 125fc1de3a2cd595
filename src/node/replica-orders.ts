/**
 * What primaries ask of the leader and the leader of primaries, on its way between nodes.
 *
 * Owns: the way of a request, when an order was given last. Nothing is waited for: both are repeated until the table shows them.
 */
import type { Clock } from '../base/clock.ts'
import type { NodeId } from '../base/ids.ts'
import type { ClusterState, Member } from '../membership/cluster-state.ts'
import { reachableMembers } from '../membership/replica-transitions.ts'
import type { ReplicatedMembership } from '../membership/replicated-membership.ts'
import { findMember } from '../membership/transitions.ts'
import { type HandOverOrder, isSameReplica, type ReplicaRequest } from '../partitioning/partition-table.ts'
import type {
  HandOverOrderMessage,
  OrderHandOverResponse,
  ReplicaRequestMessage,
  RequestReplicaResponse,
} from '../wire/generated/nearstate/v1/peer.ts'
import { orderMessage, orderOf, requestMessage, requestOf } from './control-messages.ts'
import { HandOverGate, type HeldJobs } from './hand-over-gate.ts'
import type { CallOptions } from './node-control.ts'

export interface OrderLink {
  requestReplica(request: ReplicaRequestMessage, options: CallOptions): Promise<RequestReplicaResponse>
  orderHandOver(request: HandOverOrderMessage, options: CallOptions): Promise<OrderHandOverResponse>
}

export interface ReplicaOrdersOptions {
  readonly self: NodeId
  readonly clock: Clock
  readonly membership: ReplicatedMembership
  readonly linkTo: (member: Member) => OrderLink
  /** Stream jobs that stand still for hand-overs. */
  readonly jobs: HeldJobs
  /** To the shard that is to hand over, if it is one of this node. */
  readonly postOrder: (order: HandOverOrder) => void
  /** This node, as leader, has been asked for something. */
  readonly onRequest: () => void
}

export const orderEveryMs = 500
const timeoutMs = 500

export class ReplicaOrders {
  readonly #options: ReplicaOrdersOptions
  readonly #gate: HandOverGate
  /** By partition. */
  readonly #ordered = new Map<number, { readonly epoch: number; readonly atMs: number }>()

  constructor(options: ReplicaOrdersOptions) {
    this.#options = options
    this.#gate = new HandOverGate(options.clock, options.jobs, () => this.give())
  }

  /** From a shard of this node. */
  route(request: ReplicaRequest): void {
    const { self, clock, membership, linkTo } = this.#options
    const way = membership.routeRequest(clock.nowMs(), request)
    const member = way === undefined ? undefined : this.#memberOf(way.to)
    if (way === undefined || member === undefined) return
    if (member.id === self) this.#take(request, way.silentLeader)
    else void linkTo(member).requestReplica(requestMessage(request, way.silentLeader), { timeoutMs }).catch(ignore)
  }

  handleRequest(message: ReplicaRequestMessage): void {
    this.#take(requestOf(message), message.silentLeader === '' ? undefined : message.silentLeader)
  }

  handleOrder(message: HandOverOrderMessage): void {
    this.#options.postOrder(orderOf(message))
  }

  /** As leader: gives the orders that are due. */
  give(): void {
    const { self, membership, linkTo, postOrder } = this.#options
    const orders = membership.orders()
    if (!this.#gate.passes(orders.length, isCopying(membership.view?.state))) return
    for (const order of orders) {
      const member = this.#memberOf(order.from.node)
      if (member === undefined || !this.#isDue(order)) continue
      if (member.id === self) postOrder(order)
      else void linkTo(member).orderHandOver(orderMessage(order), { timeoutMs }).catch(ignore)
    }
  }

  #take(request: ReplicaRequest, silentLeader: string | undefined): void {
    const { clock, membership, onRequest } = this.#options
    membership.handleRequest(clock.nowMs(), request, silentLeader)
    onRequest()
  }

  #isDue({ partition, epoch }: HandOverOrder): boolean {
    const last = this.#ordered.get(partition)
    const nowMs = this.#options.clock.nowMs()
    if (last !== undefined && last.epoch === epoch && nowMs - last.atMs < orderEveryMs * 0.9) return false
    this.#ordered.set(partition, { epoch, atMs: nowMs })
    return true
  }

  #memberOf(id: NodeId): Member | undefined {
    const state = this.#options.membership.view?.state
    return state === undefined ? undefined : findMember(state, id)
  }
}

/** Some partition has a copy that is not whole yet, on a node within reach. */
function isCopying(state: ClusterState | undefined): boolean {
  if (state === undefined) return false
  const reachable = new Set(reachableMembers(state).map(({ id }) => id))
  return state.partitions.some(({ backups, inSync }) =>
    backups.some(backup => reachable.has(backup.node) && !inSync.some(replica => isSameReplica(replica, backup))),
  )
}

/** Whoever cannot be reached is asked again. */
const ignore = (): void => {}
