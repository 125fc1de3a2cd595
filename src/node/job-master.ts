/**
 * The jobs of the cluster, driven by the leader: submit, watch, cancel. Records live in the coordinator, changed by
 * compare-and-set of the version read, so a deposed leader's write fails.
 *
 * Owns: records and the runs under way. Does not: run tasks (shards), decide who leads (cluster-driver.ts).
 * 1. An attempt number is used once: each submit under a name takes the next one.
 * 2. Every shard of every live node takes part, or the job does not start.
 * 3. Until there are checkpoints, a node that is lost or a partition that gets another primary fails the job: the state of its tasks
 *    is gone.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf, NearstateError } from '../base/errors.ts'
import type { ClusterView, Member } from '../membership/cluster-state.ts'
import { coordinatorKeys } from '../membership/cluster-state.ts'
import type { Coordinator } from '../membership/coordinator-port.ts'
import { isReachable } from '../membership/replica-transitions.ts'
import type { Bundle, ShardAnswers } from '../shard/protocol.ts'
import type { Assignment, Split } from '../streaming/assignment.ts'
import type { SourceConnector } from '../streaming/source.ts'
import { assignmentOf } from '../streaming/graph/assignment-of.ts'
import { type JobGraph, parseGraph } from '../streaming/graph/job-graph.ts'
import type { Logger } from '../telemetry/logger.ts'
import { type BundleStore, bundleOf } from './bundle-store.ts'
import { JobAttempt, membersOf } from './job-attempt.ts'
import type { AttemptEnd, JobDocumentJson, JobFailure, JobRecord, JobStatus } from './job-record.ts'
import { checkJobName, isEnded, jobDocument, primariesDigest } from './job-record.ts'
import type { NodeControl } from './node-control.ts'
import { decodeJson, updateJson } from './watched-table.ts'

export interface JobMasterOptions {
  readonly coordinator: Coordinator
  readonly bundles: BundleStore
  readonly view: () => ClusterView | undefined
  readonly controlOf: (member: Member) => NodeControl
  readonly describe: (job: string, bundle: Bundle, argsJson: string) => Promise<ShardAnswers['describeJob']>
  readonly connectorOf: (kind: string) => SourceConnector
  /** A deployed file uses this bundle too. */
  readonly isDeployed: (hash: string) => Promise<boolean>
  readonly createId: () => string
  readonly wallTimeMs: () => number
  readonly log: Logger
}

export interface JobSubmission {
  /** Empty: the name in the job file. */
  readonly name: string
  readonly code: Uint8Array
  readonly sourceMap: Uint8Array
  readonly argsJson: string
}

const activeJobsMax = 64
/** Ended jobs that stay listed; older ones are forgotten when another is submitted. */
const endedJobsMax = 200
const startTimeoutMs = 60_000
const adoptRetryMs = 1000
/** A node that is out of reach is asked all the same, but not waited for. */
const suspectTimeoutMs = 1000

export class JobMaster {
  readonly #options: JobMasterOptions
  readonly #attempts = new Map<string, JobAttempt>()
  readonly #submitting = new Set<string>()
  /** Ends under way, by job: who asks meanwhile waits for the same one. */
  readonly #endings = new Map<string, Promise<JobRecord>>()
  #leading = false
  #closed = false

  constructor(options: JobMasterOptions) {
    this.#options = options
  }

