/**
 * What this node keeps of the logs of jobs: lines of its shards, and of the engine where it leads. In memory, so they go with the process.
 *
 * 1. Bounded: a job's lines take `bytesMax` at the most, the oldest go first and are counted; of so many jobs, the one that was silent for
 *    the longest goes as a whole.
 * 2. Lines are numbered from 1, in the order in which they came here. A number is never used again for the job.
 */
import { messageOf } from '../base/errors.ts'
import type { NodeId } from '../base/ids.ts'
import type { JobLogLine } from '../shard/protocol.ts'
import type { ReadJobLogRequest, ReadJobLogResponse } from '../wire/generated/nearstate/v1/admin.ts'
import type { NodeLinks } from './node-links.ts'
import type { ViewFeed } from './view-feed.ts'

export interface JobLogsLimits {
  /** Of the lines of a job, as JSON. */
  readonly bytesMax: number
  readonly jobsMax: number
}

export interface KeptLines {
  /** JSON, each with `time`. */
  readonly lines: readonly string[]
  /** Number of the line that comes next. */
  readonly next: number
  /** Asked for, but gone. */
  readonly gone: number
}

export const defaultJobLogsLimits: JobLogsLimits = { bytesMax: 256 * 1024, jobsMax: 100 }
const messageMaxLength = 4 * 1024
const stackMaxLength = 8 * 1024
const answerTimeoutMs = 3000

export class JobLogs {
  readonly #wallTimeMs: () => number
  readonly #limits: JobLogsLimits
  /** In the order of their last line. */
  readonly #rings = new Map<string, Ring>()
  /** Of rings that went: a job that comes back goes on behind them. */
  #lastForgotten = 0

  constructor(wallTimeMs: () => number, limits: JobLogsLimits = defaultJobLogsLimits) {
    this.#wallTimeMs = wallTimeMs
    this.#limits = limits
  }

  /** `shard`: whose line it is; absent: the node's. */
  add(job: string, line: JobLogLine, shard?: number): void {
    const { level, from, stage, message, stack, rows } = line
    const kept = {
      time: this.#wallTimeMs(),
      ...(shard === undefined ? {} : { shard }),
      level,
      from,
      ...(stage === undefined ? {} : { stage }),
      message: cut(message, messageMaxLength),
      ...(stack === undefined ? {} : { stack: cut(stack, stackMaxLength) }),
      ...(rows === undefined ? {} : { rows }),
    }
    const ring = this.#rings.get(job) ?? new Ring(this.#limits.bytesMax, this.#lastForgotten)
    this.#rings.delete(job)
    this.#rings.set(job, ring)
    ring.add(JSON.stringify(kept))
    if (this.#rings.size > this.#limits.jobsMax) this.#forgetSilent()
  }

  /** From this line on, and of those the last `limit`; a job that nothing was said of has no lines. */
  read(job: string, from: number, limit = Number.POSITIVE_INFINITY): KeptLines {
    return this.#rings.get(job)?.read(from, limit) ?? { lines: [], next: from, gone: 0 }
  }

  #forgetSilent(): void {
    for (const [job, ring] of this.#rings) {
      this.#lastForgotten = Math.max(this.#lastForgotten, ring.last)
      this.#rings.delete(job)
      return
    }
  }
}

class Ring {
  readonly #bytesMax: number
  #lines: { readonly text: string; readonly bytes: number }[] = []
  /** Lines at the front that have gone and are not cut off yet. */
  #head = 0
  #bytes = 0
  #last: number
  readonly #begin: number

  constructor(bytesMax: number, last: number) {
    this.#bytesMax = bytesMax
    this.#last = last
    this.#begin = last + 1
  }

  /** Number of the latest line. */
  get last(): number {
    return this.#last
  }

  add(text: string): void {
    const bytes = Buffer.byteLength(text)
    this.#lines.push({ text, bytes })
    this.#last += 1
    this.#bytes += bytes
    while (this.#bytes > this.#bytesMax && this.#head < this.#lines.length - 1) {
      this.#bytes -= this.#lines[this.#head]?.bytes ?? 0
      this.#lines[this.#head] = gone
      this.#head += 1
    }
    if (this.#head >= 256 && this.#head * 2 > this.#lines.length) {
      this.#lines = this.#lines.slice(this.#head)
      this.#head = 0
    }
  }

  read(from: number, limit: number): KeptLines {
    const first = this.#last - (this.#lines.length - this.#head) + 1
    const begin = Math.max(first, from, this.#last - limit + 1)
    const lines = this.#lines.slice(this.#lines.length - (this.#last - begin + 1))
    return { lines: lines.map(({ text }) => text), next: this.#last + 1, gone: Math.max(0, first - Math.max(this.#begin, from)) }
  }
}

const gone = { text: '', bytes: 0 }

const cut = (text: string, maxLength: number): string => (text.length <= maxLength ? text : `${text.slice(0, maxLength)}…`)

export interface JobLogParts {
  readonly self: NodeId
  readonly name: string
  readonly feed: Pick<ViewFeed, 'reachableMembers'>
  readonly links: Pick<NodeLinks, 'admin'>
  readonly jobLogs: Pick<JobLogs, 'read'>
}

/** Here, or at the node that is asked for; that this cannot be asked is an answer. */
export async function readJobLog(parts: JobLogParts, request: ReadJobLogRequest): Promise<ReadJobLogResponse> {
  const { self, name, feed, links, jobLogs } = parts
  const { job, node } = request
  if (node === name) {
    const from = request.nodeId === self ? Number(request.from) : 1
    const { lines, next, gone } = jobLogs.read(job, from, request.limit === 0 ? undefined : request.limit)
    return { unreachable: '', nodeId: self, next: BigInt(next), gone: BigInt(gone), lines: [...lines] }
  }
  const member = feed.reachableMembers.find(one => one.name === node)
  if (member === undefined || request.forwarded === true) return unreachable('it is no member of the cluster, or out of reach')
  try {
    return await links.admin(member).readJobLog({ ...request, forwarded: true }, { timeoutMs: answerTimeoutMs })
  } catch (error) {
    return unreachable(messageOf(error))
  }
}

const unreachable = (reason: string): ReadJobLogResponse => ({ unreachable: reason, nodeId: '', next: 0n, gone: 0n, lines: [] })
