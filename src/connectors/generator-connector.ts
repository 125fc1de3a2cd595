/**
 * Source kind `generator`: numbers 0, 1, 2, ... dealt over the splits; the stage's own function makes an event of each.
 * Options: `count` (none: endless), `ratePerSecond` over all splits (none: as fast as they are taken), `splits`. What holds without them is said by the builder (streaming/graph/source-descriptors.ts).
 */
import { invalidArgument } from '../base/errors.ts'
import type { Split } from '../streaming/assignment.ts'
import { generatorSplitsMax } from '../streaming/graph/source-descriptors.ts'
import type { SourceBatch, SourceConnector, SourceOptions, SplitListener, SplitPosition, SplitReader } from '../streaming/source.ts'
import { Pace } from './pace.ts'

const batchMax = 1024

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
    return new NumberReader(`generator ${split.id}`, typeof position === 'number' ? position : index, all, listener, position !== undefined)
  }
}

class NumberReader implements SplitReader {
  readonly #origin: string
  readonly #options: GeneratorOptions
  readonly #pace: Pace
  #next: number
  // Used again by the next batch: nobody has this one any more when another is taken.
  #records: number[] = []
  #lines: number[] = []

  constructor(origin: string, next: number, options: GeneratorOptions, listener: SplitListener, isBehind: boolean) {
    this.#origin = origin
    this.#next = next
    this.#options = options
    this.#pace = new Pace(options.ratePerSecond / options.splits, listener, isBehind)
  }

  take(): SourceBatch | 'end' | undefined {
    const { count, splits } = this.#options
    if (this.#next >= count) return 'end'
    const wanted = Math.min(batchMax, Math.ceil((count - this.#next) / splits), this.#pace.due())
    if (wanted < 1) return undefined
    const position = this.#next
    if (this.#records.length !== wanted) {
      this.#records = Array.from({ length: wanted }, () => 0)
      this.#lines = Array.from({ length: wanted }, () => 0)
    }
    const records = this.#records
    const lines = this.#lines
    let next = this.#next
    for (let i = 0; i < wanted; i += 1) {
      records[i] = next
      lines[i] = next + 1
      next += splits
    }
    this.#next = next
    this.#pace.given(wanted)
    return { origin: this.#origin, records, lines, rejected: [], position }
  }

  close(): void {
    this.#pace.close()
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
