/**
 * Watermarks through the graph of one shard: behind each stage the mark of its rows.
 *
 * A stage has its inputs' least mark; behind an exchange it is the least of all senders. A stage with work that its mark makes
 * due keeps its old mark until that work is done. Dead letters may come from any stage as long as one has not ended.
 */
import type { StageNode } from '../graph/stage-spec.ts'
import { DeadLettersOperator } from '../operators/dead-letters.ts'
import { KeyByOperator } from '../operators/key-by.ts'
import type { Operator } from '../operators/operator.ts'
import { endOfInput, type Mark, noWatermark, WatermarkMerge } from '../time/watermarks.ts'

export class Marks {
  /** Behind each stage. */
  readonly behind: readonly Mark[]
  readonly #nodes: readonly StageNode[]
  readonly #operators: readonly Operator[]
  /** By stage, for sources. */
  readonly #sources: ReadonlyMap<number, Mark>
  /** By stage, where it has several inputs. */
  readonly #merges: readonly (WatermarkMerge | undefined)[]

  constructor(nodes: readonly StageNode[], operators: readonly Operator[], sources: ReadonlyMap<number, Mark>) {
    this.#nodes = nodes
    this.#operators = operators
    this.#sources = sources
    this.behind = nodes.map(() => ({ watermark: noWatermark, idle: false }))
    this.#merges = nodes.map(({ inputs }) => (inputs.length > 1 ? new WatermarkMerge(inputs.length) : undefined))
  }

  /** Carries marks on. `holds`, asked for each stage but sources and exchanges with the watermark before it: work that is due holds it there. */
  propagate(holds: (stage: number, watermark: number) => boolean): void {
    for (const { index, inputs, spec } of this.#nodes) {
      const mark = this.behind[index] as Mark
      const operator = this.#operators[index]
      if (spec.kind === 'source') {
        copyMark(this.#sources.get(index) as Mark, mark)
      } else if (operator instanceof KeyByOperator || operator instanceof DeadLettersOperator) {
        const input = operator instanceof DeadLettersOperator ? this.#markOfAllBut(index) : this.#before(index, inputs)
        operator.edge.setSent(input.watermark, input.idle)
        copyMark(operator.edge.received, mark)
      } else {
        const input = this.#before(index, inputs)
        if (holds(index, input.watermark)) mark.idle = false
        else copyMark(input, mark)
      }
    }
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

function copyMark(from: Mark, to: Mark): void {
  to.watermark = from.watermark
  to.idle = from.idle
}
