/** `nearstate`: the client SDK. */
export type { Duration } from '../base/duration.ts'
export { type ErrorCode, NearstateError } from '../base/errors.ts'
export type { Schema } from '../base/schema.ts'
export type { CallOptions, ExpiryOptions } from '../client/call-options.ts'
export type { ClusterDescription, ClusterMember } from '../client/cluster-description.ts'
export { connect, type ConnectOptions } from '../client/connect.ts'
export type { ConnectionEvent, Grid } from '../client/grid.ts'
export type { GridMap, InvokeAllOptions, MapEntry, ScanOptions } from '../client/grid-map.ts'
export type { ScannedEntry } from '../client/partition-pages.ts'
export type { DeadLetter, DeadLetterOptions, ListDeadLettersOptions } from '../client/job-letters.ts'
export type { ReplayResult } from '../client/job-replay.ts'
export type { JobLogEntry, JobLogOptions } from '../client/job-logs.ts'
export type { RowOptions } from '../client/job-rows.ts'
export type { StageSkew } from '../client/job-skew.ts'
export type { JobStateMap, StateEntry, StateReadOptions, StateScanOptions } from '../client/job-state.ts'
export type {
  Guarantee,
  JobCheck,
  JobFinding,
  JobHandle,
  JobState,
  JobStatus,
  Savepoint,
  StageStatus,
  SubmitOptions,
} from '../client/jobs.ts'
export type { MapInfo, MapOptions } from '../client/maps.ts'
export { type AnyKey, defineKey, defineTupleKey, type KeyOf, type KeySpace, type TupleKeySpace } from '../keys/key-space.ts'
