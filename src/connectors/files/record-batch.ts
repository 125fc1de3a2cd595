/** What a parser of records has found since the batch was last taken. */
import type { RejectedRecord } from '../../streaming/source.ts'
import type { WindowPlace } from './byte-window.ts'

/** A record longer than this is rejected: it is far likelier to be a broken file than a record. */
export const recordMaxBytes = 1024 * 1024
/** Of a rejected record this much is kept. */
const rawMaxBytes = 1024

export interface RecordBatch {
  readonly records: unknown[]
  readonly lines: number[]
  readonly rejected: RejectedRecord[]
}

export interface ParserPlace extends WindowPlace {
  /** Of a CSV file. */
  readonly header?: readonly string[]
}

export const emptyBatch = (): RecordBatch => ({ records: [], lines: [], rejected: [] })

/** Turns the bytes of one file, in any pieces, into records. The result does not depend on where the pieces end. */
export interface RecordParser {
  parse(chunk: Uint8Array, into: RecordBatch): void
  /** The file ends here. */
  finish(into: RecordBatch): void
  /** Where reading can go on behind what was found so far, of so many bytes; undefined: from the beginning only. */
  place(parsedBytes: number): ParserPlace | undefined
  /** Before anything else: what follows is the content from that offset on. */
  resume(place: ParserPlace): void
}

/** The text of a record for people, without its line end: bytes that are no UTF-8 become U+FFFD. */
export function rawText(bytes: Buffer, start: number, end: number): string {
  if (end - start > rawMaxBytes) return bytes.toString('utf8', start, start + rawMaxBytes)
  return bytes.toString('utf8', start, end).replace(/\r?\n?$/, '')
}

export const tooLong = `the record is longer than ${recordMaxBytes} bytes`
export const notUtf8 = 'not valid UTF-8'
