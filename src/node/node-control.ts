/** What the leader asks of a node, its own included: the Control service of peer.proto. All idempotent. */
import type {
  BeatRequest,
  BeatResponse,
  DropMapRequest,
  DropMapResponse,
  HandOverOrderMessage,
  JobProgressResponse,
  LoadFunctionsRequest,
  LoadFunctionsResponse,
  OrderHandOverResponse,
  ReplicaRequestMessage,
  RequestReplicaResponse,
  RunJobRequest,
  RunJobResponse,
  StartJobRequest,
  StartJobResponse,
} from '../wire/generated/nearstate/v1/peer.ts'

export interface CallOptions {
  readonly timeoutMs?: number
}

export interface NodeControl {
  loadFunctions(request: LoadFunctionsRequest, options?: CallOptions): Promise<LoadFunctionsResponse>
  dropMap(request: DropMapRequest, options?: CallOptions): Promise<DropMapResponse>
  startJob(request: StartJobRequest, options?: CallOptions): Promise<StartJobResponse>
  runJob(request: RunJobRequest, options?: CallOptions): Promise<RunJobResponse>
  stopJob(request: RunJobRequest, options?: CallOptions): Promise<RunJobResponse>
  jobProgress(request: RunJobRequest, options?: CallOptions): Promise<JobProgressResponse>
}

/** What nodes say to each other all the time: the rest of the Control service. */
export interface PeerControl {
  beat(request: BeatRequest): Promise<BeatResponse>
  requestReplica(request: ReplicaRequestMessage): Promise<RequestReplicaResponse>
  orderHandOver(request: HandOverOrderMessage): Promise<OrderHandOverResponse>
}
