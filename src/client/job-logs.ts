/**
 * The log of a job, read from all nodes and merged by time.
 *
 * Each node keeps its own lines and numbers them, so a reader that follows asks each for what came since; what comes in one round of asking
 * is in the order of time. A node that cannot be asked, or has dropped lines, is said in a line of the reader's own.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { invalidArgument } from '../base/errors.ts'
import type { AdminCalls } from './admin-calls.ts'
import { type CallOptions, checkOptions, signalOf } from './call-options.ts'

/** The document that `nearstate job logs --json` prints, one a line. */
export interface JobLogEntry {
  /** By the clock of its node, in milliseconds since the epoch. */
  readonly time: number
  readonly node: string
  /** Absent: it is of the node that leads the job, or of the reader. */
  readonly shard?: number
  readonly level: 'info' | 'warn' | 'error'
  /** A `log` stage; the console of the job's code; rows that failed; the engine; this reader: a node out of reach, lines that are gone. */
  readonly from: 'log' | 'console' | 'rows' | 'engine' | 'reader'
  readonly stage?: string
  readonly message: string
  /** Of the job's code, in positions of its source. */
  readonly stack?: string
  /** Of rows that failed: how many the line stands for. */
  readonly rows?: number
}

export interface JobLogOptions extends CallOptions {
  /** Goes on with what comes, until the job has ended. */
  readonly follow?: boolean
  /** Of what is there at the beginning only the latest so many lines; default 1000. */
  readonly limit?: number
}

/** How far a node was read. */
interface Cursor {
  nodeId: string
  next: bigint
  isUnreachable: boolean
}

const limitDefault = 1000
const limitMax = 1_000_000
const roundEveryMs = 500
const ended: ReadonlySet<unknown> = new Set(['completed', 'failed', 'cancelled'])

export async function* jobLog(calls: AdminCalls, job: string, options: JobLogOptions = {}): AsyncGenerator<JobLogEntry> {
  checkOptions('logs', options, ['signal', 'timeout', 'follow', 'limit'])
  const { follow = false, limit = limitDefault, ...call } = options
  if (!(Number.isSafeInteger(limit) && limit >= 0 && limit <= limitMax))
    throw invalidArgument(`Cannot read the log of job "${job}": limit is ${String(limit)}, a whole number from 0 to ${limitMax} is wanted`)
  const reader = new JobLogReader(calls, job, call)
  let isEnded = await reader.isEnded()
  yield* latest(await reader.round(limit), limit)
  if (!follow) return
  for (;;) {
    // What came between the last look and the end is read too.
    const isLast = isEnded
    await sleep(roundEveryMs, undefined, signalOf(call))
    if (!isLast) isEnded = await reader.isEnded()
    yield* await reader.round(0)
    if (isLast) return
  }
}

const latest = (entries: readonly JobLogEntry[], limit: number): readonly JobLogEntry[] =>
  entries.length <= limit ? entries : entries.slice(entries.length - limit)

class JobLogReader {
  readonly #calls: AdminCalls
  readonly #job: string
  readonly #call: CallOptions
  readonly #cursors = new Map<string, Cursor>()

  constructor(calls: AdminCalls, job: string, call: CallOptions) {
    this.#calls = calls
    this.#job = job
    this.#call = call
  }

  /** NOT_FOUND when the cluster does not know the job. */
  async isEnded(): Promise<boolean> {
    const { json } = await this.#calls.repeatable((admin, unary) => admin.getJob({ name: this.#job }, unary), this.#call)
    const { status } = JSON.parse(json) as { readonly status: unknown }
    return ended.has(status)
  }

  /** What came since the last round, by time; of each node at most the latest `limit` lines, 0: all. */
  async round(limit: number): Promise<readonly JobLogEntry[]> {
    const { members } = await this.#calls.repeatable((admin, unary) => admin.describe({}, unary), this.#call)
    for (const { name, status } of members) {
      if (status !== 'dead' && !this.#cursors.has(name)) this.#cursors.set(name, { nodeId: '', next: 1n, isUnreachable: false })
    }
    const entries = await Promise.all([...this.#cursors].map(([node, cursor]) => this.#ask(node, cursor, limit)))
    return entries.flat().sort((a, b) => a.time - b.time)
  }

  async #ask(node: string, cursor: Cursor, limit: number): Promise<readonly JobLogEntry[]> {
    const request = { job: this.#job, node, from: cursor.next, nodeId: cursor.nodeId, limit }
    const { unreachable, nodeId, next, gone, lines } = await this.#calls.repeatable(
      (admin, unary) => admin.readJobLog(request, unary),
      this.#call,
    )
    if (unreachable !== '') {
      const wasUnreachable = cursor.isUnreachable
      cursor.isUnreachable = true
      return wasUnreachable
        ? []
        : [ofReader(node, Date.now(), `node ${node} cannot be asked, what it has logged is missing: ${unreachable}`)]
    }
    const entries = lines.map(line => ({ node, ...(JSON.parse(line) as Omit<JobLogEntry, 'node'>) }))
    const isRead = cursor.nodeId === nodeId
    Object.assign(cursor, { nodeId, next, isUnreachable: false })
    const [first] = entries
    // Beyond the limit, nobody has asked for what is gone.
    if (gone === 0n || first === undefined || (!isRead && limit !== 0 && entries.length >= limit)) return entries
    return [ofReader(node, first.time, `${gone} older lines of node ${node} are gone: it keeps so many bytes of each job`), ...entries]
  }
}

const ofReader = (node: string, time: number, message: string): JobLogEntry => ({ time, node, level: 'warn', from: 'reader', message })
