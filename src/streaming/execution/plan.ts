/**
 * A job as operators of one shard: one per stage, wired as the graph says, with an edge behind every keyBy and the dead letters.
 * Between edges the operators are fused: a batch runs through all of them in one synchronous call.
 */
import { assert } from '../../base/assert.ts'
import { invalidArgument } from '../../base/errors.ts'
import type { KeyCodec } from '../../keys/key-codec.ts'
import type { Assignment, Layout } from '../assignment.ts'
import { Edge, type ExchangeLimits } from '../exchange/edge.ts'
import type { RowCodec } from '../exchange/frame.ts'
import { Router } from '../exchange/router.ts'
import type { AsyncLimits } from '../graph/async-options.ts'
import type { MapDescription } from '../graph/job-graph.ts'
import type { CheckpointRules } from '../checkpoint/rules.ts'
import type { CustomSink, Sink } from '../graph/sink-descriptors.ts'
import type { BuiltJob } from '../graph/job.ts'
import { readsSideOutput, type StageNode, type StageSpec } from '../graph/stage-spec.ts'
import type { AsyncOperatorOptions } from '../operators/asynchronous/async-operator.ts'
import { LookupOperator } from '../operators/asynchronous/lookup.ts'
import { MapAsyncOperator } from '../operators/asynchronous/map-async.ts'
import { CollectOperator } from '../operators/collect.ts'
import { CustomSinkConnector } from '../operators/custom-sink.ts'
import { DeadLettersOperator } from '../operators/dead-letters.ts'
import { HotKeys } from '../operators/hot-keys.ts'
import { KeyByOperator } from '../operators/key-by.ts'
import { HeldSinkOperator } from '../operators/held-sink.ts'
import { LogOperator } from '../operators/log.ts'
import { type Bounded, isBounded, type Operator } from '../operators/operator.ts'
import { Origins, splitsMax } from '../operators/origin.ts'
import { SideOutputOperator } from '../operators/side-output.ts'
import { SinkOperator } from '../operators/sink.ts'
import { SourceOperator } from '../operators/source.ts'
import { EnrichOperator, FilterOperator, FlatMapOperator, MapOperator, PassOperator, RequireOperator } from '../operators/stateless.ts'
import { TwoPhaseSinkOperator } from '../operators/two-phase-sink.ts'
import { Unit } from '../operators/unit.ts'
import type { LocalMap, Outside } from '../ports.ts'
import { StageState } from '../state/stage-state.ts'
import { statefulOperator } from './stateful-operator.ts'

export interface Plan {
  readonly unit: Unit
  readonly origins: Origins
  /** By stage. */
  readonly operators: readonly Operator[]
  readonly edges: readonly Edge[]
  /** Per stage: the edges, and the operators that can be full, that a batch given to it can reach in the same unit. */
  readonly reach: readonly (readonly Bounded[])[]
  /** The same for rows that came through the stage's own edge: they do not pass it again. */
  readonly reachBehind: readonly (readonly Bounded[])[]
}

/** The maps that a job reads and writes; the shard opens them before it plans. */
export function mapsOf(built: BuiltJob): readonly MapDescription[] {
  const maps = new Map<string, MapDescription>()
  for (const { sink, reads } of built.graph.stages) {
    if (sink !== undefined) maps.set(sink.map, sink)
    if (reads !== undefined) maps.set(reads.map, reads)
  }
  return [...maps.values()]
}

/** What operators that act outside of the shard know of their run. */
export interface PlannedRun {
  /** The name that the job runs under. */
  readonly job: string
  readonly attempt: number
  readonly isCheckpointed: boolean
  readonly rules?: CheckpointRules
  readonly outside?: Outside
}

export function planOf(
  built: BuiltJob,
  assignment: Assignment,
  self: number,
  maps: ReadonlyMap<string, LocalMap>,
  codec: RowCodec,
  limits: ExchangeLimits,
  stateOf: (stage: string) => StageState = stage =>
    new StageState({ stage, codec, store: undefined, partitions: ownPartitions(assignment, self) }),
  aligns = true,
  run: PlannedRun = { job: built.graph.name, attempt: 1, isCheckpointed: false },
): Plan {
  const { graph, nodes } = built
  const unit = new Unit(nodes.length, graph.onError, graph.onBrokenRow)
  const origins = new Origins(assignment, graph.stages)
  if (origins.splitCount > splitsMax) {
    throw invalidArgument(`Cannot run job "${graph.name}": its sources have ${origins.splitCount} splits, the limit is ${splitsMax}`)
  }
  const edges: Edge[] = []
  const addEdge = (stage: number): Edge => {
    const edge = new Edge(edges.length, stage, self, assignment.shards.length, limits, aligns && nodes[stage]?.spec.kind !== 'deadLetters')
    edges.push(edge)
    return edge
  }
  const router = (keys: KeyCodec): Router => new Router(keys, self, assignment.owners)
  const mapNamed = (name: string): LocalMap => {
    const map = maps.get(name)
    assert(map !== undefined, `map "${name}" was not opened`)
    return map
  }
  const { attempt, outside } = run
  const reached = (): Outside => {
    assert(outside !== undefined, 'the job reaches outside, and its shell gave no way to')
    return outside
  }
  const asyncOptions = ({ name, key }: StageNode, limits: AsyncLimits): AsyncOperatorOptions => ({
    limits,
    isKeyed: key !== undefined,
    outside: reached(),
    saved: stateOf(name),
    attempt,
    task: String(assignment.shards[self]),
    partitionCount: assignment.owners.length,
  })
  const operators = nodes.map(node => {
    const { index, name, spec } = node
    switch (spec.kind) {
      case 'keyBy':
      case 'rekey':
        return new KeyByOperator(index, unit, spec.fn, codec, router(spec.codec), addEdge(index), new HotKeys(spec.codec, self))
      case 'deadLetters': {
        const names = nodes.map(({ name }) => name)
        const letters = new DeadLettersOperator(
          index,
          unit,
          mapNamed(spec.map.map),
          codec,
          router('string'),
          addEdge(index),
          origins,
          names,
        )
        unit.deadLetters = letters
        return letters
      }
      case 'enrich':
        return new EnrichOperator(index, unit, mapNamed(spec.map.map), spec.join)
      case 'lookup':
        return new LookupOperator(index, unit, asyncOptions(node, spec.limits), spec)
      case 'mapAsync':
        return new MapAsyncOperator(index, unit, asyncOptions(node, spec.limits), spec.fn)
      case 'log': {
        const { log } = reached()
        return new LogOperator(index, unit, spec, text => log(name, text))
      }
      case 'output':
        return outputOperator(node, spec.sink, unit, codec, reached(), assignment, self, run)
      case 'sink':
        if (spec.visible === 'onCheckpoint') {
          if (!run.isCheckpointed) throw invalidArgument(neverVisible(run.job, name))
          const { map, value, rest } = spec
          return new HeldSinkOperator(index, unit, {
            map: mapNamed(map.map),
            keyCodec: map.keyCodec,
            value,
            rest,
            attempt,
            saved: stateOf(name),
          })
        }
        return new SinkOperator(index, unit, mapNamed(spec.map.map), codec, spec.value, spec.rest)
      default:
        return simpleOperator(node, spec, unit, stateOf)
    }
  })
  wire(nodes, operators)
  return { unit, origins, operators, edges, ...reachOf(nodes, operators, edges) }
}

