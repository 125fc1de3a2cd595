/**
 * One job as the leader drives it: does what the job's machine (streaming/master/job-machine.ts) wants, and tells it what came of it.
 *
 *   machine --cas--> coordinator      --start--> openJob, startJob on all nodes     --barrier--> barrierJob on all nodes
 *           --run--> runJob           --committed--> commitJob, until answered      --stop--> stopJob
 *
 * Owns: the attempt's nodes and figures, the polling of its progress, timers. Does not: decide anything that the machine decides.
 *
 * 1. What comes back for an attempt that is over is dropped (the machine looks at its number).
 * 2. UNAVAILABLE and the like from a shard mean that something is lost, CONFLICT that a newer attempt has begun, NOT_FOUND at the
 *    opening that the restore point is gone; everything else is a failure of the job.
 * 3. Before anything of an attempt is opened all its nodes have answered: one that has just died costs no attempt.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { unreachable } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { type ErrorCode, messageOf, NearstateError } from '../base/errors.ts'
import type { NodeId } from '../base/ids.ts'
import type { ClusterState, ClusterView, Member } from '../membership/cluster-state.ts'
import { coordinatorKeys } from '../membership/cluster-state.ts'
import type { Coordinator } from '../membership/coordinator-port.ts'
import { isReachable } from '../membership/replica-transitions.ts'
import { liveMembers } from '../membership/transitions.ts'
import type { JobLogLine, ShardAnswers } from '../shard/protocol.ts'
import type { Layout, ShardProgress, Split, StageProgress } from '../streaming/assignment.ts'
import { mergeSkew, type StageSkew } from '../streaming/execution/key-skew.ts'
import { mergeStages, withCounts } from '../streaming/execution/progress.ts'
import { assignmentOf, layoutOf } from '../streaming/graph/assignment-of.ts'
import type { JobGraph } from '../streaming/graph/job-graph.ts'
import { type JobAction, JobMachine } from '../streaming/master/job-machine.ts'
import { isEnded, type RestorePoint, type RunFailure, type RunRecord } from '../streaming/master/record.ts'
import type { SourceConnector } from '../streaming/source.ts'
import type { Logger } from '../telemetry/logger.ts'
import { type JobOrigin, type JobRecord, primariesDigest, remainsOf } from './job-record.ts'
import type { NodeControl } from './node-control.ts'
import { failureLine, infoLine, newsOf, warningLine } from './job-news.ts'
import { decodeJson, encodeJson } from './watched-table.ts'

export interface JobRunNeeds {
  readonly coordinator: Coordinator
  readonly view: () => ClusterView | undefined
  readonly controlOf: (member: Member) => NodeControl
  readonly connectorOf: (kind: string) => SourceConnector
  /** The graph that its file builds now. */
  readonly describe: (record: JobRecord) => Promise<ShardAnswers['describeJob'] & { readonly graph: JobGraph }>
  readonly createId: () => string
  readonly clock: Clock
  readonly log: Logger
  /** A line for the job's log. */
  readonly tell: (job: string, line: JobLogLine) => void
}

export interface JobRunOptions extends JobRunNeeds {
  readonly record: JobRecord
  /** The coordinator's, of the record. */
  readonly version: number
  /** It has ended or is suspended; or another master has it. */
  readonly onOver: (run: JobRun, how: 'ended' | 'deposed') => void
}

interface Current {
  readonly attempt: number
  readonly nodes: readonly NodeId[]
  readonly primaries: string
  stages: readonly StageProgress[]
  skew: readonly StageSkew[]
  /** Monotonic: when all nodes last told their progress. */
  heardAtMs: number
}

const pollMs = 200
/** A live member that does not tell its progress for so long loses the attempt. */
const silenceMaxMs = 10_000
const startTimeoutMs = 60_000
/** A node that does not hear of the end is fenced off by the next attempt. */
const stopTimeoutMs = 500
const probeTimeoutMs = 300
const probeEveryMs = 20
const commitRetryMs = 200
const savepointTimeoutMs = 600_000

