/**
 * The jobs of one shard: evaluates job files, starts and stops attempts, gives frames of other shards to the attempt they are for.
 *
 * Owns: the attempts on this shard, at most one per job.
 * Does not: decide which attempt runs (the job master does), process rows (src/streaming does).
 *
 * 1. Frames of an attempt that does not run here are dropped; its sender will learn of that from the master.
 * 2. A peer that goes down fails every attempt that it takes part in.
 * 3. Requests are idempotent: the same start gives the same answer, stopping what is not there is done.
 */
import { invalidArgument, messageOf, NearstateError } from '../../base/errors.ts'
import type { ShardId } from '../../base/ids.ts'
import type { Assignment, ShardProgress } from '../../streaming/assignment.ts'
import { readFrame, type RowCodec } from '../../streaming/exchange/frame.ts'
import { restoredSplits } from '../../streaming/checkpoint/restored-splits.ts'
import { mapsOf, ownPartitions } from '../../streaming/execution/plan.ts'
import type { FailedRowsLine } from '../../streaming/execution/failed-rows.ts'
import { ShardTask, type ShardTaskOptions } from '../../streaming/execution/shard-task.ts'
import type { ReplayOutcome } from '../../streaming/execution/replays.ts'
import { upgradeFunction } from '../../streaming/operators/process.ts'
import { type BuiltJob, buildJob, isJob } from '../../streaming/graph/job.ts'
import { graphHash } from '../../streaming/graph/job-graph.ts'
import type { LocalMap, LocalMaps } from '../../streaming/ports.ts'
import type { SinkConnector } from '../../streaming/sink.ts'
import type { SourceConnector } from '../../streaming/source.ts'
import { decodeValue, encodeValue } from '../../wire/value-codec.ts'
import type { Bundle, SavepointSource, ShardAnswers, ShardRequest } from '../protocol.ts'
import type { AttemptHold, ShardJobsNeeds } from '../shard.ts'
import { ThrownSnapshot } from '../user-code/thrown.ts'
import type { UserCode } from '../user-code/user-code.ts'
import type { CustomReading } from '../../streaming/graph/custom-source.ts'
import { CustomReader } from './custom-reader.ts'
import { type UpgradeRecords, upgradeRecord } from './import-savepoint.ts'
import { JobAttempt, type ReplayLetters } from './job-attempt.ts'
import { jobOutside } from './job-outside.ts'
import { checkedRecord, type JobStateAnswer, type ReadJobState, readState, unknownHere } from './state-reads.ts'
import type { ShardStateStore } from './state-store.ts'
import { callUserCode } from './user-call.ts'

export interface JobHostOptions extends Omit<ShardJobsNeeds, 'userCode'> {
  readonly userCode: Pick<UserCode, 'evaluateModule' | 'describeFailure' | 'clearQuarantine'>
  readonly connectorOf: (kind: string) => SourceConnector
  readonly sinkConnectorOf: (kind: string) => SinkConnector
}

type RequestOf<Kind extends ShardRequest['kind']> = Omit<Extract<ShardRequest, { kind: Kind }>, 'kind'>
export type OpenJob = RequestOf<'openJob'>
export type StartJob = RequestOf<'startJob'>

/** Opened, or perhaps still being opened. */
interface Known {
  readonly attempt: number
  readonly answer: Promise<ShardAnswers['openJob']>
  opened: Opened | undefined
  started: Promise<void> | undefined
  running: JobAttempt | undefined
  stopped: boolean
}

interface Opened {
  readonly request: OpenJob
  readonly self: number
  readonly built: BuiltJob
  readonly hold: AttemptHold
  /** Absent: a job without checkpoints. */
  readonly store: ShardStateStore | undefined
}

const rowCodec: RowCodec = { encode: encodeValue, decode: decodeValue }
/** A primary that was just made waits for promises before it serves. */
const servingWaitMs = 5000
const servingPollMs = 10

export class JobHost {
  readonly #options: JobHostOptions
  readonly #jobs = new Map<string, Known>()

  constructor(options: JobHostOptions) {
    this.#options = options
  }

  /** Evaluates a job file and builds its graph under this name, or its own if that is empty; INVALID_ARGUMENT or FUNCTION_FAILED say what is wrong with it. */
  async describe(name: string, bundle: Bundle, argsJson: string): Promise<{ name: string; graphJson: string; graphHash: string }> {
    const { graph, graphJson } = await this.#build(name, bundle, argsJson)
    return { name: graph.name, graphJson, graphHash: graphHash(graphJson) }
  }

