/**
 * The jobs of the cluster, driven by the leader: submit, watch, suspend, resume, cancel. Records live in the coordinator, changed by
 * compare-and-set of the version read, so a deposed leader's write fails.
 *
 * Owns: records before a run and after it, and which runs there are. Does not: drive one (job-run.ts), run tasks (shards), decide who
 * leads (cluster-driver.ts).
 * 1. An attempt number is used once, also by runs that follow each other under one name.
 * 2. Every shard of every live node takes part, or the job does not start.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { invalidArgument, messageOf, NearstateError } from '../base/errors.ts'
import { coordinatorKeys } from '../membership/cluster-state.ts'
import type { Bundle, ShardAnswers } from '../shard/protocol.ts'
import type { Guarantee } from '../streaming/checkpoint/barrier-flow.ts'
import { type JobGraph, parseGraph } from '../streaming/graph/job-graph.ts'
import { checkSubmit, type Finding, type SubmitContext, submitError } from '../streaming/graph/submit-checks.ts'
import type { StageSkew } from '../streaming/execution/key-skew.ts'
import { isEnded, newRun, type RunRecord } from '../streaming/master/record.ts'
import type { StateDescription } from '../wire/state-values.ts'
import { type BundleStore, bundleOf } from './bundle-store.ts'
import { checkedSources, type JobCheckJson, jobCheck } from './job-check.ts'
import type { JobDocumentJson, JobOrigin, JobRecord } from './job-record.ts'
import { checkJobName, jobDocument, remainsOf } from './job-record.ts'
import { JobRemains } from './job-remains.ts'
import { JobSavepoints } from './job-savepoints.ts'
import { collectingStages, describeKeptRows, describeState } from './job-state-description.ts'
import { JobRun, type JobRunNeeds } from './job-run.ts'
import { decodeJson, updateJson } from './watched-table.ts'

export interface JobMasterOptions extends Omit<JobRunNeeds, 'describe'> {
  readonly bundles: BundleStore
  /** The map of this name; undefined: there is none. */
  readonly mapOf: SubmitContext['mapOf']
  /** Maps that are missing are made when a job starts. */
  readonly createsMaps: boolean
  readonly describe: (job: string, bundle: Bundle, argsJson: string) => Promise<ShardAnswers['describeJob']>
  /** A deployed file uses this bundle too. */
  readonly isDeployed: (hash: string) => Promise<boolean>
}

export interface JobSubmission {
  /** Empty: the name in the job file. */
  readonly name: string
  readonly code: Uint8Array
  readonly sourceMap: Uint8Array
  readonly argsJson: string
  /** Empty: exactly-once. */
  readonly guarantee: string
  /** 0: the default. */
  readonly checkpointIntervalMs: number
  /** JOB/LABEL of a savepoint; empty: it starts with nothing. */
  readonly from: string
  /** State of the savepoint that does not fit the code is left out. */
  readonly allowStateLoss: boolean
}

const activeJobsMax = 64
/** Ended jobs that stay listed; older ones are forgotten when another is submitted. */
const endedJobsMax = 200
const adoptRetryMs = 1000
const defaultIntervalMs = 1000
const intervalMinMs = 10
const intervalMaxMs = 24 * 3_600_000

export class JobMaster {
  readonly #options: JobMasterOptions
  readonly #runs = new Map<string, JobRun>()
  readonly #submitting = new Set<string>()
  /** Partitions are being moved: nothing begins until they have. */
  #held = Promise.withResolvers<void>()
  #isHeld = false
  #leading = false
  #closed = false
  readonly savepoints: JobSavepoints
  readonly #remains: JobRemains

