/** How unevenly the rows of an attempt are spread over keys: a task's part of each exchange, and all parts together. */
import type { TaskSkew } from '../assignment.ts'
import type { StageNode } from '../graph/stage-spec.ts'
import { KeyByOperator } from '../operators/key-by.ts'
import type { Operator } from '../operators/operator.ts'

export interface StageSkew {
  readonly stage: string
  readonly feeds: readonly string[]
  /** Rows that the shares are of: one in about 64 of the last minutes. */
  readonly sampled: number
  /** The hottest first. Of the rows sampled, `share` is the part that the key surely has, `atMost` what it can have. */
  readonly keys: readonly { readonly key: unknown; readonly share: number; readonly atMost: number }[]
}

/** Keys told of each exchange. */
const keysMax = 10

export function taskSkew(nodes: readonly StageNode[], operators: readonly Operator[], wallTimeMs: number): readonly TaskSkew[] {
  return nodes.flatMap(({ index, name }) => {
    const operator = operators[index]
    if (!(operator instanceof KeyByOperator)) return []
    const feeds = nodes.filter(({ inputs }) => inputs.includes(index)).map(node => node.name)
    const sampled = operator.hotKeys.sampled(wallTimeMs)
    const keys = operator.hotKeys.top(keysMax).map(({ key, count, error }) => ({ key: shown(key), count, error }))
    return [{ stage: name, feeds, sampled, keys }]
  })
}

/** A key's rows all come to one task, so the tasks' counters stand side by side, and what bounds them holds as before. */
export function mergeSkew(tasks: readonly (readonly TaskSkew[])[]): readonly StageSkew[] {
  const merged = new Map<string, TaskSkew>()
  for (const one of tasks.flat()) {
    const { sampled = 0, keys = [] } = merged.get(one.stage) ?? {}
    merged.set(one.stage, { ...one, sampled: sampled + one.sampled, keys: [...keys, ...one.keys] })
  }
  return [...merged.values()].map(({ stage, feeds, sampled, keys }) => ({
    stage,
    feeds,
    sampled: Math.round(sampled),
    keys: [...keys]
      .sort((a, b) => b.count - b.error - (a.count - a.error))
      .slice(0, keysMax)
      .map(({ key, count, error }) => ({ key, share: rounded((count - error) / sampled), atMost: rounded(count / sampled) })),
  }))
}

const rounded = (share: number): number => Math.round(share * 10_000) / 10_000

function shown(key: unknown): unknown {
  if (key instanceof Uint8Array) return Array.from(key, byte => byte.toString(16).padStart(2, '0')).join('')
  return Array.isArray(key) ? key.map(shown) : key
}
