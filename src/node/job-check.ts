/** What a submit would find, said instead of done: `nearstate job check` and `nearstate job graph`. */
import { messageOf, NearstateError } from '../base/errors.ts'
import type { JobGraph, StageDescription } from '../streaming/graph/job-graph.ts'
import { type Finding, graphText } from '../streaming/graph/submit-checks.ts'
import type { SourceConnector } from '../streaming/source.ts'

export interface JobCheckJson {
  readonly name: string
  /** Without `stage` it is about the whole job. */
  readonly findings: readonly (Omit<Finding, 'stage'> & { readonly stage?: string })[]
  /** Parts that each source can be read in at once. */
  readonly splits: Readonly<Record<string, number>>
  readonly stages: readonly StageDescription[]
  /** The stages as people read them. */
  readonly text: string
}

/** Looks at the sources, as the start of a job does. */
export async function checkedSources(
  graph: JobGraph,
  connectorOf: (kind: string) => SourceConnector,
): Promise<{ readonly splits: Record<string, number>; readonly findings: readonly Finding[] }> {
  const splits: Record<string, number> = {}
  const findings: Finding[] = []
  for (const { name, source } of graph.stages) {
    if (source === undefined) continue
    try {
      splits[name] = (await connectorOf(source.connector).listSplits(source.options)).length
    } catch (error) {
      if (!(error instanceof NearstateError)) throw error
      findings.push({ level: 'error', stage: name, message: messageOf(error) })
    }
  }
  return { splits, findings }
}

export const jobCheck = (
  name: string,
  graph: JobGraph,
  splits: Readonly<Record<string, number>>,
  findings: JobCheckJson['findings'],
): JobCheckJson => ({ name, findings, splits, stages: graph.stages, text: graphText(graph) })
