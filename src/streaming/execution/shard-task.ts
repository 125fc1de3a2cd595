/**
 * One shard's part of one attempt of a job: what to do next, and what follows from it. Pure: its shell runs the units as slices
 * of user code, carries frames, and says what time it is.
 *
 *   prepare -> execute (user code, may be cut off) -> finish | failed | stopped -> flush -> prepare ...
 *
 * Owns: the order of work, watermarks through the graph, what happens to a unit that did not return.
 * Does not: open maps, read files, send bytes, describe errors of user code.
 *
 * 1. One unit at a time. What is due (windows, timers) goes before new rows, so no row overtakes a watermark that came before it.
 * 2. A head (a source, an edge, a stage with due work) is not run while an edge that its rows can reach is full: back-pressure
 *    from the slowest sink to the sources. Edges point one way, so what is furthest down can always run.
 * 3. Core state changes in prepare, finish, failed and stopped only; `execute` leaves everything aside or journalled.
 * 4. It is completed when every stage's watermark is infinite and everything is sent.
 */
import { messageOf, NearstateError } from '../../base/errors.ts'
import type { Assignment, Split, StageProgress } from '../assignment.ts'
import { defaultExchangeLimits, type Edge, type ExchangeLimits, type SendFrame } from '../exchange/edge.ts'
import { type Frame, FrameWriter, type RowCodec } from '../exchange/frame.ts'
import type { BuiltJob } from '../graph/job.ts'
import type { StageNode } from '../graph/stage-spec.ts'
import { Batch } from '../operators/batch.ts'
import { DeadLettersOperator } from '../operators/dead-letters.ts'
import { KeyByOperator } from '../operators/key-by.ts'
import { hasDue, type Operator } from '../operators/operator.ts'
import { noOrigin, originOf } from '../operators/origin.ts'
import { SourceOperator } from '../operators/source.ts'
import { ReplaySignal, StageFailure, type Unit, UnitSignal } from '../operators/unit.ts'
import type { LocalMap } from '../ports.ts'
import type { SourceBatch, SplitReader } from '../source.ts'
import type { DueHead, EdgeHead, SourceHead, Work } from './heads.ts'
import { Marks } from './marks.ts'
import { type Plan, planOf } from './plan.ts'
import { stageProgress } from './progress.ts'
import { type Reading, SplitQueue } from './split-queue.ts'
import { UnitSize } from './unit-size.ts'

/** Where the time goes, in milliseconds; for benchmarks. */
export interface TaskProfile {
  nowMs(): number
  parsingMs: number
  operatorsMs: number
  exchangeMs: number
  sinkMs: number
}

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
  readonly openSplit: (stage: string, split: Split) => SplitReader
  readonly limits?: Partial<ExchangeLimits>
  readonly profile?: TaskProfile
}

/** Why an attempt failed here. `thrown` is what user code threw, or a NearstateError of the engine. */
export interface TaskFailure {
  readonly stage: string | undefined
  readonly place: { readonly origin: string; readonly line: number } | undefined
  readonly thrown: unknown
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
  readonly #sources: SourceHead[] = []
  readonly #edgeHeads: EdgeHead[] = []
  readonly #dueHeads = new Map<number, DueHead>()
  readonly #marks: Marks
  readonly #closedLinks = new Set<number>()
  readonly #slice = new Batch()
  #state: TaskState = { kind: 'ready' }
  #work: Work | undefined
  #executed = false
  #signal: UnitSignal | undefined
  /** The unit is to be run again, carefully. */
  #again = false
  #sourceTurn = 0
  #edgesFirst = true
  #lastFlushMs = 0
  #nowMs = 0

