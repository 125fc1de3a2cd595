/**
 * Reads and writes over all partitions whose every acknowledged write is remembered: what tells a lost write, a stale read and
 * the time without service from outside, as a user would see them.
 *
 * A key has one writer, which writes 1, 2, 3 ..., so that a read that began after n was acknowledged must give n or more, and
 * nothing above what was sent. Another client reads the same keys. One key per partition, so each partition's gaps are seen.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { NearstateError } from '../base/errors.ts'
import type { Grid } from '../client/grid.ts'
import type { GridMap } from '../client/grid-map.ts'
import { encodeKey } from '../keys/encode-key.ts'
import { defineKey } from '../keys/key-space.ts'
import { partitionOfKey } from '../keys/partition-of.ts'

const Entry = defineKey('ledger', 'string')
type LedgerMap = GridMap<typeof Entry, number>

export interface LedgerReport {
  readonly operations: number
  /** Calls that failed, by error code; a write of unknown outcome is one of them, and not lost. */
  readonly failures: Readonly<Record<string, number>>
  /** Acknowledged writes that the final state, or a read after them, does not have. */
  readonly acknowledgedWritesLost: number
  /** Reads that gave less than what was acknowledged before they began. */
  readonly staleReads: number
  /** Reads of something that nobody had written. */
  readonly inventedReads: number
  /** Longest time without a successful call, per partition, in milliseconds. */
  readonly gapsMs: readonly number[]
}

interface Line {
  readonly key: string
  readonly partition: number
  sent: number
  acknowledged: number
}

export class Ledger {
  readonly #lines: readonly Line[]
  readonly #maps: readonly LedgerMap[]
  readonly #pauseMs: number
  readonly #lastSuccessMs: number[]
  readonly #gapsMs: number[]
  readonly #failures: Record<string, number> = {}
  #operations = 0
  #staleReads = 0
  #inventedReads = 0
  #stopping = false
  #done: Promise<void> = Promise.resolve()

  /** Calls go round-robin through `clients`; each partition is called about every `pauseMs`, by a writer and by a reader. */
  constructor(clients: readonly Grid[], partitionCount: number, options: { readonly map: string; readonly pauseMs: number }) {
    this.#maps = clients.map(grid => grid.map<typeof Entry, number>(options.map, Entry))
    this.#pauseMs = options.pauseMs
    this.#lines = keysOfAll(partitionCount).map((key, partition) => ({ key, partition, sent: 0, acknowledged: 0 }))
    this.#lastSuccessMs = this.#lines.map(() => 0)
    this.#gapsMs = this.#lines.map(() => 0)
  }

  /** Resolves when every partition has taken a write. */
  async start(): Promise<void> {
    await Promise.all(this.#lines.map(line => this.#write(line)))
    this.#lastSuccessMs.fill(performance.now())
    this.#gapsMs.fill(0)
    this.#done = Promise.all(this.#lines.flatMap(line => [this.#repeat(line, this.#write), this.#repeat(line, this.#read)])).then(
      () => undefined,
    )
  }

  /** Longest times without success since the start or the last call of this, in milliseconds; begins anew. */
  takeGapsMs(): readonly number[] {
    const nowMs = performance.now()
    const gaps = this.#gapsMs.map((gap, partition) => Math.max(gap, nowMs - (this.#lastSuccessMs[partition] ?? nowMs)))
    this.#gapsMs.fill(0)
    return gaps
  }

  /** Ends the calls, then reads everything once more. */
  async stop(): Promise<LedgerReport> {
    this.#stopping = true
    await this.#done
    const gapsMs = this.takeGapsMs()
    const values = await Promise.all(this.#lines.map((line, i) => this.#mapOf(i + 1).get(line.key, { timeout: '30s' })))
    let acknowledgedWritesLost = 0
    for (const [i, line] of this.#lines.entries()) acknowledgedWritesLost += Math.max(0, line.acknowledged - (values[i] ?? 0))
    const { operations, staleReads, inventedReads } = {
      operations: this.#operations,
      staleReads: this.#staleReads,
      inventedReads: this.#inventedReads,
    }
    return { operations, failures: this.#failures, acknowledgedWritesLost, staleReads, inventedReads, gapsMs }
  }

  /** Ends without looking at what came of it. */
  abandon(): void {
    this.#stopping = true
  }

  #mapOf(i: number): LedgerMap {
    return this.#maps[i % this.#maps.length] as LedgerMap
  }

  async #repeat(line: Line, call: (line: Line) => Promise<void>): Promise<void> {
    await sleep(Math.random() * this.#pauseMs)
    while (!this.#stopping) {
      try {
        await call(line)
      } catch (thrown) {
        const code = thrown instanceof NearstateError ? thrown.code : 'INTERNAL'
        this.#failures[code] = (this.#failures[code] ?? 0) + 1
      }
      await sleep(this.#pauseMs)
    }
  }

  readonly #write = async (line: Line): Promise<void> => {
    line.sent += 1
    const number = line.sent
    await this.#mapOf(line.partition).set(line.key, number)
    line.acknowledged = number
    this.#succeeded(line)
  }

  readonly #read = async (line: Line): Promise<void> => {
    const { acknowledged } = line
    const value = (await this.#mapOf(line.partition + 1).get(line.key)) ?? 0
    if (value < acknowledged) this.#staleReads += 1
    if (value > line.sent) this.#inventedReads += 1
    this.#succeeded(line)
  }

  #succeeded({ partition }: Line): void {
    const nowMs = performance.now()
    this.#operations += 1
    this.#gapsMs[partition] = Math.max(this.#gapsMs[partition] ?? 0, nowMs - (this.#lastSuccessMs[partition] ?? nowMs))
    this.#lastSuccessMs[partition] = nowMs
  }
}

/** One key for each partition, in their order. */
function keysOfAll(partitionCount: number): readonly string[] {
  const keys: string[] = []
  let found = 0
  for (let i = 0; found < partitionCount; i += 1) {
    const key = `line-${i}`
    const bytes = encodeKey('string', key)
    const partition = partitionOfKey('string', bytes, 0, bytes.length, partitionCount)
    if (keys[partition] !== undefined) continue
    keys[partition] = key
    found += 1
  }
  return keys
}
