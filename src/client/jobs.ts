import { setTimeout as sleep } from 'node:timers/promises'
import { type Duration, parseDuration } from '../base/duration.ts'
import { invalidArgument, NearstateError } from '../base/errors.ts'
import { bundleFile } from '../bundling/bundle-file.ts'
import type { AdminCalls } from './admin-calls.ts'
import type { AnyKey, KeySpace } from '../keys/key-space.ts'
import { type CallOptions, checkOptions, signalOf } from './call-options.ts'
import { type DeadLetter, type DeadLetterOptions, JobLetters, type LetterMap, type ListDeadLettersOptions } from './job-letters.ts'
import { replayDeadLetters, type ReplayResult } from './job-replay.ts'
import { type JobLogEntry, type JobLogOptions, jobLog } from './job-logs.ts'
import { collectedRows, type RowOptions } from './job-rows.ts'
import { skewOf, type StageSkew } from './job-skew.ts'
import { JobStateMap } from './job-state.ts'
import { StageReader, type StageReaderOptions } from './stage-reader.ts'

export type JobState = 'starting' | 'running' | 'suspended' | 'restarting' | 'completed' | 'failed' | 'cancelled'

export type Guarantee = 'exactly-once' | 'at-least-once' | 'none'

export interface StageStatus {
  readonly name: string
  readonly kind: string
  readonly tasks: number
  readonly rowsIn: number
  readonly rowsOut: number
  readonly deadLetters: number
  readonly late: number
  /** Milliseconds since the epoch; null: none yet, or the input has ended. */
  readonly watermark: number | null
  readonly stateBytes: number
  /** Since the last start, all tasks together: milliseconds of work that began at this stage. Stages that run as one chain count at the first. */
  readonly busyMs: number
  /** The same for the time in which it had to wait because what is behind it was full: back-pressure. */
  readonly blockedMs: number
  /** Batches of rows that began here, by how long they took: up to 0.25, 0.5, 1, 2, 5, 10, 25, 100 ms, and longer. */
  readonly batches: readonly number[]
}

/** The document that `nearstate job show --json` prints. */
export interface JobStatus {
  readonly name: string
  readonly id: string
  readonly status: JobState
  readonly guarantee: Guarantee
  readonly submittedAt: number
  readonly restarts: number
  readonly endedAt?: number
  /** The savepoint that it began with: `JOB/LABEL`. */
  readonly from?: string
  /** Why it failed, or was restarted last; with the stage and the user code's stack, where that is known. */
  readonly failure?: string
  readonly failedStage?: string
  readonly failureStack?: string
  /** The last one committed; `at` in milliseconds since the epoch. */
  readonly checkpoint: { readonly id: number; readonly at: number; readonly durationMs: number; readonly bytes: number } | null
  /** Committed since it was submitted. */
  readonly checkpoints: number
  /** What was doubtful when it was submitted, each with its stage: state that grows without end, a map that the job reads and writes. */
  readonly warnings: readonly string[]
  readonly stages: readonly StageStatus[]
}

export interface SubmitOptions extends CallOptions {
  /** Default: the name in the job file. */
  readonly name?: string
  /** JSON; the job's own schema checks it. */
  readonly args?: unknown
  /**
   * What a crash may do to state and output; default exactly-once. `none`: no checkpoints, and the job fails when a node that it runs
   * on is lost or its partitions move.
   */
  readonly guarantee?: Guarantee
  /** Between two checkpoints, 10 ms to 24 h; default 1 s. */
  readonly checkpointInterval?: Duration
  /** A savepoint to start from, as `job.savepoint(label)` gives it or by its name `JOB/LABEL`; it may be of another job, and of older code. */
  readonly from?: Savepoint | string
  /** With `from`: stages whose state in the savepoint does not fit the code begin with nothing; else the submit is refused, and says which. */
  readonly allowStateLoss?: boolean
}

/** Of the client. */
export interface JobAccess extends Pick<StageReaderOptions, 'partitionCount' | 'timeoutMs'> {
  readonly lettersOf: (job: string) => LetterMap
}

