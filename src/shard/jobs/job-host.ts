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
import type { ShardProgress } from '../../streaming/assignment.ts'
import { readFrame, type RowCodec } from '../../streaming/exchange/frame.ts'
import { mapsOf } from '../../streaming/execution/plan.ts'
import { ShardTask } from '../../streaming/execution/shard-task.ts'
import { type BuiltJob, buildJob, isJob } from '../../streaming/graph/job.ts'
import { graphHash } from '../../streaming/graph/job-graph.ts'
import type { LocalMap } from '../../streaming/ports.ts'
import type { SourceConnector } from '../../streaming/source.ts'
import { decodeValue, encodeValue } from '../../wire/value-codec.ts'
import type { Bundle, ShardRequest } from '../protocol.ts'
import type { ShardJobsNeeds } from '../shard.ts'
import type { UserCode } from '../user-code/user-code.ts'
import { JobAttempt } from './job-attempt.ts'
import { callUserCode } from './user-call.ts'

export interface JobHostOptions extends Omit<ShardJobsNeeds, 'userCode' | 'createStateStore'> {
  readonly userCode: Pick<UserCode, 'evaluateModule' | 'describeFailure' | 'clearQuarantine'>
  readonly connectorOf: (kind: string) => SourceConnector
}

export type StartJob = Omit<Extract<ShardRequest, { kind: 'startJob' }>, 'kind'>

/** Started, and perhaps still standing up. */
interface Started {
  readonly attempt: number
  readonly answer: Promise<{ readonly graphHash: string }>
  running: JobAttempt | undefined
  stopped: boolean
}

const rowCodec: RowCodec = { encode: encodeValue, decode: decodeValue }

export class JobHost {
  readonly #options: JobHostOptions
  readonly #jobs = new Map<string, Started>()

  constructor(options: JobHostOptions) {
    this.#options = options
  }

  /** Evaluates a job file and builds its graph under this name, or its own if that is empty; INVALID_ARGUMENT or FUNCTION_FAILED say what is wrong with it. */
  async describe(name: string, bundle: Bundle, argsJson: string): Promise<{ name: string; graphJson: string; graphHash: string }> {
    const { graph, graphJson } = await this.#build(name, bundle, argsJson)
    return { name: graph.name, graphJson, graphHash: graphHash(graphJson) }
  }

  /** Makes an attempt stand ready: bundle built, maps open. An older attempt of the job is ended; CONFLICT when this one is the older. */
  start(request: StartJob): Promise<{ readonly graphHash: string }> {
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
    const started: Started = { attempt: request.attempt, running: undefined, stopped: false, answer: this.#standUp(request, () => started) }
    this.#jobs.set(request.job, started)
    // A start that fails leaves nothing; whoever asked has the answer.
    started.answer.catch(() => {
      if (this.#jobs.get(request.job) === started) this.#jobs.delete(request.job)
    })
    return started.answer
  }

  /** All shards stand ready: sources read. */
  run(job: string, attempt: number): void {
    this.#running(job, attempt, 'run').start()
  }

  /** Ends an attempt; nothing of it is left afterwards. */
  stop(job: string, attempt: number): void {
    const started = this.#jobs.get(job)
    if (started === undefined || started.attempt !== attempt) return
    started.stopped = true
    started.running?.close()
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
    const started = this.#jobs.get(frame.job)
    if (started?.running === undefined || started.attempt !== frame.attempt) return
    const sender = started.running.assignment.shards.indexOf(from)
    if (sender >= 0) started.running.arrive(sender, frame)
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
    const started = this.#jobs.get(job)
    if (started?.attempt === attempt && started.running !== undefined) return started.running
    throw new NearstateError('NOT_FOUND', `Cannot ${action} attempt ${attempt} of job "${job}": it does not stand ready on this shard`)
  }

  async #standUp(request: StartJob, mine: () => Started): Promise<{ readonly graphHash: string }> {
    const { job, attempt, assignment, bundle } = request
    const { self, slices, userCode, clock } = this.#options
    const index = assignment.shards.indexOf(self)
    if (index < 0) throw invalidArgument(`Cannot start job "${job}": this shard takes no part in the attempt`)
    const built = await this.#build(job, bundle, request.argsJson)
    for (const { name } of built.nodes) userCode.clearQuarantine(`${job}/${name}`)
    const maps = await this.#openMaps(built)
    const started = mine()
    if (started.stopped) throw new NearstateError('CANCELLED', `Cannot start job "${job}": attempt ${attempt} was stopped meanwhile`)
    started.running = new JobAttempt(
      {
        job,
        attempt,
        assignment,
        slices,
        clock,
        describe: thrown => userCode.describeFailure(thrown, bundle),
        ended: done => this.#logEnd(done),
      },
      wake => this.#taskOf(request, index, built, maps, wake),
    )
    return { graphHash: graphHash(built.graphJson) }
  }

  #taskOf(request: StartJob, self: number, built: BuiltJob, maps: ReadonlyMap<string, LocalMap>, wake: () => void): ShardTask {
    const { job, attempt, assignment } = request
    return new ShardTask({
      job,
      built,
      attempt,
      assignment,
      self,
      maps,
      codec: rowCodec,
      send: (to, bytes) => this.#options.sendExchange(assignment.shards[to] as ShardId, bytes),
      openSplit: (stage, split, position) => {
        const source = built.graph.stages.find(({ name }) => name === stage)?.source
        if (source === undefined) throw invalidArgument(`Cannot open split "${split.id}": stage "${stage}" is no source`)
        return this.#options.connectorOf(source.connector).open(source.options, split, { onReady: wake }, position)
      },
    })
  }

  async #openMaps(built: BuiltJob): Promise<ReadonlyMap<string, LocalMap>> {
    const opened = mapsOf(built).map(
      async ({ map, keySpace, keyCodec }) => [map, await this.#options.maps.open(map, keySpace, keyCodec)] as const,
    )
    return new Map(await Promise.all(opened))
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

  #logEnd(attempt: JobAttempt): void {
    const { status, failure } = attempt.progress()
    const fields = { job: attempt.job, attempt: attempt.attempt }
    if (status === 'failed') this.#options.log('error', `job failed: ${failure?.message ?? ''}`, { ...fields, stage: failure?.stage ?? '' })
    else this.#options.log('info', 'job completed on this shard', fields)
  }
}

function parseArguments(json: string): unknown {
  if (json === '') return undefined
  try {
    return JSON.parse(json)
  } catch (cause) {
    throw invalidArgument(`Cannot build job: its arguments are not JSON: ${messageOf(cause)}`)
  }
}
