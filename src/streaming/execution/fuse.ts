/** Which stages of a plan become chains: runs of map, filter and enrich with one consumer each, behind a source or anything else. */
import { FusedChain, type ChainStep } from '../operators/fused-chain.ts'
import { KeyByOperator } from '../operators/key-by.ts'
import type { Operator } from '../operators/operator.ts'
import { SourceOperator } from '../operators/source.ts'
import { ChainedOperator } from '../operators/stateless.ts'
import type { Unit } from '../operators/unit.ts'

/** To be called when the operators are wired, before any row. */
export function fuse(unit: Unit, operators: readonly Operator[]): void {
  const within = new Set<Operator>()
  // Stages come behind their inputs.
  for (const head of operators) {
    if (within.has(head) || !(head instanceof SourceOperator || head instanceof ChainedOperator)) continue
    const steps: ChainStep[] = head instanceof ChainedOperator ? [head.step] : []
    let last: Operator = head
    let next = onlyConsumer(last)
    while (next instanceof ChainedOperator) {
      within.add(next)
      steps.push(next.step)
      last = next
      next = onlyConsumer(last)
    }
    const exchange = next instanceof KeyByOperator ? next : undefined
    const source = head instanceof SourceOperator ? { stage: head.stage, decode: head.decode, timeOf: head.eventTime?.at } : undefined
    head.chain = new FusedChain(unit, { source, steps, exchange, consumers: last.consumers })
  }
}

function onlyConsumer({ consumers, sideConsumers }: Operator): Operator | undefined {
  return consumers.length === 1 && sideConsumers.length === 0 ? consumers[0] : undefined
}