  /**
   * Begins an attempt in the partitions that this shard has in its layout. An older attempt of the job is ended; CONFLICT when this one is
   * the older, NOT_FOUND when the restore point is not there, UNAVAILABLE when the partitions are not served here.
   */
  open(request: OpenJob): Promise<ShardAnswers['openJob']> {
    const known = this.#jobs.get(request.job)
    if (known !== undefined) {
      if (known.attempt === request.attempt) return known.answer
      if (known.attempt > request.attempt) {
        return Promise.reject(
          new NearstateError(
            'CONFLICT',
            `Cannot start attempt ${request.attempt} of job "${request.job}": attempt ${known.attempt} is here already`,
          ),
        )
      }
      this.stop(request.job, known.attempt)
    }
    const mine: Known = {
      attempt: request.attempt,
      answer: this.#open(request, () => mine),
      opened: undefined,
      started: undefined,
      running: undefined,
      stopped: false,
    }
    this.#jobs.set(request.job, mine)
    // One that fails leaves nothing; whoever asked has the answer.
    mine.answer.catch(() => {
      if (this.#jobs.get(request.job) === mine) this.stop(request.job, request.attempt)
    })
    return mine.answer
  }

  /** Makes the tasks of an attempt that was opened: maps open, prepared output of the restore point committed. */
  start(request: StartJob): Promise<void> {
    const known = this.#jobs.get(request.job)
    if (known?.attempt !== request.attempt || known.opened === undefined) {
      return Promise.reject(
        new NearstateError('CANCELLED', `Cannot start attempt ${request.attempt} of job "${request.job}": it is not open on this shard`),
      )
    }
    known.started ??= this.#standUp(known, known.opened, request.assignment)
    return known.started
  }

  /** All shards stand ready: sources read. */
  run(job: string, attempt: number): void {
    this.#running(job, attempt, 'run').start()
  }

  async barrier(job: string, attempt: number, n: number, committed: number): Promise<ShardAnswers['barrierJob']> {
    const running = this.#running(job, attempt, 'make a checkpoint of')
    return { shard: running.self, answer: await running.barrier(n, committed) }
  }

  committed(job: string, attempt: number, n: number, isLast: boolean): void {
    this.#running(job, attempt, 'commit').committed(n, isLast)
  }

  async savepoint(job: string, attempt: number, n: number, name: string): Promise<ShardAnswers['savepointJob']> {
    const running = this.#running(job, attempt, 'make a savepoint of')
    await running.savepoint(name, n)
    return { shard: running.self }
  }

  /** Of a job, or of a savepoint by its name as one. */
  async drop(job: string, attempt: number, keep: readonly string[]): Promise<readonly number[]> {
    // Or an older one, of whose end a node that was out of reach has not heard.
    const { attempt: here = attempt } = this.#jobs.get(job) ?? {}
    if (here <= attempt) this.stop(job, here)
    for (const { opened } of this.#jobs.values()) opened?.store?.giveUpSavepoint(job)
    return this.#options.dropState(job, attempt, keep)
  }

  /** For readers from outside; see state-reads.ts. */
  async read(request: ReadJobState): Promise<JobStateAnswer> {
    const { job, partition } = request
    const known = this.#jobs.get(job)
    if (request.live) return known?.running === undefined ? unknownHere : this.#readLive(known, known.running, request)
    const point = known?.opened?.store?.pointIn(partition)
    const open = known === undefined || point === undefined ? undefined : { attempt: known.attempt, point }
    return readState(this.#options.storeOf(partition), open, request)
  }

  /** How far each letter is; the attempt that runs here takes those that are new. UNAVAILABLE when none does, or the partition is not its own. */
  replay(request: ReplayLetters): readonly ReplayOutcome[] {
    const { job, partition } = request
    const running = this.#jobs.get(job)?.running
    if (running !== undefined && running.assignment.owners[partition] === running.self) return running.replay(request)
    throw new NearstateError('UNAVAILABLE', `Cannot replay dead letters of job "${job}": no attempt of it runs here; try again`)
  }

  async #readLive({ opened }: Known, running: JobAttempt, request: ReadJobState): Promise<JobStateAnswer> {
    const { job, stage, partition, key } = request
    const { attempt, assignment, self } = running
    if (key === undefined) throw invalidArgument(`Cannot scan what stage "${stage}" of job "${job}" works with now: read it key by key`)
    if (assignment.owners[partition] !== self) return unknownHere
    const { slices, userCode } = this.#options
    const describe = (thrown: unknown): ReturnType<UserCode['describeFailure']> =>
      userCode.describeFailure(thrown, (opened as Opened).request.bundle)
    const action = `Cannot read state of stage "${stage}" of job "${job}"`
    const read = (): Uint8Array | undefined => running.recordNow(stage, key, partition)
    const value = await callUserCode(slices, `${job}/${stage}/read`, action, read, describe)
    const known = { isKnown: true, attempt, point: { attempt, n: 0 } }
    return value === undefined ? known : { ...known, value: checkedRecord(request, value) }
  }

  /** Ends an attempt; nothing of its tasks is left afterwards. */
  stop(job: string, attempt: number): void {
    const known = this.#jobs.get(job)
    if (known === undefined || known.attempt !== attempt) return
    known.stopped = true
    known.running?.close()
    known.opened?.store?.close()
    this.#jobs.delete(job)
  }

  progress(job: string, attempt: number): ShardProgress {
    return this.#running(job, attempt, 'show').progress()
  }

  onExchange(from: ShardId, bytes: Uint8Array): void {
    const frame = readFrame(bytes)
    if (frame === undefined) {
      this.#options.log('warn', 'dropped bytes of a peer that are no frame', { from, bytes: bytes.length })
      return
    }
    const known = this.#jobs.get(frame.job)
    if (known?.running === undefined || known.attempt !== frame.attempt) return
    const sender = known.running.assignment.shards.indexOf(from)
    if (sender >= 0) known.running.arrive(sender, frame)
  }

  onPeerDown(peer: ShardId): void {
    this.#forPeer(peer, (attempt, shard) => attempt.peerDown(shard))
  }

  onPeerDrain(peer: ShardId): void {
    this.#forPeer(peer, (attempt, shard) => attempt.drained(shard))
  }

  close(): void {
    for (const [job, { attempt }] of this.#jobs) this.stop(job, attempt)
  }

  #forPeer(peer: ShardId, act: (attempt: JobAttempt, shard: number) => void): void {
    for (const { running } of this.#jobs.values()) {
      const shard = running?.assignment.shards.indexOf(peer) ?? -1
      if (running !== undefined && shard >= 0) act(running, shard)
    }
  }

  #running(job: string, attempt: number, action: string): JobAttempt {
    const known = this.#jobs.get(job)
    if (known?.attempt === attempt && known.running !== undefined) return known.running
    throw new NearstateError('NOT_FOUND', `Cannot ${action} attempt ${attempt} of job "${job}": it does not stand ready on this shard`)
  }

  async #open(request: OpenJob, mine: () => Known): Promise<ShardAnswers['openJob']> {
    const { job, attempt, bundle, layout, guarantee, restore } = request
    const self = layout.shards.indexOf(this.#options.self)
    if (self < 0) throw invalidArgument(`Cannot start job "${job}": this shard takes no part in the attempt`)
    const built = await this.#build(job, bundle, request.argsJson)
    for (const { name } of built.nodes) this.#options.userCode.clearQuarantine(`${job}/${name}`)
    const partitions = ownPartitions(layout, self)
    const hold = await this.#hold(job, partitions, mine)
    const store = guarantee === 'none' ? undefined : hold.createStateStore(attempt, restore)
    mine().opened = { request, self, built, hold, store }
    if (request.savepoint !== undefined) await this.#import(request.savepoint, request, built, hold, partitions, mine)
    if (store !== undefined) await new Promise<void>(resolve => store.begin(partitions, resolve))
    const sources = built.graph.stages.filter(({ source }) => source !== undefined).map(({ name }) => name)
    const splits = store === undefined || store.isFresh ? {} : restoredSplits(store, partitions, sources, rowCodec)
    return { graphHash: graphHash(built.graphJson), splits }
  }

  #import(
    source: SavepointSource,
    { job, bundle }: OpenJob,
    { nodes }: BuiltJob,
    hold: AttemptHold,
    partitions: readonly number[],
    mine: () => Known,
  ): Promise<void> {
    const { slices, userCode } = this.#options
    const upgradeOf = (stage: string): UpgradeRecords | undefined => {
      const spec = nodes.find(({ name }) => name === stage)?.spec
      const upgrade = spec?.kind === 'process' ? upgradeFunction(spec.process) : undefined
      if (upgrade === undefined) return undefined
      const action = `Cannot upgrade the state of stage "${stage}"`
      return (_, records) =>
        callUserCode(
          slices,
          `${job}/${stage}`,
          action,
          () => records.map(record => upgradeRecord(record, upgrade, rowCodec)),
          thrown => userCode.describeFailure(thrown, bundle),
        )
    }
    return hold.importSavepoint({ job, source, partitions, codec: rowCodec, upgradeOf, check: () => this.#throwIfStopped(job, mine()) })
  }

  async #hold(job: string, partitions: readonly number[], mine: () => Known): Promise<AttemptHold> {
    const { clock, delay, hold } = this.#options
    const untilMs = clock.nowMs() + servingWaitMs
    for (;;) {
      this.#throwIfStopped(job, mine())
      try {
        return hold(job, partitions)
      } catch (thrown) {
        if (!(thrown instanceof NearstateError) || clock.nowMs() > untilMs) throw thrown
      }
      await delay(servingPollMs)
    }
  }

  async #standUp(known: Known, { request, self, built, hold, store }: Opened, assignment: Assignment): Promise<void> {
    const { job, attempt, bundle, guarantee } = request
    const { slices, userCode, clock } = this.#options
    const maps = await openMaps(built, hold.maps)
    this.#throwIfStopped(job, known)
    const running = new JobAttempt(
      {
        job,
        attempt,
        assignment,
        self,
        slices,
        clock,
        unansweredMs: this.#options.unansweredMs,
        describe: thrown => userCode.describeFailure(thrown, bundle),
        ended: done => this.#logEnd(done),
      },
      ({ wake, answer }) => {
        const checkpoints = store === undefined || guarantee === 'none' ? {} : { checkpoints: { guarantee, store, answer } }
        const rowsFailed = (failed: FailedRowsLine): void => this.#logFailedRows(job, failed, bundle)
        return new ShardTask({ ...this.#taskOptions(job, attempt, assignment, built, wake), self, maps, rowsFailed, ...checkpoints })
      },
    )
    known.running = running
    await running.recover()
  }

  #taskOptions(
    job: string,
    attempt: number,
    assignment: Assignment,
    built: BuiltJob,
    wake: () => void,
  ): Omit<ShardTaskOptions, 'self' | 'maps'> {
    const outside = jobOutside({ ...this.#options, job, wake })
    return {
      job,
      built,
      attempt,
      assignment,
      codec: rowCodec,
      send: (to, bytes) => this.#options.sendExchange(assignment.shards[to] as ShardId, bytes),
      outside,
      openSplit: (stage, split, position) => {
        const source = built.graph.stages.find(({ name }) => name === stage)?.source
        if (source === undefined) throw invalidArgument(`Cannot open split "${split.id}": stage "${stage}" is no source`)
        const custom = customOf(built, stage)
        if (custom !== undefined) return new CustomReader({ custom, stage, split, position, outside, wake })
        return this.#options.connectorOf(source.connector).open(source.options, split, { onReady: wake }, position)
      },
    }
  }

  #throwIfStopped(job: string, { stopped, attempt }: Known): void {
    if (stopped) throw new NearstateError('CANCELLED', `Cannot start job "${job}": attempt ${attempt} was stopped meanwhile`)
  }

  async #build(given: string, bundle: Bundle, argsJson: string): Promise<BuiltJob> {
    const { userCode, slices } = this.#options
    const exported = await userCode.evaluateModule(bundle)
    const job = exported['default']
    if (!isJob(job)) throw invalidArgument('Cannot use job file: its default export is no job; export default defineJob(...)')
    const name = given === '' ? job.name : given
    const args = parseArguments(argsJson)
    const describe = (thrown: unknown): ReturnType<UserCode['describeFailure']> => userCode.describeFailure(thrown, bundle)
    return callUserCode(slices, `${name}/build`, `Cannot build job "${name}"`, () => buildJob(job, args, name), describe)
  }

  #logFailedRows(job: string, failed: FailedRowsLine, bundle: Bundle): void {
    const { stage, name, message, stack, rows, isFirst } = failed
    const text = `${rows} ${isFirst ? '' : 'more '}${rows === 1 ? 'row' : 'rows'} failed: ${message}`
    const line = { level: 'warn', from: 'rows', stage, message: text, rows } as const
    if (stack === '') return this.#options.jobLog(job, line)
    const thrown = new ThrownSnapshot(name === '' ? undefined : name, message, stack, undefined)
    this.#options.jobLog(job, { ...line, stack: this.#options.userCode.describeFailure(thrown, bundle).stack })
  }