export interface JobFinding {
  /** An error keeps the job from being started. */
  readonly level: 'error' | 'warning'
  /** Absent: it is about the whole job. */
  readonly stage?: string
  readonly message: string
}

export interface JobCheck {
  readonly name: string
  readonly findings: readonly JobFinding[]
  /** Parts that each source can be read in at once, by its name. */
  readonly splits: Readonly<Record<string, number>>
  /** In the order of the job; each with what else its kind has. */
  readonly stages: readonly {
    readonly name: string
    readonly kind: string
    readonly inputs: readonly string[]
    readonly [detail: string]: unknown
  }[]
  /** The stages as people read them, one a line. */
  readonly text: string
}

/** A copy of a job's state and positions at one of its checkpoints. It stays when the job ends, until it is deleted. */
export interface Savepoint {
  /** `JOB/LABEL`. */
  readonly name: string
  readonly job: string
  readonly label: string
  /** When it was whole, in milliseconds since the epoch. */
  readonly at: number
  /** Hash of the code that wrote the state. */
  readonly code: string
}

const savepointTimeoutMs = 600_000
const submitOptions = ['name', 'args', 'guarantee', 'checkpointInterval', 'from', 'allowStateLoss', 'signal', 'timeout'] as const
const checkOnlyOptions = ['name', 'args', 'guarantee', 'checkpointInterval', 'signal', 'timeout'] as const
const emptySubmission = {
  bundle: Buffer.alloc(0),
  sourceMap: Buffer.alloc(0),
  argsJson: '',
  guarantee: '',
  checkpointIntervalMs: 0,
  from: '',
  allowStateLoss: false,
}
const pollEveryMs = 100
const ended: readonly JobState[] = ['completed', 'failed', 'cancelled']

/** Stream jobs: `grid.jobs`. */
export class Jobs {
  readonly #calls: AdminCalls
  readonly #submitTimeoutMs: number
  readonly #access: JobAccess

  constructor(calls: AdminCalls, submitTimeoutMs: number, access: JobAccess) {
    this.#calls = calls
    this.#submitTimeoutMs = submitTimeoutMs
    this.#access = access
  }

  /** Bundles a job file (default export: `defineJob(...)`), checks it on the cluster and starts it. Resolves when its tasks run. */
  async submit(file: string, options: SubmitOptions = {}): Promise<JobHandle> {
    checkOptions('submit', options, submitOptions)
    const request = await submissionOf(file, options)
    const { json } = await this.#calls.once((admin, unary) => admin.submitJob(request, unary), options, this.#submitTimeoutMs)
    return this.get(statusOf(json).name)
  }

  /** All that `submit` would look at, without starting anything. Rejects when the file describes no job. */
  async check(file: string, options: SubmitOptions = {}): Promise<JobCheck> {
    checkOptions('check', options, checkOnlyOptions)
    const request = await submissionOf(file, options)
    const { json } = await this.#calls.repeatable((admin, unary) => admin.checkJob(request, unary), options, this.#submitTimeoutMs)
    return JSON.parse(json) as JobCheck
  }

  /** All jobs that the cluster knows, ended ones too. */
  async list(options?: CallOptions): Promise<readonly JobStatus[]> {
    const { jobs } = await this.#calls.repeatable((admin, unary) => admin.listJobs({}, unary), options)
    return jobs.map(job => statusOf(job.json))
  }

  /** The savepoints of all jobs, the latest first. */
  async savepoints(options?: CallOptions): Promise<readonly Savepoint[]> {
    const { savepoints } = await this.#calls.repeatable((admin, unary) => admin.listSavepoints({}, unary), options)
    return savepoints.map(({ json }) => JSON.parse(json) as Savepoint)
  }

