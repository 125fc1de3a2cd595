/**
 * `nearstate/testing`: runs a job in the test's own thread, on a clock that the test moves, with sources that it feeds by hand. No
 * servers, no waiting: when `push` returns, everything that the rows cause has happened.
 *
 * Owns: the job's sources, maps, recordings and clock, which outlive an attempt. Does not: run it (simulated-shards.ts).
 */
import { type Duration, parseDuration } from '../base/duration.ts'
import { invalidArgument, NearstateError } from '../base/errors.ts'
import type { ShardId } from '../base/ids.ts'
import { type Random, seededRandom } from '../base/random.ts'
import type { Assignment, Split, StageProgress } from '../streaming/assignment.ts'
import type { BarrierAnswer } from '../streaming/checkpoint/task-checkpoint.ts'
import type { ExchangeLimits } from '../streaming/exchange/edge.ts'
import { mapsOf, type Plan } from '../streaming/execution/plan.ts'
import { mergeStages } from '../streaming/execution/progress.ts'
import { ShardTask } from '../streaming/execution/shard-task.ts'
import { assignmentOf, layoutOf } from '../streaming/graph/assignment-of.ts'
import { deadLettersMap } from '../streaming/graph/flow-builder.ts'
import { type BuiltJob, buildJob, type Job } from '../streaming/graph/job.ts'
import { TwoPhaseSinkOperator } from '../streaming/operators/two-phase-sink.ts'
import { isLagging, type Lagging, type Operator } from '../streaming/operators/operator.ts'
import type { Outside } from '../streaming/ports.ts'
import { MemoryState } from '../streaming/state/memory-state.ts'
import { decodeValue, encodeValue } from '../wire/value-codec.ts'
import { handFed, SplitLog } from './hand-fed-source.ts'
import { type AttemptStart, Attempts, type TestGuarantee } from './attempts.ts'
import { failureError, SimulatedShards } from './simulated-shards.ts'
import { Recording, Tap, type TestEvent } from './tap.ts'
import { TestOutside, type TestFetch } from './test-outside.ts'
import { TestMap } from './test-map.ts'

/** A moment: milliseconds since the epoch, a text such as `2026-01-31T12:00Z`, or a Date. */
export type TestTime = number | string | Date

export interface TestJobOptions {
  /** The job's arguments, as at submit. */
  readonly args?: unknown
  /** The name that the job runs under; default: its own. */
  readonly name?: string
  /** Shards over which keys are spread, with the real exchange between them; default 1. */
  readonly shards?: number
  /** Partitions of the key space; default 24. */
  readonly partitions?: number
  /** Splits of every source, or by the name of the source stage; default 1. */
  readonly splits?: number | Readonly<Record<string, number>>
  /** What maps hold before the job starts, by name: keys and values (a `Map`, or a list of pairs). */
  readonly maps?: Readonly<Record<string, Iterable<readonly [unknown, unknown]>>>
  /** What the wall clock shows at the start; default 2026-01-01T00:00Z. */
  readonly startAt?: TestTime
  /** Rows that one unit of work takes at most; 1 shows what depends on batches. Default: as the engine does it. */
  readonly unitRows?: number
  /** Limits of the exchange between shards; small ones make back-pressure. */
  readonly limits?: Partial<ExchangeLimits>
  /** Draws what happens next among all that could: another seed, another interleaving. Without it shards take turns. */
  readonly seed?: number
  /** With `seed`: chance that a unit of several rows is cut off when it has run, and run again. */
  readonly cutOffs?: number
  /** What the job promises after a crash; default `exactly-once`. With `none` there are no checkpoints, and a crash ends the job. */
  readonly guarantee?: TestGuarantee
  /** Takes a checkpoint whenever so much time has passed (`pass`); default: only when the test does. */
  readonly checkpointEvery?: Duration
  /** Answers what `mapAsync` asks for by `call.fetch`; without it such a request is refused. */
  readonly fetch?: TestFetch
  /** Nothing runs by itself; `step` and `run` do it. Default false: what is fed runs at once. */
  readonly manual?: boolean
}

