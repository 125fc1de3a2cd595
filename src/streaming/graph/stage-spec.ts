/** What a stage does: the plain description that all shards agree on, and the user code beside it. */
import type { KeyCodec } from '../../keys/key-codec.ts'
import type { Aggregates } from './aggregate.ts'
import type { AsyncCall, AsyncLimits } from './async-options.ts'
import type { KeyDescription, MapDescription, StageDescription, StageKind } from './job-graph.ts'
import type { Schema } from '../../base/schema.ts'
import type { Sink } from './sink-descriptors.ts'
import type { Source } from './source-descriptors.ts'
import type { JoinedWindow, JoinType, ProcessSpec } from './stage-types.ts'
import type { FixedWindowSpec, WindowSpec } from './window-spec.ts'

export type RowFunction = (row: unknown, key: unknown) => unknown

export type AsyncFunction = (row: unknown, call: AsyncCall, key: unknown) => unknown

export type Compare = (a: unknown, b: unknown) => number

export interface EventTimeSpec {
  readonly at: (row: unknown) => unknown
  readonly outOfOrdernessMs: number
  readonly idleAfterMs: number | undefined
}

export interface LogSpec {
  readonly text: RowFunction | undefined
  readonly every: number
  readonly perSecond: number
}

export type SinkVisibility = 'atOnce' | 'onCheckpoint'

export type StageSpec =
  | { readonly kind: 'source'; readonly source: Source<unknown>; eventTime: EventTimeSpec | undefined }
  | { readonly kind: 'map' | 'filter' | 'flatMap' | 'sideOutput'; readonly fn: RowFunction }
  | { readonly kind: 'require'; readonly fields: readonly string[] }
  | { readonly kind: 'rejected' | 'late' | 'aside' | 'merge' }
  | { readonly kind: 'keyBy' | 'rekey'; readonly codec: KeyCodec; readonly fn: RowFunction }
  | { readonly kind: 'enrich'; readonly map: MapDescription; readonly join: (row: unknown, value: unknown) => unknown }
  | {
      readonly kind: 'lookup'
      readonly map: MapDescription
      readonly key: RowFunction
      readonly join: (row: unknown, value: unknown) => unknown
      readonly limits: AsyncLimits
    }
  | {
      readonly kind: 'mapAsync'
      readonly fn: AsyncFunction
      readonly limits: AsyncLimits
    }
  | ({ readonly kind: 'log' } & LogSpec)
  | {
      readonly kind: 'process'
      readonly process: ProcessSpec<unknown, unknown, unknown, unknown>
      readonly emits: Schema<unknown> | undefined
      readonly ttlMs: number | undefined
    }
  | { readonly kind: 'aggregate'; readonly aggregates: Aggregates<never> }
  | {
      readonly kind: 'window'
      readonly window: WindowSpec
      readonly aggregates: Aggregates<never>
      readonly earlyMs: number | undefined
      readonly latenessMs: number
    }
  | {
      readonly kind: 'reduce'
      readonly reduce: (value: unknown, row: unknown, key: unknown) => unknown
      readonly ttlMs: number | undefined
    }
  | { readonly kind: 'dedupe'; readonly of: ((row: unknown) => unknown) | undefined; readonly ttlMs: number | undefined }
  | {
      readonly kind: 'topN'
      readonly n: number
      readonly compare: Compare
      /** Undefined: rolling. */
      readonly window: FixedWindowSpec | undefined
      readonly ttlMs: number | undefined
    }
  | {
      readonly kind: 'joinWindow'
      readonly type: JoinType
      readonly window: FixedWindowSpec
      readonly join: (left: unknown, right: unknown, window: JoinedWindow<unknown>) => unknown
    }
  | {
      readonly kind: 'joinInterval'
      readonly type: JoinType
      readonly beforeMs: number
      readonly afterMs: number
      readonly latenessMs: number
      readonly join: (left: unknown, right: unknown) => unknown
    }
  | {
      readonly kind: 'sink'
      readonly map: MapDescription
      readonly value: Schema<unknown> | undefined
      /** A tuple map: the elements after the first. */
      readonly rest: ((row: unknown) => unknown) | undefined
      readonly visible: SinkVisibility
    }
  | { readonly kind: 'output'; readonly sink: Sink<unknown> }
  | { readonly kind: 'deadLetters'; readonly map: MapDescription }

