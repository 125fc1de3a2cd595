import { bindService, type BoundService } from '../transport/grpc/service.ts'
import { ControlDefinition } from '../wire/generated/nearstate/v1/peer.ts'
import type { NodeControl, PeerControl } from './node-control.ts'

/** Serves a node's control to the other nodes. */
export const bindControlService = (control: NodeControl, peers: PeerControl): BoundService =>
  bindService(ControlDefinition, {
    loadFunctions: request => control.loadFunctions(request),
    dropMap: request => control.dropMap(request),
    openJob: request => control.openJob(request),
    startJob: request => control.startJob(request),
    runJob: request => control.runJob(request),
    barrierJob: request => control.barrierJob(request),
    commitJob: request => control.commitJob(request),
    dropJob: request => control.dropJob(request),
    savepointJob: request => control.savepointJob(request),
    stopJob: request => control.stopJob(request),
    jobProgress: request => control.jobProgress(request),
    beat: request => peers.beat(request),
    requestReplica: request => peers.requestReplica(request),
    orderHandOver: request => peers.orderHandOver(request),
  })
