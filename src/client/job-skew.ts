/** How unevenly the rows of a running job are spread over keys. */
import type { AdminCalls } from './admin-calls.ts'
import type { CallOptions } from './call-options.ts'

export interface StageSkew {
  /** The stage that chose the key: a `keyBy` or `rekey`. */
  readonly stage: string
  /** The stages that take its rows. */
  readonly feeds: readonly string[]
  /** Rows that the shares are of: one in about 64, where the count of a minute ago is worth half. */
  readonly sampled: number
  /**
   * At most 10, the hottest first; bytes as hex, tuples as lists. `share` is the part of the rows sampled that the key surely has, from 0 to 1, `atMost`
   * what it can have: they differ by 1/32 at most.
   */
  readonly keys: readonly { readonly key: unknown; readonly share: number; readonly atMost: number }[]
}

export async function skewOf(calls: AdminCalls, name: string, options: CallOptions | undefined): Promise<readonly StageSkew[]> {
  const { json } = await calls.repeatable((admin, unary) => admin.getJobSkew({ name }, unary), options)
  return JSON.parse(json) as readonly StageSkew[]
}
