/**
 * What a job's stages keep, as far as its graph says so, and how another graph's differ: whether a savepoint of one fits the other.
 * State is matched by the stages' names.
 */
import type { JobGraph, KeyDescription, StageDescription, StageKind } from './job-graph.ts'

/** A stage with state, as a savepoint remembers it. */
export interface StateShape {
  readonly name: string
  readonly kind: StageKind
  readonly key?: KeyDescription
  /** What else its state was written by: window, aggregates, connector, map. As JSON. */
  readonly layout?: string
}

export interface StateDifference {
  readonly stage: string
  /** After "stage ...": what is different. */
  readonly message: string
}

/** Outputs have handles, which a savepoint does not need: it is done when they are committed. */
const stateful: ReadonlySet<StageKind> = new Set<StageKind>([
  'source',
  'process',
  'aggregate',
  'window',
  'reduce',
  'dedupe',
  'topN',
  'joinWindow',
  'joinInterval',
  'lookup',
  'mapAsync',
  'sink',
])

export const stateShapes = ({ stages }: JobGraph): readonly StateShape[] =>
  stages.filter(stage => stateful.has(stage.kind) && (stage.kind !== 'sink' || stage.visible === 'onCheckpoint')).map(shapeOf)

function shapeOf({ name, kind, key, window, aggregates, source, sink }: StageDescription): StateShape {
  const layout = { window, aggregates, connector: source?.connector, map: sink?.map }
  const isPlain = Object.values(layout).every(part => part === undefined)
  return { name, kind, ...(key === undefined ? {} : { key }), ...(isPlain ? {} : { layout: JSON.stringify(layout) }) }
}

/** Stages of the savepoint that the graph has not, or has otherwise. Stages that only the graph has begin with nothing. */
export function stateDifferences(saved: readonly StateShape[], graph: JobGraph): readonly StateDifference[] {
  const now = new Map(stateShapes(graph).map(shape => [shape.name, shape]))
  return saved.flatMap(shape => {
    const message = differenceOf(shape, now.get(shape.name))
    return message === undefined ? [] : [{ stage: shape.name, message }]
  })
}

function differenceOf(saved: StateShape, now: StateShape | undefined): string | undefined {
  if (now === undefined) return `is missing (it was ${saved.kind})`
  if (now.kind !== saved.kind) return `is ${now.kind} and was ${saved.kind}`
  if (saved.key?.space !== now.key?.space || JSON.stringify(saved.key?.codec) !== JSON.stringify(now.key?.codec))
    return `has keys of ${keyText(now.key)} and had those of ${keyText(saved.key)}`
  if (saved.layout !== now.layout) return `keeps ${now.layout ?? 'values'} and kept ${saved.layout ?? 'values'}`
  return undefined
}

const keyText = (key: KeyDescription | undefined): string => (key === undefined ? 'no key space' : `"${key.space}"`)

/** Sources whose positions the savepoint has not. */
export function newSources(graph: JobGraph, saved: readonly StateShape[], without: readonly string[]): readonly string[] {
  const known = new Set(saved.map(({ name }) => name).filter(name => !without.includes(name)))
  return graph.stages.filter(({ name, source }) => source !== undefined && !known.has(name)).map(({ name }) => name)
}