export interface PushOptions {
  /** Number of the split, from 0; default 0. */
  readonly split?: number
  /** Event time of these rows, in place of what the stage's `eventTime` says. */
  readonly at?: TestTime
}

/** All splits of a source, or one of them. */
export interface SplitOption {
  readonly split?: number
}

/** A source stage, fed by the test. Splits are numbered from 0. */
export interface TestSource<Row = unknown> {
  /** Feeds rows as they come out of the source: a schema or a generator's function is passed by. */
  push(rows: readonly Row[], options?: PushOptions): void
  /** Feeds records as the outside world has them: a CSV line's fields, parsed JSON, a generator's number. They go through the source's schema. */
  pushRecords(records: readonly unknown[], options?: PushOptions): void
  /** Says that no row with an event time up to and including this moment will follow. */
  advanceTo(time: TestTime, options?: SplitOption): void
  /** The split (default: every split) has no more rows. */
  end(options?: SplitOption): void
}

const splitBatchRows = 512
const partitionsDefault = 24
/** Turns of the event loop that a checkpoint waits for asynchronous stages. */
const patienceTurns = 10_000
const startDefault = Date.UTC(2026, 0, 1)

/**
 * Starts a job in this thread, on a virtual clock.
 *
 *   const test = await testJob(job, { maps: { profiles: [['ada', { tier: 'gold' }]] } })
 *   test.source('lines').push([{ customerId: 'ada', amount: 5, at: Date.parse('2026-01-01T10:00Z') }])
 *   test.advanceTo('2026-01-01T12:00Z')
 *   expect(test.rowsOf('spend 1h')).toEqual([...])
 *
 * Whatever sources the job has, the test feeds them: files are not opened, nothing is generated. Rejects with NearstateError
 * INVALID_ARGUMENT when the job cannot be built. What user code throws in a job that fails at errors is thrown, with its stage,
 * by the call that ran it.
 */
export async function testJob<Args>(job: Job<Args>, options: TestJobOptions = {}): Promise<TestJob> {
  return new TestJob(job as Job<unknown>, options)
}

export class TestJob {
  readonly #built: BuiltJob
  readonly #options: TestJobOptions
  readonly #partitions: number
  readonly #random: Random | undefined
  readonly #maps = new Map<string, TestMap>()
  readonly #splits = new Map<string, readonly SplitLog[]>()
  readonly #handedOn = new Map<string, Recording>()
  readonly #setAside = new Map<string, Recording>()
  readonly #startMs: number
  readonly #attempts: Attempts
  readonly #outside: TestOutside
  /** Stages of the present attempt whose rows may wait for answers. */
  #lagging: Lagging[] = []
  #sinks: TwoPhaseSinkOperator[] = []
  readonly #checkpointEveryMs: number
  #nextCheckpointMs: number
  #nowMs = 0
  #crashed: NearstateError | undefined

  constructor(job: Job<unknown>, options: TestJobOptions) {
    const { args, name, seed, startAt, partitions = partitionsDefault, shards = 1, splits = 1, maps = {} } = options
    const built = buildJob(job, args, name)
    this.#built = { ...built, nodes: built.nodes.map(handFed) }
    this.#options = options
    this.#startMs = startAt === undefined ? startDefault : timeOf(startAt)
    this.#random = seed === undefined ? undefined : seededRandom(seed)
    for (const { map, keyCodec } of mapsOf(built)) this.#maps.set(map, new TestMap(map, keyCodec, partitions))
    for (const [map, entries] of Object.entries(maps)) for (const [key, value] of entries) this.map(map).set(key, value)
    for (const stage of built.graph.stages) {
      this.#handedOn.set(stage.name, new Recording())
      this.#setAside.set(stage.name, new Recording())
      if (stage.source === undefined) continue
      const count = typeof splits === 'number' ? splits : (splits[stage.name] ?? 1)
      const logs = Array.from({ length: count }, (_, index) => new SplitLog(stage.name, index, splitBatchRows))
      this.#splits.set(stage.name, logs)
    }
    this.#partitions = partitions
    this.#outside = new TestOutside({ maps: this.#maps, random: this.#random, fetch: options.fetch })
    this.#checkpointEveryMs =
      options.checkpointEvery === undefined ? Number.POSITIVE_INFINITY : parseDuration(options.checkpointEvery, 'checkpointEvery')
    this.#nextCheckpointMs = this.#checkpointEveryMs
    this.#attempts = new Attempts(
      {
        guarantee: options.guarantee ?? 'exactly-once',
        state: new MemoryState(partitions),
        restorePoint: { attempt: 0, n: 0 },
        sourceStages: [...this.#splits.keys()],
        random: this.#random,
        build: start => this.#build(start),
      },
      shards,
    )
    // The first checkpoint holds the sources' start positions; nothing is read before it.
    this.run()
  }

