/**
 * A job as operators of one shard: one per stage, wired as the graph says, with an edge behind every keyBy and the dead letters.
 * Between edges the operators are fused: a batch runs through all of them in one synchronous call.
 */
import { assert } from '../../base/assert.ts'
import { invalidArgument } from '../../base/errors.ts'
import type { KeyCodec } from '../../keys/key-codec.ts'
import type { Assignment } from '../assignment.ts'
import { Edge, type ExchangeLimits } from '../exchange/edge.ts'
import type { RowCodec } from '../exchange/frame.ts'
import { Router } from '../exchange/router.ts'
import type { MapDescription } from '../graph/job-graph.ts'
import type { BuiltJob } from '../graph/job.ts'
import { readsSideOutput, type StageNode, type StageSpec } from '../graph/stage-spec.ts'
import { DeadLettersOperator } from '../operators/dead-letters.ts'
import { KeyByOperator } from '../operators/key-by.ts'
import { type Bounded, isBounded, type Operator } from '../operators/operator.ts'
import { Origins, splitsMax } from '../operators/origin.ts'
import { SideOutputOperator } from '../operators/side-output.ts'
import { SinkOperator } from '../operators/sink.ts'
import { SourceOperator } from '../operators/source.ts'
import { EnrichOperator, FilterOperator, FlatMapOperator, MapOperator, PassOperator, RequireOperator } from '../operators/stateless.ts'
import { Unit } from '../operators/unit.ts'
import type { LocalMap } from '../ports.ts'
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
  const operators = nodes.map(node => {
    const { index, spec } = node
    switch (spec.kind) {
      case 'keyBy':
      case 'rekey':
        return new KeyByOperator(index, unit, spec.fn, codec, router(spec.codec), addEdge(index))
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
      case 'sink':
        return new SinkOperator(index, unit, mapNamed(spec.map.map), codec, spec.value, spec.rest)
      default:
        return simpleOperator(node, spec, unit, stateOf)
    }
  })
  wire(nodes, operators)
  return { unit, origins, operators, edges, ...reachOf(nodes, operators, edges) }
}

type SimpleSpec = Exclude<StageSpec, { kind: 'keyBy' | 'rekey' | 'deadLetters' | 'enrich' | 'sink' }>

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

/** The partitions whose primary this shard is. */
export const ownPartitions = (assignment: Assignment, self: number): readonly number[] =>
  assignment.owners.flatMap((owner, partition) => (owner === self ? [partition] : []))

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
