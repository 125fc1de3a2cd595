/**
 * One shard's part of one attempt of a job: what to do next, and what follows from it. Pure: its shell runs the units as slices
 * of user code, carries frames, and says what time it is.
 *
 *   prepare -> execute (user code, may be cut off) -> finish | failed | stopped -> flush -> prepare ...
 *
 * Owns: the attempt's state on this shard, and what happens to a unit that did not return.
 * Does not: open maps, read files, send bytes, describe errors of user code.
 *
 * 1. One unit at a time, in the order of agenda.ts.
 * 2. Core state changes in prepare, finish, failed and stopped only; `execute` leaves everything aside or journalled.
 * 3. It has ended when every stage's watermark is infinite and everything is sent. Without checkpoints it is completed then; with them
 *    when a barrier before which all shards had ended is committed (the master says so: `isLast`), and the sinks have committed.
 */
import { NearstateError } from '../../base/errors.ts'
import type { Assignment, Split, StageCounts, StageProgress, TaskSkew } from '../assignment.ts'
import { BarrierFlow, type Guarantee } from '../checkpoint/barrier-flow.ts'
import { restoredMarks } from '../checkpoint/barrier-record.ts'
import { homeOf, type HomeRecord, splitKey } from '../checkpoint/home.ts'
import { type CheckpointRules, everyCheckpointRule } from '../checkpoint/rules.ts'
import { type BarrierAnswer, TaskCheckpoint } from '../checkpoint/task-checkpoint.ts'
import { defaultExchangeLimits, type ExchangeLimits, type SendFrame } from '../exchange/edge.ts'
import { type Frame, FrameWriter, type RowCodec } from '../exchange/frame.ts'
import type { BuiltJob } from '../graph/job.ts'
import type { StageNode } from '../graph/stage-spec.ts'
import type { Operator } from '../operators/operator.ts'
import type { Place } from '../operators/origin.ts'
import { TwoPhaseSinkOperator } from '../operators/two-phase-sink.ts'
import { ReplaySignal, StageFailure, type Unit, UnitSignal } from '../operators/unit.ts'
import type { LocalMap, Outside, StateStore } from '../ports.ts'
import type { SourceBatch, SplitPosition, SplitReader } from '../source.ts'
import { isQueried } from '../state/queried.ts'
import { hasState, StageState } from '../state/stage-state.ts'
import { Agenda } from './agenda.ts'
import { FailedRows, type FailedRowsLine } from './failed-rows.ts'
import { fuse } from './fuse.ts'
import { countGivenUp } from './given-up.ts'
import { taskSkew } from './key-skew.ts'
import { ownPartitions, type Plan, planOf } from './plan.ts'
import { countsOf, stageProgress, type TaskProfile } from './progress.ts'
import { type LetterEntry, type LetterId, type ReplayOutcome, Replays } from './replays.ts'
import { StageTimes } from './stage-times.ts'
import { advanceWork, originOfFirst, runWork, type Work } from './work.ts'

export interface ShardTaskOptions {
  /** The name that the job runs under. */
  readonly job: string
  readonly built: BuiltJob
  readonly attempt: number
  readonly assignment: Assignment
  /** Index of this shard in the assignment. */
  readonly self: number
  readonly maps: ReadonlyMap<string, LocalMap>
  readonly codec: RowCodec
  readonly send: SendFrame
  readonly openSplit: (stage: string, split: Split, position: SplitPosition | undefined) => SplitReader
  /** Absent: a job without checkpoints. */
  readonly checkpoints?: TaskCheckpoints
  /** Absent: a job whose stages reach nothing outside. */
  readonly outside?: Outside
  /** Hears of rows that failed and did not fail the job: the first of each kind, then how many more. */
  readonly rowsFailed?: (failed: FailedRowsLine) => void
  readonly limits?: Partial<ExchangeLimits>
  readonly profile?: TaskProfile
  /** A unit takes at most so many rows; default 1024. */
  readonly unitRowsMax?: number
  /** Sees the plan before anything runs: the testing kit adds operators that look on. */
  readonly observe?: (plan: Plan) => void
}

