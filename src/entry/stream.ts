/** `nearstate/stream`: what a job file imports. */
export { defineKey, defineTupleKey } from '../keys/key-space.ts'
export type { KeyCodec, Scalar } from '../keys/key-codec.ts'
export type { AnyKey, KeyOf, KeySpace, TupleKeySpace } from '../keys/key-space.ts'
export type { Duration } from '../base/duration.ts'
export { avg, count, countDistinct, defineAggregate, max, min, sum } from '../streaming/graph/aggregate.ts'
export type { Aggregate, Aggregates, CustomAggregate, ResultOf } from '../streaming/graph/aggregate.ts'
export { defineJob } from '../streaming/graph/job.ts'
export type { Job, JobOptions } from '../streaming/graph/job.ts'
export type {
  AsyncCall,
  AsyncOptions,
  FetchAnswer,
  FetchOptions,
  LogOptions,
  MapAsyncOptions,
} from '../streaming/graph/async-options.ts'
export type { OnError } from '../streaming/graph/job-graph.ts'
export type { Schema } from '../base/schema.ts'
export { defineSource } from '../streaming/graph/custom-source.ts'
export type { CustomSource, SourceRead } from '../streaming/graph/custom-source.ts'
export { collect, defineSink, filesSink } from '../streaming/graph/sink-descriptors.ts'
export type { CommittingSink, CustomSink, Sink, SinkInfo, WritingSink } from '../streaming/graph/sink-descriptors.ts'
export { files, generator } from '../streaming/graph/source-descriptors.ts'
export type { FilesOptions, GeneratorOptions, Source, TextRow } from '../streaming/graph/source-descriptors.ts'
export { row } from '../streaming/graph/stage-types.ts'
export type {
  DedupeOptions,
  Emits,
  EventTimeOptions,
  Flow,
  JoinedWindow,
  JoinIntervalOptions,
  JoinType,
  JoinWindowOptions,
  KeyedRequireStage,
  KeyedSideOutputStage,
  KeyedStage,
  LateStage,
  MapRef,
  MapSinkOptions,
  ProcessContext,
  ProcessSpec,
  Ranking,
  RequireStage,
  SideOutputStage,
  SourceStage,
  Stage,
  TopNWindowOptions,
  TtlOptions,
  Windowed,
  WindowOptions,
  WindowStage,
} from '../streaming/graph/stage-types.ts'
export { countWindow, session, sliding, tumbling } from '../streaming/graph/window-spec.ts'
export type { CountWindowOptions, CountWindowSpec, FixedWindowSpec, TimeWindowSpec, WindowSpec } from '../streaming/graph/window-spec.ts'
