/**
 * Savepoints by name: made of a job that runs, listed, deleted. The leader's; records in the coordinator, changed by compare-and-set.
 *
 *   (none) --create--> making --all partitions copied--> ready --delete--> dropping --nothing left in any partition--> (none)
 *                        +---------------failed, or another leader-----------^
 *
 * Owns: the records. Does not: decide when a copy is whole (job-machine.ts), copy (grid/job-savepoint.ts).
 *
 * 1. Only what is ready can be seen or started from.
 * 2. A record outlives its copies: what a lost node has left is dropped when its partitions are served again. Copies go by the record's id,
 *    so a late drop hits no later savepoint of the same name.
 * 3. What a new leader finds in making is given up: its attempt ends with the leader that began it.
 */
import type { Clock } from '../base/clock.ts'
import { invalidArgument, messageOf, NearstateError } from '../base/errors.ts'
import { savepointJob } from '../grid/job-savepoint.ts'
import { type ClusterView, coordinatorKeys, type Member } from '../membership/cluster-state.ts'
import type { Coordinator, CoordinatorValue } from '../membership/coordinator-port.ts'
import type { Guarantee } from '../streaming/checkpoint/barrier-flow.ts'
import type { JobGraph } from '../streaming/graph/job-graph.ts'
import { newSources, stateDifferences, type StateShape, stateShapes } from '../streaming/graph/state-shapes.ts'
import { isEnded } from '../streaming/master/record.ts'
import type { Logger } from '../telemetry/logger.ts'
import { checkJobName, type JobOrigin, type JobRecord } from './job-record.ts'
import type { JobRun } from './job-run.ts'
import type { NodeControl } from './node-control.ts'
import { dropInAll } from './job-remains.ts'
import { LeaderChore } from './leader-chore.ts'
import { decodeJson, encodeJson } from './watched-table.ts'

interface SavepointRecord {
  readonly job: string
  readonly label: string
  readonly id: string
  readonly status: 'making' | 'ready' | 'dropping'
  readonly atMs: number
  /** Bundle of the code that wrote the state. */
  readonly hash: string
  readonly stages: readonly StateShape[]
}

/** One element of `nearstate job savepoints --json`. */
export interface SavepointJson {
  /** JOB/LABEL. */
  readonly name: string
  readonly job: string
  readonly label: string
  readonly at: number
  /** Hash of the code that wrote the state. */
  readonly code: string
}

export interface JobSavepointsOptions {
  readonly coordinator: Coordinator
  readonly view: () => ClusterView | undefined
  readonly controlOf: (member: Member) => NodeControl
  readonly createId: () => string
  readonly clock: Clock
  readonly log: Logger
  readonly runOf: (job: string) => JobRun | undefined
  /** NOT_FOUND when there is none. */
  readonly recordOf: (job: string) => Promise<JobRecord>
  readonly records: () => Promise<readonly JobRecord[]>
}

export interface ChosenSavepoint {
  readonly origin: Omit<JobOrigin, 'attempt'>
  /** State that is left out, each as a sentence. */
  readonly losses: readonly string[]
}

const savepointsMax = 100

export class JobSavepoints {
  readonly #options: JobSavepointsOptions
  /** Ids of those that this leader makes. */
  readonly #making = new Set<string>()
  readonly #chore: LeaderChore

  constructor(options: JobSavepointsOptions) {
    this.#options = options
    this.#chore = new LeaderChore(() => this.#clean(), options.log, 'a savepoint could not be removed')
  }

  lead(): void {
    this.#chore.lead()
  }

  stop(): void {
    this.#chore.stop()
  }

  /** Resolves when it is whole. Nothing is left of one that fails. */
  async make(job: string, label: string): Promise<SavepointJson> {
    const { clock, createId, coordinator, runOf } = this.#options
    const action = `Cannot make savepoint "${label}" of job "${job}"`
    checkJobName(label)
    const { run: state, hash } = await this.#options.recordOf(job)
    if (state.guarantee === 'none') throw invalidArgument(`${action}: its guarantee is none, so it has no checkpoints`)
    if (isEnded(state) || state.status === 'suspended')
      throw new NearstateError('CONFLICT', `${action}: it is ${state.status}; a savepoint is made of a job that runs`)
    const run = runOf(job)
    const graph = run?.graph
    if (run === undefined || graph === undefined)
      throw new NearstateError('UNAVAILABLE', `${action}: it is just being started or taken over; try again`)
    const key = keyOf(job, label)
    await this.#checkRoom(action, key)
    const id = createId()
    const record: SavepointRecord = { job, label, id, status: 'making', atMs: clock.wallTimeMs(), hash, stages: stateShapes(graph) }
    this.#making.add(id)
    try {
      const created = await coordinator.compareAndSet(key, 0, encodeJson(record))
      if (created.kind === 'conflict') throw new NearstateError('ALREADY_EXISTS', `${action}: there is one of that name by now`)
      await run.savepoint(id)
      const ready: SavepointRecord = { ...record, status: 'ready', atMs: clock.wallTimeMs() }
      const written = await coordinator.compareAndSet(key, created.version, encodeJson(ready))
      if (written.kind === 'conflict') throw new NearstateError('UNAVAILABLE', 'another node leads now')
      return documentOf(ready)
    } catch (thrown) {
      if (thrown instanceof NearstateError && thrown.code === 'ALREADY_EXISTS') throw thrown
      throw new NearstateError('UNAVAILABLE', `${action}: ${messageOf(thrown)}; try again`, { cause: thrown })
    } finally {
      this.#making.delete(id)
      this.#chore.poke()
    }
  }

