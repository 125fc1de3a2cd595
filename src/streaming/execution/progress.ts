/** What a shard's part of an attempt shows of itself. */
import type { StageProgress } from '../assignment.ts'
import type { StageNode } from '../graph/stage-spec.ts'
import type { Operator } from '../operators/operator.ts'
import type { Counters } from '../operators/unit.ts'
import type { Mark } from '../time/watermarks.ts'

export function stageProgress(
  nodes: readonly StageNode[],
  operators: readonly Operator[],
  counters: Counters,
  marks: readonly Mark[],
  tasksOf: (stage: number) => number,
): StageProgress[] {
  return nodes.map(({ index, name, spec }) => {
    const watermark = marks[index]?.watermark ?? Number.NEGATIVE_INFINITY
    return {
      name,
      kind: spec.kind,
      tasks: tasksOf(index),
      rowsIn: counters.rowsIn[index] ?? 0,
      rowsOut: counters.rowsOut[index] ?? 0,
      deadLetters: counters.deadLetters[index] ?? 0,
      late: counters.late[index] ?? 0,
      watermark: Number.isFinite(watermark) ? watermark : null,
      stateBytes: operators[index]?.stateBytes ?? 0,
    }
  })
}