export interface StageNode {
  readonly index: number
  readonly name: string
  /** Indexes of the stages before it. */
  readonly inputs: readonly number[]
  /** Key of the rows that it hands on. */
  readonly key: KeyDescription | undefined
  /** Its rows carry the event time that the author gave them. */
  readonly hasEventTime: boolean
  readonly spec: StageSpec
}

/** Nothing follows them. */
export const isEnd = (kind: StageKind): boolean => kind === 'sink' || kind === 'output'

/** Stages that read the side output of their input. */
export const readsSideOutput = (kind: StageKind): boolean => kind === 'rejected' || kind === 'late' || kind === 'aside'

export function describeStage(node: StageNode, nodes: readonly StageNode[]): StageDescription {
  return {
    name: node.name,
    kind: node.spec.kind,
    inputs: node.inputs.map(index => nodes[index]?.name ?? ''),
    ...(node.key === undefined ? {} : { key: node.key }),
    ...describeSpec(node.spec),
  }
}

function describeSpec(spec: StageSpec): Partial<StageDescription> {
  switch (spec.kind) {
    case 'source': {
      const { source, eventTime } = spec
      const { connector, options } = source
      if (eventTime === undefined) return { source: { connector, options } }
      const { outOfOrdernessMs, idleAfterMs } = eventTime
      return { source: { connector, options, eventTime: { outOfOrdernessMs, ...(idleAfterMs === undefined ? {} : { idleAfterMs }) } } }
    }
    case 'enrich':
      return { reads: spec.map }
    case 'output':
      return { output: { connector: spec.sink.connector, options: spec.sink.options } }
    case 'lookup':
      return { reads: spec.map, calls: spec.limits }
    case 'mapAsync':
      return { calls: spec.limits }
    case 'log':
      return { lines: { every: spec.every, perSecond: spec.perSecond } }
    case 'sink':
      return { sink: spec.map, ...(spec.visible === 'atOnce' ? {} : { visible: spec.visible }) }
    case 'deadLetters':
      return { sink: spec.map }
    case 'window':
      return {
        window: spec.window,
        aggregates: operationsOf(spec.aggregates),
        ...(spec.earlyMs === undefined ? {} : { earlyMs: spec.earlyMs }),
        ...(spec.latenessMs === 0 ? {} : { latenessMs: spec.latenessMs }),
      }
    case 'process':
    case 'reduce':
    case 'dedupe':
      return spec.ttlMs === undefined ? {} : { ttlMs: spec.ttlMs }
    case 'topN':
      return {
        n: spec.n,
        ...(spec.window === undefined ? {} : { window: spec.window }),
        ...(spec.ttlMs === undefined ? {} : { ttlMs: spec.ttlMs }),
      }
    case 'joinWindow':
      return { window: spec.window, join: { type: spec.type } }
    case 'joinInterval':
      return {
        join: { type: spec.type, beforeMs: spec.beforeMs, afterMs: spec.afterMs },
        ...(spec.latenessMs === 0 ? {} : { latenessMs: spec.latenessMs }),
      }
    case 'aggregate':
      return { aggregates: operationsOf(spec.aggregates) }
    case 'require':
      return { fields: spec.fields }
    case 'map':
    case 'filter':
    case 'flatMap':
    case 'rejected':
    case 'sideOutput':
    case 'aside':
    case 'late':
    case 'merge':
    case 'keyBy':
    case 'rekey':
      return {}
  }
}

const operationsOf = (aggregates: Aggregates<never>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(aggregates).map(([name, aggregate]) => [name, aggregate.operation]))