  #logEnd(attempt: JobAttempt): void {
    const { status, failure } = attempt.progress()
    const { stage } = failure ?? {}
    const fields = { job: attempt.job, attempt: attempt.attempt, ...(stage === undefined ? {} : { stage }) }
    // What is lost with another node is no fault of the job, and the master says what comes of it.
    const level = failure?.code === 'UNAVAILABLE' ? 'warn' : 'error'
    if (status === 'failed') this.#options.log(level, `attempt of a job ended here: ${failure?.message ?? ''}`, fields)
    else this.#options.log('info', 'job completed on this shard', fields)
  }
}

async function openMaps(built: BuiltJob, maps: LocalMaps): Promise<ReadonlyMap<string, LocalMap>> {
  const opened = mapsOf(built).map(async ({ map, keySpace, keyCodec }) => [map, await maps.open(map, keySpace, keyCodec)] as const)
  return new Map(await Promise.all(opened))
}

function customOf({ nodes }: BuiltJob, stage: string): CustomReading | undefined {
  const spec = nodes.find(({ name }) => name === stage)?.spec
  return spec?.kind === 'source' ? spec.source.custom : undefined
}

function parseArguments(json: string): unknown {
  if (json === '') return undefined
  try {
    return JSON.parse(json)
  } catch (cause) {
    throw invalidArgument(`Cannot build job: its arguments are not JSON: ${messageOf(cause)}`)
  }
}
