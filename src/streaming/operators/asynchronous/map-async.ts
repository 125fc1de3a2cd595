/**
 * User code that answers later. The function is called in a unit, as all user code is; what it does after its first `await` runs when
 * what it waits for has come, which the shell brings about in turns that are watched.
 */
import { invalidArgument } from '../../../base/errors.ts'
import type { AsyncFunction } from '../../graph/stage-spec.ts'
import type { Unit } from '../unit.ts'
import { AsyncOperator, type AsyncOperatorOptions } from './async-operator.ts'
import type { PendingRow } from './pending-rows.ts'
import { RunningCall } from './running-call.ts'

export class MapAsyncOperator extends AsyncOperator {
  readonly #fn: AsyncFunction
  readonly #stageName: string
  #begun: { readonly row: PendingRow; readonly call: RunningCall; readonly promise: Promise<unknown> }[] = []
  readonly #running = new Map<PendingRow, RunningCall>()

  constructor(stage: number, unit: Unit, options: AsyncOperatorOptions, fn: AsyncFunction) {
    super(stage, unit, options)
    this.#fn = fn
    this.#stageName = options.saved.stage
  }

  protected begin(row: PendingRow): void {
    const call = new RunningCall((url, options, done) => this.outside.fetch(this.#stageName, url, options, done))
    const promise = this.#fn(row.row, call, row.key)
    if (!(promise instanceof Promise))
      throw invalidArgument('the function of mapAsync must return a promise; use map for one that does not')
    // Whatever becomes of the unit, a rejection is nobody's surprise.
    promise.catch(() => undefined)
    this.#begun.push({ row, call, promise })
  }

  protected send(): void {
    const begun = this.#begun
    this.#begun = []
    for (const { row, call, promise } of begun) {
      const { calls } = row
      this.#running.set(row, call)
      promise.then(
        value => this.#ended(row, call, calls, 'answered', value),
        (reason: unknown) => this.#ended(row, call, calls, 'failed', reason),
      )
    }
  }

  #ended(row: PendingRow, call: RunningCall, calls: number, state: 'answered' | 'failed', outcome: unknown): void {
    if (this.#running.get(row) === call) this.#running.delete(row)
    call.end()
    this.answer(row, calls, state, outcome)
  }

  protected forget(): void {
    for (const { call } of this.#begun) call.end()
    this.#begun = []
  }

  protected resultOf({ outcome }: PendingRow): unknown {
    return outcome
  }

  protected givenUp(row: PendingRow): void {
    this.#running.get(row)?.end()
    this.#running.delete(row)
  }
}
