/**
 * Watermarks through the graph of one shard: behind each stage the mark of its rows.
 *
 * A stage has its inputs' least mark; behind an exchange it is the least of all senders. A stage with work that its mark makes
 * due keeps its old mark until that work is done; one whose rows wait for answers says itself how far it is. Dead letters may come from any stage as long as one has not ended.
 */
import type { BarrierFlow } from '../checkpoint/barrier-flow.ts'
import type { StageNode } from '../graph/stage-spec.ts'
import { DeadLettersOperator } from '../operators/dead-letters.ts'
import { KeyByOperator } from '../operators/key-by.ts'
import { isLagging, type Lagging, type Operator } from '../operators/operator.ts'
import { endOfInput, type Mark, noWatermark, WatermarkMerge } from '../time/watermarks.ts'

export type Holds = (stage: number, watermark: number) => boolean

export class Marks {
  /** Behind each stage. */
  readonly behind: readonly Mark[]
  readonly #nodes: readonly StageNode[]
  readonly #operators: readonly Operator[]
  /** Before each stage. */
  readonly #received: Float64Array
  /** Stages at which a barrier waits. */
  readonly #frozen = new Map<number, number>()
  /** By stage, for sources. */
  readonly #sources: ReadonlyMap<number, Mark>
  /** By stage, where it has several inputs. */
  readonly #merges: readonly (WatermarkMerge | undefined)[]

  constructor(nodes: readonly StageNode[], operators: readonly Operator[], sources: ReadonlyMap<number, Mark>) {
    this.#nodes = nodes
    this.#operators = operators
    this.#sources = sources
    this.#received = new Float64Array(nodes.length).fill(noWatermark)
    this.behind = nodes.map(() => ({ watermark: noWatermark, idle: false }))
    this.#merges = nodes.map(({ inputs }) => (inputs.length > 1 ? new WatermarkMerge(inputs.length) : undefined))
  }

  /**
   * Carries marks on, and the barrier that is under way. `holds`, asked for each stage but sources and exchanges with the watermark
   * before it: work that is due holds it there. `passes` is told of each stage that the barrier passes, with the watermark that the
   * stage has received.
   */
  propagate(holds: Holds, flow: BarrierFlow, passes: (stage: number, watermark: number) => void): void {
    for (const node of this.#nodes) {
      const { index, spec } = node
      if (!flow.isUnderWay || flow.hasPassed(index)) {
        this.#step(node, holds)
      } else if (spec.kind === 'source' || flow.hasReached(index)) {
        // What the watermark that came before the barrier has made due is done before it passes.
        const isHeld = this.#isFrozen(index, flow) ? this.#stepFrozen(index, holds) : this.#step(node, holds)
        if (!isHeld && flow.mayPass(index)) {
          this.#frozen.delete(index)
          // An exchange: what other shards sent before the barrier.
          if (this.#operators[index] instanceof KeyByOperator) this.#stepBehindEdge(index)
          passes(index, this.#received[index] as number)
          flow.pass(index)
        } else {
          this.#frozen.set(index, flow.n)
        }
      } else if (flow.touches(index)) {
        this.#frozen.set(index, flow.n)
        this.#stepFrozen(index, holds)
      } else {
        this.#step(node, holds)
      }
    }
  }

  /** The barrier has reached the stage, and waits there. */
  #isFrozen(stage: number, flow: BarrierFlow): boolean {
    return this.#frozen.get(stage) === flow.n
  }

  /** True: work that is due holds the mark. */
  #step({ index, inputs, spec }: StageNode, holds: Holds): boolean {
    const mark = this.behind[index] as Mark
    const operator = this.#operators[index]
    if (spec.kind === 'source') {
      copyMark(this.#sources.get(index) as Mark, mark)
      this.#received[index] = mark.watermark
    } else if (operator instanceof KeyByOperator || operator instanceof DeadLettersOperator) {
      const input = operator instanceof DeadLettersOperator ? this.#markOfAllBut(index) : this.#before(index, inputs)
      operator.edge.setSent(input.watermark, input.idle)
      this.#stepBehindEdge(index)
    } else {
      const input = this.#before(index, inputs)
      this.#received[index] = input.watermark
      const isHeld = holds(index, input.watermark)
      if (operator !== undefined && isLagging(operator)) return copyLagging(operator, input.idle, mark)
      if (isHeld) {
        mark.idle = false
        return true
      }
      copyMark(input, mark)
    }
    return false
  }

  #stepBehindEdge(stage: number): void {
    const operator = this.#operators[stage]
    if (!(operator instanceof KeyByOperator || operator instanceof DeadLettersOperator)) return
    copyMark(operator.edge.received, this.behind[stage] as Mark)
    this.#received[stage] = operator.edge.received.watermark
  }

  /** Nothing new comes to the stage, but what is due there goes on. */
  #stepFrozen(stage: number, holds: Holds): boolean {
    const operator = this.#operators[stage]
    if (operator instanceof KeyByOperator || operator instanceof DeadLettersOperator) return false
    const mark = this.behind[stage] as Mark
    const watermark = this.#received[stage] as number
    const isHeld = holds(stage, watermark)
    if (operator !== undefined && isLagging(operator)) return copyLagging(operator, mark.idle, mark)
    if (isHeld) return true
    mark.watermark = Math.max(mark.watermark, watermark)
    return false
  }

  /** A source's mark has changed since it was last carried on. */
  get haveNews(): boolean {
    for (const [stage, mark] of this.#sources) {
      const known = this.behind[stage] as Mark
      if (known.watermark !== mark.watermark || known.idle !== mark.idle) return true
    }
    return false
  }

  get haveEnded(): boolean {
    return this.behind.every(mark => mark.watermark === endOfInput)
  }

  #before(stage: number, inputs: readonly number[]): Mark {
    const merge = this.#merges[stage]
    if (merge === undefined) return this.behind[inputs[0] as number] as Mark
    for (let i = 0; i < inputs.length; i += 1) {
      const input = this.behind[inputs[i] as number] as Mark
      merge.set(i, input.watermark, input.idle)
    }
    return merge
  }

  #markOfAllBut(except: number): Mark {
    const ended = this.behind.every((mark, stage) => stage === except || mark.watermark === endOfInput)
    return { watermark: ended ? endOfInput : noWatermark, idle: false }
  }
}

/** What waits in the stage holds its mark, and keeps no barrier back. */
function copyLagging(operator: Lagging, isInputIdle: boolean, to: Mark): false {
  to.watermark = Math.max(to.watermark, operator.watermarkBehind)
  to.idle = isInputIdle && !operator.isWaiting
  return false
}

function copyMark(from: Mark, to: Mark): void {
  to.watermark = from.watermark
  to.idle = from.idle
}