  async list(): Promise<readonly SavepointJson[]> {
    const ready = (await this.#records()).map(({ record }) => record).filter(({ status }) => status === 'ready')
    return ready.sort((a, b) => b.atMs - a.atMs).map(documentOf)
  }

  /** Resolves when no job can start from it any more; its memory is given back soon after. */
  async delete(job: string, label: string): Promise<void> {
    const { coordinator, records } = this.#options
    const name = `${job}/${label}`
    const { record, version } = await this.#ready(name, `Cannot delete savepoint "${name}"`)
    const user = (await records()).find(({ from, run }) => from?.id === record.id && !isEnded(run) && run.restore.attempt === from.attempt)
    if (user !== undefined && user.run.checkpoint === 0) {
      const why = `job "${user.name}" starts from it and has no checkpoint of its own yet`
      throw new NearstateError('CONFLICT', `Cannot delete savepoint "${name}": ${why}; try again soon`)
    }
    const outcome = await coordinator.compareAndSet(keyOf(job, label), version, encodeJson({ ...record, status: 'dropping' }))
    if (outcome.kind === 'conflict')
      throw new NearstateError('CONFLICT', `Cannot delete savepoint "${name}": it is being changed; try again`)
    this.#chore.poke()
  }

  /** What a job with this graph starts from. INVALID_ARGUMENT lists what does not fit, unless it may be lost. */
  async choose(from: string, graph: JobGraph, guarantee: Guarantee, allowStateLoss: boolean): Promise<ChosenSavepoint> {
    const action = `Cannot submit job "${graph.name}" from savepoint "${from}"`
    if (guarantee === 'none') throw invalidArgument(`${action}: with guarantee none a job has no state to go on from`)
    const { record } = await this.#ready(from, action)
    const differences = stateDifferences(record.stages, graph)
    const losses = differences.map(({ stage, message }) => `stage "${stage}" ${message}`)
    if (losses.length > 0 && !allowStateLoss)
      throw invalidArgument(`${action}: state would be lost, ${losses.join('; ')}. Keep these stages as they were, or say allowStateLoss`)
    const without = differences.map(({ stage }) => stage)
    return { origin: { name: from, id: record.id, without, newSources: newSources(graph, record.stages, without) }, losses }
  }

  async #ready(name: string, action: string): Promise<{ readonly record: SavepointRecord; readonly version: number }> {
    const [job = '', label = '', ...more] = name.split('/')
    if (job === '' || label === '' || more.length > 0) throw invalidArgument(`${action}: a savepoint is named JOB/LABEL`)
    checkJobName(job)
    checkJobName(label)
    const stored = await this.#options.coordinator.read(keyOf(job, label))
    const record = stored === undefined ? undefined : decodeJson<SavepointRecord>(stored.value)
    if (stored === undefined || record?.status !== 'ready') throw new NearstateError('NOT_FOUND', `${action}: there is no such savepoint`)
    return { record, version: stored.version }
  }

  async #checkRoom(action: string, key: string): Promise<void> {
    const all = await this.#records()
    const there = all.find(({ stored }) => stored.key === key)?.record.status
    if (there === 'ready')
      throw new NearstateError('ALREADY_EXISTS', `${action}: there is one of that name; delete it or choose another label`)
    if (there !== undefined)
      throw new NearstateError('ALREADY_EXISTS', `${action}: one of that name is being ${there === 'making' ? 'made' : 'removed'}`)
    if (all.length >= savepointsMax)
      throw new NearstateError('RESOURCE_EXHAUSTED', `${action}: there are ${savepointsMax} savepoints, which is the limit; delete some`)
  }

  // ---- what is to go

  /** False: something is left. */
  async #clean(): Promise<boolean> {
    const { coordinator } = this.#options
    const unwanted = (await this.#records()).filter(({ record: { status, id } }) => status !== 'ready' && !this.#making.has(id))
    for (const { record, stored } of unwanted) {
      let { version } = stored
      if (record.status === 'making') {
        const outcome = await coordinator.compareAndSet(stored.key, version, encodeJson({ ...record, status: 'dropping' }))
        if (outcome.kind === 'conflict') return false
        version = outcome.version
      }
      if (!(await dropInAll(this.#options, savepointJob(record.id), 1, []))) return false
      await coordinator.compareAndSet(stored.key, version, undefined)
    }
    return true
  }

  async #records(): Promise<readonly { readonly record: SavepointRecord; readonly stored: CoordinatorValue }[]> {
    const all = await this.#options.coordinator.list(coordinatorKeys.savepointPrefix)
    return all.map(stored => ({ record: decodeJson<SavepointRecord>(stored.value), stored }))
  }
}

const keyOf = (job: string, label: string): string => coordinatorKeys.savepoint(job, label)

const documentOf = ({ job, label, atMs, hash }: SavepointRecord): SavepointJson => ({
  name: `${job}/${label}`,
  job,
  label,
  at: atMs,
  code: hash.slice(0, 12),
})
