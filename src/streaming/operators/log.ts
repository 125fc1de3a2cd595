/** Writes rows to the job's log, a few of many, and hands all of them on. */
import { messageOf } from '../../base/errors.ts'
import { refusePromise } from '../graph/refuse-async.ts'
import type { LogSpec } from '../graph/stage-spec.ts'
import type { Batch } from './batch.ts'
import { Operator } from './operator.ts'
import type { Unit } from './unit.ts'

const lineMaxLength = 1024

/** How many rows came, and what of the present second's lines is left. */
interface Budget {
  seen: number
  secondStartMs: number
  lines: number
  dropped: number
}

export class LogOperator extends Operator {
  readonly #spec: LogSpec
  readonly #write: (text: string) => void
  #lines: string[] = []
  /** As of the last unit that returned, and now. */
  #saved: Budget = { seen: 0, secondStartMs: Number.NEGATIVE_INFINITY, lines: 0, dropped: 0 }
  readonly #now: Budget = { ...this.#saved }

  constructor(stage: number, unit: Unit, spec: LogSpec, write: (text: string) => void) {
    super(stage, unit)
    this.#spec = spec
    this.#write = write
  }

  protected process(batch: Batch): void {
    const { every } = this.#spec
    const now = this.#now
    for (let at = 0; at < batch.size; at += 1) {
      const isWanted = now.seen % every === 0
      now.seen += 1
      if (isWanted && this.#mayWrite()) this.#lines.push(this.#textOf(batch, at))
    }
    this.emit(batch)
  }

  #mayWrite(): boolean {
    const now = this.#now
    const { wallTimeMs } = this.unit
    // Also a clock that was set back begins a new second.
    if (Math.abs(wallTimeMs - now.secondStartMs) >= 1000) {
      now.secondStartMs = wallTimeMs
      now.lines = 0
    }
    if (now.lines >= this.#spec.perSecond) {
      now.dropped += 1
      return false
    }
    now.lines += 1
    return true
  }

  #textOf(batch: Batch, at: number): string {
    const whole = this.#wholeText(batch, at)
    const cut = whole.length > lineMaxLength ? `${whole.slice(0, lineMaxLength)}...` : whole
    const { dropped } = this.#now
    this.#now.dropped = 0
    return dropped === 0 ? cut : `${cut} (${dropped} rows before it were left out: at most ${this.#spec.perSecond} a second are written)`
  }

  /** What cannot be written is said in its place: a line of the log costs no row. */
  #wholeText(batch: Batch, at: number): string {
    const { text } = this.#spec
    try {
      if (text === undefined) return JSON.stringify(batch.rows[at]) ?? String(batch.rows[at])
      const line = text(batch.rows[at], batch.keys[at])
      refusePromise(line)
      return String(line)
    } catch (thrown) {
      return `(cannot be shown: ${messageOf(thrown)})`
    }
  }

  override commit(): void {
    if (this.#saved.seen === this.#now.seen) return
    this.#saved = { ...this.#now }
    const lines = this.#lines
    this.#lines = []
    for (const line of lines) this.#write(line)
  }

  /** No line comes any more that would say how many were left out. */
  override close(): void {
    const { dropped } = this.#saved
    this.#saved.dropped = 0
    if (dropped > 0) this.#write(`(${dropped} rows at the end were left out: at most ${this.#spec.perSecond} a second are written)`)
  }

  override rollback(): void {
    Object.assign(this.#now, this.#saved)
    this.#lines = []
  }
}