  // ---- feeding

  /** The source stage of this name. */
  source<Row = unknown>(name: string): TestSource<Row> {
    const logs = this.#splits.get(name)
    if (logs === undefined) throw this.#unknown('source', name, this.#splits.keys())
    const push = (values: readonly unknown[], isRow: boolean, { split = 0, at }: PushOptions): void => {
      const log = splitOf(logs, name, split)
      if (log.hasEnded) throw invalidArgument(`Cannot push into source "${name}": its split ${split} has ended`)
      const time = at === undefined ? undefined : timeOf(at)
      for (const value of values) log.push(value, isRow, time)
      this.#settle()
    }
    const some = (split: number | undefined): readonly SplitLog[] => (split === undefined ? logs : [splitOf(logs, name, split)])
    return {
      push: (rows, options = {}) => push(rows, true, options),
      pushRecords: (records, options = {}) => push(records, false, options),
      advanceTo: (time, { split } = {}) => {
        for (const log of some(split)) if (!log.hasEnded) log.say(timeOf(time))
        this.#settle()
      },
      end: ({ split } = {}) => {
        for (const log of some(split)) log.end()
        this.#settle()
      },
    }
  }

  /** Every split of every source says that no event up to and including this moment will follow: windows close, timers fire. */
  advanceTo(time: TestTime): void {
    const watermark = timeOf(time)
    for (const logs of this.#splits.values()) for (const log of logs) if (!log.hasEnded) log.say(watermark)
    this.#settle()
  }

  /** All sources have ended: every window closes, every event-time timer fires, and the job completes. */
  end(): void {
    for (const logs of this.#splits.values()) for (const log of logs) log.end()
    this.#settle()
  }

  /** Moves the clock on the wall: processing-time timers fire, splits without events become idle. */
  pass(duration: Duration): void {
    const until = this.#nowMs + parseDuration(duration, 'time to pass')
    if (this.#options.manual === true) {
      this.#nowMs = until
      return
    }
    this.#settle()
    for (;;) {
      const dueMs = Math.min(this.#nextCheckpointMs, ...this.#attempts.shards.tasks.map(task => task.idleAtMs))
      if (dueMs > until) break
      this.#nowMs = Math.max(this.#nowMs, dueMs)
      this.#settle()
      if (this.#nowMs < this.#nextCheckpointMs) continue
      this.#nextCheckpointMs = this.#nowMs + this.#checkpointEveryMs
      this.#attempts.begin()
      this.#settle()
    }
    this.#nowMs = until
    this.#settle()
  }

  // ---- checkpoints and crashes

  /**
   * Takes a checkpoint and runs until it is committed. Resolves with what was written: the changes since the last one.
   * Rejects with NearstateError UNAVAILABLE when it cannot be finished, saying which stage holds it.
   */
  async checkpoint(): Promise<TestCheckpoint> {
    const attempts = this.#attempts
    if ((this.#options.guarantee ?? 'exactly-once') === 'none') {
      throw invalidArgument('Cannot take a checkpoint: the job runs with guarantee "none"')
    }
    await this.#until(
      () => attempts.shards.areReady,
      () => 'what the restore point has prepared is not committed',
    )
    // One that is under way has begun before; this one holds everything until now.
    if (attempts.isUnderWay) await this.#untilCommitted()
    if (this.status !== 'completed') attempts.begin()
    await this.#untilCommitted()
    const sum = (of: (answer: BarrierAnswer) => number): number => attempts.lastAnswers.reduce((all, answer) => all + of(answer), 0)
    return { n: attempts.committed, attempt: attempts.attempt, bytes: sum(({ bytes }) => bytes), records: sum(({ records }) => records) }
  }

  /** Begins a checkpoint, which the next steps carry on: for a crash in the midst of one. Nothing where one is under way. */
  beginCheckpoint(): void {
    this.#throwFailure()
    this.#attempts.begin()
    this.#settle()
  }

  /**
   * Everything in the memory of all shards is lost; the job goes on from its last checkpoint, on as many shards as wanted (default: as
   * before). Sources read again from there, maps keep what was written, and `rowsOf` forgets what the replay hands on again. Also the
   * way to go on after a failure.
   */
  crash({ shards }: { readonly shards?: number } = {}): void {
    try {
      const { restorePoint } = this.#attempts.restart(shards)
      for (const recording of [...this.#handedOn.values(), ...this.#setAside.values()]) {
        recording.backTo(restorePoint.attempt, restorePoint.n)
      }
    } catch (thrown) {
      if (!(thrown instanceof NearstateError)) throw thrown
      this.#crashed = thrown
      return
    }
    this.#settle()
  }

  /** Number of runs, from 1: one more with every crash. */
  get attempt(): number {
    return this.#attempts.attempt
  }

  // ---- running

  /** Runs one unit of work, or delivers one frame between shards; false: there is nothing to do. */
  step(): boolean {
    this.#throwFailure()
    const moved = this.#outside.answerEarly() || this.#attempts.step() || this.#outside.answer()
    this.#throwFailure()
    return moved
  }

  /** Runs until there is nothing to do. Only a `manual` job needs it. */
  run(): void {
    let isMore = true
    while (isMore) isMore = this.step()
  }

  /**
   * Runs until nothing waits for a promise: rows for that of a `mapAsync`, sinks of `defineSink` for theirs. Rejects with NearstateError UNAVAILABLE when some go on waiting: for time,
   * which `pass` moves, or for a promise that the test itself keeps.
   */
  async settled(): Promise<void> {
    for (let waits = 0; ; waits += 1) {
      this.run()
      if (!this.#lagging.some(({ isWaiting }) => isWaiting) && !this.#sinks.some(({ isAtWork }) => isAtWork)) return
      if (waits === patienceTurns)
        throw new NearstateError('UNAVAILABLE', 'Cannot settle: rows still wait for answers, or for time to pass')
      await turn()
    }
  }

  get status(): 'running' | 'completed' | 'failed' {
    const { shards } = this.#attempts
    if (this.#crashed !== undefined || shards.failure !== undefined) return 'failed'
    return shards.haveCompleted ? 'completed' : 'running'
  }

  /** What the wall clock shows, in milliseconds since the epoch. */
  get wallTimeMs(): number {
    return this.#startMs + this.#nowMs
  }

  // ---- asserting

  /** The rows that a stage has handed on, over all shards. With one shard and no seed their order is always the same. */
  rowsOf<Row = unknown>(stage: string): readonly Row[] {
    return this.eventsOf<Row>(stage).map(({ row }) => row)
  }

  /** The rows that a stage has handed on since the last call. */
  takeRowsOf<Row = unknown>(stage: string): readonly Row[] {
    return this.#recordingOf(this.#handedOn, stage)
      .take()
      .map(({ row }) => row as Row)
  }

  /** As `rowsOf`, with event time, key and shard of each row. */
  eventsOf<Row = unknown>(stage: string): readonly TestEvent<Row>[] {
    const { events } = this.#recordingOf(this.#handedOn, stage)
    return events.map(({ row, time, key, shard }) => ({ row: row as Row, time, key, shard }))
  }

  /** The rows that a stage set aside: a window those that came too late, `require` those that it rejected. */
  asideOf<Row = unknown>(stage: string): readonly Row[] {
    return this.#recordingOf(this.#setAside, stage).events.map(({ row }) => row as Row)
  }

  /** A map that the job reads or writes. */
  map<K = unknown, V = unknown>(name: string): TestMap<K, V> {
    const map = this.#maps.get(name)
    if (map === undefined) throw this.#unknown('map', name, this.#maps.keys())
    return map as unknown as TestMap<K, V>
  }

  /** The job's dead letters, in the order in which they were written: stage, origin, line, reason, and the row or its text. */
  deadLetters(): readonly TestDeadLetter[] {
    const map = this.#maps.get(deadLettersMap(this.#built.graph.name))
    return (map?.values() ?? []) as readonly TestDeadLetter[]
  }

  /** The lines that a `log` stage has written to the job's log. Those of a run that crashed stay. */
  logOf(stage: string): readonly string[] {
    this.#recordingOf(this.#handedOn, stage)
    return this.#outside.logOf(stage)
  }

  /** The rows that a sink other than a map has made visible: those of `filesSink` and `collect` whose checkpoint is committed. */
  outputOf<Row = unknown>(stage: string): readonly Row[] {
    const output = this.#built.graph.stages.find(({ name }) => name === stage)?.output
    if (output === undefined)
      throw this.#unknown(
        'sink other than a map',
        stage,
        this.#built.graph.stages.flatMap(({ name, output: has }) => (has === undefined ? [] : [name])),
      )
    return (output.connector === 'collect' ? this.#attempts.collectedBy(stage) : this.#outside.outputOf(stage)) as readonly Row[]
  }

  /** Figures of a stage, summed over the shards: rows in and out, dead letters, late rows, watermark. */
  figuresOf(stage: string): StageProgress {
    const figures = mergeStages(this.#attempts.shards.tasks.map(task => task.stages())).find(({ name }) => name === stage)
    if (figures === undefined) throw this.#unknown('stage', stage, this.#handedOn.keys())
    return figures
  }

  // ---- inside

  #build({ attempt, shards, splits, checkpoints }: AttemptStart): SimulatedShards {
    const { limits, unitRows, cutOffs = 0 } = this.#options
    const listed = splits ?? Object.fromEntries([...this.#splits].map(([stage, logs]) => [stage, logs.map(({ split }) => split)]))
    const assignment = assign(this.#built, shards, this.#partitions, listed)
    const maps = new Map([...this.#maps].map(([name, map]) => [name, map.local()] as const))
    const outside: Outside = this.#outside.ofAttempt()
    this.#lagging = []
    this.#sinks = []
    return new SimulatedShards(shards, {
      random: this.#random,
      cutOffs,
      nowMs: () => this.#nowMs,
      wallTimeMs: () => this.wallTimeMs,
      task: (self, send) =>
        new ShardTask({
          job: this.#built.graph.name,
          built: this.#built,
          attempt,
          assignment,
          self,
          maps,
          codec: { encode: encodeValue, decode: decodeValue },
          send,
          openSplit: (stage, { descriptor }, position) =>
            splitOf(this.#splits.get(stage) ?? [], stage, Number(descriptor['index'])).open(position === undefined ? 0 : Number(position)),
          observe: plan => this.#tap(plan, self, attempt),
          outside,
          ...(checkpoints === undefined ? {} : { checkpoints: checkpoints(self) }),
          ...(limits === undefined ? {} : { limits }),
          ...(unitRows === undefined ? {} : { unitRowsMax: unitRows }),
        }),
    })
  }

  #tap({ operators, unit }: Plan, self: number, attempt: number): void {
    const taps: Tap[] = []
    this.#lagging.push(...operators.filter(isLagging))
    this.#sinks.push(...operators.filter(operator => operator instanceof TwoPhaseSinkOperator))
    for (const { index, name, key } of this.#built.nodes) {
      const operator = operators[index] as Operator
      const isKeyed = key !== undefined
      const out = new Tap(index, unit, this.#recordingOf(this.#handedOn, name), self, attempt, isKeyed)
      const aside = new Tap(index, unit, this.#recordingOf(this.#setAside, name), self, attempt, isKeyed)
      operator.consumers.push(out)
      operator.sideConsumers.push(aside)
      const passBarrier = operator.passBarrier.bind(operator)
      operator.passBarrier = n => {
        passBarrier(n)
        out.passBarrier(n)
        aside.passBarrier(n)
      }
      taps.push(out, aside)
    }
    ;(operators as Operator[]).push(...taps)
  }

  #settle(): void {
    if (this.#options.manual !== true) this.run()
  }

  async #untilCommitted(): Promise<void> {
    const attempts = this.#attempts
    await this.#until(
      () => !attempts.isUnderWay,
      () => `it waits for ${attempts.waitsFor}`,
    )
  }

  async #until(isDone: () => boolean, why: () => string): Promise<void> {
    for (let waits = 0; ; waits += 1) {
      this.run()
      if (isDone()) return
      if (waits === patienceTurns) {
        throw new NearstateError('UNAVAILABLE', `Cannot finish checkpoint: nothing moves any more; ${why()}`)
      }
      await turn()
    }
  }

  #throwFailure(): void {
    if (this.#crashed !== undefined) throw this.#crashed
    const { failure } = this.#attempts.shards
    if (failure === undefined) return
    this.#attempts.shards.close()
    throw failureError(failure)
  }

  #recordingOf(recordings: ReadonlyMap<string, Recording>, stage: string): Recording {
    const recording = recordings.get(stage)
    if (recording === undefined) throw this.#unknown('stage', stage, recordings.keys())
    return recording
  }

  #unknown(what: string, name: string, known: Iterable<string>): Error {
    const names = [...known].map(one => `"${one}"`).join(', ')
    return invalidArgument(`Cannot find ${what} "${name}" in job "${this.#built.graph.name}": it has ${names === '' ? 'none' : names}`)
  }
}

const turn = (): Promise<void> =>
  new Promise<void>(resolve => {
    setImmediate(resolve)
  })

/** What the job wrote about a row that could not be processed. */
export interface TestDeadLetter {
  readonly stage: string
  readonly origin: string
  readonly line: number
  readonly reason: string
  readonly row?: unknown
  readonly raw?: string
  readonly at: number
  /** What else its stage needs to take it again, on a cluster. */
  readonly replay?: { readonly time: number; readonly key?: unknown; readonly partition: number; readonly packed?: Uint8Array }
}

/** A checkpoint that was committed. */
export interface TestCheckpoint {
  /** Its number in this attempt. */
  readonly n: number
  readonly attempt: number
  /** What was written for it, over all shards. */
  readonly bytes: number
  readonly records: number
}

function assign({ graph }: BuiltJob, shards: number, partitions: number, splits: Readonly<Record<string, readonly Split[]>>): Assignment {
  if (!Number.isSafeInteger(shards) || shards < 1) throw invalidArgument(`Cannot test job: shards is ${shards}, at least 1 is wanted`)
  const ids = Array.from({ length: shards }, (_, index) => `shard-${index}` as ShardId)
  const state = {
    members: ids.map(id => ({ status: 'alive', shards: [{ id }] })),
    partitions: Array.from({ length: partitions }, (_, partition) => ({ primary: { shard: ids[partition % shards] as ShardId } })),
  }
  return assignmentOf(layoutOf({ version: 1, state }, graph.name), graph, splits)
}

function splitOf(logs: readonly SplitLog[], source: string, split: number): SplitLog {
  const log = logs[split]
  if (log === undefined) throw invalidArgument(`Cannot find split ${split} of source "${source}": it has ${logs.length}, numbered from 0`)
  return log
}

function timeOf(time: TestTime): number {
  const ms = typeof time === 'number' ? time : typeof time === 'string' ? Date.parse(time) : time.getTime()
  if (Number.isNaN(ms)) throw invalidArgument(`Cannot read time ${JSON.stringify(time)}: milliseconds, an ISO text or a Date are wanted`)
  return ms
}
