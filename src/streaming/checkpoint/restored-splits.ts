/** The list of splits as the last checkpoint has it: each shard tells those at home in its partitions, the master deals them out again. */
import type { Split } from '../assignment.ts'
import type { RowCodec } from '../exchange/frame.ts'
import type { StateStore } from '../ports.ts'
import { afterKey, tableStart } from '../state/record-key.ts'
import type { SplitRecord } from './split-state.ts'

const atOnce = 1024

/** By source stage: the splits at home in these partitions, each with how far it was read. */
export function restoredSplits(
  store: StateStore,
  partitions: readonly number[],
  sourceStages: readonly string[],
  codec: RowCodec,
): Readonly<Record<string, readonly Split[]>> {
  const found: Record<string, Split[]> = {}
  for (const stage of sourceStages) {
    const splits: Split[] = []
    for (const partition of partitions) {
      let from = tableStart(0)
      for (;;) {
        const records = store.scan(partition, stage, from, tableStart(1), atOnce)
        for (const { value } of records) {
          const { split, state } = codec.decode(value) as SplitRecord
          splits.push({ ...split, restored: state })
        }
        const last = records.at(-1)
        if (last === undefined || records.length < atOnce) break
        from = afterKey(last.key)
      }
    }
    found[stage] = splits
  }
  return found
}
