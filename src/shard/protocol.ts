/**
 * Messages between a node's control thread and its shard workers. Plain data (structured clone); requests carry an id and are
 * answered by `answer`.
 */
import type { ReplayOutcome } from '../streaming/execution/replays.ts'
import type { ReplayLetters } from './jobs/job-attempt.ts'
import type { MessagePort } from 'node:worker_threads'
import type { ErrorCode } from '../base/errors.ts'
import type { NodeId, ShardId } from '../base/ids.ts'
import type { FoundCopy } from '../durability/found-copy.ts'
import type { FsyncMode } from '../durability/fsync-modes.ts'
import type { MirrorIdentity } from '../durability/open-mirror-file.ts'
import type { MapDefinition } from '../grid/map-definition.ts'
import type { KeyCodec } from '../keys/key-codec.ts'
import type { ClusterView } from '../membership/cluster-state.ts'
import type { HandOverOrder, ReplicaRequest } from '../partitioning/partition-table.ts'
import type { ReplicaRole } from '../replication/replica-port.ts'
import type { Assignment, Layout, ShardProgress, Split } from '../streaming/assignment.ts'
import type { Guarantee } from '../streaming/checkpoint/barrier-flow.ts'
import type { BarrierAnswer } from '../streaming/checkpoint/task-checkpoint.ts'
import type { RestorePoint } from '../streaming/master/record.ts'
import type { JobStateAnswer, ReadJobState } from './jobs/state-reads.ts'

export interface ShardLimits {
  /** The store's memory on this shard; writes that grow it are refused at this with RESOURCE_EXHAUSTED. */
  readonly memoryMaxBytes: number
  readonly valueMaxBytes: number
  /** Operations taken and not yet answered, over all clients, above which new ones are refused with RESOURCE_EXHAUSTED. */
  readonly queuedOperationsMax: number
  /** Largest message on the wire, both directions. */
  readonly messageMaxBytes: number
  readonly sliceMaxMs: number
  readonly userCodeTimeLimitMs: number
}

/** Of each partition's replica on this shard; see replication/replica-port.ts. */
export interface ReplicationSettings {
  readonly minInSync: number
  readonly leaseMs: number
  readonly backupTimeoutMs: number
  /** Bytes of effects that a partition keeps for replicas that lag. */
  readonly logMaxBytes: number
  readonly copyBytesPerSecond: number
  /** A client's session is forgotten so long after the last contact. */
  readonly sessionTtlMs: number
}

/** The durable mirror of a shard; see durability/shard-mirror.ts. */
export interface ShardPersistence {
  readonly path: string
  /** Files of shards that this node has no more. */
  readonly orphans: readonly string[]
  readonly identity: MirrorIdentity
  readonly fsync: FsyncMode
  readonly intervalMs: number
  /** That each partition should have, the primary included. */
  readonly copies: number
}

/** workerData of a shard. */
export interface ShardStart {
  readonly nodeName: string
  readonly index: number
  readonly id: ShardId
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  readonly limits: ShardLimits
  readonly autoCreateMaps: boolean
  readonly node: NodeId
  readonly replication: ReplicationSettings
  /** Absent: nothing is kept on disk. */
  readonly persistence?: ShardPersistence
  /** Promises that this node holds, kept by the control thread; see promise-cell.ts. */
  readonly promiseCell: SharedArrayBuffer
  /** Call numbers of user code, shared with the control thread's watchdog; see shard/user-code. */
  readonly callCell: SharedArrayBuffer
}

export interface Bundle {
  readonly hash: string
  readonly code: Uint8Array
  readonly sourceMap: Uint8Array
}