export interface TaskCheckpoints {
  readonly guarantee: Exclude<Guarantee, 'none'>
  /** Opened for this attempt, after its start is in the log of every partition of this shard. */
  readonly store: StateStore
  /** A barrier is done on this shard. May be called within any other call to the task. */
  readonly answer: (answer: BarrierAnswer) => void
  readonly rules?: CheckpointRules
}

/** Why an attempt failed here. `thrown` is what user code threw, or a NearstateError of the engine. */
export interface TaskFailure {
  readonly stage: string | undefined
  readonly place: Place | undefined
  readonly thrown: unknown
  /** A stage in quarantine: another attempt would be stopped again. */
  readonly isFinal: boolean
}

export type TaskState =
  | { readonly kind: 'ready' }
  | { readonly kind: 'running' }
  | { readonly kind: 'completed' }
  | { readonly kind: 'failed'; readonly failure: TaskFailure }
  | { readonly kind: 'closed' }

const rowsStoppedMax = 'A third row (window, timer) of one stage on one shard that must be stopped fails the job, whatever onError says'

/** Partial frames wait for company at most so long while there is other work. */
const flushEveryMs = 2

export class ShardTask {
  readonly #options: ShardTaskOptions
  readonly #plan: Plan
  readonly #unit: Unit
  readonly #nodes: readonly StageNode[]
  readonly #writer: FrameWriter
  readonly #agenda: Agenda
  readonly #closedLinks = new Set<number>()
  readonly #checkpoint: TaskCheckpoint | undefined
  /** Operators with state. */
  readonly #states: readonly StageState[]
  /** By stage, when the last barrier passed it. */
  readonly #counts: StageCounts[] = []
  readonly #times: StageTimes
  readonly #replays: Replays
  #failedRows: FailedRows | undefined
  #ended = false
  /** Savepoints that wait for sinks. */
  #whenSinksCommitted: ((error?: NearstateError) => void)[] = []
  /** The last barrier of the job is committed. */
  #isLast = false
  #committed = 0
  #state: TaskState = { kind: 'ready' }
  #work: Work | undefined
  #executed = false
  #signal: UnitSignal | undefined
  /** The unit is to be run again, carefully. */
  #again = false
  #lastFlushMs = 0
  #nowMs = 0