  /** Called when the cluster state changed. */
  onView(leading: boolean): void {
    if (this.#closed) return
    if (leading && !this.#leading) void this.#lead()
    if (!leading && this.#leading) this.stop()
    this.#leading = leading
    for (const attempt of this.#attempts.values()) attempt.checkMembers()
  }

  async submit(submission: JobSubmission): Promise<JobDocumentJson> {
    const bundle = bundleOf(submission.code, submission.sourceMap)
    if (submission.name !== '') checkJobName(submission.name)
    const described = await this.#options.describe(submission.name, bundle, submission.argsJson)
    const { name } = described
    checkJobName(name)
    if (this.#submitting.has(name)) throw alreadyThere(name, 'starting')
    this.#submitting.add(name)
    try {
      return jobDocument(await this.#start(name, bundle, submission.argsJson, described))
    } finally {
      this.#submitting.delete(name)
    }
  }

  async list(): Promise<readonly JobDocumentJson[]> {
    const records = await this.#records()
    return records.sort((a, b) => b.submittedAtMs - a.submittedAtMs).map(record => this.#document(record))
  }

  async get(name: string): Promise<JobDocumentJson> {
    return this.#document(await this.#read(name))
  }

  /** Answers when all tasks have stopped. A job that has ended stays as it is. */
  async cancel(name: string): Promise<JobDocumentJson> {
    const record = await this.#read(name)
    if (isEnded(record)) return jobDocument(record)
    if (this.#submitting.has(name))
      throw new NearstateError('UNAVAILABLE', `Cannot cancel job "${name}": it is just being started; try again`)
    return jobDocument(await this.#end(record, 'cancelled'))
  }

  /** Jobs by status, for metrics. */
  async countByStatus(): Promise<Readonly<Record<string, number>>> {
    const counts: Record<string, number> = {}
    for (const record of await this.#records()) counts[record.status] = (counts[record.status] ?? 0) + 1
    return counts
  }

  /** A job that has not ended uses this bundle. */
  async uses(hash: string): Promise<boolean> {
    return (await this.#records()).some(record => record.hash === hash && !isEnded(record))
  }

  /** Leaves all runs alone; they go on, and another leader takes them over. */
  stop(): void {
    this.#leading = false
    for (const attempt of this.#attempts.values()) attempt.abandon()
    this.#attempts.clear()
  }

  /** As `stop`, for good. */
  close(): void {
    this.#closed = true
    this.stop()
  }

  async #start(name: string, bundle: Bundle, argsJson: string, described: ShardAnswers['describeJob']): Promise<JobRecord> {
    if (this.#attempts.size >= activeJobsMax) {
      throw new NearstateError('RESOURCE_EXHAUSTED', `Cannot submit job "${name}": ${activeJobsMax} jobs run already, which is the limit`)
    }
    const graph = parseGraph(described.graphJson)
    const splits = await this.#listSplits(graph)
    const view = this.#servingView(name)
    const assignment = assignmentOf(view, graph, splits)
    const { record, last } = await this.#begin(name, bundle.hash, argsJson, view)
    await this.#forgetOldest()
    let isRefused = true
    try {
      await this.#options.bundles.put(bundle)
      await this.#prepareTasks(record, described.graphHash, assignment)
      isRefused = false
      await this.#runTasks(record)
    } catch (error) {
      await this.#end(record, 'failed', failureOfStart(error))
      if (isRefused && last !== undefined) await this.#restore(record, last)
      throw error
    }
    const running = await this.#write(record, { ...record, status: 'running' })
    this.#follow(running)
    return running
  }

  async #listSplits(graph: JobGraph): Promise<Record<string, readonly Split[]>> {
    const splits: Record<string, readonly Split[]> = {}
    for (const stage of graph.stages) {
      if (stage.source !== undefined)
        splits[stage.name] = await this.#options.connectorOf(stage.source.connector).listSplits(stage.source.options)
    }
    return splits
  }

  #servingView(job: string): ClusterView {
    const view = this.#options.view()
    if (view === undefined || view.state.partitions.length === 0) {
      throw new NearstateError('UNAVAILABLE', `Cannot submit job "${job}": the cluster waits for its first members`)
    }
    return view
  }

  /** Writes the record of a new attempt, in place of the last one's; ALREADY_EXISTS while that has not ended. */
  async #begin(name: string, hash: string, argsJson: string, view: ClusterView): Promise<{ record: JobRecord; last?: JobRecord }> {
    let last: JobRecord | undefined
    const nodes = view.state.members.filter(member => member.status === 'alive').map(member => member.id)
    const record = await updateJson<JobRecord>(this.#options.coordinator, coordinatorKeys.job(name), current => {
      if (current !== undefined && !isEnded(current)) throw alreadyThere(name, current.status)
      last = current
      const attempt = (current?.attempt ?? 0) + 1
      return {
        name,
        id: this.#options.createId(),
        status: 'starting',
        attempt,
        hash,
        argsJson,
        submittedAtMs: this.#options.wallTimeMs(),
        nodes,
        primaries: primariesDigest(view.state),
        stages: [],
      }
    })
    if (record === undefined) throw new NearstateError('INTERNAL', `job "${name}" has no record`)
    return last === undefined ? { record } : { record, last }
  }

  /** A run that was refused before it began leaves the record of the last one, but for the number that it has used (1). */
  async #restore(refused: JobRecord, last: JobRecord): Promise<void> {
    await updateJson<JobRecord>(this.#options.coordinator, coordinatorKeys.job(last.name), current =>
      current?.id === refused.id ? { ...last, attempt: refused.attempt } : undefined,
    )
  }

  async #prepareTasks(record: JobRecord, graphHash: string, assignment: Assignment): Promise<void> {
    const { name: job, attempt, hash, argsJson } = record
    const controls = this.#controls(record)
    const request = { job, attempt, hash, argsJson, assignmentJson: JSON.stringify(assignment) }
    const answers = await Promise.all(controls.map(control => control.startJob(request, { timeoutMs: startTimeoutMs })))
    const hashes = new Set([graphHash, ...answers.flatMap(answer => answer.graphHashes)])
    if (hashes.size > 1) {
      throw new NearstateError(
        'INVALID_ARGUMENT',
        `Cannot start job "${job}": its file builds different graphs on different shards; it must depend on its arguments only, not on time, chance or the machine`,
      )
    }
  }

  async #runTasks(record: JobRecord): Promise<void> {
    const { name: job, attempt } = record
    await Promise.all(this.#controls(record).map(control => control.runJob({ job, attempt }, { timeoutMs: startTimeoutMs })))
  }

  #controls(record: JobRecord): readonly NodeControl[] {
    return membersOf(record.nodes, this.#options.view()?.state).map(member => this.#options.controlOf(member))
  }

  #follow(record: JobRecord): void {
    const attempt = new JobAttempt({
      job: record.name,
      attempt: record.attempt,
      nodes: record.nodes,
      primaries: record.primaries,
      state: () => this.#options.view()?.state,
      controlOf: this.#options.controlOf,
      onEnd: outcome => void this.#onEnd(record, outcome),
    })
    this.#attempts.set(record.name, attempt)
    attempt.start()
  }

  async #onEnd(record: JobRecord, outcome: AttemptEnd): Promise<void> {
    const { log } = this.#options
    const failure = outcome.kind === 'failed' ? outcome.failure : undefined
    try {
      await this.#end(record, outcome.kind, failure)
    } catch (error) {
      log.error('the end of a job could not be recorded', { job: record.name, outcome: outcome.kind, reason: messageOf(error) })
    }
  }

  #end(record: JobRecord, status: JobStatus, failure?: JobFailure): Promise<JobRecord> {
    const running = this.#endings.get(record.name)
    if (running !== undefined) return running
    const ending = this.#stopAndRecord(record, status, failure).finally(() => this.#endings.delete(record.name))
    this.#endings.set(record.name, ending)
    return ending
  }

  async #stopAndRecord(record: JobRecord, status: JobStatus, failure: JobFailure | undefined): Promise<JobRecord> {
    const { log, wallTimeMs, bundles } = this.#options
    const attempt = this.#attempts.get(record.name)
    attempt?.abandon()
    // The last figures, where they can still be had.
    await attempt?.refresh().catch(() => undefined)
    const request = { job: record.name, attempt: record.attempt }
    const stops = await Promise.allSettled(
      membersOf(record.nodes, this.#options.view()?.state).map(member =>
        this.#options.controlOf(member).stopJob(request, { timeoutMs: isReachable(member) ? startTimeoutMs : suspectTimeoutMs }),
      ),
    )
    for (const stop of stops) {
      if (stop.status === 'rejected') log.warn('a node did not stop its tasks', { job: record.name, reason: messageOf(stop.reason) })
    }
    const ended = await this.#write(record, {
      ...record,
      status,
      endedAtMs: wallTimeMs(),
      stages: attempt?.stages ?? record.stages,
      ...(failure === undefined ? {} : { failure }),
    })
    this.#attempts.delete(record.name)
    log.info('job ended', { job: record.name, status, reason: failure?.message })
    if (!(await this.uses(record.hash)) && !(await this.#options.isDeployed(record.hash))) {
      await bundles
        .remove(record.hash)
        .catch(error => log.warn("a job's bundle could not be removed", { job: record.name, reason: messageOf(error) }))
    }
    return ended
  }

