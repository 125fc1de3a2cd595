/**
 * The cluster state: one versioned value in the coordinator, changed only by compare-and-set against the version read.
 * Everything here is plain data (it travels as JSON).
 */
import type { NodeId, ShardId } from '../base/ids.ts'
import type { PartitionRecord } from '../partitioning/partition-table.ts'

export type { PartitionRecord, Replica } from '../partitioning/partition-table.ts'

/**
 * `suspect`: treated as gone, and comes back by itself when it was not. `dead`: known to have ended (its name returned as another incarnation, or an
 * operator says so); only that loses data.
 */
export type MemberStatus = 'joining' | 'alive' | 'leaving' | 'suspect' | 'dead'

export interface ShardRecord {
  readonly id: ShardId
  /** host:port of the shard's data and peer services. */
  readonly address: string
}

export interface Member {
  readonly name: string
  readonly id: NodeId
  readonly pid: number
  readonly status: MemberStatus
  readonly zone: string
  /** Release of the software. */
  readonly version: string
  /** host:port of the control service. */
  readonly address: string
  /** host:port of health and metrics. */
  readonly http: string
  readonly shards: readonly ShardRecord[]
  readonly startedAtMs: number
}

export interface ClusterState {
  readonly cluster: string
  readonly partitionCount: number
  /** Name of the leader node. */
  readonly leader: string | undefined
  /** In order of joining; dead members stay until their partitions are given up or their name returns. */
  readonly members: readonly Member[]
  /** One per partition, in order; empty until the cluster has formed. */
  readonly partitions: readonly PartitionRecord[]
}

/** A cluster state with the coordinator's version of it. */
export interface ClusterView {
  readonly version: number
  readonly state: ClusterState
}

/** Keys in the coordinator. */
export const coordinatorKeys = {
  cluster: 'cluster',
  session: (nodeName: string): string => `sessions/${nodeName}`,
  sessionPrefix: 'sessions/',
  map: (name: string): string => `maps/${name}`,
  mapPrefix: 'maps/',
  /** The last map id given. */
  mapIdCounter: 'counters/map-id',
  job: (name: string): string => `jobs/${name}`,
  jobPrefix: 'jobs/',
  savepoint: (job: string, label: string): string => `savepoints/${job}/${label}`,
  savepointPrefix: 'savepoints/',
  /** What a node found in its durable mirror when it started. */
  mirrors: (nodeName: string): string => `mirrors/${nodeName}`,
  mirrorsPrefix: 'mirrors/',
  functions: (file: string): string => `functions/${file}`,
  functionsPrefix: 'functions/',
} as const
