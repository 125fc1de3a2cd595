/** What the leader asks of a node, its own included: the Control service of peer.proto. All idempotent. */
import type {
  BarrierJobRequest,
  BarrierJobResponse,
  BeatRequest,
  BeatResponse,
  CommitJobRequest,
  DropJobRequest,
  DropMapRequest,
  DropMapResponse,
  HandOverOrderMessage,
  JobProgressResponse,
  LoadFunctionsRequest,
  LoadFunctionsResponse,
  OpenJobRequest,
  OpenJobResponse,
  OrderHandOverResponse,
  ReplicaRequestMessage,
  RequestReplicaResponse,
  RunJobRequest,
  RunJobResponse,
  DropJobResponse,
  SavepointJobRequest,
  SavepointJobResponse,
  StartJobRequest,
  StartJobResponse,
} from '../wire/generated/nearstate/v1/peer.ts'

export interface CallOptions {
  readonly timeoutMs?: number
}

export interface NodeControl {
  loadFunctions(request: LoadFunctionsRequest, options?: CallOptions): Promise<LoadFunctionsResponse>
  dropMap(request: DropMapRequest, options?: CallOptions): Promise<DropMapResponse>
  openJob(request: OpenJobRequest, options?: CallOptions): Promise<OpenJobResponse>
  startJob(request: StartJobRequest, options?: CallOptions): Promise<StartJobResponse>
  runJob(request: RunJobRequest, options?: CallOptions): Promise<RunJobResponse>
  barrierJob(request: BarrierJobRequest, options?: CallOptions): Promise<BarrierJobResponse>
  commitJob(request: CommitJobRequest, options?: CallOptions): Promise<RunJobResponse>
  dropJob(request: DropJobRequest, options?: CallOptions): Promise<DropJobResponse>
  savepointJob(request: SavepointJobRequest, options?: CallOptions): Promise<SavepointJobResponse>
  stopJob(request: RunJobRequest, options?: CallOptions): Promise<RunJobResponse>
  jobProgress(request: RunJobRequest, options?: CallOptions): Promise<JobProgressResponse>
}

/** What nodes say to each other all the time: the rest of the Control service. */
export interface PeerControl {
  beat(request: BeatRequest): Promise<BeatResponse>
  requestReplica(request: ReplicaRequestMessage): Promise<RequestReplicaResponse>
  orderHandOver(request: HandOverOrderMessage): Promise<OrderHandOverResponse>
}
