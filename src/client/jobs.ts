import { setTimeout as sleep } from 'node:timers/promises'
import { invalidArgument } from '../base/errors.ts'
import { bundleFile } from '../bundling/bundle-file.ts'
import type { AdminCalls } from './admin-calls.ts'
import { type CallOptions, checkOptions, signalOf } from './call-options.ts'

export type JobState = 'starting' | 'running' | 'suspended' | 'restarting' | 'completed' | 'failed' | 'cancelled'

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
}

/** The document that `nearstate job show --json` prints. */
export interface JobStatus {
  readonly name: string
  readonly id: string
  readonly status: JobState
  readonly guarantee: string
  readonly submittedAt: number
  readonly restarts: number
  readonly endedAt?: number
  /** Why it failed; with the stage and the user code's stack, where that is known. */
  readonly failure?: string
  readonly failedStage?: string
  readonly failureStack?: string
  readonly checkpoint: { readonly id: number; readonly at: number; readonly durationMs: number; readonly bytes: number } | null
  readonly stages: readonly StageStatus[]
}

export interface SubmitOptions extends CallOptions {
  /** Default: the name in the job file. */
  readonly name?: string
  /** JSON; the job's own schema checks it. */
  readonly args?: unknown
}

const later = {
  checkpointInterval: 'checkpoints come with the whole stream engine, in a later release',
  guarantee: 'guarantees other than none come with checkpoints, in a later release',
  from: 'savepoints come with checkpoints, in a later release',
}
const pollEveryMs = 100
const ended: readonly JobState[] = ['completed', 'failed', 'cancelled']

/** Stream jobs: `grid.jobs`. */
export class Jobs {
  readonly #calls: AdminCalls
  readonly #submitTimeoutMs: number

  constructor(calls: AdminCalls, submitTimeoutMs: number) {
    this.#calls = calls
    this.#submitTimeoutMs = submitTimeoutMs
  }

  /** Bundles a job file (default export: `defineJob(...)`), checks it on the cluster and starts it. Resolves when its tasks run. */
  async submit(file: string, options: SubmitOptions = {}): Promise<JobHandle> {
    checkOptions('submit', options, ['name', 'args', 'signal', 'timeout'], later)
    const { code, sourceMap } = await bundleFile(file)
    const argsJson = options.args === undefined ? '' : JSON.stringify(options.args)
    if (argsJson === undefined) throw invalidArgument('Cannot submit job: args cannot be written as JSON')
    const request = { name: options.name ?? '', bundle: Buffer.from(code), sourceMap: Buffer.from(sourceMap), argsJson }
    const { json } = await this.#calls.once((admin, unary) => admin.submitJob(request, unary), options, this.#submitTimeoutMs)
    return this.get(statusOf(json).name)
  }

  /** All jobs that the cluster knows, ended ones too. */
  async list(options?: CallOptions): Promise<readonly JobStatus[]> {
    const { jobs } = await this.#calls.repeatable((admin, unary) => admin.listJobs({}, unary), options)
    return jobs.map(job => statusOf(job.json))
  }

  /** A handle; whether there is such a job shows at its first call (NOT_FOUND). */
  get(name: string): JobHandle {
    return new JobHandle(name, this.#calls)
  }
}

export class JobHandle {
  readonly name: string
  readonly #calls: AdminCalls

  constructor(name: string, calls: AdminCalls) {
    this.name = name
    this.#calls = calls
  }

  async status(options?: CallOptions): Promise<JobStatus> {
    const { json } = await this.#calls.repeatable((admin, unary) => admin.getJob({ name: this.name }, unary), options)
    return statusOf(json)
  }

  /** Stops the job; resolves when all its tasks have stopped. What it has written stays. */
  async cancel(options?: CallOptions): Promise<JobStatus> {
    const { json } = await this.#calls.repeatable((admin, unary) => admin.cancelJob({ name: this.name }, unary), options)
    return statusOf(json)
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

const statusOf = (json: string): JobStatus => JSON.parse(json) as JobStatus
