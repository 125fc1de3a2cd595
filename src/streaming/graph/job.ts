/**
 * Jobs: the definition that a job file exports, and what building it gives.
 *
 * The same bundle and arguments are built on every shard; the graphs' hashes must agree, so a build depends on nothing else.
 */
import { invalidArgument, messageOf, NearstateError } from '../../base/errors.ts'
import { FlowBuilder } from './flow-builder.ts'
import type { JobGraph, OnError } from './job-graph.ts'
import { refuseAsync } from './refuse-async.ts'
import { isSchema, type Schema } from '../../base/schema.ts'
import { checkValue } from './broken-row.ts'
import { describeStage, type StageNode } from './stage-spec.ts'
import type { Flow } from './stage-types.ts'

export interface JobOptions<Args> {
  /** Checks (and types) the arguments given at submit. */
  readonly args?: Schema<Args>
  /**
   * What happens to a row that cannot be processed. `fail`: the job fails, naming the stage. `skip`: the row is counted and
   * dropped. `deadLetter`: it is counted and written to the map `<job>.dead-letters`.
   *
   * Without it, user code that throws fails the job, and records that the source or its schema finds broken become dead letters.
   */
  readonly onError?: OnError
}

export interface Job<Args> {
  readonly kind: 'job'
  readonly name: string
  readonly options: JobOptions<unknown>
  readonly build: (flow: Flow, args: never) => void
  readonly takesArguments: boolean
  readonly '~args'?: () => Args
}

export interface BuiltJob {
  readonly graph: JobGraph
  readonly graphJson: string
  readonly nodes: readonly StageNode[]
}

const nameForm = /^[\p{L}\p{N}_][\p{L}\p{N}_.:-]{0,127}$/u
const policies: readonly unknown[] = ['fail', 'skip', 'deadLetter']

/** Describes a job; the default export of a job file. `build` runs on every shard and says which stages there are. */
export function defineJob(name: string, build: (flow: Flow) => void): Job<undefined>
export function defineJob<Args = unknown>(name: string, options: JobOptions<Args>, build: (flow: Flow, args: Args) => void): Job<Args>
export function defineJob(name: string, second: unknown, third?: unknown): Job<never> {
  const build = typeof second === 'function' ? second : third
  const options = typeof second === 'function' ? {} : second
  if (typeof name !== 'string' || !nameForm.test(name)) {
    throw invalidArgument(
      `Cannot define job ${JSON.stringify(name)}: a name is 1 to 128 letters, digits and _ . : -, and begins with no sign but _`,
    )
  }
  if (typeof build !== 'function') throw invalidArgument(`Cannot define job "${name}": a function that builds it is wanted`)
  if (build === second && third !== undefined)
    throw invalidArgument(`Cannot define job "${name}": its options come before the function that builds it`)
  refuseAsync(build, `Cannot define job "${name}": its build function`)
  if (typeof options !== 'object' || options === null) throw invalidArgument(`Cannot define job "${name}": options must be an object`)
  checkOptions(name, options)
  return { kind: 'job', name, options, build: build as Job<never>['build'], takesArguments: typeof second !== 'function' }
}

function checkOptions(name: string, options: object): asserts options is JobOptions<unknown> {
  for (const [option, value] of Object.entries(options)) {
    if (value === undefined) continue
    if (option === 'args') {
      if (!isSchema(value)) throw invalidArgument(`Cannot define job "${name}": args is no Standard Schema`)
    } else if (option === 'onError') {
      if (!policies.includes(value)) {
        throw invalidArgument(`Cannot define job "${name}": onError is ${JSON.stringify(value)}, "fail", "skip" or "deadLetter" is wanted`)
      }
    } else {
      throw invalidArgument(`Cannot define job "${name}": there is no option "${option}"; args and onError are`)
    }
  }
}

export function isJob(value: unknown): value is Job<unknown> {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'job' && 'build' in value
}

/**
 * Runs the job's build function with these arguments (parsed JSON; undefined: none), under the name that it was submitted with.
 * Throws NearstateError INVALID_ARGUMENT that names the stage at fault.
 */
export function buildJob(job: Job<unknown>, args: unknown, name = job.name): BuiltJob {
  const onError = job.options.onError ?? 'fail'
  const onBrokenRow = job.options.onError ?? 'deadLetter'
  const flow = new FlowBuilder(name)
  job.build(flow.asFlow(), checkedArguments(job, args, name) as never)
  const nodes = flow.finish(onError === 'deadLetter' || onBrokenRow === 'deadLetter')
  const graph: JobGraph = { name, onError, onBrokenRow, stages: nodes.map(node => describeStage(node, nodes)) }
  return { graph, graphJson: JSON.stringify(graph), nodes }
}

function checkedArguments(job: Job<unknown>, args: unknown, name: string): unknown {
  if (!job.takesArguments) {
    const none = args === undefined || args === null || (typeof args === 'object' && Object.keys(args).length === 0)
    if (!none) throw invalidArgument(`Cannot build job "${name}": it takes no arguments`)
    return undefined
  }
  if (job.options.args === undefined) return args
  try {
    return checkValue(job.options.args, args)
  } catch (cause) {
    throw new NearstateError('INVALID_ARGUMENT', `Cannot build job "${name}": arguments: ${messageOf(cause)}`, { cause })
  }
}
