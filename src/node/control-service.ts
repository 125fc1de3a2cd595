import { bindService, type BoundService } from '../transport/grpc/service.ts'
import { ControlDefinition } from '../wire/generated/nearstate/v1/peer.ts'
import type { NodeControl, PeerControl } from './node-control.ts'

/** Serves a node's control to the other nodes. */
export const bindControlService = (control: NodeControl, peers: PeerControl): BoundService =>
  bindService(ControlDefinition, {
    loadFunctions: request => control.loadFunctions(request),
    dropMap: request => control.dropMap(request),
    startJob: request => control.startJob(request),
    runJob: request => control.runJob(request),
    stopJob: request => control.stopJob(request),
    jobProgress: request => control.jobProgress(request),
    beat: request => peers.beat(request),
    requestReplica: request => peers.requestReplica(request),
    orderHandOver: request => peers.orderHandOver(request),
  })