  /** Deletes a savepoint: `JOB/LABEL`. NOT_FOUND when there is none. Jobs that were started from it do not need it any more. */
  async deleteSavepoint(name: string, options?: CallOptions): Promise<void> {
    const [job = '', label = '', ...more] = name.split('/')
    if (more.length > 0) throw invalidArgument(`Cannot delete savepoint "${name}": it is named JOB/LABEL`)
    await this.#calls.once((admin, unary) => admin.deleteSavepoint({ job, label }, unary), options)
  }

  /** A handle; whether there is such a job shows at its first call (NOT_FOUND). */
  get(name: string): JobHandle {
    return new JobHandle(name, this.#calls, this.#access)
  }
}

export class JobHandle {
  readonly name: string
  readonly #calls: AdminCalls
  readonly #access: JobAccess

  constructor(name: string, calls: AdminCalls, access: JobAccess) {
    this.name = name
    this.#calls = calls
    this.#access = access
  }

  async status(options?: CallOptions): Promise<JobStatus> {
    const { json } = await this.#calls.repeatable((admin, unary) => admin.getJob({ name: this.name }, unary), options)
    return statusOf(json)
  }

  /** Which keys take most rows, for each keyBy and rekey: estimates of the last minutes. CONFLICT while the job's tasks do not run. */
  skew(options?: CallOptions): Promise<readonly StageSkew[]> {
    return skewOf(this.#calls, this.name, options)
  }

  /** The job as it was submitted, looked at against the cluster as it is now. */
  async graph(options?: CallOptions): Promise<JobCheck> {
    const request = { ...emptySubmission, name: this.name }
    const { json } = await this.#calls.repeatable((admin, unary) => admin.checkJob(request, unary), options)
    return JSON.parse(json) as JobCheck
  }

  /** Stops the job; resolves when all its tasks have stopped. What it has written stays. Of a job that has ended, rows that it has collected go. */
  async cancel(options?: CallOptions): Promise<JobStatus> {
    const { json } = await this.#calls.repeatable((admin, unary) => admin.cancelJob({ name: this.name }, unary), options)
    return statusOf(json)
  }

  /** Stops the job after a last checkpoint; resolves when all its tasks have stopped. */
  async suspend(options?: CallOptions): Promise<JobStatus> {
    const { json } = await this.#calls.repeatable((admin, unary) => admin.suspendJob({ name: this.name }, unary), options)
    return statusOf(json)
  }

  /** Starts a suspended job again where its last checkpoint is; resolves when its tasks run. */
  async resume(options?: CallOptions): Promise<JobStatus> {
    const { json } = await this.#calls.repeatable((admin, unary) => admin.resumeJob({ name: this.name }, unary), options)
    return statusOf(json)
  }

  /**
   * The state of a `process`, `aggregate`, `reduce`, `topN` or session window stage, by key, to be read. `key` is the stage's key space;
   * without it keys are taken as the stage has them. Nothing is sent; what is wrong with job or stage shows at the first read.
   */
  state<V = unknown>(stage: string): JobStateMap<KeySpace<string, unknown>, V>
  state<S extends AnyKey, V = unknown>(stage: string, key: S): JobStateMap<S, V>
  state(stage: string, key?: AnyKey): JobStateMap<AnyKey, unknown> {
    return new JobStateMap(this.name, stage, key, this.#readerOf(stage))
  }

  /** The rows that a `collect()` sink has in the last checkpoint, oldest checkpoint first. Those of a job that has completed stay until it is cancelled, or submitted again. */
  rows<Row = unknown>(stage: string, options?: RowOptions): AsyncGenerator<Row> {
    return collectedRows(this.#readerOf(stage), stage, options) as AsyncGenerator<Row>
  }

  /**
   * Rows that could not be processed, in no order; each that is there throughout comes once. They outlive the job's end. NOT_FOUND for a job, or
   * a stage, that there is not. All letters are read, whatever `stage` is; `timeout` is that of one page.
   */
  deadLetters(options?: ListDeadLettersOptions): AsyncGenerator<DeadLetter> {
    return this.#letters().list(options)
  }

  /** Removes dead letters; resolves to how many went. Those that come meanwhile may stay. NOT_FOUND as with `deadLetters`. */
  clearDeadLetters(options?: DeadLetterOptions): Promise<number> {
    return this.#letters().clear(options)
  }

  /**
   * Gives dead letters back to the stages that refused them, as far as they were rows in front of them, while the job runs. Resolves when a
   * checkpoint has each of them, or it has failed again and is a letter still; within `timeout`, by default 10 minutes. With checkpoints each row
   * counts once, however often this is called and whatever is lost meanwhile. CONFLICT when the job does not run.
   */
  async replayDeadLetters(options?: DeadLetterOptions): Promise<ReplayResult> {
    const checkRunning = async (call: CallOptions): Promise<void> => {
      const { status } = await this.status(call)
      if (status === 'suspended' || ended.includes(status))
        throw new NearstateError('CONFLICT', `Cannot replay dead letters of job "${this.name}": it is ${status}; replay them while it runs`)
    }
    await checkRunning(signalOf(options))
    const map = this.#access.lettersOf(this.name)
    return replayDeadLetters({ job: this.name, calls: this.#calls, map, letters: this.#letters(map), checkRunning }, options)
  }

  #letters(map = this.#access.lettersOf(this.name)): JobLetters {
    const stageNames = async (call: CallOptions): Promise<readonly string[]> => (await this.status(call)).stages.map(({ name }) => name)
    return new JobLetters(this.name, map, stageNames)
  }

  /**
   * What the nodes have kept of the job's log, by time, oldest first; with `follow` also what comes, until the job has ended or `signal`
   * aborts. Leaving the loop stops it.
   */
  logs(options?: JobLogOptions): AsyncGenerator<JobLogEntry> {
    return jobLog(this.#calls, this.name, options)
  }

  #readerOf(stage: string): StageReader {
    const { partitionCount, timeoutMs } = this.#access
    return new StageReader({ calls: this.#calls, job: this.name, stage, partitionCount, timeoutMs })
  }

  /**
   * Copies the job's next checkpoint out under this label, while the job goes on; resolves when the copy is whole, within 10 minutes. A
   * node that is lost meanwhile makes it fail (UNAVAILABLE), and nothing is left of it.
   */
  async savepoint(label: string, options?: CallOptions): Promise<Savepoint> {
    const request = { job: this.name, label }
    const { json } = await this.#calls.once((admin, unary) => admin.makeSavepoint(request, unary), options, savepointTimeoutMs)
    return JSON.parse(json) as Savepoint
  }

  /** Resolves with the last status when the job has ended (completed, failed or cancelled), however long that takes; `signal` stops waiting. */
  async ended(options: { readonly signal?: AbortSignal; readonly onStatus?: (status: JobStatus) => void } = {}): Promise<JobStatus> {
    for (;;) {
      const status = await this.status(signalOf(options))
      options.onStatus?.(status)
      if (ended.includes(status.status)) return status
      await sleep(pollEveryMs, undefined, signalOf(options))
    }
  }
}

/** The cluster says which lengths it takes; 0 is no length of time. */
function intervalOf(text: Duration | undefined): number {
  if (text === undefined) return 0
  return Math.min(0xffff_ffff, Math.max(1, parseDuration(text, 'checkpointInterval')))
}

const statusOf = (json: string): JobStatus => JSON.parse(json) as JobStatus

async function submissionOf(file: string, options: SubmitOptions): Promise<typeof emptySubmission & { readonly name: string }> {
  const { code, sourceMap } = await bundleFile(file)
  const argsJson = options.args === undefined ? '' : JSON.stringify(options.args)
  if (argsJson === undefined) throw invalidArgument('Cannot submit job: args cannot be written as JSON')
  return {
    name: options.name ?? '',
    bundle: Buffer.from(code),
    sourceMap: Buffer.from(sourceMap),
    argsJson,
    guarantee: options.guarantee ?? '',
    checkpointIntervalMs: intervalOf(options.checkpointInterval),
    from: typeof options.from === 'object' ? options.from.name : (options.from ?? ''),
    allowStateLoss: options.allowStateLoss === true,
  }
}
