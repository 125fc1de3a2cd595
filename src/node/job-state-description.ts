/** What the leader says of a stage whose state is to be read: what it keeps, and which checkpoint of it counts while nothing runs. */
import { invalidArgument, NearstateError } from '../base/errors.ts'
import { formatKeyCodec } from '../keys/key-codec.ts'
import type { JobGraph, StageDescription } from '../streaming/graph/job-graph.ts'
import { isEnded, type RunRecord } from '../streaming/master/record.ts'
import type { StateDescription } from '../wire/state-values.ts'
import type { JobRecord } from './job-record.ts'

/** Stages whose rows stay when the job has completed. */
export const collectingStages = ({ stages }: JobGraph): readonly string[] =>
  stages.filter(({ output }) => output?.connector === 'collect').map(({ name }) => name)

/** The rows that a job that has completed has collected, which are there without a graph; undefined: ask for the state of a job that is there. */
export function describeKeptRows({ name, run, collects = [] }: JobRecord, stage: string): StateDescription | undefined {
  if (!isEnded(run)) return undefined
  if (run.status === 'completed' && collects.includes(stage)) return { kind: 'collect', ...pointsOf(run) }
  const gone = run.status === 'completed' ? 'only rows that it has collected stay' : 'it went with the job'
  throw new NearstateError('CONFLICT', `Cannot read state of stage "${stage}" of job "${name}": the job is ${run.status}, and ${gone}`)
}

/** NOT_FOUND for a stage that the job does not have, INVALID_ARGUMENT for one whose state cannot be read. */
export function describeState({ name, run }: JobRecord, graph: JobGraph, stage: string): StateDescription {
  const described = graph.stages.find(one => one.name === stage)
  if (described === undefined) {
    const readable = graph.stages.filter(one => one.output?.connector === 'collect' || problemOf(one) === undefined).map(one => one.name)
    const those = readable.length === 0 ? 'none of its stages has state to read' : `those with state to read are ${readable.join(', ')}`
    throw new NearstateError('NOT_FOUND', `Cannot read state of stage "${stage}" of job "${name}": there is no such stage; ${those}`)
  }
  if (described.output?.connector === 'collect') return { kind: 'collect', ...pointsOf(run) }
  const problem = problemOf(described)
  if (problem !== undefined) throw invalidArgument(`Cannot read state of stage "${stage}" of job "${name}": ${problem}`)
  const { kind, aggregates, window, inputs } = described
  const key = graph.stages.find(one => one.name === inputs[0])?.key
  return {
    kind: kind === 'window' ? 'session' : (kind as StateDescription['kind']),
    ...(key === undefined ? {} : { keySpace: key.space, keyCodec: formatKeyCodec(key.codec) }),
    ...(aggregates === undefined ? {} : { aggregates }),
    ...(window?.kind === 'session' ? { gapMs: window.gapMs } : {}),
    ...pointsOf(run),
  }
}

/** Why the state of the stage cannot be read; undefined: it can. */
function problemOf({ kind, window }: StageDescription): string | undefined {
  switch (kind) {
    case 'process':
    case 'aggregate':
    case 'reduce':
      return undefined
    case 'topN':
      return window === undefined
        ? undefined
        : 'a ranking of windows keeps the rows of each window; write its results to a map and read that'
    case 'window':
      if (window?.kind === 'session') return undefined
      return `a ${window?.kind ?? ''} window keeps columns for many keys at once; write its results to a map, early ones too if need be, and read that`
    case 'dedupe':
    case 'joinWindow':
    case 'joinInterval':
      return `what a ${kind} stage keeps is its own and has no meaning outside`
    default:
      return `a ${kind} stage keeps no state per key`
  }
}

function pointsOf(run: RunRecord): Pick<StateDescription, 'attempt' | 'hasCheckpoints' | 'isActive' | 'settled'> {
  const { attempt, status, guarantee } = run
  const isActive = !isEnded(run) && status !== 'suspended'
  const common = { attempt, hasCheckpoints: guarantee !== 'none', isActive }
  if (guarantee === 'none' || status === 'running') return common
  const point = run.checkpoint > 0 ? { attempt, n: run.checkpoint } : run.restore
  // One that is about to begin may commit checkpoints that this record does not have.
  return { ...common, settled: { ...point, lastAttempt: isActive ? Math.max(0, attempt - 1) : attempt } }
}
