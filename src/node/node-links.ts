/** Connections from this node to the control ports of the others, one per incarnation, opened when first used. */
import type { NodeId } from '../base/ids.ts'
import type { ClusterState, Member } from '../membership/cluster-state.ts'
import { liveMembers } from '../membership/transitions.ts'
import { createGrpcClient, type GrpcClient } from '../transport/grpc/client.ts'
import { AdminDefinition } from '../wire/generated/nearstate/v1/admin.ts'
import { ControlDefinition } from '../wire/generated/nearstate/v1/peer.ts'

interface Link {
  /** Heartbeats and requests for replicas: nothing large goes before them. */
  peer: GrpcClient<typeof ControlDefinition>
  readonly control: GrpcClient<typeof ControlDefinition>
  readonly admin: GrpcClient<typeof AdminDefinition>
}

export class NodeLinks {
  readonly #links = new Map<NodeId, Link>()
  readonly #messageMaxBytes: number

  constructor(messageMaxBytes: number) {
    this.#messageMaxBytes = messageMaxBytes
  }

  control(member: Member): GrpcClient<typeof ControlDefinition> {
    return this.#linkTo(member).control
  }

  admin(member: Member): GrpcClient<typeof AdminDefinition> {
    return this.#linkTo(member).admin
  }

  /** For small messages that must not wait behind others. */
  peer(member: Member): GrpcClient<typeof ControlDefinition> {
    return this.#linkTo(member).peer
  }

  /** Heartbeats go over a new connection from now on. */
  renewPeer(member: Member): void {
    const link = this.#linkTo(member)
    link.peer.close()
    link.peer = createGrpcClient(ControlDefinition, member.address, { messageMaxBytes: this.#messageMaxBytes })
  }

  /** Closes the connections to incarnations that have ended; suspects may come back. */
  onView(state: ClusterState): void {
    const there = new Set(liveMembers(state).map(member => member.id))
    for (const [id, link] of this.#links) {
      if (there.has(id)) continue
      this.#links.delete(id)
      close(link)
    }
  }

  stop(): void {
    for (const link of this.#links.values()) close(link)
    this.#links.clear()
  }

  #linkTo(member: Member): Link {
    const existing = this.#links.get(member.id)
    if (existing !== undefined) return existing
    const options = { messageMaxBytes: this.#messageMaxBytes }
    const link: Link = {
      peer: createGrpcClient(ControlDefinition, member.address, options),
      control: createGrpcClient(ControlDefinition, member.address, options),
      admin: createGrpcClient(AdminDefinition, member.address, options),
    }
    this.#links.set(member.id, link)
    return link
  }
}

function close(link: Link): void {
  link.peer.close()
  link.control.close()
  link.admin.close()
}
