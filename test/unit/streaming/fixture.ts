/** Sources in memory: split i holds the records of `splits[i]`, handed out in small batches. */
import type { Split } from '../../../src/streaming/assignment.ts'
import type { RejectedRecord, SourceConnector, SplitReader } from '../../../src/streaming/source.ts'
import type { Source } from '../../../src/entry/stream.ts'

export interface MemorySplit<Row> {
  readonly records: readonly Row[]
  readonly rejected?: readonly RejectedRecord[]
}

export function memorySource<Row>(name = 'memory'): Source<Row> {
  return { kind: 'source', connector: name, options: {}, decode: undefined }
}

/** Connectors by kind. Every third take of a reader says that there is nothing yet. */
export function memoryConnectors(
  sources: Readonly<Record<string, readonly MemorySplit<unknown>[]>>,
  batchSize = 7,
): (kind: string) => SourceConnector {
  return kind => ({
    kind,
    listSplits: async () => (sources[kind] ?? []).map((_, index): Split => ({ id: `${kind}-${index}`, descriptor: { index } })),
    open: (_options, split) => memoryReader(split, (sources[kind] ?? [])[Number(split.descriptor['index'])] ?? { records: [] }, batchSize),
  })
}

function memoryReader(split: Split, { records, rejected = [] }: MemorySplit<unknown>, batchSize: number): SplitReader {
  let at = 0
  let asked = 0
  let pending = rejected
  return {
    take() {
      asked += 1
      if (asked % 3 === 0) return undefined
      if (at >= records.length && pending.length === 0) return 'end'
      const rows = records.slice(at, at + batchSize)
      const batch = { origin: split.id, records: rows, lines: rows.map((_, index) => at + index + 2), rejected: pending }
      at += rows.length
      pending = []
      return batch
    },
    close() {
      at = records.length
    },
  }
}
