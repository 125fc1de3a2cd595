/** One of the two inputs of an operator that joins. It is wired in front of the operator, and counts for the same stage. */
import type { Batch } from './batch.ts'
import { Operator } from './operator.ts'
import type { Unit } from './unit.ts'

/** Which rows without a partner are given: none, those of the left input, those of both. */
export type JoinType = 'inner' | 'left' | 'outer'

export interface TakesInputs {
  take(batch: Batch, input: 0 | 1): void
}

export class JoinPort extends Operator {
  readonly #join: TakesInputs
  readonly #input: 0 | 1

  constructor(unit: Unit, join: Operator & TakesInputs, input: 0 | 1) {
    super(join.stage, unit)
    // It hands nothing on by itself; whoever follows the graph finds the operator behind it.
    this.consumers.push(join)
    this.#join = join
    this.#input = input
  }

  protected process(batch: Batch): void {
    this.#join.take(batch, this.#input)
  }
}
