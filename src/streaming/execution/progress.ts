/** What an attempt shows of itself: a shard's part, and all parts together. */
import type { StageCounts, StageProgress } from '../assignment.ts'
import type { StageNode } from '../graph/stage-spec.ts'
import type { Operator } from '../operators/operator.ts'
import type { Counters } from '../operators/unit.ts'
import type { Mark } from '../time/watermarks.ts'
import type { StageTimes } from './stage-times.ts'

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
  times: StageTimes,
  nowMs: number,
): StageProgress[] {
  return nodes.map(({ index, name, spec }) => {
    const watermark = marks[index]?.watermark ?? Number.NEGATIVE_INFINITY
    return {
      name,
      kind: spec.kind,
      tasks: tasksOf(index),
      ...countsOf(counters, index),
      watermark: Number.isFinite(watermark) ? watermark : null,
      stateBytes: operators[index]?.stateBytes ?? 0,
      ...times.of(index, nowMs),
    }
  })
}

export const countsOf = (counters: Counters, stage: number): Omit<StageCounts, 'name'> => ({
  rowsIn: counters.rowsIn[stage] ?? 0,
  rowsOut: counters.rowsOut[stage] ?? 0,
  deadLetters: counters.deadLetters[stage] ?? 0,
  late: counters.late[stage] ?? 0,
})

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
    ...a,
    ...addCounts(a, b),
    tasks: a.tasks + b.tasks,
    watermark: a.watermark === null ? b.watermark : b.watermark === null ? a.watermark : Math.min(a.watermark, b.watermark),
    stateBytes: a.stateBytes + b.stateBytes,
    busyMs: a.busyMs + b.busyMs,
    blockedMs: a.blockedMs + b.blockedMs,
    batches: a.batches.map((count, i) => count + (b.batches[i] ?? 0)),
  }
}

function addCounts(a: StageCounts, b: StageCounts): StageCounts {
  return {
    name: a.name,
    rowsIn: a.rowsIn + b.rowsIn,
    rowsOut: a.rowsOut + b.rowsOut,
    deadLetters: a.deadLetters + b.deadLetters,
    late: a.late + b.late,
  }
}

/** `stages` with what was counted before, by name. */
export function withCounts<T extends StageCounts>(stages: readonly T[], before: readonly StageCounts[]): readonly T[] {
  const counts = new Map(before.map(one => [one.name, one]))
  return stages.map(stage => {
    const more = counts.get(stage.name)
    return more === undefined ? stage : { ...stage, ...addCounts(stage, more) }
  })
}

/** The shards' counts of each stage as one. */
export const mergeCounts = (shards: readonly (readonly StageCounts[])[]): readonly StageCounts[] =>
  shards.reduce<readonly StageCounts[]>((sum, counts) => (sum.length === 0 ? counts : withCounts(sum, counts)), [])
