/** The operators with state per key, from what the builder says of them. */
import { unreachable } from '../../base/assert.ts'
import type { KeyCodec } from '../../keys/key-codec.ts'
import type { StageSpec } from '../graph/stage-spec.ts'
import { stepOf } from '../graph/window-spec.ts'
import { AggregateOperator } from '../operators/aggregate.ts'
import { DedupeOperator } from '../operators/dedupe.ts'
import { JoinIntervalOperator } from '../operators/join-interval.ts'
import type { Operator } from '../operators/operator.ts'
import { ProcessOperator } from '../operators/process.ts'
import { ReduceOperator } from '../operators/reduce.ts'
import { TopNOperator } from '../operators/top-n.ts'
import type { Unit } from '../operators/unit.ts'
import { CountWindowOperator } from '../operators/window/count-window.ts'
import { JoinWindowOperator } from '../operators/window/join-window.ts'
import { PaneWindowOperator } from '../operators/window/pane-window.ts'
import { SessionWindowOperator } from '../operators/window/session-window.ts'
import { TopNWindowOperator } from '../operators/window/top-n-window.ts'
import type { StageState } from '../state/stage-state.ts'

type StatefulKind = 'aggregate' | 'window' | 'reduce' | 'dedupe' | 'topN' | 'joinWindow' | 'joinInterval' | 'process'

export type StatefulSpec = Extract<StageSpec, { kind: StatefulKind }>

export function statefulOperator(spec: StatefulSpec, index: number, unit: Unit, state: StageState, keyCodec: KeyCodec): Operator {
  switch (spec.kind) {
    case 'aggregate':
      return new AggregateOperator(index, unit, spec.aggregates, keyCodec, state)
    case 'window': {
      const { window, aggregates, latenessMs, earlyMs } = spec
      const common = { aggregates, latenessMs, earlyMs, keyCodec }
      if (window.kind === 'count') {
        const { size, every, ttlMs } = window
        return new CountWindowOperator(index, unit, state, { size, every, ttlMs, aggregates, keyCodec })
      }
      return window.kind === 'session'
        ? new SessionWindowOperator(index, unit, state, { gapMs: window.gapMs, ...common })
        : new PaneWindowOperator(index, unit, state, { sizeMs: window.sizeMs, everyMs: stepOf(window), ...common })
    }
    case 'reduce':
      return new ReduceOperator(index, unit, state, { reduce: spec.reduce, ttlMs: spec.ttlMs, keyCodec })
    case 'dedupe':
      return new DedupeOperator(index, unit, state, { of: spec.of, ttlMs: spec.ttlMs, keyCodec })
    case 'topN': {
      const { n, compare, window, ttlMs } = spec
      if (window === undefined) return new TopNOperator(index, unit, state, { n, compare, ttlMs, keyCodec })
      return new TopNWindowOperator(index, unit, state, { sizeMs: window.sizeMs, everyMs: stepOf(window), n, compare, keyCodec })
    }
    case 'joinWindow': {
      const { window, type, join } = spec
      return new JoinWindowOperator(index, unit, state, { sizeMs: window.sizeMs, everyMs: stepOf(window), type, join, keyCodec })
    }
    case 'joinInterval': {
      const { beforeMs, afterMs, type, latenessMs, join } = spec
      return new JoinIntervalOperator(index, unit, state, { beforeMs, afterMs, type, latenessMs, join, keyCodec })
    }
    case 'process':
      return new ProcessOperator(index, unit, spec.process, spec.emits, keyCodec, state, spec.ttlMs)
    default:
      return unreachable(spec)
  }
}