  constructor(options: ShardTaskOptions) {
    const { job, built, attempt, assignment, self, maps, codec } = options
    this.#options = options
    this.#nodes = built.nodes
    this.#plan = planOf(built, assignment, self, maps, codec, { ...defaultExchangeLimits, ...options.limits })
    this.#unit = this.#plan.unit
    this.#writer = new FrameWriter(job, attempt, codec)
    for (const node of this.#nodes) this.#addHead(node)
    // What is furthest down the graph goes first: it makes room.
    this.#edgeHeads.reverse()
    const sourceMarks = new Map(this.#sources.map(({ operator, splits }) => [operator.stage, splits.mark]))
    this.#marks = new Marks(this.#nodes, this.#plan.operators, sourceMarks)
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
  }

  /** Chooses the next unit; false: nothing can run until a frame, a drain, a reader's word, or `idleAtMs`. */
  prepare(nowMs: number, wallTimeMs: number): boolean {
    if (this.#state.kind !== 'running') return false
    this.#nowMs = nowMs
    this.#executed = false
    this.#signal = undefined
    if (!this.#again) {
      try {
        this.#work = this.#chooseWork()
      } catch (thrown) {
        this.#fail(thrown)
        return false
      }
      if (this.#work === undefined) return false
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
      this.#executeWork()
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
    } catch (thrown) {
      this.#fail(thrown)
      return
    }
    if (profile !== undefined) profile.sinkMs += profile.nowMs() - startedMs
    this.#unit.commit()
    this.#advance(work)
    work.head.size.done(work.rows, elapsedMs)
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
      this.#failAt(work.head.operator.stage, -1, new NearstateError('FUNCTION_FAILED', message))
      return
    }
    this.#rollback()
    if (work.rows > 1) work.head.size.cutOff(work.rows)
    else if (quarantined) this.#failAt(stage, originOfFirst(work), new NearstateError('FUNCTION_FAILED', `${message}. ${rowsStoppedMax}`))
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
    const edge = this.#plan.edges[frame.edge]
    const complaint = edge === undefined ? 'it is of an edge that the job does not have' : edge.arrive(from, frame)
    if (complaint === undefined) return
    this.#failAt(edge?.stage, -1, new NearstateError('UNAVAILABLE', `Cannot take frame of shard ${from}: ${complaint}`))
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
    let earliest = Number.POSITIVE_INFINITY
    for (const { splits } of this.#sources) earliest = Math.min(earliest, splits.idleAtMs)
    return earliest
  }

  stages(): readonly StageProgress[] {
    const { operators, unit } = this.#plan
    return stageProgress(this.#nodes, operators, unit.counters, this.#marks.behind, stage => {
      const source = this.#sources.find(({ operator }) => operator.stage === stage)
      return source === undefined ? 1 : source.splits.tasks
    })
  }

  close(): void {
    this.#closeSources()
    if (this.#state.kind === 'ready' || this.#state.kind === 'running') this.#state = { kind: 'closed' }
  }

  readonly #send: SendFrame = (to, bytes) => {
    const open = this.#options.send(to, bytes)
    if (!open) this.#closedLinks.add(to)
    return open
  }

  readonly #isOpen = (shard: number): boolean => !this.#closedLinks.has(shard)

  #addHead({ index, name, spec }: StageNode): void {
    const { assignment, self, openSplit } = this.#options
    const operator = this.#plan.operators[index] as Operator
    const size = new UnitSize()
    if (operator instanceof SourceOperator && spec.kind === 'source') {
      const { outOfOrdernessMs = 0, idleAfterMs } = spec.eventTime ?? {}
      const own = assignment.splits[name]?.[self] ?? []
      const splits = new SplitQueue(own, split => openSplit(name, split), outOfOrdernessMs, idleAfterMs)
      this.#sources.push({ kind: 'source', operator, splits, firstSplit: this.#plan.origins.firstOf(name, self), size })
    }
    if (operator instanceof KeyByOperator || operator instanceof DeadLettersOperator) {
      this.#edgeHeads.push({ kind: 'edge', edge: operator.edge, operator, size })
    }
    if (hasDue(operator)) this.#dueHeads.set(index, { kind: 'due', operator, size })
  }

  #chooseWork(): Work | undefined {
    for (const { splits } of this.#sources) splits.checkIdle(this.#nowMs)
    // Source ends may make work due, and due work comes first: at most one more round per source.
    for (;;) {
      const due = this.#propagate()
      if (due !== undefined) return due
      this.#edgesFirst = !this.#edgesFirst
      const first = this.#edgesFirst ? this.#nextFrame() : this.#nextRecords()
      const work = first ?? (this.#edgesFirst ? this.#nextRecords() : this.#nextFrame())
      if (work !== undefined || !this.#marks.haveNews) return work
    }
  }

  #nextFrame(): Work | undefined {
    for (const head of this.#edgeHeads) {
      if (isAnyFull(this.#plan.reachBehind[head.operator.stage] as readonly Edge[])) continue
      const sender = head.edge.nextSender()
      if (sender === undefined) continue
      const { profile } = this.#options
      const startedMs = profile?.nowMs() ?? 0
      const { batch, cursor } = this.#openFrame(head, sender)
      if (profile !== undefined) profile.exchangeMs += profile.nowMs() - startedMs
      return { head, sender, batch, from: cursor, rows: Math.min(head.size.rows, batch.size - cursor) }
    }
    return undefined
  }

  #openFrame(head: EdgeHead, sender: number): { batch: Batch; cursor: number } {
    try {
      return head.edge.open(sender, this.#options.codec)
    } catch (cause) {
      const error = new NearstateError('INTERNAL', `Cannot read frame of shard ${sender}: ${messageOf(cause)}`, { cause })
      throw new StageFailure(head.operator.stage, -1, error)
    }
  }

  #nextRecords(): Work | undefined {
    const count = this.#sources.length
    for (let i = 0; i < count; i += 1) {
      const head = this.#sources[(this.#sourceTurn + i) % count] as SourceHead
      if (this.#isBlocked(head.operator.stage)) continue
      const reading = this.#nextReading(head)
      if (reading === undefined) continue
      this.#sourceTurn = (this.#sourceTurn + i + 1) % count
      const left = (reading.batch?.records.length ?? 0) - reading.cursor
      return { head, reading, rows: Math.min(head.size.rows, left) }
    }
    return undefined
  }

  #nextReading(head: SourceHead): Reading | undefined {
    const { profile } = this.#options
    const startedMs = profile?.nowMs() ?? 0
    try {
      return head.splits.next(this.#nowMs)
    } catch (thrown) {
      throw new StageFailure(head.operator.stage, -1, thrown)
    } finally {
      if (profile !== undefined) profile.parsingMs += profile.nowMs() - startedMs
    }
  }

  #isBlocked(stage: number): boolean {
    return isAnyFull(this.#plan.reach[stage] as readonly Edge[])
  }

  /** Carries watermarks on; where one makes work due it waits, and the first such work that can run is the answer. */
  #propagate(): Work | undefined {
    let due: Work | undefined
    this.#marks.propagate((stage, watermark) => {
      const head = this.#dueHeads.get(stage)
      if (head === undefined) return false
      head.operator.advanceTo(watermark)
      if (!head.operator.prepareFire(head.size.rows)) return false
      if (due === undefined && !this.#isBlocked(stage)) due = { head, rows: head.size.rows }
      return true
    })
    return due
  }

  #executeWork(): void {
    const work = this.#work
    if (work === undefined) return
    const { operator } = work.head
    this.#unit.stage = operator.stage
    if ('reading' in work) {
      const { batch, cursor } = work.reading
      if (batch !== undefined) work.head.operator.read(batch, work.head.firstSplit + work.reading.index, cursor, cursor + work.rows)
    } else if ('batch' in work) {
      this.#receive(operator, work.batch, work.from, work.rows)
    } else {
      work.head.operator.fire()
    }
  }

  #receive(operator: Operator, batch: Batch, from: number, rows: number): void {
    let part = batch
    if (rows !== batch.size) {
      part = this.#slice
      part.size = 0
      for (let i = from; i < from + rows; i += 1) part.pushFrom(batch, i, batch.rows[i])
    }
    if (operator instanceof KeyByOperator) operator.receive(part)
    else operator.accept(part)
  }

  #advance(work: Work): void {
    if ('reading' in work) work.head.splits.advance(work.reading, work.rows, work.head.operator.greatestTime, this.#nowMs)
    else if ('batch' in work) work.head.edge.advance(work.sender, work.rows)
    else work.head.operator.fired()
  }

  #rollback(): void {
    for (const operator of this.#plan.operators) operator.rollback()
    for (const edge of this.#plan.edges) edge.rollback()
    this.#unit.rollback()
  }

  /** A single row, window or timer that was cut off is given up by the job's rule. */
  #dropCutOff(work: Work, stage: number, error: NearstateError): void {
    const origin = originOfFirst(work)
    let row: unknown
    let rejected: SourceBatch | undefined
    if ('reading' in work) {
      const { batch, cursor } = work.reading
      row = batch?.records[cursor]
      rejected = cursor === 0 ? batch : undefined
    } else if ('batch' in work) {
      row = work.batch.rows[work.from]
    } else {
      row = work.head.operator.dropFirst()
    }
    try {
      this.#unit.rowFailed(stage, origin, error, row)
      if (rejected !== undefined && 'reading' in work) work.head.operator.reject(rejected, work.head.firstSplit + work.reading.index)
      for (const operator of this.#plan.operators) operator.commit()
    } catch (thrown) {
      this.#fail(thrown)
      return
    }
    this.#unit.commit()
    if (!('head' in work && work.head.kind === 'due')) this.#advance(work)
    work.head.size.done(1, 0)
    this.#work = undefined
  }

  #checkCompleted(): void {
    if (this.#state.kind !== 'running') return
    if (this.#marks.haveEnded && this.#plan.edges.every(edge => edge.isSettled)) {
      this.#closeSources()
      this.#state = { kind: 'completed' }
    }
  }

  #fail(thrown: unknown): void {
    if (thrown instanceof StageFailure) this.#failAt(thrown.stage, thrown.origin, thrown.cause)
    else this.#failAt(this.#work?.head.operator.stage, -1, thrown)
  }

  #failAt(stage: number | undefined, origin: number, thrown: unknown): void {
    this.#work = undefined
    this.#closeSources()
    const place = this.#plan.origins.describe(origin)
    this.#state = { kind: 'failed', failure: { stage: stage === undefined ? undefined : this.#nameOf(stage), place, thrown } }
  }

  #closeSources(): void {
    for (const { splits } of this.#sources) splits.close()
  }

  #nameOf(stage: number | undefined): string {
    return stage === undefined ? '' : (this.#nodes[stage]?.name ?? '')
  }
}

/** Where the unit's first row was read. */
function originOfFirst(work: Work): number {
  if ('reading' in work) {
    const { batch, cursor, index } = work.reading
    return originOf(work.head.firstSplit + index, batch?.lines[cursor] ?? 0)
  }
  return 'batch' in work ? (work.batch.origins[work.from] as number) : noOrigin
}

function isAnyFull(edges: readonly Edge[]): boolean {
  for (let i = 0; i < edges.length; i += 1) if ((edges[i] as Edge).isFull) return true
  return false
}
