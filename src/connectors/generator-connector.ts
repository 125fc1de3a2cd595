/**
 * Source kind `generator`: numbers 0, 1, 2, ... dealt over the splits; the stage's own function makes an event of each.
 * Options: `count` (none: endless), `ratePerSecond` over all splits (none: as fast as they are taken), `splits`. What holds without them is said by the builder (streaming/graph/source-descriptors.ts).
 *
 * A split that is behind its rate catches up by one second's worth at most: a job that was slow does not get a flood.
 */
import { invalidArgument } from '../base/errors.ts'
import type { Split } from '../streaming/assignment.ts'
import { generatorSplitsMax } from '../streaming/graph/source-descriptors.ts'
import type { SourceBatch, SourceConnector, SourceOptions, SplitListener, SplitPosition, SplitReader } from '../streaming/source.ts'

const batchMax = 512
/** How often a paced split looks whether numbers are due. */
const tickMs = 10

interface GeneratorOptions {
  readonly count: number
  readonly ratePerSecond: number
  readonly splits: number
}

export class GeneratorConnector implements SourceConnector {
  readonly kind = 'generator'

  async listSplits(options: SourceOptions): Promise<readonly Split[]> {
    const { splits } = read(options)
    return Array.from({ length: splits }, (_, index) => ({ id: `${index + 1} of ${splits}`, descriptor: { index } }))
  }

  /** A position is the next number of the split. */
  open(options: SourceOptions, split: Split, listener: SplitListener, position?: SplitPosition): SplitReader {
    const index = split.descriptor['index']
    const all = read(options)
    if (typeof index !== 'number' || index >= all.splits)
      throw invalidArgument(`Cannot open split "${split.id}": it names no slice of the generator`)
    return new NumberReader(`generator ${split.id}`, typeof position === 'number' ? position : index, all, listener)
  }
}

class NumberReader implements SplitReader {
  readonly #origin: string
  readonly #options: GeneratorOptions
  readonly #listener: SplitListener
  #next: number
  // Pacing: how many of this split's numbers have been let through by the clock, and when it was last looked at.
  #allowed = 0
  #lookedAtMs = performance.now()
  #timer: NodeJS.Timeout | undefined

  constructor(origin: string, next: number, options: GeneratorOptions, listener: SplitListener) {
    this.#origin = origin
    this.#next = next
    this.#options = options
    this.#listener = listener
    if (options.ratePerSecond === Number.POSITIVE_INFINITY) this.#allowed = Number.POSITIVE_INFINITY
  }

  take(): SourceBatch | 'end' | undefined {
    const { count, splits } = this.#options
    if (this.#next >= count) return 'end'
    const wanted = Math.min(batchMax, Math.ceil((count - this.#next) / splits), this.#due())
    if (wanted < 1) {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined
        this.#listener.onReady()
      }, tickMs)
      return undefined
    }
    const position = this.#next
    const records: number[] = []
    const lines: number[] = []
    for (let i = 0; i < wanted; i += 1) {
      records.push(this.#next)
      lines.push(this.#next + 1)
      this.#next += splits
    }
    this.#allowed -= wanted
    return { origin: this.#origin, records, lines, rejected: [], position }
  }

  close(): void {
    clearTimeout(this.#timer)
  }

  #due(): number {
    const perSecond = this.#options.ratePerSecond / this.#options.splits
    if (perSecond === Number.POSITIVE_INFINITY) return this.#allowed
    const nowMs = performance.now()
    this.#allowed = Math.min(this.#allowed + ((nowMs - this.#lookedAtMs) * perSecond) / 1000, Math.max(1, perSecond))
    this.#lookedAtMs = nowMs
    return Math.floor(this.#allowed)
  }
}

function read(options: SourceOptions): GeneratorOptions {
  const { count = Number.POSITIVE_INFINITY, ratePerSecond = Number.POSITIVE_INFINITY, splits, ...others } = options
  const [unknown] = Object.keys(others)
  if (unknown !== undefined)
    throw invalidArgument(`Cannot generate: unknown option "${unknown}"; there are count, ratePerSecond and splits`)
  if (typeof count !== 'number' || !(count >= 0) || !(Number.isSafeInteger(count) || count === Number.POSITIVE_INFINITY))
    throw invalidArgument(`Cannot generate: count is ${String(count)}, a whole number from 0 is wanted`)
  if (typeof ratePerSecond !== 'number' || !(ratePerSecond > 0))
    throw invalidArgument(`Cannot generate: ratePerSecond is ${String(ratePerSecond)}, a number above 0 is wanted`)
  if (typeof splits !== 'number' || !Number.isInteger(splits) || splits < 1 || splits > generatorSplitsMax)
    throw invalidArgument(`Cannot generate: splits is ${String(splits)}, a whole number from 1 to ${generatorSplitsMax} is wanted`)
  return { count, ratePerSecond, splits }
}
