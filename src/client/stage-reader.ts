/**
 * Reads of one stage's state, whoever has it now.
 *
 * What the stage is comes from the leader, once, and again when a newer attempt answers. Each read goes to the shard that has the partition.
 * While an attempt runs there it knows the last checkpoint; where none does, the leader is asked for it, and the read sent again with that.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { invalidArgument, NearstateError } from '../base/errors.ts'
import type { CheckpointPoint } from '../wire/generated/nearstate/v1/admin.ts'
import type { StateDescription } from '../wire/state-values.ts'
import type { AdminCalls } from './admin-calls.ts'
import { type CallOptions, signalOf, timeoutMsOf } from './call-options.ts'

export interface StageReaderOptions {
  readonly calls: AdminCalls
  readonly job: string
  readonly stage: string
  readonly partitionCount: () => number
  readonly timeoutMs: number
}

export interface StateQuestion {
  readonly partition: number
  /** Of one key; absent: a page. */
  readonly key?: Buffer
  readonly cursor?: Buffer
  readonly limit?: number
  readonly keysOnly?: boolean
  readonly live?: boolean
  /** Rows as of exactly this checkpoint. */
  readonly upTo?: CheckpointPoint | undefined
}

export interface StateReply {
  readonly description: StateDescription
  readonly checkpoint: CheckpointPoint
  /** Of one key: its encoded record. */
  readonly value: Buffer | undefined
  /** An encoded ScanPage. */
  readonly page: Buffer
}

const againAfterMs = 20
const noBytes = Buffer.alloc(0)

export class StageReader {
  readonly #options: StageReaderOptions
  #description: Promise<StateDescription> | undefined

  constructor(options: StageReaderOptions) {
    this.#options = options
  }

  get partitionCount(): number {
    return this.#options.partitionCount()
  }

  /** What the stage keeps, as it was last heard. All calls wait for one answer, so none of them aborts it. */
  describe(options?: CallOptions): Promise<StateDescription> {
    this.#description ??= this.#describe(options?.timeout === undefined ? {} : { timeout: options.timeout })
    return this.#description
  }

  async read(question: StateQuestion, options?: CallOptions): Promise<StateReply> {
    const { partition, key, cursor = noBytes, limit = 0, keysOnly = false, live = false, upTo } = question
    const { calls, job, stage, timeoutMs } = this.#options
    const deadlineMs = performance.now() + timeoutMsOf(options, timeoutMs)
    let asked = this.describe(options)
    for (;;) {
      const description = await asked
      this.#check(description, live)
      const { settled } = description
      const request = { job, stage, partition, key, cursor, limit, keysOnly, live, settled, lastAttempt: settled?.lastAttempt ?? 0, upTo }
      const left = this.#left(deadlineMs, options)
      const { known, attempt, checkpoint, value, page } = await calls.repeatable(
        (admin, unary) => admin.readJobState({ ...request, forwarded: undefined }, unary),
        left,
      )
      const isBehind = upTo !== undefined && checkpoint !== undefined && isBefore(checkpoint, upTo)
      const isDone = known && !isBehind
      if (!isDone) await sleep(againAfterMs)
      if (!known || attempt > description.attempt) {
        // Of many calls one asks again.
        if (this.#description === asked) this.#description = undefined
        asked = this.describe(this.#left(deadlineMs, options))
      }
      if (isDone) return { description: await asked, checkpoint: checkpoint ?? { attempt: 0, n: 0 }, value, page }
    }
  }

  async #describe(options: CallOptions): Promise<StateDescription> {
    const { calls, job, stage } = this.#options
    try {
      const request = { job, stage, forwarded: undefined }
      const { json } = await calls.repeatable((admin, unary) => admin.describeJobState(request, unary), options)
      return JSON.parse(json) as StateDescription
    } catch (thrown) {
      this.#description = undefined
      throw thrown
    }
  }

  #check({ hasCheckpoints, isActive }: StateDescription, live: boolean): void {
    const { job, stage } = this.#options
    const what = `Cannot read state of stage "${stage}" of job "${job}"`
    if (!live && !hasCheckpoints) throw invalidArgument(`${what}: its guarantee is none, so there are no checkpoints; read it live`)
    if (live && !isActive) {
      // The next call may find it running.
      this.#description = undefined
      throw new NearstateError(
        'CONFLICT',
        `${what} live: the job is suspended, and nothing works with it; read the last checkpoint, or resume the job`,
      )
    }
  }

  #left(deadlineMs: number, options: CallOptions | undefined): CallOptions {
    const { job, stage } = this.#options
    const leftMs = Math.floor(deadlineMs - performance.now())
    if (leftMs > 0) return { timeout: `${leftMs}ms`, ...signalOf(options) }
    const why = 'no attempt of it stood open there within the time-out'
    throw new NearstateError('UNAVAILABLE', `Cannot read state of stage "${stage}" of job "${job}": ${why}`)
  }
}

const isBefore = (a: CheckpointPoint, b: CheckpointPoint): boolean => a.attempt < b.attempt || (a.attempt === b.attempt && a.n < b.n)
