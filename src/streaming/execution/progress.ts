/** What an attempt shows of itself: a shard's part, and all parts together. */
import type { StageProgress } from '../assignment.ts'
import type { StageNode } from '../graph/stage-spec.ts'
import type { Operator } from '../operators/operator.ts'
import type { Counters } from '../operators/unit.ts'
import type { Mark } from '../time/watermarks.ts'

/** Where the time goes, in milliseconds; for benchmarks. */
export interface TaskProfile {
  nowMs(): number
  parsingMs: number
  operatorsMs: number
  exchangeMs: number
  sinkMs: number
}

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

/** The shards' figures of each stage as one: counts are added, the watermark is the least of those that have one. */
export function mergeStages(shards: readonly (readonly StageProgress[])[]): readonly StageProgress[] {
  const merged = new Map<string, StageProgress>()
  for (const stages of shards) {
    for (const stage of stages) {
      const other = merged.get(stage.name)
      merged.set(stage.name, other === undefined ? stage : addStages(other, stage))
    }
  }
  return [...merged.values()]
}

function addStages(a: StageProgress, b: StageProgress): StageProgress {
  return {
    name: a.name,
    kind: a.kind,
    tasks: a.tasks + b.tasks,
    rowsIn: a.rowsIn + b.rowsIn,
    rowsOut: a.rowsOut + b.rowsOut,
    deadLetters: a.deadLetters + b.deadLetters,
    late: a.late + b.late,
    watermark: a.watermark === null ? b.watermark : b.watermark === null ? a.watermark : Math.min(a.watermark, b.watermark),
    stateBytes: a.stateBytes + b.stateBytes,
  }
}
