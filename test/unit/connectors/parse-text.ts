import { CsvParser } from '../../../src/connectors/files/csv-parser.ts'
import { JsonLinesParser } from '../../../src/connectors/files/json-lines-parser.ts'
import { emptyBatch, type RecordBatch, type RecordParser } from '../../../src/connectors/files/record-batch.ts'
import { StringCache } from '../../../src/connectors/files/string-cache.ts'

/** One for all, as in the connector: what one file leaves in it must not show in the next. */
const strings = new StringCache()
export const csv = (): RecordParser => new CsvParser('orders.csv', strings)
export const jsonLines = (): RecordParser => new JsonLinesParser()

/** What the parser makes of the content, given to it in pieces that end at `cuts`. */
export function parsed(parser: RecordParser, content: string | Uint8Array, cuts: readonly number[] = []): RecordBatch {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content
  const batch = emptyBatch()
  let from = 0
  for (const cut of [...cuts, bytes.length]) {
    parser.parse(bytes.subarray(from, cut), batch)
    from = cut
  }
  parser.finish(batch)
  return batch
}