/** Control thread to shard, one way. */
export type ShardCommand =
  | {
      readonly kind: 'view'
      readonly view: ClusterView
      /** Per partition: until when this node has promised not to act as primary, to any earlier primary. -Infinity: never. On `monotonicClock`. */
      readonly promisedUntilMs: Float64Array
      /** Where the promises of a node stand in the promise cell. */
      readonly promiseSlots: readonly (readonly [NodeId, number])[]
    }
  | { readonly kind: 'handOver'; readonly order: HandOverOrder }
  /** All maps there are; what is left out is destroyed. */
  | { readonly kind: 'maps'; readonly definitions: readonly MapDefinition[] }
  /** What is there under one name now; undefined: no map. */
  | { readonly kind: 'map'; readonly name: string; readonly definition: MapDefinition | undefined }
  /** A direct channel to another shard of this node. */
  | { readonly kind: 'threadLink'; readonly peer: ShardId; readonly port: MessagePort }

/** Control thread to shard, answered. */
export type ShardRequest =
  | { readonly kind: 'loadFunctions'; readonly file: string; readonly bundle: Bundle }
  /** Reads or writes a system map, wherever its key lives. Values are raw bytes. */
  | { readonly kind: 'systemGet'; readonly map: string; readonly key: string }
  | { readonly kind: 'systemSet'; readonly map: string; readonly key: string; readonly value: Uint8Array }
  | { readonly kind: 'systemDelete'; readonly map: string; readonly key: string }
  /** Evaluates a job file and answers its graph, without running it. */
  /** `job`: the name that it is to run under; empty: its file's. */
  | { readonly kind: 'describeJob'; readonly job: string; readonly bundle: Bundle; readonly argsJson: string }
  /** Begins an attempt in the partitions that this shard has in `layout`: with a guarantee its start is in their logs when this is answered. */
  | {
      readonly kind: 'openJob'
      readonly job: string
      readonly attempt: number
      readonly bundle: Bundle
      readonly argsJson: string
      readonly guarantee: Guarantee
      readonly restore: RestorePoint
      /** What the restore point is made of, if it is not there yet. */
      readonly savepoint?: SavepointSource
      readonly layout: Layout
    }
  /** Makes the tasks of an attempt that was opened, and finishes what its sinks had prepared. */
  | {
      /** Copies checkpoint n, the one committed last, out under a name; answered when this shard's part of it is whole. */
      readonly kind: 'savepointJob'
      readonly job: string
      readonly attempt: number
      readonly n: number
      readonly savepoint: string
    }
  | { readonly kind: 'startJob'; readonly job: string; readonly attempt: number; readonly assignment: Assignment }
  | { readonly kind: 'runJob'; readonly job: string; readonly attempt: number }
  /** Barrier n, where `committed` is the last one; answered when this shard has done it. */
  | { readonly kind: 'barrierJob'; readonly job: string; readonly attempt: number; readonly n: number; readonly committed: number }
  | { readonly kind: 'commitJob'; readonly job: string; readonly attempt: number; readonly n: number; readonly isLast: boolean }
  /** The job has ended: its state goes, but for the stages to keep. */
  | { readonly kind: 'dropJob'; readonly job: string; readonly attempt: number; readonly keep: readonly string[] }
  | ({ readonly kind: 'readJobState' } & ReadJobState)
  | ({ readonly kind: 'replayLetters' } & ReplayLetters)
  | { readonly kind: 'stopJob'; readonly job: string; readonly attempt: number }
  | { readonly kind: 'jobProgress'; readonly job: string; readonly attempt: number }
  | { readonly kind: 'stats' }
  /** Takes no new work, answers what is under way (for at most graceMs), closes its port. */
  | { readonly kind: 'stop'; readonly graceMs: number }

/** What a run starts from whose restore point is (attempt, 1). */
export interface SavepointSource {
  readonly id: string
  readonly attempt: number
  /** Stages whose state is left out. */
  readonly without: readonly string[]
}

export interface ShardAnswers {
  loadFunctions: { readonly names: readonly string[] }
  systemGet: { readonly value: Uint8Array | undefined }
  systemSet: null
  systemDelete: null
  describeJob: { readonly name: string; readonly graphJson: string; readonly graphHash: string }
  /** `splits`: of the restore point, per source stage, those at home here. */
  openJob: { readonly graphHash: string; readonly splits: Readonly<Record<string, readonly Split[]>> }
  startJob: null
  runJob: null
  /** `shard`: its index in the layout. */
  barrierJob: { readonly shard: number; readonly answer: BarrierAnswer }
  commitJob: null
  /** Partitions of which nothing is left. */
  dropJob: readonly number[]
  readJobState: JobStateAnswer
  replayLetters: readonly ReplayOutcome[]
  /** Index of the shard in the layout. */
  savepointJob: { readonly shard: number }
  stopJob: null
  jobProgress: ShardProgress
  stats: ShardStatsReport
  stop: null
}

