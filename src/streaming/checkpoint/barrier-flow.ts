/**
 * A barrier on its way through the stages of one shard.
 *
 * Owns: which stages it has passed. Does not: write state (task-checkpoint.ts), send frames (edges).
 *
 *   begin(n): it is in front of all sources -> reached a stage when it has passed all inputs -> passed -> ... -> passed all
 *
 * 1. A source passes at once; an exchange when every shard has sent it; others when reached.
 * 2. Between the first input that it has passed and the stage itself nothing moves: watermarks are frozen, and a head (source, exchange,
 *    due work) behind which the barrier lies is not run while it could give rows to a stage in front of it. At-least-once leaves that
 *    out.
 * 3. Dead letters are entries by key that a replay writes again: their exchange carries barriers and never makes anything wait.
 */
import type { StageNode } from '../graph/stage-spec.ts'
import { DeadLettersOperator } from '../operators/dead-letters.ts'
import { KeyByOperator } from '../operators/key-by.ts'
import type { Operator } from '../operators/operator.ts'

export type Guarantee = 'exactly-once' | 'at-least-once' | 'none'

export class BarrierFlow {
  readonly #nodes: readonly StageNode[]
  readonly #operators: readonly Operator[]
  /** By stage: the last barrier passed, and the last one that went out of its exchange. */
  readonly #passed: Int32Array
  readonly #sent: Int32Array
  /** By stage: those that rows given to it can reach in the same unit, and that wait for the barrier. */
  readonly #behind: readonly (readonly number[])[]
  #n = 0
  #left = 0

  constructor(nodes: readonly StageNode[], operators: readonly Operator[], guarantee: Guarantee) {
    this.#nodes = nodes
    this.#operators = operators
    this.#passed = new Int32Array(nodes.length)
    this.#sent = new Int32Array(nodes.length)
    const aligns = operators.map(operator => guarantee === 'exactly-once' && !(operator instanceof DeadLettersOperator))
    this.#behind = operators.map(operator => [...stagesBehind(operator)].filter(stage => aligns[stage]))
  }

  /** The barrier under way, or the last one. */
  get n(): number {
    return this.#n
  }

  /** Some stage has not passed it yet. */
  get isUnderWay(): boolean {
    return this.#left > 0
  }

  begin(n: number): void {
    this.#n = n
    this.#left = this.#nodes.length
    // An earlier one that was given up, here or before it came here: what others sent behind it need not wait for it.
    for (const operator of this.#operators) {
      if (operator instanceof KeyByOperator || operator instanceof DeadLettersOperator) operator.edge.pass(n - 1)
    }
  }

  hasPassed(stage: number): boolean {
    return this.#passed[stage] === this.#n
  }

  /** The first stage that it has not passed although it has reached it: what a slow checkpoint waits for. */
  get waitsAt(): number | undefined {
    if (!this.isUnderWay) return undefined
    return this.#nodes.find(({ index }) => !this.hasPassed(index) && this.hasReached(index))?.index
  }

  /** It has passed one of the stage's inputs: what comes from there lies behind it. */
  touches(stage: number): boolean {
    const { inputs } = this.#nodes[stage] as StageNode
    for (let i = 0; i < inputs.length; i += 1) if (this.hasPassed(inputs[i] as number)) return true
    return false
  }

  /** It has passed all of the stage's inputs on this shard. */
  hasReached(stage: number): boolean {
    if (this.#operators[stage] instanceof DeadLettersOperator)
      return this.#nodes.every(({ index }) => index === stage || this.hasPassed(index))
    const { inputs } = this.#nodes[stage] as StageNode
    for (let i = 0; i < inputs.length; i += 1) if (!this.hasPassed(inputs[i] as number)) return false
    return true
  }

  /** Reached by it: true when it may pass; an exchange sends it out first. */
  mayPass(stage: number): boolean {
    const operator = this.#operators[stage] as Operator
    if (operator instanceof KeyByOperator || operator instanceof DeadLettersOperator) {
      if (this.#sent[stage] !== this.#n) {
        this.#sent[stage] = this.#n
        operator.edge.sendBarrier(this.#n)
      }
      return operator.edge.haveAllSent(this.#n)
    }
    return true
  }

  pass(stage: number): void {
    this.#passed[stage] = this.#n
    this.#left -= 1
    const operator = this.#operators[stage]
    if (operator instanceof KeyByOperator || operator instanceof DeadLettersOperator) operator.edge.pass(this.#n)
  }

  /** Work that begins at this stage lies behind the barrier and could reach a stage in front of it. */
  isBlocked(stage: number): boolean {
    if (this.#left === 0 || !this.hasPassed(stage)) return false
    for (const behind of this.#behind[stage] as readonly number[]) if (!this.hasPassed(behind)) return true
    return false
  }
}

function stagesBehind(operator: Operator, found = new Set<number>()): Set<number> {
  for (const consumer of [...operator.consumers, ...operator.sideConsumers]) {
    if (found.has(consumer.stage)) continue
    found.add(consumer.stage)
    stagesBehind(consumer, found)
  }
  return found
}