export class JobRun {
  readonly #options: JobRunOptions
  readonly #machine: JobMachine
  readonly #epochMs: number
  readonly #started = Promise.withResolvers<void>()
  readonly #over = Promise.withResolvers<void>()
  #held = Promise.withResolvers<void>()
  #record: JobRecord
  #current: Current | undefined
  #timer: NodeJS.Timeout | undefined
  #poller: NodeJS.Timeout | undefined
  #isOver = false
  #described: Awaited<ReturnType<JobRunNeeds['describe']>> | undefined
  /** What kept the first attempt from starting. */
  #refusal: unknown
  #savepoint: PromiseWithResolvers<void> | undefined
  /** What the job's log has said already. */
  #toldFailure: string | undefined
  /** What the checkpoint under way waits for, as it was said last. */
  #waitsFor = ''

  constructor(options: JobRunOptions) {
    const { record, version, createId, clock } = options
    this.#options = options
    this.#epochMs = clock.wallTimeMs() - clock.nowMs()
    this.#record = record
    this.#machine = new JobMachine(record.run, String(version), createId(), { intervalMs: record.checkpointIntervalMs })
    // Only who submits or resumes waits for it.
    this.#started.promise.catch(() => undefined)
  }

  get record(): JobRecord {
    return this.#record
  }

  /** Undefined: no attempt has been started here yet. */
  get graph(): JobGraph | undefined {
    return this.#described?.graph
  }

  /** Fresh figures while it runs. */
  get stages(): readonly StageProgress[] {
    const live = this.#current?.stages ?? []
    return live.length === 0 ? this.#record.stages : withCounts(live, this.#record.run.countsBefore ?? [])
  }

  /** Of the attempt that runs. */
  get skew(): readonly StageSkew[] {
    return this.#current?.skew ?? []
  }

  /** Its tasks run; rejects with what kept the first attempt from that. */
  get started(): Promise<void> {
    return this.#started.promise
  }

  /** It has ended, is suspended, or belongs to another master. */
  get over(): Promise<void> {
    return this.#over.promise
  }

  /** A master starts the job, or takes it over. */
  begin(): void {
    const { status } = this.#record.run
    if (status === 'running' || status === 'restarting') this.#tellLog(infoLine('another node leads now and takes the job over'))
    this.#machine.begin()
    this.#pump()
  }

  /** Before a planned move of partitions; resolves when it stands still with all its work in a checkpoint, or is over. */
  async hold(): Promise<void> {
    const held = Promise.withResolvers<void>()
    this.#held = held
    this.#tell(machine => machine.holdForMove(this.#nowMs()))
    await Promise.race([held.promise, this.over])
  }

  release(): void {
    this.#tell(machine => machine.release())
  }

  resume(): void {
    this.#machine.resume()
    this.#pump()
  }

  suspend(): void {
    this.#machine.suspend(this.#nowMs())
    this.#pump()
  }

  cancel(): void {
    this.#machine.cancel(this.#nowMs())
    this.#pump()
  }

