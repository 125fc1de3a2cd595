/** What a barrier record says, per stage with state: the watermark that it had received, and the numbers that its tables keep. */
import type { RowCodec } from '../exchange/frame.ts'
import type { StateStore } from '../ports.ts'
import type { StageMark } from '../state/stage-state.ts'

export type BarrierMarks = ReadonlyMap<string, StageMark>

export const encodeMarks = (marks: BarrierMarks, codec: RowCodec): Uint8Array =>
  codec.encode([...marks].map(([stage, { watermark, kept }]) => [stage, watermark, kept]))

export function decodeMarks(bytes: Uint8Array, codec: RowCodec): BarrierMarks {
  const listed = codec.decode(bytes) as readonly [string, number, Readonly<Record<string, number>>][]
  return new Map(listed.map(([stage, watermark, kept]) => [stage, { watermark, kept }]))
}

/** Per stage and partition: what the barrier records at the restore point say. */
export function restoredMarks(
  store: StateStore | undefined,
  partitions: readonly number[],
  codec: RowCodec,
): ReadonlyMap<string, ReadonlyMap<number, StageMark>> {
  const found = new Map<string, Map<number, StageMark>>()
  if (store === undefined || store.isFresh) return found
  for (const partition of partitions) {
    const bytes = store.restored(partition)
    if (bytes === undefined) continue
    for (const [stage, mark] of decodeMarks(bytes, codec)) {
      let marks = found.get(stage)
      if (marks === undefined) {
        marks = new Map()
        found.set(stage, marks)
      }
      marks.set(partition, mark)
    }
  }
  return found
}