  /** Writes the next record of the same attempt; CONFLICT when another attempt has begun. */
  async #write(from: JobRecord, next: JobRecord): Promise<JobRecord> {
    await updateJson<JobRecord>(this.#options.coordinator, coordinatorKeys.job(from.name), current => {
      if (current?.id !== from.id)
        throw new NearstateError('CONFLICT', `Cannot change job "${from.name}": another run of that name has begun`)
      return isEnded(current) ? undefined : next
    })
    return this.#read(from.name)
  }

  async #lead(): Promise<void> {
    for (let done = false; !done; ) {
      try {
        await this.#adopt()
        done = true
      } catch (error) {
        this.#options.log.warn('jobs could not be taken over; trying again', { reason: messageOf(error) })
        await sleep(adoptRetryMs)
        if (!this.#leading) return
      }
    }
  }

  /** A new leader goes on with runs whose nodes are all there, and fails those that were being started. */
  async #adopt(): Promise<void> {
    for (const record of await this.#records()) {
      if (isEnded(record) || this.#submitting.has(record.name) || this.#attempts.has(record.name)) continue
      if (record.status === 'running') this.#follow(record)
      else await this.#end(record, 'failed', { message: 'the leader was lost while the job started; submit it again' })
    }
    for (const attempt of this.#attempts.values()) attempt.checkMembers()
  }

  async #forgetOldest(): Promise<void> {
    const ended = (await this.#records()).filter(isEnded).sort((a, b) => b.submittedAtMs - a.submittedAtMs)
    for (const record of ended.slice(endedJobsMax)) {
      const stored = await this.#options.coordinator.read(coordinatorKeys.job(record.name))
      if (stored !== undefined) await this.#options.coordinator.compareAndSet(stored.key, stored.version, undefined)
    }
  }

  async #records(): Promise<JobRecord[]> {
    return (await this.#options.coordinator.list(coordinatorKeys.jobPrefix)).map(value => decodeJson<JobRecord>(value.value))
  }

  async #read(name: string): Promise<JobRecord> {
    const stored = await this.#options.coordinator.read(coordinatorKeys.job(name))
    if (stored === undefined) throw new NearstateError('NOT_FOUND', `There is no job "${name}"`)
    return decodeJson<JobRecord>(stored.value)
  }

  #document(record: JobRecord): JobDocumentJson {
    return jobDocument(record, isEnded(record) ? record.stages : (this.#attempts.get(record.name)?.stages ?? record.stages))
  }
}

const alreadyThere = (name: string, status: string): NearstateError =>
  new NearstateError(
    'ALREADY_EXISTS',
    `Cannot submit job "${name}": a job of that name is ${status}; cancel it first or choose another name`,
  )

function failureOfStart(error: unknown): JobFailure {
  const message = `could not be started: ${messageOf(error)}`
  return error instanceof NearstateError && error.functionStack !== undefined
    ? { message, functionStack: error.functionStack }
    : { message }
}