  /** Has the next checkpoint copied out under this name; resolves when all partitions have it. Only while it runs, and one at a time. */
  async savepoint(name: string): Promise<void> {
    if (this.#isOver || this.#savepoint !== undefined || !this.#machine.savepoint(name, this.#nowMs()))
      throw new NearstateError('UNAVAILABLE', 'the job does not run at the moment, or another savepoint of it is being made')
    const made = Promise.withResolvers<void>()
    this.#savepoint = made
    this.#pump()
    const over = this.over.then(() => Promise.reject(new NearstateError('UNAVAILABLE', 'the job has ended, or another node leads now')))
    return Promise.race([made.promise, over])
  }

  /** Without checkpoints an attempt that runs goes on under a new master. */
  follow(): void {
    const { nodes, primaries, stages, run } = this.#record
    const members = membersOf(nodes, this.#options.view()?.state)
    const shards = members.reduce((sum, member) => sum + member.shards.length, 0)
    this.#current = { attempt: run.attempt, nodes, primaries, stages, skew: [], heardAtMs: this.#options.clock.nowMs() }
    this.#tellLog(infoLine('another node leads now; the attempt goes on'))
    this.#machine.follow(shards)
    this.#started.resolve()
    this.#poll(this.#current)
    this.checkMembers()
  }

  /** Looks at the members again; called when the cluster changed. */
  checkMembers(): void {
    const current = this.#current
    const state = this.#options.view()?.state
    if (state === undefined || this.#isOver || current?.attempt !== this.#machine.record.attempt) return
    const gone = missingNode(current.nodes, state)
    if (gone !== undefined) this.#lost(current.attempt, `node ${gone} was lost while the job ran, and its tasks with it`)
    else if (primariesDigest(state) !== current.primaries)
      this.#lost(current.attempt, 'partitions have moved to other shards while the job ran, away from its tasks')
  }

  /** Leaves the job alone: it goes on, and another master takes it over. */
  abandon(): void {
    this.#isOver = true
    clearTimeout(this.#timer)
    clearTimeout(this.#poller)
    const left = new NearstateError('UNAVAILABLE', `Job "${this.#record.name}": this node leads no more; ask again`)
    this.#started.reject(left)
    this.#over.resolve()
  }

  // ---- the machine

  /** Wall time as it was when the run began, and from there on monotonic: its figures are for people, its deadlines for no clock that jumps. */
  #nowMs(): number {
    return this.#epochMs + this.#options.clock.nowMs()
  }

  #pump(): void {
    clearTimeout(this.#timer)
    if (this.#isOver) return
    for (let actions = this.#machine.takeActions(); actions.length > 0; actions = this.#machine.takeActions()) {
      for (const action of actions) this.#do(action)
    }
    const dueMs = this.#machine.nextDeadlineMs
    if (this.#isOver || dueMs === Number.POSITIVE_INFINITY) return
    this.#timer = setTimeout(() => this.#tell(machine => machine.tick(this.#nowMs())), Math.max(1, dueMs - this.#nowMs()))
  }

  #tell(say: (machine: JobMachine) => void): void {
    if (this.#isOver) return
    say(this.#machine)
    this.#pump()
  }

  #do(action: JobAction): void {
    switch (action.kind) {
      case 'cas':
        void this.#cas(Number(action.expected), action.record)
        return
      case 'start':
        void this.#start(action.attempt, action.restore)
        return
      case 'run':
        void this.#runTasks(action.attempt)
        return
      case 'barrier':
        this.#barrier(action.attempt, action.n, action.c)
        return
      case 'committed':
        for (const member of this.#members()) void this.#commit(member, action.attempt, action.n, action.isLast)
        return
      case 'stop':
        void this.#stop(action.attempt)
        return
      case 'ended':
        this.#finish('ended')
        return
      case 'deposed':
        this.#options.log.warn('another master has this job', { job: this.#record.name })
        this.#finish('deposed')
        return
      case 'held':
        this.#tellLog(infoLine(`attempt ${this.#machine.record.attempt} stands still: partitions are to move`))
        this.#held.resolve()
        return
      case 'savepoint':
        for (const member of this.#members()) void this.#copyOut(member, action.attempt, action.n, action.name)
        return
      case 'savepointEnded':
        if (action.failure === undefined) this.#savepoint?.resolve()
        else this.#savepoint?.reject(new NearstateError('UNAVAILABLE', action.failure))
        this.#savepoint = undefined
        return
      default:
        unreachable(action)
    }
  }

  async #cas(expected: number, run: RunRecord): Promise<void> {
    const { coordinator, clock } = this.#options
    const key = coordinatorKeys.job(this.#record.name)
    const ended = isEnded(run) ? { endedAtMs: clock.wallTimeMs(), remains: remainsOf(run, this.#record.collects) } : {}
    const { nodes = this.#record.nodes, primaries = this.#record.primaries } = this.#current ?? {}
    const next: JobRecord = { ...this.#record, ...ended, run, nodes, primaries, stages: this.stages }
    try {
      const outcome = await coordinator.compareAndSet(key, expected, encodeJson(next))
      if (outcome.kind === 'done') {
        const before = this.#record.run
        this.#record = next
        for (const line of newsOf(before, run, { toldFailure: this.#toldFailure, savepoint: this.#origin(run.restore)?.name }))
          this.#tellLog(line)
        this.#tell(machine => machine.casAnswered({ kind: 'written', version: String(outcome.version) }, this.#nowMs()))
        return
      }
      const stored = await coordinator.read(key)
      const record = stored === undefined ? undefined : decodeJson<JobRecord>(stored.value)
      if (record !== undefined) this.#record = record
      const version = stored === undefined ? undefined : String(stored.version)
      // Of another run under the same name: not this machine's in any case.
      const found = record?.id === next.id ? record.run : undefined
      this.#tell(machine => machine.casAnswered({ kind: 'conflict', record: found, version }, this.#nowMs()))
    } catch (error) {
      this.#options.log.warn('the record of a job could not be written; trying again', { job: next.name, reason: messageOf(error) })
      this.#tell(machine => machine.casAnswered({ kind: 'unknown' }, this.#nowMs()))
    }
  }

  #finish(how: 'ended' | 'deposed'): void {
    this.#isOver = true
    clearTimeout(this.#timer)
    clearTimeout(this.#poller)
    this.#started.reject(this.#refusal ?? new NearstateError('CANCELLED', `Job "${this.#record.name}" ended before it ran`))
    this.#options.onOver(this, how)
    this.#over.resolve()
  }

  // ---- an attempt

  async #start(attempt: number, restore: RestorePoint): Promise<void> {
    try {
      const view = await this.#servingView(attempt)
      if (view === undefined) return
      this.#described ??= await this.#options.describe(this.#record)
      if (!this.#isStarting(attempt)) return
      const described = this.#described
      const { graph } = described
      const layout = layoutOf(view, graph.name)
      const nodes = membersIn(layout, view.state).map(({ id }) => id)
      const primaries = primariesDigest(view.state)
      this.#current = { attempt, nodes, primaries, stages: [], skew: [], heardAtMs: this.#options.clock.nowMs() }
      // Nobody has looked at members for this attempt yet, and the view is as old as the probes and the graph took.
      this.checkMembers()
      if (!this.#isStarting(attempt)) return
      const opened = await this.#open(attempt, restore, layout)
      if (!this.#isStarting(attempt)) return
      if (new Set([described.graphHash, ...opened.hashes]).size > 1) throw differentGraphs(this.#record.name)
      const fresh = await this.#listSplits(
        graph,
        source => restore.attempt === 0 || this.#origin(restore)?.newSources.includes(source) === true,
      )
      const splits = { ...opened.splits, ...fresh }
      const assignmentJson = JSON.stringify({ ...assignmentOf(layout, graph, splits), jobId: this.#record.id })
      const request = { job: this.#record.name, attempt, assignmentJson }
      await Promise.all(this.#members().map(member => this.#control(member).startJob(request, { timeoutMs: startTimeoutMs })))
      this.#tell(machine => machine.ready(attempt, layout.shards.length, this.#nowMs()))
    } catch (error) {
      this.#startFailed(attempt, error)
    }
  }

  /** The cluster as it stands, when every partition has a primary and every node answers; undefined: not asked for any more. */
  async #servingView(attempt: number): Promise<ClusterView | undefined> {
    const isFirst = this.#isFirst
    for (;;) {
      const view = this.#options.view()
      if (!this.#isStarting(attempt)) return undefined
      if (view !== undefined && (await this.#isReady(view, isFirst))) return view
      await sleep(probeEveryMs)
    }
  }

  async #isReady(view: ClusterView, isFirst: boolean): Promise<boolean> {
    let layout: Layout
    try {
      layout = layoutOf(view, this.#record.name)
    } catch (error) {
      // Who submits a job hears of lost partitions; one that runs already waits for what operators do.
      if (isFirst && error instanceof NearstateError && error.code === 'PARTITION_LOST') throw error
      return false
    }
    // A job that is nowhere: NOT_FOUND is an answer.
    const request = { job: '', attempt: 0 }
    const answers = await Promise.all(
      membersIn(layout, view.state).map(member =>
        this.#control(member)
          .jobProgress(request, { timeoutMs: probeTimeoutMs })
          .then(() => true)
          .catch(error => error instanceof NearstateError && error.code === 'NOT_FOUND'),
      ),
    )
    return answers.every(answer => answer)
  }

  async #open(
    attempt: number,
    restore: RestorePoint,
    layout: Layout,
  ): Promise<{ hashes: readonly string[]; splits: Record<string, Split[]> }> {
    const { name: job, hash, argsJson, run } = this.#record
    const origin = this.#origin(restore)
    const request = {
      job,
      attempt,
      hash,
      argsJson,
      layoutJson: JSON.stringify(layout),
      guarantee: run.guarantee,
      restoreAttempt: restore.attempt,
      restoreN: restore.n,
      savepointJson: origin === undefined ? '' : JSON.stringify(origin),
    }
    const answers = await Promise.all(this.#members().map(member => this.#control(member).openJob(request, { timeoutMs: startTimeoutMs })))
    const splits: Record<string, Split[]> = {}
    for (const json of answers.flatMap(({ splitsJson }) => splitsJson)) {
      for (const [stage, some] of Object.entries(JSON.parse(json) as Record<string, Split[]>)) (splits[stage] ??= []).push(...some)
    }
    // In one order whoever had them.
    for (const some of Object.values(splits)) some.sort((a, b) => (a.id < b.id ? -1 : 1))
    return { hashes: answers.flatMap(({ graphHashes }) => graphHashes), splits }
  }

  /** The savepoint that the restore point is made of. */
  #origin({ attempt }: RestorePoint): JobOrigin | undefined {
    const { from } = this.#record
    return from?.attempt === attempt ? from : undefined
  }

  async #listSplits(graph: JobGraph, isWanted: (source: string) => boolean): Promise<Record<string, readonly Split[]>> {
    const splits: Record<string, readonly Split[]> = {}
    for (const { name, source } of graph.stages) {
      if (source === undefined || !isWanted(name)) continue
      try {
        splits[name] = await this.#options.connectorOf(source.connector).listSplits(source.options)
      } catch (thrown) {
        if (!(thrown instanceof NearstateError)) throw thrown
        throw new NearstateError(thrown.code, `${thrown.message}, for source "${name}"`, { cause: thrown })
      }
    }
    return splits
  }

  /** A job that cannot be started the first time is refused; what may be better soon, and all that comes later, is tried again. */
  #startFailed(attempt: number, error: unknown): void {
    if (this.#isOver || this.#machine.record.attempt !== attempt) return
    const code = error instanceof NearstateError ? error.code : undefined
    this.#refusal = error
    const failure = failureOfStart(error)
    const isLoss = code !== undefined && losses.has(code)
    if (code === 'NOT_FOUND' || (this.#isFirst && !isLoss)) this.#refused(attempt, failure)
    else this.#failed(attempt, failure, code)
  }

  async #runTasks(attempt: number): Promise<void> {
    const request = { job: this.#record.name, attempt }
    try {
      await Promise.all(this.#members().map(member => this.#control(member).runJob(request, { timeoutMs: startTimeoutMs })))
      this.#started.resolve()
      if (this.#current?.attempt !== attempt) return
      this.#current.heardAtMs = this.#options.clock.nowMs()
      this.#poll(this.#current)
    } catch (error) {
      // It stood ready there: the shard has lost it, or is a new one.
      if (error instanceof NearstateError && error.code === 'NOT_FOUND') this.#lost(attempt, messageOf(error))
      else this.#startFailed(attempt, error)
    }
  }

  #barrier(attempt: number, n: number, c: number): void {
    const request = { job: this.#record.name, attempt, n, committed: c }
    // The one before was given up.
    if (n > 1 && c < n - 1)
      this.#tellLog(warningLine(`checkpoint ${n - 1} of attempt ${attempt} took too long and is given up${waitedFor(this.#waitsFor)}`))
    this.#waitsFor = ''
    for (const member of this.#members()) {
      this.#control(member)
        .barrierJob(request, { timeoutMs: startTimeoutMs })
        .then(({ json }) => {
          const answers = JSON.parse(json) as ShardAnswers['barrierJob'][]
          this.#tell(machine => {
            for (const { shard, answer } of answers) machine.answered(attempt, shard, answer, this.#nowMs())
          })
        })
        // Given up, or its node is gone: the barrier's deadline, the poll or the table say so.
        .catch(() => undefined)
    }
  }

  async #commit(member: Member, attempt: number, n: number, isLast: boolean): Promise<void> {
    const request = { job: this.#record.name, attempt, n, isLast }
    while (!this.#isOver && this.#current?.attempt === attempt && this.#machine.record.checkpoint === n) {
      try {
        await this.#control(member).commitJob(request, { timeoutMs: stopTimeoutMs })
        return
      } catch {
        await sleep(commitRetryMs)
      }
    }
  }

  async #copyOut(member: Member, attempt: number, n: number, savepoint: string): Promise<void> {
    const request = { job: this.#record.name, attempt, n, savepoint }
    const answered = (shard: number, failure?: string): void =>
      this.#tell(machine => machine.savepointAnswered(attempt, shard, savepoint, failure))
    try {
      const { shards } = await this.#control(member).savepointJob(request, { timeoutMs: savepointTimeoutMs })
      for (const shard of shards) answered(shard)
    } catch (error) {
      answered(-1, messageOf(error))
    }
  }

  async #stop(attempt: number): Promise<void> {
    clearTimeout(this.#poller)
    const current = this.#current
    const request = { job: this.#record.name, attempt }
    if (current?.attempt === attempt) {
      if (this.#machine.record.guarantee === 'none') await this.#refresh(current).catch(() => undefined)
      const members = this.#members().filter(isReachable)
      await Promise.allSettled(members.map(member => this.#control(member).stopJob(request, { timeoutMs: stopTimeoutMs })))
    }
    this.#tell(machine => machine.stopped(attempt, this.#nowMs()))
  }

  // ---- progress

  #poll(current: Current): void {
    this.#poller = setTimeout(() => void this.#look(current), pollMs)
  }

  async #look(current: Current): Promise<void> {
    const isCurrent = (): boolean => !this.#isOver && this.#current === current && this.#machine.state === 'running'
    try {
      const shards = await this.#refresh(current)
      current.heardAtMs = this.#options.clock.nowMs()
      const failed = shards.find(({ status }) => status === 'failed')
      if (isCurrent() && failed !== undefined) {
        const { code, isFinal, ...failure } = failed.failure ?? { message: 'a shard gave the job up without a reason' }
        const named = this.#withShardNames(failure)
        if (isFinal === true) this.#refused(current.attempt, named)
        else this.#failed(current.attempt, named, code)
      } else if (isCurrent()) {
        this.#tell(machine => {
          this.#waitsFor = waitsOf(shards) || this.#waitsFor
          machine.waits(this.#waitsFor)
          for (const [shard, { status }] of shards.entries()) {
            if (status === 'completed') machine.completed(current.attempt, shard, this.#nowMs())
          }
        })
      }
    } catch (error) {
      if (error instanceof NearstateError && error.code === 'NOT_FOUND') this.#lost(current.attempt, messageOf(error))
      else if (this.#options.clock.nowMs() - current.heardAtMs >= silenceMaxMs)
        this.#lost(current.attempt, `a node did not tell the job's progress for ${silenceMaxMs / 1000} s: ${messageOf(error)}`)
    }
    if (isCurrent()) this.#poll(current)
  }

  /** Asks all nodes now. */
  async #refresh(current: Current): Promise<readonly ShardProgress[]> {
    const request = { job: this.#record.name, attempt: current.attempt }
    const answers = await Promise.all(
      membersOf(current.nodes, this.#options.view()?.state).map(member => this.#control(member).jobProgress(request, { timeoutMs: 5000 })),
    )
    const shards = answers.flatMap(answer => JSON.parse(answer.json) as ShardProgress[])
    current.stages = mergeStages(shards.map(({ stages }) => stages))
    current.skew = mergeSkew(shards.map(({ skew = [] }) => skew))
    return shards
  }

  #failed(attempt: number, failure: RunFailure, code: ErrorCode | undefined): void {
    if (code !== undefined && losses.has(code)) {
      this.#lost(attempt, failure.message)
      return
    }
    this.#tellFailure(attempt, failure)
    this.#tell(machine => machine.failed(attempt, failure, this.#nowMs()))
  }

  #refused(attempt: number, failure: RunFailure): void {
    this.#tellFailure(attempt, failure)
    this.#tell(machine => machine.refused(attempt, failure, this.#nowMs()))
  }

  #tellFailure(attempt: number, failure: RunFailure): void {
    if (!this.#isAlive(attempt)) return
    this.#toldFailure = failure.message
    this.#tellLog(failureLine(`attempt ${attempt} failed`, failure))
  }

  /** An attempt that has ended already fails no more. */
  #isAlive(attempt: number): boolean {
    const { state, record } = this.#machine
    return !this.#isOver && record.attempt === attempt && (state === 'running' || state === 'starting')
  }

  #tellLog(line: JobLogLine): void {
    this.#options.tell(this.#record.name, line)
  }

  #lost(attempt: number, reason: string): void {
    if (this.#isOver || this.#machine.record.attempt !== attempt) return
    if (this.#isAlive(attempt)) {
      this.#toldFailure = reason
      this.#options.log.warn('an attempt of a job is lost', { job: this.#record.name, attempt, reason })
      this.#tellLog(warningLine(`attempt ${attempt} is lost: ${reason}`))
    }
    this.#refusal ??= new NearstateError('UNAVAILABLE', `Cannot start job "${this.#record.name}": ${reason}`)
    this.#tell(machine => machine.lost(attempt, reason, this.#nowMs()))
  }

  // ---- inside

  #isStarting(attempt: number): boolean {
    return !this.#isOver && this.#machine.record.attempt === attempt && this.#machine.state === 'starting'
  }

  /** It has never run. */
  get #isFirst(): boolean {
    const { restarts, restore } = this.#record.run
    return restarts === 0 && restore.attempt === (this.#record.from?.attempt ?? 0)
  }

  #members(): readonly Member[] {
    return membersOf(this.#current?.nodes ?? [], this.#options.view()?.state)
  }

  #control(member: Member): NodeControl {
    return this.#options.controlOf(member)
  }

  /** Shards know each other by incarnation; people know nodes by name. */
  #withShardNames(failure: RunFailure): RunFailure {
    let { message } = failure
    for (const member of this.#options.view()?.state.members ?? []) {
      for (const [index, { id }] of member.shards.entries()) message = message.replaceAll(id, `${index} of ${member.name}`)
    }
    return { ...failure, message }
  }
}

/** What a task hears when a node, a link or a primary is gone, or a newer attempt is there. */
const losses: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['UNAVAILABLE', 'CONFLICT', 'CANCELLED', 'DEADLINE_EXCEEDED'])

/** Members whose shards take part. */
const membersIn = ({ shards }: Layout, state: ClusterState): readonly Member[] =>
  state.members.filter(member => member.shards.some(({ id }) => shards.includes(id)))

/** Those of the nodes that are still members and not dead. */
function membersOf(nodes: readonly NodeId[], state: ClusterState | undefined): readonly Member[] {
  return state === undefined ? [] : liveMembers(state).filter(member => nodes.includes(member.id))
}

/** Name (or id) of a node that takes part and is gone. */
function missingNode(nodes: readonly NodeId[], state: ClusterState): string | undefined {
  const there = new Set(membersOf(nodes, state).map(member => member.id))
  const gone = nodes.find(node => !there.has(node))
  return gone === undefined ? undefined : (state.members.find(member => member.id === gone)?.name ?? gone)
}

const differentGraphs = (job: string): NearstateError =>
  new NearstateError(
    'INVALID_ARGUMENT',
    `Cannot start job "${job}": its file builds different graphs on different shards; it must depend on its arguments only, not on time, chance or the machine`,
  )

function failureOfStart(error: unknown): RunFailure {
  const message = `could not be started: ${messageOf(error)}`
  return error instanceof NearstateError && error.functionStack !== undefined
    ? { message, functionStack: error.functionStack }
    : { message }
}

/** What a checkpoint waits for, in words: the first shard that has not answered. */
function waitsOf(shards: readonly ShardProgress[]): string {
  const shard = shards.findIndex(({ waitsFor }) => waitsFor !== undefined)
  const waits = shards[shard]?.waitsFor
  return waits === undefined ? '' : `stage "${waits.stage}" (${waits.what}) on shard ${shard + 1} of ${shards.length}`
}

const waitedFor = (what: string): string => (what === '' ? '' : `; it waited for ${what}`)
