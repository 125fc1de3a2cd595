/**
 * JSON lines: one JSON value a line, UTF-8, LF or CRLF; blank lines hold no record. A line that is no JSON, no UTF-8 or
 * longer than `recordMaxBytes` is rejected alone. The result does not depend on where chunks end.
 */
import { isUtf8 } from 'node:buffer'
import { messageOf } from '../../base/errors.ts'
import { ByteWindow } from './byte-window.ts'
import { notUtf8, type ParserPlace, rawText, type RecordBatch, type RecordParser, recordMaxBytes, tooLong } from './record-batch.ts'

export class JsonLinesParser implements RecordParser {
  readonly #window = new ByteWindow()

  parse(chunk: Uint8Array, into: RecordBatch): void {
    this.#window.append(chunk)
    this.#drain(into, false)
  }

  finish(into: RecordBatch): void {
    this.#drain(into, true)
  }

  place(parsedBytes: number): ParserPlace | undefined {
    return this.#window.place(parsedBytes)
  }

  resume(place: ParserPlace): void {
    this.#window.resume(place)
  }

  #drain(into: RecordBatch, atEnd: boolean): void {
    const window = this.#window
    if (!window.ready(atEnd)) return
    while (window.start < window.end) {
      const lineEnd = window.lineEnd()
      if (lineEnd - window.start > recordMaxBytes) this.#reject(into, lineEnd, tooLong)
      else if (lineEnd === window.end && !atEnd) return
      else this.#takeLine(into, lineEnd)
      window.skipLine()
    }
  }

  #takeLine(into: RecordBatch, lineEnd: number): void {
    const { bytes, start, line } = this.#window
    if (!isUtf8(bytes.subarray(start, lineEnd))) return this.#reject(into, lineEnd, notUtf8)
    const text = bytes.toString('utf8', start, lineEnd)
    try {
      into.records.push(JSON.parse(text))
      into.lines.push(line)
    } catch (thrown) {
      if (text.trim() !== '') this.#reject(into, lineEnd, `not JSON: ${reasonOf(thrown)}`)
    }
  }

  #reject(into: RecordBatch, lineEnd: number, reason: string): void {
    const { bytes, start, line } = this.#window
    into.rejected.push({ line, reason, raw: rawText(bytes, start, lineEnd) })
  }
}

/** V8's message without the copy of the text, which stands beside it. */
const reasonOf = (thrown: unknown): string => messageOf(thrown).replace(/, (\.\.\.)?".*" is not valid JSON$/s, '')
