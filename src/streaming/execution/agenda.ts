/**
 * What one shard's task could do next: its sources, the exchanges where frames wait, the stages with due work, and the watermarks
 * that make work due.
 *
 * Owns: the order of work. Does not: run it (shard-task.ts).
 *
 * 1. What is due (windows, timers) goes before new rows, so no row overtakes a watermark that came before it.
 * 2. A head (a source, an edge, a stage with due work) is not run while an edge that its rows can reach is full: back-pressure
 *    from the slowest sink to the sources. Edges point one way, so what is furthest down can always run. The same holds for what a
 *    barrier under way keeps back (barrier-flow.ts).
 * 3. State of a barrier passed is written between other work, every second time: a barrier is no pause.
 */
import { messageOf, NearstateError } from '../../base/errors.ts'
import type { Assignment, Split } from '../assignment.ts'
import type { BarrierFlow } from '../checkpoint/barrier-flow.ts'
import type { RowCodec } from '../exchange/frame.ts'
import type { StageNode } from '../graph/stage-spec.ts'
import type { Batch } from '../operators/batch.ts'
import { DeadLettersOperator } from '../operators/dead-letters.ts'
import { KeyByOperator } from '../operators/key-by.ts'
import { type Bounded, hasDue, isTimed, type Operator, type Timed } from '../operators/operator.ts'
import { SourceOperator } from '../operators/source.ts'
import { StageFailure } from '../operators/unit.ts'
import type { SplitPosition, SplitReader } from '../source.ts'
import { hasState, type Stateful } from '../state/stage-state.ts'
import type { Mark } from '../time/watermarks.ts'
import { Marks } from './marks.ts'
import type { Plan } from './plan.ts'
import type { TaskProfile } from './progress.ts'
import type { Replays } from './replays.ts'
import { type Reading, SplitQueue } from './split-queue.ts'
import type { StageTimes } from './stage-times.ts'
import { UnitSize } from './unit-size.ts'
import type { DueHead, EdgeHead, SourceHead, Work, WriteHead } from './work.ts'

export interface AgendaOptions {
  readonly assignment: Assignment
  /** Index of this shard in the assignment. */
  readonly self: number
  readonly codec: RowCodec
  readonly openSplit: (stage: string, split: Split, position: SplitPosition | undefined) => SplitReader
  readonly flow: BarrierFlow
  readonly replays: Replays
  readonly times: StageTimes
  /** Told of each stage that a barrier passes, with the watermark that the stage has received. */
  readonly passes: (stage: number, watermark: number) => void
  readonly profile?: TaskProfile
  /** A unit takes at most so many rows; default 1024. */
  readonly unitRowsMax?: number
}

export class Agenda {
  readonly #options: AgendaOptions
  readonly #plan: Plan
  readonly #sources: SourceHead[] = []
  readonly #edgeHeads: EdgeHead[] = []
  readonly #dueHeads = new Map<number, DueHead>()
  readonly #writeHeads = new Map<number, WriteHead>()
  readonly #timed: readonly Timed[]
  readonly #marks: Marks
  readonly #replaySize = new UnitSize(1)
  #sourceTurn = 0
  #edgesFirst = true
  #writeNext = true
  /** Sources do not read before the first checkpoint of a fresh job: it holds their start positions. */
  holdSources = false