  constructor(options: JobMasterOptions) {
    this.#options = options
    this.savepoints = new JobSavepoints({
      ...options,
      runOf: name => this.#runs.get(name),
      recordOf: async name => (await this.#read(name)).record,
      records: () => this.#records(),
    })
    this.#remains = new JobRemains({ ...options, removeCode: hash => this.#removeCode(hash) })
  }

  /** Called when the cluster state changed. */
  onView(leading: boolean): void {
    if (this.#closed) return
    if (leading && !this.#leading) void this.#lead()
    if (!leading && this.#leading) this.stop()
    this.#leading = leading
    for (const run of this.#runs.values()) run.checkMembers()
  }

  async submit(submission: JobSubmission): Promise<JobDocumentJson> {
    const bundle = bundleOf(submission.code, submission.sourceMap)
    if (submission.name !== '') checkJobName(submission.name)
    const settings = settingsOf(submission)
    const described = await this.#options.describe(submission.name, bundle, submission.argsJson)
    const { name } = described
    checkJobName(name)
    const graph = parseGraph(described.graphJson)
    const warnings = this.#check(name, graph)
    if (submission.from === '' && submission.allowStateLoss)
      throw invalidArgument(`Cannot submit job "${name}": allowStateLoss is for starts from a savepoint, and from names none`)
    if (this.#submitting.has(name)) throw alreadyThere(name, 'starting')
    this.#submitting.add(name)
    try {
      const { guarantee } = settings
      const chosen =
        submission.from === '' ? undefined : await this.savepoints.choose(submission.from, graph, guarantee, submission.allowStateLoss)
      const all = [...warnings, ...(chosen?.losses ?? []).map(loss => `its state in the savepoint is left out: ${loss}`)]
      const order = { argsJson: submission.argsJson, warnings: all, collects: collectingStages(graph), from: chosen?.origin }
      return jobDocument(await this.#start(name, bundle, { ...settings, ...order }))
    } finally {
      this.#submitting.delete(name)
    }
  }

  /** All that a submit would look at; with no code, of the job of that name as it was submitted. */
  async check(submission: JobSubmission): Promise<JobCheckJson> {
    const { connectorOf, describe } = this.#options
    settingsOf(submission)
    if (submission.name !== '') checkJobName(submission.name)
    const isFile = submission.code.length > 0
    const record = isFile ? undefined : (await this.#read(submission.name)).record
    const described =
      record === undefined
        ? await describe(submission.name, bundleOf(submission.code, submission.sourceMap), submission.argsJson)
        : await this.#graphOf(record)
    const { name } = described
    checkJobName(name)
    const graph = parseGraph(described.graphJson)
    const { splits, findings } = await checkedSources(graph, connectorOf)
    const taken = isFile ? await this.#takenBy(name) : undefined
    return jobCheck(name, graph, splits, [...(taken === undefined ? [] : [taken]), ...this.#findings(graph), ...findings])
  }

  async #takenBy(name: string): Promise<JobCheckJson['findings'][number] | undefined> {
    const run = (await this.#records()).find(record => record.name === name)?.run
    if (run === undefined || isEnded(run)) return undefined
    return { level: 'error', message: alreadyThere(name, run.status).message }
  }

  async list(): Promise<readonly JobDocumentJson[]> {
    const records = await this.#records()
    return records.sort((a, b) => b.submittedAtMs - a.submittedAtMs).map(record => this.#document(record))
  }

  async get(name: string): Promise<JobDocumentJson> {
    return this.#document((await this.#read(name)).record)
  }

  /** Which keys take most of its rows. CONFLICT while it does not run. */
  async skew(name: string): Promise<readonly StageSkew[]> {
    const { run } = (await this.#read(name)).record
    const skew = this.skewOf(name)
    if (skew !== undefined && !isEnded(run) && run.status !== 'suspended') return skew
    throw new NearstateError(
      'CONFLICT',
      `Cannot tell the key skew of job "${name}": it is ${run.status}, and tasks measure it while they run`,
    )
  }

  /** The same, as far as this node knows: undefined where no run of it is. */
  skewOf(name: string): readonly StageSkew[] | undefined {
    return this.#runs.get(name)?.skew
  }

  /** How the state of one of its stages is to be read. */
  async describeState(name: string, stage: string): Promise<StateDescription> {
    const { record } = await this.#read(name)
    const kept = describeKeptRows(record, stage)
    if (kept !== undefined) return kept
    const run = this.#runs.get(name)
    const known = run?.record.id === record.id ? run.graph : undefined
    return describeState(record, known ?? (await this.#graphOf(record)).graph, stage)
  }

  /** Answers when all tasks have stopped. A job that has ended stays as it is, but for the rows that it has collected: they go. */
  async cancel(name: string): Promise<JobDocumentJson> {
    const { record } = await this.#read(name)
    if (isEnded(record.run)) await this.#forgetRows(record)
    return this.#stopBy(name, 'cancel', run => run.cancel())
  }

  /** After a last checkpoint; answers when all tasks have stopped. A suspended or ended job stays as it is. */
  async suspend(name: string): Promise<JobDocumentJson> {
    const { record } = await this.#read(name)
    if (record.run.guarantee === 'none' && !isEnded(record.run))
      throw invalidArgument(`Cannot suspend job "${name}": its guarantee is none, so it has no checkpoint to go on from; cancel it`)
    return record.run.status === 'suspended' ? jobDocument(record) : this.#stopBy(name, 'suspend', run => run.suspend())
  }

  /** From the last checkpoint on; answers when its tasks run. A job that runs stays as it is. */
  async resume(name: string): Promise<JobDocumentJson> {
    const { record, version } = await this.#read(name)
    if (isEnded(record.run))
      throw new NearstateError('CONFLICT', `Cannot resume job "${name}": it is ${record.run.status}; submit it again`)
    if (record.run.status === 'suspended' && !this.#runs.has(name)) {
      const run = this.#add(record, version)
      run.resume()
      await run.started
    }
    return this.get(name)
  }

  get canHold(): boolean {
    return [...this.#runs.values()].some(({ record }) => record.run.guarantee !== 'none')
  }

  /** For planned moves of partitions: see hand-over-gate.ts. */
  async holdForMove(): Promise<void> {
    this.#isHeld = true
    await Promise.all([...this.#runs.values()].filter(({ record }) => record.run.guarantee !== 'none').map(run => run.hold()))
  }

  release(): void {
    this.#isHeld = false
    this.#held.resolve()
    this.#held = Promise.withResolvers<void>()
    for (const run of this.#runs.values()) run.release()
  }

  /** A job that has not ended uses this bundle. */
  async uses(hash: string): Promise<boolean> {
    return (await this.#records()).some(record => record.hash === hash && !isEnded(record.run))
  }

  /** Leaves all runs alone; another leader takes them over. */
  stop(): void {
    this.#leading = false
    this.savepoints.stop()
    this.#remains.stop()
    for (const run of this.#runs.values()) run.abandon()
    this.#runs.clear()
    this.release()
  }

  /** As `stop`, for good. */
  close(): void {
    this.#closed = true
    this.stop()
  }

  /** Throws when the graph does not fit the maps that there are; answers what is doubtful. */
  #check(name: string, graph: JobGraph): readonly string[] {
    const findings = this.#findings(graph)
    const error = submitError(name, findings)
    if (error !== undefined) throw error
    return findings.map(({ stage, message }) => `stage "${stage}": ${message}`)
  }

  #findings(graph: JobGraph): readonly Finding[] {
    const { mapOf, createsMaps } = this.#options
    return checkSubmit(graph, { mapOf, createsMaps })
  }

  async #start(name: string, bundle: Bundle, order: Order): Promise<JobRecord> {
    const { bundles } = this.#options
    if (this.#runs.size >= activeJobsMax) {
      throw new NearstateError('RESOURCE_EXHAUSTED', `Cannot submit job "${name}": ${activeJobsMax} jobs run already, which is the limit`)
    }
    const { last } = await this.#writeNew(name, bundle.hash, order)
    await this.#forgetOldest()
    if (this.#isHeld) await this.#held.promise
    const { record, version } = await this.#read(name)
    try {
      await bundles.inTurn(() => bundles.put(bundle))
      const run = this.#add(record, version)
      run.begin()
      await run.started
      this.#remains.poke()
      return run.record
    } catch (error) {
      const { record: refused } = await this.#read(name)
      // Refused before it ever ran: the record of the last run stays, but for the number that this one has used (1).
      await updateJson<JobRecord>(this.#options.coordinator, coordinatorKeys.job(name), current => {
        if (current?.id !== record.id || !isRefused(current, record.run.attempt)) return undefined
        return last === undefined
          ? refusedRecord(current, { ...current.run, status: 'failed' })
          : refusedRecord(last, { ...last.run, attempt: refused.run.attempt })
      })
      this.#remains.poke()
      throw error
    }
  }

  /** The record of a new run, in place of the last one's; ALREADY_EXISTS while that has not ended. */
  async #writeNew(name: string, hash: string, order: Order): Promise<{ last: JobRecord | undefined }> {
    const { coordinator, createId, clock } = this.#options
    const { argsJson, warnings, collects, guarantee, intervalMs, from } = order
    let last: JobRecord | undefined
    await updateJson<JobRecord>(coordinator, coordinatorKeys.job(name), current => {
      if (current !== undefined && !isEnded(current.run)) throw alreadyThere(name, current.run.status)
      last = current
      const attempt = current?.run.attempt ?? 0
      // Its state takes the number of an attempt for itself: as if that had made one checkpoint.
      const begins =
        from === undefined
          ? { run: { ...newRun(guarantee), attempt } }
          : { run: newRun(guarantee, { attempt: attempt + 1, n: 1 }), from: { ...from, attempt: attempt + 1 } }
      return {
        name,
        id: createId(),
        hash,
        argsJson,
        checkpointIntervalMs: intervalMs,
        warnings,
        collects,
        submittedAtMs: clock.wallTimeMs(),
        // One with checkpoints frees them with its first.
        ...(guarantee === 'none' && current !== undefined ? { remains: { attempt, keep: [] } } : {}),
        ...begins,
        nodes: [],
        primaries: '',
        stages: [],
      }
    })
    return { last }
  }

  async #graphOf({ name, hash, argsJson }: JobRecord): Promise<ShardAnswers['describeJob'] & { readonly graph: JobGraph }> {
    const described = await this.#options.describe(name, await this.#options.bundles.load(hash), argsJson)
    return { ...described, graph: parseGraph(described.graphJson) }
  }

  #add(record: JobRecord, version: number): JobRun {
    // Lost while the caller waited: the next leader drives it.
    if (!this.#leading) throw new NearstateError('UNAVAILABLE', `Job "${record.name}": this node leads no more; ask again`)
    const run = new JobRun({
      ...this.#options,
      record,
      version,
      describe: one => this.#graphOf(one),
      onOver: (over, how) => void this.#handleOver(over, how),
    })
    this.#runs.set(record.name, run)
    return run
  }

  async #stopBy(name: string, action: string, stop: (run: JobRun) => void): Promise<JobDocumentJson> {
    const { record, version } = await this.#read(name)
    if (isEnded(record.run)) return jobDocument(record)
    const known = this.#runs.get(name)
    if (known === undefined && record.run.status !== 'suspended')
      throw new NearstateError('UNAVAILABLE', `Cannot ${action} job "${name}": it is just being started or taken over; try again`)
    const run = known ?? this.#add(record, version)
    stop(run)
    await run.over
    const { record: after } = await this.#read(name)
    if (isEnded(after.run) || after.run.status === 'suspended') return jobDocument(after)
    throw new NearstateError('UNAVAILABLE', `Cannot ${action} job "${name}": another node leads now; try again`)
  }

  async #handleOver(run: JobRun, how: 'ended' | 'deposed'): Promise<void> {
    const { name, run: state } = run.record
    if (this.#runs.get(name) === run) this.#runs.delete(name)
    if (how === 'deposed') {
      // Two that both take themselves for the leader do not chase each other.
      await sleep(adoptRetryMs, undefined, { ref: false })
      if (this.#leading) await this.#lead()
      return
    }
    this.#options.log.info('job ended', { job: name, status: state.status, reason: state.failure?.message })
    this.#remains.poke()
  }

  async #removeCode(hash: string): Promise<void> {
    const { bundles, isDeployed } = this.#options
    await bundles.removeUnless(hash, async () => (await this.uses(hash)) || (await isDeployed(hash)))
  }

  /** What a job that has completed has collected. */
  async #forgetRows(record: JobRecord): Promise<void> {
    if ((record.collects ?? []).length === 0 || record.run.status !== 'completed') return
    await updateJson<JobRecord>(this.#options.coordinator, coordinatorKeys.job(record.name), current =>
      current?.id === record.id ? { ...current, collects: [], remains: { attempt: current.run.attempt, keep: [] } } : undefined,
    )
    this.#remains.poke()
  }

  async #lead(): Promise<void> {
    this.savepoints.lead()
    this.#remains.lead()
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

  /** A new leader begins a new attempt of every job that has not ended; one without checkpoints it lets run. */
  async #adopt(): Promise<void> {
    for (const { value, version } of await this.#options.coordinator.list(coordinatorKeys.jobPrefix)) {
      const record = decodeJson<JobRecord>(value)
      const { name, run } = record
      if (isEnded(run) || run.status === 'suspended' || this.#submitting.has(name) || this.#runs.has(name)) continue
      const adopted = this.#add(record, version)
      if (run.guarantee === 'none' && run.status === 'running') adopted.follow()
      else adopted.begin()
    }
  }

  async #forgetOldest(): Promise<void> {
    const ended = (await this.#records()).filter(({ run }) => isEnded(run)).sort((a, b) => b.submittedAtMs - a.submittedAtMs)
    for (const record of ended.slice(endedJobsMax)) {
      await this.#forgetRows(record)
      // The record goes after what it says is to go: when the next job is submitted, that is.
      if (record.remains !== undefined || (record.collects ?? []).length > 0) continue
      const stored = await this.#options.coordinator.read(coordinatorKeys.job(record.name))
      if (stored !== undefined) await this.#options.coordinator.compareAndSet(stored.key, stored.version, undefined)
    }
  }

  async #records(): Promise<JobRecord[]> {
    return (await this.#options.coordinator.list(coordinatorKeys.jobPrefix)).map(value => decodeJson<JobRecord>(value.value))
  }

  async #read(name: string): Promise<{ readonly record: JobRecord; readonly version: number }> {
    const stored = await this.#options.coordinator.read(coordinatorKeys.job(name))
    if (stored === undefined) throw new NearstateError('NOT_FOUND', `There is no job "${name}"`)
    return { record: decodeJson<JobRecord>(stored.value), version: stored.version }
  }

  #document(record: JobRecord): JobDocumentJson {
    return jobDocument(record, isEnded(record.run) ? record.stages : (this.#runs.get(record.name)?.stages ?? record.stages))
  }
}

interface Order extends Settings {
  readonly argsJson: string
  readonly warnings: readonly string[]
  readonly collects: readonly string[]
  readonly from: Omit<JobOrigin, 'attempt'> | undefined
}

interface Settings {
  readonly guarantee: Guarantee
  readonly intervalMs: number
}

function settingsOf({ guarantee, checkpointIntervalMs }: JobSubmission): Settings {
  const intervalMs = checkpointIntervalMs === 0 ? defaultIntervalMs : checkpointIntervalMs
  if (intervalMs < intervalMinMs || intervalMs > intervalMaxMs)
    throw invalidArgument(`Cannot submit job: checkpointInterval ${intervalMs} ms is not between ${intervalMinMs} ms and 24 h`)
  switch (guarantee) {
    case '':
      return { guarantee: 'exactly-once', intervalMs }
    case 'exactly-once':
    case 'at-least-once':
    case 'none':
      return { guarantee, intervalMs }
    default:
      throw invalidArgument(`Cannot submit job: guarantee "${guarantee}" is none of exactly-once, at-least-once, none`)
  }
}

/** Its attempts may have left something too. */
const refusedRecord = (record: JobRecord, run: RunRecord): JobRecord => ({ ...record, run, remains: remainsOf(run, record.collects) })

/** It has not begun an attempt since `attempt`, or has failed without ever having run. */
const isRefused = ({ run }: JobRecord, attempt: number): boolean =>
  run.attempt === attempt || (run.status === 'failed' && run.restarts === 0 && run.checkpoints === 0)

const alreadyThere = (name: string, status: string): NearstateError =>
  new NearstateError(
    'ALREADY_EXISTS',
    `Cannot submit job "${name}": a job of that name is ${status}; cancel it first or choose another name`,
  )
