/**
 * The state of a job's stage as readers see it: what the leader says of the stage, and how its records (streaming/state/key-table.ts) become
 * what the author of the stage would call the state of a key.
 */
import { unpackMaps } from '../base/pack-maps.ts'
import { decodeValue } from './value-codec.ts'

/** Kinds of stages whose state can be read by key; `session` is a window of that kind. `collect` has rows. */
export type StateKind = 'process' | 'aggregate' | 'reduce' | 'topN' | 'session' | 'collect'

/** The JSON of JobStateDescription. */
export interface StateDescription {
  readonly kind: StateKind
  /** Of the stage's keys; of rows collected neither. */
  readonly keySpace?: string
  readonly keyCodec?: string
  /** Name -> operation. */
  readonly aggregates?: Readonly<Record<string, string>>
  readonly gapMs?: number
  /** The last attempt that the job's record knows. */
  readonly attempt: number
  /** Without, there is only what the stage works with now. */
  readonly hasCheckpoints: boolean
  /** Something works with the state, or will without anybody's doing. */
  readonly isActive: boolean
  /** See `settled` and `last_attempt` of ReadJobStateRequest. */
  readonly settled?: { readonly attempt: number; readonly n: number; readonly lastAttempt: number }
}

type Slots = readonly unknown[]
type Session = readonly [first: number, last: number, isGiven: boolean, earlyAt: number | null, slots: Slots]

/** The value in a decoded record of a stage with keys. */
export function stateValueOf(description: StateDescription, record: unknown): unknown {
  const [plain] = record as readonly unknown[]
  switch (description.kind) {
    case 'process':
      return unpackMaps(plain)
    case 'aggregate':
      return aggregated(description, plain as Slots)
    case 'reduce':
      return (plain as readonly unknown[])[0]
    case 'topN':
      // Times and rows in turn.
      return ((plain as readonly unknown[])[0] as readonly unknown[]).filter((_, i) => i % 2 === 1)
    case 'session':
      return (plain as readonly Session[]).map(([first, last, , , slots]) => ({
        windowStart: first,
        windowEnd: last + (description.gapMs ?? 0),
        ...aggregated(description, slots),
      }))
    case 'collect':
      return plain
  }
}

/** The rows in a decoded record of a collecting stage. */
export const rowsOf = (record: unknown): readonly unknown[] => (record as readonly Buffer[]).map(row => decodeValue(row))

/** Slots as operators/reducer.ts writes them: one per aggregate, a mean has its sum and its count. */
function aggregated({ aggregates = {} }: StateDescription, slots: Slots): Record<string, unknown> {
  const values: Record<string, unknown> = {}
  let at = 0
  for (const [name, operation] of Object.entries(aggregates)) {
    const slot = slots[at]
    at += 1
    if (operation === 'countDistinct') values[name] = (slot as readonly unknown[]).length
    else if (operation === 'avg') {
      const rows = slots[at] as number
      at += 1
      values[name] = rows === 0 ? undefined : (slot as number) / rows
    } else values[name] = slot
  }
  return values
}
