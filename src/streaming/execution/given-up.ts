/**
 * The figures of a row, window or timer that was cut off. Its unit was undone with all that it counted, so it is counted here, as
 * one row: taken by each stage from where the unit began to the one that was cut off, handed on by those before it. Branches that
 * it had gone through before are undone, and not counted.
 */
import { readsSideOutput, type StageNode } from '../graph/stage-spec.ts'
import type { Counters } from '../operators/unit.ts'
import type { Work } from './work.ts'

export function countGivenUp(nodes: readonly StageNode[], counters: Counters, { head }: Work, stage: number): void {
  const { rowsIn, rowsOut } = counters
  const way = wayTo(nodes, head.operator.stage, stage, new Set())
  for (const [at, passed] of way.entries()) {
    const isHead = at === 0
    // What comes from another shard was taken and handed on there; what is due comes from no row.
    if (!isHead || head.kind === 'source') rowsIn[passed] = (rowsIn[passed] as number) + 1
    const next = way[at + 1]
    if (next === undefined || (isHead && head.kind === 'edge') || isAside(nodes[next])) continue
    rowsOut[passed] = (rowsOut[passed] as number) + 1
  }
}

const isAside = (node: StageNode | undefined): boolean => node !== undefined && readsSideOutput(node.spec.kind)

/** The stages from one to another, both included; none where no way leads. */
function wayTo(nodes: readonly StageNode[], from: number, to: number, seen: Set<number>): readonly number[] {
  if (from === to) return [to]
  for (const input of nodes[to]?.inputs ?? []) {
    if (input < from || seen.has(input)) continue
    seen.add(input)
    const way = wayTo(nodes, from, input, seen)
    if (way.length > 0) return [...way, to]
  }
  return []
}
