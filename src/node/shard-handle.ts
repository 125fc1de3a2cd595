/**
 * The control thread's end of one shard worker: starts it, sends commands, matches answers with requests, notices its death.
 *
 * Owns: the Worker, the requests under way. Does not: decide what to send (shards.ts), judge user code (watchdog.ts).
 * Every request is answered, fails when its time is over, or fails with the worker; their number is bounded by the callers,
 * which are few (admin calls, job control, statistics).
 */
import { extname } from 'node:path'
import { type MessagePort, Worker } from 'node:worker_threads'
import { messageOf, NearstateError } from '../base/errors.ts'
import type { FoundCopy } from '../durability/found-copy.ts'
import type { MapDefinition } from '../grid/map-definition.ts'
import type { ReplicaRequest } from '../partitioning/partition-table.ts'
import { errorOf, failureOf } from '../shard/failure.ts'
import type {
  EnsureMap,
  Failure,
  FromShard,
  JobLogLine,
  ShardAnswers,
  ShardCommand,
  ShardRequest,
  ShardStart,
  ToShard,
} from '../shard/protocol.ts'
import type { Logger } from '../telemetry/logger.ts'

export interface ShardHandleOptions {
  readonly start: ShardStart
  /** Answers a shard that wants a map to be there. */
  readonly ensureMap: (ask: EnsureMap) => Promise<MapDefinition>
  readonly onReplicaRequest: (request: ReplicaRequest) => void
  /** What earlier incarnations left in its durable mirror, when it starts and when that has changed. */
  readonly onFound: (found: readonly FoundCopy[]) => void
  readonly onJobLog: (job: string, line: JobLogLine) => void
  /** The worker ended and was not told to, or its data must not be used. Called once at the most. */
  readonly onDeath: (reason: string) => void
  readonly log: Logger
}

interface Pending {
  readonly resolve: (value: never) => void
  readonly reject: (error: Error) => void
  readonly timer: NodeJS.Timeout
}

const workerUrl = new URL(`../shard/shard-worker${extname(import.meta.url)}`, import.meta.url)

export class ShardHandle {
  readonly start: ShardStart
  readonly worker: Worker
  readonly #options: ShardHandleOptions
  readonly #pending = new Map<number, Pending>()
  readonly #ready = Promise.withResolvers<number>()
  readonly #exited = Promise.withResolvers<void>()
  #nextId = 1
  #stopping = false
  #deathReason: string | undefined

  constructor(options: ShardHandleOptions) {
    this.#options = options
    this.start = options.start
    this.#ready.promise.catch(() => {}) // reported through onDeath too
    this.worker = new Worker(workerUrl, { workerData: options.start, name: `${options.start.nodeName}/${options.start.index}` })
    this.worker.on('message', (message: FromShard) => this.#receive(message))
    this.worker.on('error', error => {
      this.#deathReason = describeCrash(error)
    })
    this.worker.on('exit', code => this.#ended(code))
  }

  /** Its data port, once it serves. Rejects when the worker dies before. */
  get ready(): Promise<number> {
    return this.#ready.promise
  }

  get index(): number {
    return this.start.index
  }

  command(command: ShardCommand, transfer: readonly MessagePort[] = []): void {
    this.#post({ type: 'command', command }, transfer)
  }

  request<R extends ShardRequest>(request: R, timeoutMs = 30_000): Promise<ShardAnswers[R['kind']]> {
    if (this.#deathReason !== undefined) return Promise.reject(this.#gone(request.kind))
    const id = this.#nextId
    this.#nextId += 1
    return new Promise<ShardAnswers[R['kind']]>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id)
        reject(
          new NearstateError(
            'DEADLINE_EXCEEDED',
            `Cannot ${request.kind} on ${this.worker.threadName ?? 'shard'}: no answer within ${timeoutMs} ms`,
          ),
        )
      }, timeoutMs)
      this.#pending.set(id, { resolve, reject, timer })
      this.#post({ type: 'request', id, request }, [])
    })
  }

  /** Lets it answer what is under way for at most `graceMs`, then ends the thread. */
  async stop(graceMs: number): Promise<void> {
    if (this.#deathReason === undefined && !this.#stopping) {
      this.#stopping = true
      await this.request({ kind: 'stop', graceMs }, graceMs + 2000).catch(error =>
        this.#options.log.warn('shard did not stop in time', { shard: this.index, reason: messageOf(error) }),
      )
      await this.worker.terminate()
    }
    await this.#exited.promise
  }

  #post(message: ToShard, transfer: readonly MessagePort[]): void {
    this.worker.postMessage(message, [...transfer])
  }

  #receive(message: FromShard): void {
    switch (message.type) {
      case 'ready':
        this.#options.onFound(message.found)
        this.#ready.resolve(message.port)
        return
      case 'refused':
        this.#ready.reject(errorOf(message.failure))
        return
      case 'found':
        this.#options.onFound(message.found)
        return
      case 'answer':
        this.#settle(message.id, message.value, message.failure)
        return
      case 'ensureMap':
        void this.#ensureMap(message.id, message.ask)
        return
      case 'replicaRequest':
        if (!this.#stopping) this.#options.onReplicaRequest(message.request)
        return
      case 'broken':
        this.#deathReason ??= message.reason
        void this.worker.terminate()
        return
      case 'log':
        this.#options.log[message.level](message.message, { shard: this.index, ...message.fields })
        return
      case 'jobLog':
        this.#options.onJobLog(message.job, message.line)
        return
    }
  }

  #settle(id: number, value: unknown, failure: Failure | undefined): void {
    const pending = this.#pending.get(id)
    if (pending === undefined) return // its time was over
    this.#pending.delete(id)
    clearTimeout(pending.timer)
    if (failure === undefined) pending.resolve(value as never)
    else pending.reject(errorOf(failure))
  }

  async #ensureMap(id: number, ask: EnsureMap): Promise<void> {
    try {
      this.#post({ type: 'reply', id, value: await this.#options.ensureMap(ask) }, [])
    } catch (error) {
      this.#post({ type: 'reply', id, value: undefined, failure: failureOf(error) }, [])
    }
  }

  #ended(code: number): void {
    const reason = this.#deathReason ?? `exit code ${code}`
    this.#deathReason = reason
    this.#ready.reject(new NearstateError('INTERNAL', `Cannot start shard ${this.index}: ${reason}`))
    for (const pending of this.#pending.values()) {
      clearTimeout(pending.timer)
      pending.reject(this.#gone('request'))
    }
    this.#pending.clear()
    this.#exited.resolve()
    if (!this.#stopping) this.#options.onDeath(reason)
  }

  #gone(action: string): NearstateError {
    return new NearstateError('UNAVAILABLE', `Cannot ${action}: shard ${this.index} of ${this.start.nodeName} has ended`)
  }
}

function describeCrash(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? ` (${String(error.code)})` : ''
  return `${error instanceof Error ? (error.stack ?? error.message) : String(error)}${code}`
}
