/**
 * Replays of dead letters. For each letter, in groups:
 *
 *   ask the shard of its row's partition, again and again, until a checkpoint has the row (or it has failed again)
 *     -> delete that version of the letter -> have the shard forget it
 *
 * Whoever stops in between can begin again: the job remembers which letters its checkpoint has.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { NearstateError } from '../base/errors.ts'
import type { DeadLetterEntry, ReplayDeadLettersResponse } from '../wire/generated/nearstate/v1/admin.ts'
import { encodeValue } from '../wire/value-codec.ts'
import type { AdminCalls } from './admin-calls.ts'
import { type CallOptions, checkOptions, signalOf, timeoutMsOf } from './call-options.ts'
import { callOf, type DeadLetterOptions, type JobLetters, type LetterMap, type VersionedLetter } from './job-letters.ts'
import { inGroups } from './partition-pages.ts'

export interface ReplayResult {
  /** Their rows are in a checkpoint, and the letters are gone. */
  readonly replayed: number
  /** They are letters still. */
  readonly failedAgain: number
  /** Those that cannot be replayed, which stay. */
  readonly refused: number
  /** Why, each reason once. */
  readonly reasons: readonly string[]
}

export interface ReplayParts {
  readonly job: string
  readonly calls: AdminCalls
  readonly map: LetterMap
  readonly letters: JobLetters
  /** Rejects when its tasks do not run and will not by themselves. */
  readonly checkRunning: (options: CallOptions) => Promise<void>
}

const replayTimeoutMs = 600_000
/** Letters under way at once, of so many bytes; and calls. */
const groupLetters = 512
const groupBytes = 4 * 1024 * 1024
const callsMax = 32
const askEveryMs = 200
/** Without an answer for so long the job's status is looked at. */
const patienceMs = 3000
const noWayBack = 'it was no row in front of its stage, or is too large to be kept whole'

interface Waiting {
  readonly partition: number
  readonly entry: DeadLetterEntry
}

export async function replayDeadLetters(parts: ReplayParts, options: DeadLetterOptions = {}): Promise<ReplayResult> {
  checkOptions('replayDeadLetters', options, ['signal', 'timeout', 'stage'])
  const { timeout: _, ...reading } = options
  const replay = new Replay(parts, options, performance.now() + timeoutMsOf(options, replayTimeoutMs))
  for await (const letter of parts.letters.entries('replay', reading)) await replay.add(letter)
  return replay.end()
}

class Replay {
  readonly #parts: ReplayParts
  readonly #options: DeadLetterOptions
  readonly #deadlineMs: number
  readonly #reasons = new Set<string>()
  #group: Waiting[] = []
  #bytes = 0
  #replayed = 0
  #failedAgain = 0
  #refused = 0

  constructor(parts: ReplayParts, options: DeadLetterOptions, deadlineMs: number) {
    this.#parts = parts
    this.#options = options
    this.#deadlineMs = deadlineMs
  }

  async add({ key, value, version }: VersionedLetter): Promise<void> {
    if (value.replay === undefined) return this.#refuse(noWayBack)
    const bytes = encodeValue(value)
    this.#group.push({ partition: value.replay.partition, entry: { key, version: BigInt(version), value: bytes } })
    this.#bytes += bytes.length
    if (this.#group.length === groupLetters || this.#bytes >= groupBytes) await this.#runGroup()
  }

  async end(): Promise<ReplayResult> {
    await this.#runGroup()
    return { replayed: this.#replayed, failedAgain: this.#failedAgain, refused: this.#refused, reasons: [...this.#reasons] }
  }

  async #runGroup(): Promise<void> {
    let waiting = byPartition(this.#group)
    const gone: Waiting[] = []
    this.#group = []
    this.#bytes = 0
    while (waiting.size > 0) {
      const still: Waiting[] = []
      for (const calls of inGroups(waiting, callsMax))
        await Promise.all(calls.map(([partition, letters]) => this.#ask(partition, letters, still, gone)))
      waiting = byPartition(still)
      if (waiting.size > 0) await sleep(askEveryMs, undefined, signalOf(this.#options))
    }
    for (const calls of inGroups(byPartition(gone), callsMax))
      await Promise.all(calls.map(([partition, letters]) => this.#call(partition, [], letters.map(withoutValue))))
  }

  async #ask(partition: number, letters: readonly Waiting[], still: Waiting[], gone: Waiting[]): Promise<void> {
    const { outcomes, reasons } = await this.#call(
      partition,
      letters.map(({ entry }) => entry),
      [],
    )
    for (const [at, letter] of letters.entries()) {
      switch (outcomes[at]) {
        case 'replayed':
          this.#replayed += 1
          gone.push(letter)
          await this.#delete(letter)
          break
        case 'failedAgain':
          this.#failedAgain += 1
          break
        case 'refused':
          this.#refuse(reasons[at] ?? '')
          break
        default:
          still.push(letter)
      }
    }
  }

  #refuse(reason: string): void {
    this.#refused += 1
    this.#reasons.add(reason)
  }

  async #call(partition: number, letters: DeadLetterEntry[], forgets: DeadLetterEntry[]): Promise<ReplayDeadLettersResponse> {
    const { calls, job, checkRunning } = this.#parts
    const request = { job, partition, letters, forgets }
    for (;;) {
      const leftMs = Math.floor(this.#deadlineMs - performance.now())
      if (leftMs <= 0) throw new NearstateError('DEADLINE_EXCEEDED', this.#overdue(job))
      const options: CallOptions = { ...signalOf(this.#options), timeout: `${Math.min(leftMs, patienceMs)}ms` }
      try {
        return await calls.repeatable((admin, unary) => admin.replayDeadLetters(request, unary), options)
      } catch (thrown) {
        if (!(thrown instanceof NearstateError && (thrown.code === 'UNAVAILABLE' || thrown.code === 'DEADLINE_EXCEEDED'))) throw thrown
        await checkRunning(signalOf(this.#options))
      }
    }
  }

  #overdue(job: string): string {
    return `Cannot replay all dead letters of job "${job}" within the time-out: ${this.#replayed} are replayed; replay the others again, none is done twice`
  }

  /** The letter may be another one by now: a call that was made for its row has failed since. */
  async #delete({ entry: { key, version } }: Waiting): Promise<void> {
    const { timeout: _, ...options } = this.#options
    try {
      await this.#parts.map.delete(key, { ...callOf(options), ifVersion: Number(version) })
    } catch (thrown) {
      if (!(thrown instanceof NearstateError && thrown.code === 'CONFLICT')) throw thrown
    }
  }
}

const withoutValue = ({ entry: { key, version } }: Waiting): DeadLetterEntry => ({ key, version, value: Buffer.alloc(0) })

function byPartition(letters: readonly Waiting[]): Map<number, Waiting[]> {
  const groups = new Map<number, Waiting[]>()
  for (const letter of letters) {
    const group = groups.get(letter.partition)
    if (group === undefined) groups.set(letter.partition, [letter])
    else group.push(letter)
  }
  return groups
}