export interface MapStatsReport {
  readonly name: string
  readonly entries: number
  readonly bytes: number
  readonly evicted: number
  readonly expired: number
}

export interface ShardStatsReport {
  /** Of partitions whose primary is this shard; maps likewise. */
  readonly entries: number
  readonly bytes: number
  readonly maps: readonly MapStatsReport[]
  readonly operations: number
  readonly refused: number
  readonly connections: number
  readonly quarantinedFunctions: readonly string[]
  readonly replicas: readonly ReplicaReport[]
  readonly mirror?: MirrorStatsReport
}

export interface MirrorStatsReport {
  /** Waiting to be written. */
  readonly backlogBytes: number
  /** Wall time of the last sync; 0: none yet. */
  readonly lastSyncedAtMs: number
  /** Why nothing can be written now. */
  readonly trouble?: string
}

/** A partition that this shard has a part in. */
export interface ReplicaReport {
  readonly partition: number
  readonly role: ReplicaRole
  readonly isServing: boolean
  readonly entries: number
  readonly bytes: number
  /** Of a primary: entries appended and not yet committed, its replication lag. Absent: none. */
  readonly uncommitted?: number
  /** Of a primary: per learner, how much of the copy it holds, 0 to 1. */
  readonly learners: readonly { readonly shard: ShardId; readonly progress: number }[]
}

export interface Failure {
  readonly code: ErrorCode
  readonly message: string
  readonly functionStack?: string
}

export type ToShard =
  | { readonly type: 'command'; readonly command: ShardCommand }
  | { readonly type: 'request'; readonly id: number; readonly request: ShardRequest }
  /** Answer to a ShardAsk. */
  | { readonly type: 'reply'; readonly id: number; readonly value: MapDefinition | undefined; readonly failure?: Failure }

/** Shard to control thread, answered with `reply`: the map's definition, created if it is not there and may be. */
export interface EnsureMap {
  readonly name: string
  readonly keySpace: string
  readonly keyCodec: KeyCodec
}

/** A line of a job's log. */
export interface JobLogLine {
  readonly level: 'info' | 'warn' | 'error'
  /** A `log` stage, the console of the job's code, rows that failed, the engine. */
  readonly from: 'log' | 'console' | 'rows' | 'engine'
  readonly stage?: string
  readonly message: string
  /** Of user code, in positions of its source. */
  readonly stack?: string
  /** Of rows that failed: how many the line stands for. */
  readonly rows?: number
}

export type FromShard =
  /** `found`: what earlier incarnations left in the durable mirror. */
  | { readonly type: 'ready'; readonly port: number; readonly found: readonly FoundCopy[] }
  /** It cannot start, for a reason that is the operator's. */
  | { readonly type: 'refused'; readonly failure: Failure }
  | { readonly type: 'found'; readonly found: readonly FoundCopy[] }
  | { readonly type: 'answer'; readonly id: number; readonly value: unknown; readonly failure?: Failure }
  | { readonly type: 'ensureMap'; readonly id: number; readonly ask: EnsureMap }
  /** To the leader, through the control thread. Not answered: repeated until a newer view comes. */
  | { readonly type: 'replicaRequest'; readonly request: ReplicaRequest }
  /** A promise of the protocol is broken (I6): the shard has stopped serving and its data must not be used; the node ends. */
  | { readonly type: 'broken'; readonly reason: string }
  | {
      readonly type: 'log'
      readonly level: 'info' | 'warn' | 'error'
      readonly message: string
      readonly fields: Readonly<Record<string, string | number>>
    }
  | { readonly type: 'jobLog'; readonly job: string; readonly line: JobLogLine }
