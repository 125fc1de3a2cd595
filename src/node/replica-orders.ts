/**
 * What primaries ask of the leader and the leader of primaries, on its way between nodes.
 *
 * Owns: the way of a request, when an order was given last. Nothing is waited for: both are repeated until the table shows them.
 */
import type { Clock } from '../base/clock.ts'
import type { NodeId } from '../base/ids.ts'
import type { Member } from '../membership/cluster-state.ts'
import type { ReplicatedMembership } from '../membership/replicated-membership.ts'
import { findMember } from '../membership/transitions.ts'
import type { HandOverOrder, ReplicaRequest } from '../partitioning/partition-table.ts'
import type {
  HandOverOrderMessage,
  OrderHandOverResponse,
  ReplicaRequestMessage,
  RequestReplicaResponse,
} from '../wire/generated/nearstate/v1/peer.ts'
import { orderMessage, orderOf, requestMessage, requestOf } from './control-messages.ts'
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
  /** To the shard that is to hand over, if it is one of this node. */
  readonly postOrder: (order: HandOverOrder) => void
  /** This node, as leader, has been asked for something. */
  readonly onRequest: () => void
}

export const orderEveryMs = 500
const timeoutMs = 500

export class ReplicaOrders {
  readonly #options: ReplicaOrdersOptions
  /** By partition. */
  readonly #ordered = new Map<number, { readonly epoch: number; readonly atMs: number }>()

  constructor(options: ReplicaOrdersOptions) {
    this.#options = options
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
    for (const order of membership.orders()) {
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

/** Whoever cannot be reached is asked again. */
const ignore = (): void => {}