  constructor(nodes: readonly StageNode[], plan: Plan, options: AgendaOptions) {
    this.#options = options
    this.#plan = plan
    for (const node of nodes) this.#addHead(node)
    this.#timed = plan.operators.filter(isTimed)
    // What is furthest down the graph goes first: it makes room.
    this.#edgeHeads.reverse()
    const sourceMarks = new Map(this.#sources.map(({ operator, splits }) => [operator.stage, splits.mark]))
    this.#marks = new Marks(nodes, plan.operators, sourceMarks)
  }

  /** Watermark behind each stage. */
  get marks(): readonly Mark[] {
    return this.#marks.behind
  }

  /** No row, window or timer can come any more. */
  get haveEnded(): boolean {
    return this.#marks.haveEnded
  }

  /** The work to do next; undefined: none until a frame, a drain, a reader's word, or `idleAtMs`. Throws what fails the job. */
  next(nowMs: number, wallTimeMs: number): Work | undefined {
    for (const { splits } of this.#sources) splits.checkIdle(nowMs)
    for (let i = 0; i < this.#timed.length; i += 1) this.#timed[i]?.setTime(nowMs, wallTimeMs)
    this.#writeNext = !this.#writeNext
    const write = this.#nextWrite()
    if (write !== undefined && this.#writeNext) return write
    return this.#nextOther(nowMs) ?? this.#nextWrite()
  }

  /** Snapshots of sources, and what they are told of checkpoints. */
  get sources(): readonly SourceHead[] {
    return this.#sources
  }

  /** The barrier has passed a stage with state. */
  startWriting(stage: number): void {
    const head = this.#writeHeads.get(stage)
    if (head !== undefined) head.isWriting = true
  }

  /** The first stage whose state is not written yet. */
  get writingStage(): number | undefined {
    for (const [stage, { isWriting }] of this.#writeHeads) if (isWriting) return stage
    return undefined
  }

  #nextWrite(): Work | undefined {
    for (const head of this.#writeHeads.values()) if (head.isWriting) return { head, rows: head.size.rows }
    return undefined
  }

  #nextOther(nowMs: number): Work | undefined {
    // Source ends may make work due, and due work comes first: at most one more round per source.
    for (;;) {
      const due = this.#propagate()
      if (due !== undefined) return due
      const replay = this.#nextReplay()
      if (replay !== undefined) return replay
      this.#edgesFirst = !this.#edgesFirst
      const first = this.#edgesFirst ? this.#nextFrame(nowMs) : this.#nextRecords(nowMs)
      const work = first ?? (this.#edgesFirst ? this.#nextRecords(nowMs) : this.#nextFrame(nowMs))
      if (work !== undefined || !this.#marks.haveNews) return work
    }
  }

  /** When `next` should be asked again even if nothing happens. */
  get idleAtMs(): number {
    let earliest = Number.POSITIVE_INFINITY
    for (const { splits } of this.#sources) earliest = Math.min(earliest, splits.idleAtMs)
    for (const { wakeAtMs } of this.#timed) earliest = Math.min(earliest, wakeAtMs)
    return earliest
  }

  /** How many tasks this shard has of a stage. */
  tasksOf(stage: number): number {
    return this.#sources.find(({ operator }) => operator.stage === stage)?.splits.tasks ?? 1
  }

  closeSources(): void {
    for (const { splits } of this.#sources) splits.close()
  }

  #addHead({ index, name, spec }: StageNode): void {
    const { assignment, self, openSplit } = this.#options
    const operator = this.#plan.operators[index] as Operator
    const size = new UnitSize(this.#options.unitRowsMax)
    if (operator instanceof SourceOperator && spec.kind === 'source') {
      const { outOfOrdernessMs = 0, idleAfterMs } = spec.eventTime ?? {}
      const own = assignment.splits[name]?.[self] ?? []
      const splits = new SplitQueue(own, (split, position) => openSplit(name, split, position), outOfOrdernessMs, idleAfterMs)
      this.#sources.push({ kind: 'source', operator, splits, firstSplit: this.#plan.origins.firstOf(name, self), size })
    }
    if (operator instanceof KeyByOperator || operator instanceof DeadLettersOperator) {
      this.#edgeHeads.push({ kind: 'edge', edge: operator.edge, operator, size })
    }
    if (hasState(operator)) this.#addWriteHead(index, operator)
    if (hasDue(operator)) this.#dueHeads.set(index, { kind: 'due', operator, size })
  }

  #addWriteHead(index: number, operator: Operator & Stateful): void {
    this.#writeHeads.set(index, { kind: 'write', operator, size: new UnitSize(this.#options.unitRowsMax), isWriting: false })
  }

  /** Not while a barrier is on its way (replays.ts, 1), nor when no row can come any more. */
  #nextReplay(): Work | undefined {
    const { flow, replays } = this.#options
    if (!replays.areWaiting || flow.isUnderWay || this.haveEnded) return undefined
    const letter = replays.next(stage => isAnyFull(this.#plan.reach[stage] as readonly Bounded[]))
    if (letter === undefined) return undefined
    return { head: { kind: 'replay', operator: letter.operator, replays, size: this.#replaySize }, letter, rows: 1 }
  }

  #nextFrame(nowMs: number): Work | undefined {
    const { flow, times } = this.#options
    for (const head of this.#edgeHeads) {
      const { stage } = head.operator
      if (flow.isBlocked(stage)) continue
      if (times.looked(stage, isAnyFull(this.#plan.reachBehind[stage] as readonly Bounded[]), nowMs)) continue
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

  #nextRecords(nowMs: number): Work | undefined {
    const count = this.holdSources ? 0 : this.#sources.length
    for (let i = 0; i < count; i += 1) {
      const head = this.#sources[(this.#sourceTurn + i) % count] as SourceHead
      if (this.#isBlocked(head.operator.stage, nowMs)) continue
      const reading = this.#nextReading(head, nowMs)
      if (reading === undefined) continue
      this.#sourceTurn = (this.#sourceTurn + i + 1) % count
      const left = (reading.batch?.records.length ?? 0) - reading.cursor
      return { head, reading, rows: Math.min(head.size.rows, left) }
    }
    return undefined
  }

  #nextReading(head: SourceHead, nowMs: number): Reading | undefined {
    const { profile } = this.#options
    const startedMs = profile?.nowMs() ?? 0
    try {
      return head.splits.next(nowMs)
    } catch (thrown) {
      throw new StageFailure(head.operator.stage, -1, thrown)
    } finally {
      if (profile !== undefined) profile.parsingMs += profile.nowMs() - startedMs
    }
  }

  #isBlocked(stage: number, nowMs: number): boolean {
    const { flow, times } = this.#options
    return flow.isBlocked(stage) || times.looked(stage, isAnyFull(this.#plan.reach[stage] as readonly Bounded[]), nowMs)
  }

  /** Carries watermarks on; where one makes work due it waits, and the first such work that can run is the answer. */
  #propagate(): Work | undefined {
    const ready: DueHead[] = []
    const { flow, passes } = this.#options
    const holds = (stage: number, watermark: number): boolean => {
      const head = this.#dueHeads.get(stage)
      if (head === undefined) return false
      head.operator.advanceTo(watermark)
      if (!head.operator.prepareFire(head.size.rows)) return false
      // What it sends on does not come back to it: that it is full itself is no reason.
      if (!isAnyFull(this.#plan.reachBehind[stage] as readonly Bounded[])) ready.push(head)
      return true
    }
    this.#marks.propagate(holds, flow, passes)
    // Asked only now: a barrier that passes what waits for answers, and not the stages behind it yet, has them recorded.
    const head = ready.find(({ operator }) => !flow.isBlocked(operator.stage))
    return head === undefined ? undefined : { head, rows: head.size.rows }
  }
}

function isAnyFull(bounded: readonly Bounded[]): boolean {
  for (let i = 0; i < bounded.length; i += 1) if ((bounded[i] as Bounded).isFull) return true
  return false
}
