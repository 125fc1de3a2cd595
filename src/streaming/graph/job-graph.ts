/** A job as plain data: what every shard must agree on, what is shown, and what the job master reads. Travels as JSON. */
import { invalidArgument } from '../../base/errors.ts'
import type { KeyCodec } from '../../keys/key-codec.ts'
import type { SinkOptions } from '../sink.ts'
import type { SourceOptions } from '../source.ts'
import type { AsyncLimits } from './async-options.ts'
import type { WindowSpec } from './window-spec.ts'

export type OnError = 'fail' | 'skip' | 'deadLetter'

export type StageKind =
  | 'source'
  | 'map'
  | 'filter'
  | 'require'
  | 'rejected'
  | 'sideOutput'
  | 'aside'
  | 'flatMap'
  | 'merge'
  | 'keyBy'
  | 'rekey'
  | 'enrich'
  | 'lookup'
  | 'mapAsync'
  | 'log'
  | 'process'
  | 'aggregate'
  | 'reduce'
  | 'dedupe'
  | 'topN'
  | 'joinWindow'
  | 'joinInterval'
  | 'window'
  | 'late'
  | 'sink'
  | 'output'
  | 'deadLetters'

export interface KeyDescription {
  readonly space: string
  readonly codec: KeyCodec
}

export interface MapDescription {
  readonly map: string
  readonly keySpace: string
  readonly keyCodec: KeyCodec
}

export interface StageDescription {
  readonly name: string
  readonly kind: StageKind
  /** Names of the stages before it. */
  readonly inputs: readonly string[]
  /** Key of the rows that it hands on. */
  readonly key?: KeyDescription
  readonly source?: {
    readonly connector: string
    readonly options: SourceOptions
    readonly eventTime?: { readonly outOfOrdernessMs: number; readonly idleAfterMs?: number }
  }
  /** The map that an enrich or a lookup stage reads. */
  readonly reads?: MapDescription
  /** The map that a sink (or the dead letters) writes. */
  readonly sink?: MapDescription
  /** Of a sink; absent: at once. */
  readonly visible?: 'onCheckpoint'
  /** What an output stage writes with. */
  readonly output?: { readonly connector: string; readonly options: SinkOptions }
  readonly window?: WindowSpec
  /** Of a window: how often early results come, how long late rows still change it; of a join: how long they still find partners. */
  readonly earlyMs?: number
  readonly latenessMs?: number
  /** How long, by event time, state is kept without rows. */
  readonly ttlMs?: number
  readonly n?: number
  /** Of calls: how many rows wait for answers at most, whether rows keep their order, how long a call may take, how often it is repeated. */
  readonly calls?: AsyncLimits
  /** Of a log: every how many rows one is written, and how many a second at most. */
  readonly lines?: { readonly every: number; readonly perSecond: number }
  readonly join?: { readonly type: 'inner' | 'left' | 'outer'; readonly beforeMs?: number; readonly afterMs?: number }
  /** Name -> operation. */
  readonly aggregates?: Readonly<Record<string, string>>
  readonly fields?: readonly string[]
}

export interface JobGraph {
  readonly name: string
  /** What happens to a row for which user code throws. */
  readonly onError: OnError
  /** What happens to a record that the source or its schema finds broken. */
  readonly onBrokenRow: OnError
  /** In an order in which every stage comes after its inputs. */
  readonly stages: readonly StageDescription[]
}

/** Reads what `JSON.stringify` made of a graph; INVALID_ARGUMENT when it is not one. */
export function parseGraph(json: string): JobGraph {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (cause) {
    throw invalidArgument(`Cannot read job graph: ${String(cause)}`)
  }
  const graph = value as Partial<JobGraph> | null
  const stagesAreFine =
    typeof graph === 'object' &&
    graph !== null &&
    typeof graph.name === 'string' &&
    Array.isArray(graph.stages) &&
    graph.stages.every(stage => typeof stage?.name === 'string' && typeof stage.kind === 'string' && Array.isArray(stage.inputs))
  if (!stagesAreFine) throw invalidArgument('Cannot read job graph: name and stages are wanted')
  return graph as JobGraph
}

/** 16 hex digits over the graph's JSON (two FNV-1a of 32 bits): all shards must come to the same. Detects accidents, not attackers. */
export function graphHash(graphJson: string): string {
  let a = 0x811c9dc5
  let b = 0x01000193
  for (let i = 0; i < graphJson.length; i += 1) {
    const unit = graphJson.charCodeAt(i)
    a = Math.imul(a ^ unit, 0x01000193)
    b = Math.imul(b ^ (unit + i), 0x01000193)
  }
  return (a >>> 0).toString(16).padStart(8, '0') + (b >>> 0).toString(16).padStart(8, '0')
}