  constructor(options: ShardTaskOptions) {
    const { job, built, attempt, assignment, self, maps, codec, checkpoints } = options
    const { store, guarantee = 'none', rules = everyCheckpointRule } = checkpoints ?? {}
    this.#options = options
    this.#nodes = built.nodes
    const { creditFrames } = defaultExchangeLimits
    const limits = {
      ...defaultExchangeLimits,
      gapEndsAttempt: rules.lostFrameEndsAttempt,
      firstCredit: rules.noFrameBeforeBegun ? 0 : creditFrames,
      ...options.limits,
    }
    const partitions = ownPartitions(assignment, self)
    const restored = rules.watermarksRestored ? restoredMarks(store, partitions, codec) : new Map()
    const stateOf = (stage: string): StageState => new StageState({ stage, codec, store, partitions, restored: restored.get(stage), rules })
    this.#plan = planOf(built, assignment, self, maps, codec, limits, stateOf, guarantee === 'exactly-once', {
      ...options,
      isCheckpointed: checkpoints !== undefined,
      rules,
    })
    options.observe?.(this.#plan)
    fuse(this.#plan.unit, this.#plan.operators)
    this.#unit = this.#plan.unit
    if (options.rowsFailed !== undefined) {
      const names = this.#nodes.map(({ name }) => name)
      this.#failedRows = new FailedRows(names, options.rowsFailed)
      this.#unit.failedRows = this.#failedRows
    }
    this.#states = this.#plan.operators.flatMap(operator => (hasState(operator) ? [operator.state] : []))
    this.#writer = new FrameWriter(job, attempt, codec)
    this.#times = new StageTimes(built.nodes.length)
    this.#replays = new Replays(this.#nodes, this.#plan, store, codec, assignment.owners.length)
    const flow = new BarrierFlow(this.#nodes, this.#plan.operators, guarantee)
    this.#agenda = new Agenda(this.#nodes, this.#plan, {
      ...options,
      flow,
      replays: this.#replays,
      times: this.#times,
      passes: (stage, watermark) => this.#passes(stage, watermark),
    })
    this.#checkpoint = checkpoints === undefined ? undefined : this.#checkpointOf(checkpoints, flow, rules)
    // A start position that no checkpoint has yet: of a fresh job, or a source that its savepoint did not know.
    this.#agenda.holdSources = store?.isFresh === true || (store !== undefined && hasUnread(options.assignment, options.self))
  }

  get state(): TaskState {
    return this.#state
  }

  /** Name of the stage that the unit has come to; before it runs, of the one where it begins. */
  get stageAtWork(): string {
    return this.#nameOf(this.#executed ? this.#unit.stage : this.#work?.head.operator.stage)
  }

  /** At most so many rows, windows or timers are in the prepared unit. */
  get unitRows(): number {
    return this.#work?.rows ?? 0
  }

  /** All shards stand ready: gives the first credit and lets sources read. */
  run(nowMs: number): void {
    if (this.#state.kind !== 'ready') return
    this.#state = { kind: 'running' }
    this.#nowMs = nowMs
    for (const edge of this.#plan.edges) edge.giveFirstCredit(this.#writer, this.#send)
    if (this.#options.self !== 0) return
    for (const operator of this.#plan.operators) if (operator instanceof TwoPhaseSinkOperator) operator.endOthers()
  }

  /** Chooses the next unit; false: nothing can run until a frame, a drain, a reader's word, or `idleAtMs`. */
  prepare(nowMs: number, wallTimeMs: number): boolean {
    if (this.#state.kind !== 'running') return false
    this.#nowMs = nowMs
    this.#executed = false
    this.#signal = undefined
    if (!this.#again) {
      try {
        this.#checkpoint?.begin(nowMs, this.#ended)
        this.#work = this.#agenda.next(nowMs, wallTimeMs)
        this.#checkpoint?.advance(nowMs)
        this.#checkSinks()
      } catch (thrown) {
        this.#fail(thrown)
        return false
      }
      if (this.#work === undefined || this.#state.kind !== 'running') return false
    }
    for (const edge of this.#plan.edges) edge.beginUnit()
    this.#unit.begin(this.#again, wallTimeMs)
    this.#again = false
    return true
  }

  /** Runs the unit: user code. May throw what user code threw, and may be cut off. */
  execute(): void {
    const { profile } = this.#options
    const startedMs = profile?.nowMs() ?? 0
    this.#executed = true
    try {
      if (this.#work !== undefined) {
        this.#unit.stage = this.#work.head.operator.stage
        runWork(this.#work)
      }
    } catch (thrown) {
      if (!(thrown instanceof UnitSignal)) throw thrown
      this.#signal = thrown
      if (thrown instanceof StageFailure) throw thrown.cause
    }
    if (profile !== undefined) profile.operatorsMs += profile.nowMs() - startedMs
  }

  /** `execute` has returned, after this long. */
  finish(elapsedMs: number): void {
    const work = this.#work
    if (work === undefined) return
    if (this.#signal instanceof ReplaySignal) {
      this.#rollback()
      this.#again = true
      return
    }
    const { profile } = this.#options
    const startedMs = profile?.nowMs() ?? 0
    try {
      for (const operator of this.#plan.operators) operator.commit()
      this.#writeState()
    } catch (thrown) {
      this.#fail(thrown)
      return
    }
    if (profile !== undefined) profile.sinkMs += profile.nowMs() - startedMs
    this.#unit.commit()
    advanceWork(work, this.#nowMs)
    work.head.size.done(work.rows, elapsedMs)
    this.#times.worked(work.head.operator.stage, elapsedMs)
    this.#work = undefined
  }

  /** `execute` has thrown (a copy of) this. */
  failed(thrown: unknown): void {
    this.#rollback()
    const signal = this.#signal
    if (signal instanceof StageFailure) this.#failAt(signal.stage, signal.origin, thrown)
    else this.#failAt(this.#unit.stage, -1, thrown)
  }

  /** `execute` was cut off; or never ran, because the stage where it begins is `quarantined`. */
  stopped(message: string, quarantined: boolean): void {
    const work = this.#work
    const { stage } = this.#unit
    if (work === undefined) return
    if (!this.#executed) {
      this.#failAt(work.head.operator.stage, -1, new NearstateError('FUNCTION_FAILED', message), quarantined)
      return
    }
    this.#rollback()
    if (this.#state.kind !== 'running') return
    if (!this.#unit.undo && this.#states.length > 0 && work.head.kind !== 'write') {
      // Nothing was recorded to undo its state with: the attempt ends, and the next one goes on from the last checkpoint.
      this.#failAt(stage, work.rows > 1 ? -1 : originOfFirst(work), new NearstateError('FUNCTION_FAILED', message))
      return
    }
    if (work.rows > 1) work.head.size.cutOff(work.rows)
    else if (quarantined || work.head.kind === 'write')
      this.#failAt(stage, originOfFirst(work), new NearstateError('FUNCTION_FAILED', `${message}. ${rowsStoppedMax}`), quarantined)
    else this.#dropCutOff(work, stage, new NearstateError('FUNCTION_FAILED', message))
  }

  /** Sends frames, credit and watermarks that may leave; `idle`: there is nothing else to do, so all of them. */
  flush(nowMs: number, idle: boolean): void {
    if (this.#state.kind !== 'running') return
    const all = idle || nowMs - this.#lastFlushMs >= flushEveryMs
    if (all) this.#lastFlushMs = nowMs
    const { profile } = this.#options
    const startedMs = profile?.nowMs() ?? 0
    for (const edge of this.#plan.edges) {
      try {
        edge.flush(this.#writer, this.#send, this.#isOpen, all)
      } catch (thrown) {
        this.#failAt(edge.stage, -1, thrown)
        return
      }
    }
    if (profile !== undefined) profile.exchangeMs += profile.nowMs() - startedMs
    if (idle) this.#checkCompleted()
  }

  /** A frame of another shard of this attempt. */
  arrive(from: number, frame: Frame): void {
    if (this.#state.kind !== 'running' && this.#state.kind !== 'ready') return
    if (frame.kind === 'state') {
      this.#arriveState(from, frame)
      return
    }
    const edge = this.#plan.edges[frame.edge]
    const complaint = edge === undefined ? 'it is of an edge that the job does not have' : edge.arrive(from, frame)
    if (complaint === undefined) return
    this.#failAt(edge?.stage, -1, new NearstateError('UNAVAILABLE', `Cannot take frame of shard ${from}: ${complaint}`))
  }

  /** What a checkpoint taken now would have of a key; see state/queried.ts. Between units, in a slice of user code. */
  recordNow(stage: string, key: Uint8Array, partition: number): Uint8Array | undefined {
    const operator = this.#plan.operators[this.#nodes.find(({ name }) => name === stage)?.index ?? -1]
    if (operator === undefined || !isQueried(operator)) {
      throw new NearstateError('INVALID_ARGUMENT', `Cannot read stage "${stage}": it keeps no value per key`)
    }
    const record = operator.recordNow(key, partition)
    return record === undefined ? undefined : new Uint8Array(record)
  }

  // ---- checkpoints

  /** The master's barrier n of this attempt, where c is the last one committed in it (0: none). */
  barrier(n: number, c: number): void {
    if (this.#state.kind !== 'running') return
    if (c > 0) this.committed(c)
    this.#checkpoint?.request(n)
  }

  /** The master has committed barrier n of this attempt. `isLast`: all shards answered it as ended, so the job is completed with it. */
  committed(n: number, isLast = false): void {
    if (this.#state.kind !== 'running') return
    this.#isLast ||= isLast
    if (n <= this.#committed) {
      this.#checkCompleted()
      return
    }
    this.#committed = n
    try {
      this.#options.checkpoints?.store.committed(n)
      this.#agenda.holdSources = false
      for (const { splits } of this.#agenda.sources) splits.committed(n)
      for (const operator of this.#plan.operators) operator.committed(n)
      this.#replays.committed(n)
    } catch (thrown) {
      this.#fail(thrown)
      return
    }
    this.#checkCompleted()
  }

  /**
   * Commits what the restore point says is prepared in this shard's partitions. To be done before the shard says that it stands ready,
   * so that it is done everywhere before any shard runs.
   */
  recover(done: (error?: NearstateError) => void): void {
    const { checkpoints, assignment, self } = this.#options
    const sinks = this.#plan.operators.filter(operator => operator instanceof TwoPhaseSinkOperator)
    const partitions = ownPartitions(assignment, self)
    const next = (error?: NearstateError): void => {
      const sink = sinks.shift()
      if (error !== undefined || sink === undefined || checkpoints === undefined) done(error)
      else sink.recover(checkpoints.store, partitions, next)
    }
    next()
  }

  /**
   * Copies checkpoint n, the one committed last, out under a name; asked for before the next barrier. `done` comes when this shard's
   * partitions are copied and its sinks have committed what was prepared for n.
   */
  savepoint(name: string, n: number, done: (error?: NearstateError) => void): void {
    const { checkpoints } = this.#options
    if (checkpoints === undefined || this.#state.kind !== 'running' || this.#committed !== n) {
      done(new NearstateError('CONFLICT', `Cannot make savepoint "${name}": checkpoint ${n} is not the last one of this attempt`))
      return
    }
    if (checkpoints.store.savepoint === undefined) {
      done(new NearstateError('INVALID_ARGUMENT', `Cannot make savepoint "${name}": where this job keeps its state no savepoints are made`))
      return
    }
    checkpoints.store.savepoint(name, n, error => {
      if (error === undefined && (checkpoints.rules ?? everyCheckpointRule).savepointAfterSinks) this.#whenSinksCommitted.push(done)
      else done(error)
      this.#checkSinks()
    })
  }

  #checkSinks(): void {
    if (this.#whenSinksCommitted.length === 0 || this.#plan.operators.some(operator => operator.isCommitting)) return
    for (const done of this.#whenSinksCommitted.splice(0)) done()
  }

  /** All work is done; what is left is the last checkpoint. */
  get hasEnded(): boolean {
    return this.#ended
  }

  /** What the barrier under way waits for here; undefined: none is, or it is answered. */
  get barrierWaitsFor(): { readonly stage: string; readonly what: string } | undefined {
    const waits = this.#checkpoint?.waitsFor
    return waits === undefined ? undefined : { stage: this.#nameOf(waits.stage), what: waits.what }
  }

  #passes(stage: number, watermark: number): void {
    const { n } = this.#checkpoint ?? {}
    if (n === undefined) return
    this.#counts[stage] = { name: this.#nameOf(stage), ...countsOf(this.#unit.counters, stage) }
    const operator = this.#plan.operators[stage] as Operator
    if (hasState(operator)) {
      const { state } = operator
      this.#checkpoint?.passed(state.stage, partition => state.mark(partition, watermark))
      state.passBarrier(n)
      this.#agenda.startWriting(stage)
    }
    operator.passBarrier(n)
  }

  #checkpointOf({ store, answer }: TaskCheckpoints, flow: BarrierFlow, rules: CheckpointRules): TaskCheckpoint {
    const { codec, self, assignment } = this.#options
    return new TaskCheckpoint({
      store,
      codec,
      rules,
      flow,
      self,
      owners: assignment.owners,
      shards: assignment.shards.length,
      writer: this.#writer,
      send: this.#send,
      snapshotSources: n => [...this.#snapshotSources(n), ...this.#replays.takeRecords(n)],
      stageAtWork: () => this.#agenda.writingStage ?? this.#plan.operators.find(operator => operator.isPreparing)?.stage,
      sinkRecords: () => this.#plan.operators.flatMap(operator => operator.takeRecords(assignment.owners.length)),
      written: () => this.#takeWritten(),
      counts: () => this.#counts,
      answer,
      fail: error => this.#failAt(undefined, -1, error),
    })
  }

  #snapshotSources(n: number): readonly HomeRecord[] {
    const { codec, assignment, checkpoints } = this.#options
    return this.#agenda.sources.flatMap(({ operator, splits }) => {
      const stage = this.#nameOf(operator.stage)
      const records = splits.snapshot(n)
      if (checkpoints?.rules?.upstreamReleasedAfterCommit === false) splits.committed(n)
      return records.map(record => ({
        partition: homeOf(stage, record.split.id, assignment.owners.length),
        stage,
        key: splitKey(record.split.id),
        value: codec.encode(record),
      }))
    })
  }

  #takeWritten(): { bytes: number; records: number } {
    const sum = { bytes: 0, records: 0 }
    for (const state of this.#states) {
      sum.bytes += state.bytesWritten
      sum.records += state.recordsWritten
    }
    return sum
  }

  #arriveState(from: number, frame: Frame): void {
    try {
      const complaint = this.#checkpoint === undefined ? 'the job has no checkpoints' : this.#checkpoint.arrive(from, frame)
      if (complaint !== undefined) throw new NearstateError('UNAVAILABLE', `Cannot take frame of shard ${from}: ${complaint}`)
    } catch (thrown) {
      this.#failAt(undefined, -1, thrown)
    }
  }

  /** The link to this shard takes frames again. */
  drained(shard: number): void {
    this.#closedLinks.delete(shard)
  }

  /** Another shard is gone: what was under way to and from it is lost. */
  peerDown(shard: number): void {
    if (this.#state.kind !== 'ready' && this.#state.kind !== 'running') return
    const peer = this.#options.assignment.shards[shard] ?? ''
    this.#failAt(undefined, -1, new NearstateError('UNAVAILABLE', `shard ${peer} cannot be reached, and what was under way to it is lost`))
  }

  /** When `prepare` should be asked again even if nothing happens. */
  get idleAtMs(): number {
    return this.#agenda.idleAtMs
  }

  stages(): readonly StageProgress[] {
    const { operators, unit } = this.#plan
    return stageProgress(
      this.#nodes,
      operators,
      unit.counters,
      this.#agenda.marks,
      stage => this.#agenda.tasksOf(stage),
      this.#times,
      this.#nowMs,
    )
  }

  /** Dead letters of rows of one of this shard's partitions; see replays.ts. Between units. */
  replay(partition: number, letters: readonly LetterEntry[], forgets: readonly LetterId[]): readonly ReplayOutcome[] {
    if (this.#state.kind !== 'running') throw new NearstateError('UNAVAILABLE', 'Cannot replay dead letters: the attempt does not run')
    return this.#replays.take(partition, letters, forgets, this.#agenda.haveEnded)
  }

  skew(wallTimeMs: number): readonly TaskSkew[] {
    return taskSkew(this.#nodes, this.#plan.operators, wallTimeMs)
  }

  /** Tells of rows that failed and were not told of yet; `all`: also of those that would wait for more of their kind. */
  tellFailedRows(wallTimeMs: number, all: boolean): void {
    this.#failedRows?.tell(wallTimeMs, all)
  }

  close(): void {
    this.#agenda.closeSources()
    for (const operator of this.#plan.operators) operator.close()
    if (this.#state.kind === 'ready' || this.#state.kind === 'running') this.#state = { kind: 'closed' }
  }

  readonly #send: SendFrame = (to, bytes) => {
    const open = this.#options.send(to, bytes)
    if (!open) this.#closedLinks.add(to)
    return open
  }

  readonly #isOpen = (shard: number): boolean => !this.#closedLinks.has(shard)

  #rollback(): void {
    for (const operator of this.#plan.operators) operator.rollback()
    for (const edge of this.#plan.edges) edge.rollback()
    this.#unit.rollback()
    try {
      this.#writeState()
    } catch (thrown) {
      this.#fail(thrown)
    }
  }

  /** What units have encoded goes to the store, whether they returned or not. */
  #writeState(): void {
    for (let i = 0; i < this.#states.length; i += 1) (this.#states[i] as StageState).writeLaidDown()
  }

  /** A single row, window or timer that was cut off is given up by the job's rule. */
  #dropCutOff(work: Work, stage: number, error: NearstateError): void {
    if ('letter' in work) {
      work.head.replays.giveUp(work.letter)
      this.#work = undefined
      return
    }
    const origin = originOfFirst(work)
    let row: unknown
    let rejected: SourceBatch | undefined
    if ('reading' in work) {
      const { batch, cursor } = work.reading
      row = batch?.records[cursor]
      rejected = cursor === 0 ? batch : undefined
    } else if ('batch' in work) {
      row = work.batch.rows[work.from]
    } else if (work.head.kind === 'due') {
      row = work.head.operator.dropFirst()
    }
    try {
      this.#unit.rowFailed(stage, origin, error, row)
      countGivenUp(this.#nodes, this.#unit.counters, work, stage)
      if (rejected !== undefined && 'reading' in work) work.head.operator.reject(rejected, work.head.firstSplit + work.reading.index)
      for (const operator of this.#plan.operators) operator.commit()
    } catch (thrown) {
      this.#fail(thrown)
      return
    }
    this.#unit.commit()
    if (!('head' in work && work.head.kind === 'due')) advanceWork(work, this.#nowMs)
    work.head.size.done(1, 0)
    this.#work = undefined
  }

  #checkCompleted(): void {
    if (this.#state.kind !== 'running') return
    this.#ended ||= this.#agenda.haveEnded && this.#plan.edges.every(edge => edge.isSettled)
    if (!this.#ended) return
    if (this.#checkpoint !== undefined) {
      if (!this.#isLast) return
      if (this.#plan.operators.some(operator => operator.isCommitting)) return
    } else if (!this.#plan.operators.every(operator => operator.endInput())) {
      return
    }
    this.#agenda.closeSources()
    for (const operator of this.#plan.operators) operator.close()
    this.#state = { kind: 'completed' }
  }

  #fail(thrown: unknown): void {
    if (thrown instanceof StageFailure) this.#failAt(thrown.stage, thrown.origin, thrown.cause)
    else this.#failAt(this.#work?.head.operator.stage, -1, thrown)
  }

  #failAt(stage: number | undefined, origin: number, thrown: unknown, isFinal = false): void {
    if (this.#state.kind !== 'ready' && this.#state.kind !== 'running') return
    this.#work = undefined
    this.#agenda.closeSources()
    for (const operator of this.#plan.operators) operator.close()
    const place = this.#plan.origins.describe(origin)
    this.#state = { kind: 'failed', failure: { stage: stage === undefined ? undefined : this.#nameOf(stage), place, thrown, isFinal } }
  }

  #nameOf(stage: number | undefined): string {
    return stage === undefined ? '' : (this.#nodes[stage]?.name ?? '')
  }
}

const hasUnread = ({ splits }: Assignment, self: number): boolean =>
  Object.values(splits).some(shards => (shards[self] ?? []).some(({ restored }) => restored === undefined))