type OuterKind = 'keyBy' | 'rekey' | 'deadLetters' | 'enrich' | 'lookup' | 'mapAsync' | 'log' | 'sink' | 'output'
type SimpleSpec = Exclude<StageSpec, { kind: OuterKind }>

function simpleOperator({ index, name, key }: StageNode, spec: SimpleSpec, unit: Unit, stateOf: (stage: string) => StageState): Operator {
  switch (spec.kind) {
    case 'source':
      return new SourceOperator(index, unit, spec.source.decode, spec.eventTime)
    case 'map':
      return new MapOperator(index, unit, spec.fn)
    case 'filter':
      return new FilterOperator(index, unit, spec.fn)
    case 'sideOutput':
      return new SideOutputOperator(index, unit, spec.fn)
    case 'flatMap':
      return new FlatMapOperator(index, unit, spec.fn)
    case 'require':
      return new RequireOperator(index, unit, spec.fields)
    case 'merge':
    case 'rejected':
    case 'aside':
    case 'late':
      return new PassOperator(index, unit)
    default:
      return statefulOperator(spec, index, unit, stateOf(name), key?.codec ?? 'string')
  }
}

const neverVisible = (job: string, stage: string): string =>
  `Cannot run job "${job}": stage "${stage}" writes with checkpoints, and the guarantee is none; use another guarantee, or visible: 'atOnce'`

function outputOperator(
  { index, name }: StageNode,
  { connector, options, custom }: Sink<unknown>,
  unit: Unit,
  codec: RowCodec,
  outside: Outside,
  assignment: Assignment,
  self: number,
  { job, attempt, isCheckpointed, rules }: PlannedRun,
): Operator {
  const task = String(assignment.shards[self])
  if (connector === 'collect') {
    if (isCheckpointed) return new CollectOperator(index, unit, { stageName: name, attempt, task, codec })
    throw invalidArgument(
      `Cannot run job "${job}": stage "${name}" collects rows, which are kept with checkpoints, and the guarantee is none; use another guarantee or sink`,
    )
  }
  return new TwoPhaseSinkOperator(index, unit, {
    connector:
      custom === undefined ? outside.sinkConnector(connector) : new CustomSinkConnector(custom as CustomSink<unknown>, outside, name),
    options,
    task: { job, jobId: assignment.jobId ?? job, stage: name, attempt, task },
    codec,
    wake: () => outside.wake(),
    isCheckpointed,
    ...(rules === undefined ? {} : { rules }),
  })
}

/** The partitions whose primary this shard is. */
export const ownPartitions = ({ owners }: Layout, self: number): readonly number[] =>
  owners.flatMap((owner, partition) => (owner === self ? [partition] : []))

function wire(nodes: readonly StageNode[], operators: readonly Operator[]): void {
  for (const { index, inputs, spec } of nodes) {
    for (const [number, input] of inputs.entries()) {
      const before = operators[input] as Operator
      ;(readsSideOutput(spec.kind) ? before.sideConsumers : before.consumers).push((operators[index] as Operator).port(number))
    }
  }
}

function reachOf(nodes: readonly StageNode[], operators: readonly Operator[], edges: readonly Edge[]): Pick<Plan, 'reach' | 'reachBehind'> {
  const reach: Bounded[][] = nodes.map(() => [])
  const reachBehind: Bounded[][] = nodes.map(() => [])
  const letters = edges.find(edge => nodes[edge.stage]?.spec.kind === 'deadLetters')
  for (const { index, spec } of [...nodes].reverse()) {
    if (spec.kind === 'deadLetters') continue
    const operator = operators[index] as Operator
    const found = new Set<Bounded>(letters === undefined ? [] : [letters])
    for (const consumer of [...operator.consumers, ...operator.sideConsumers]) {
      for (const edge of reach[consumer.stage] ?? []) found.add(edge)
    }
    reachBehind[index] = [...found]
    if (operator instanceof KeyByOperator) found.add(operator.edge)
    if (isBounded(operator)) found.add(operator)
    reach[index] = [...found]
  }
  return { reach, reachBehind }
}
