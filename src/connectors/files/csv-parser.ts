/**
 * CSV as RFC 4180 has it, byte by byte, for files that may be broken anywhere.
 *
 * Decides: where records and fields begin and end; which records are rejected, and where reading goes on after them.
 * The first record is the header. Records are objects of strings, one shape for the whole file. Fields are enclosed in
 * quotes as a whole or not at all; `""` within them is a quote; line ends are LF or CRLF; blank lines hold no record.
 *
 * Invariants
 * 1. The result does not depend on where chunks end: a record that is not wholly there is scanned again from its beginning.
 * 2. A record whose quotes are broken, or that is longer than `recordMaxBytes`, costs its first line only: reading goes on at
 *    the next line. A record with sound quotes (wrong number of columns, bad UTF-8) is rejected as a whole.
 * 3. Going back is linear: a quote left open runs to the next odd run of quotes, so no line before that run can open another.
 */
import { invalidArgument } from '../../base/errors.ts'
import { isUtf8 } from 'node:buffer'
import { ByteWindow } from './byte-window.ts'
import { notUtf8, type ParserPlace, rawText, type RecordBatch, type RecordParser, recordMaxBytes, tooLong } from './record-batch.ts'
import { type RecordMaker, recordMaker } from './record-shape.ts'
import type { StringCache } from './string-cache.ts'

const lineFeed = 10
const carriageReturn = 13
const quote = 34
const comma = 44

/** 1 for the bytes that end a scan of an unquoted field. */
const stops = new Uint8Array(256)
stops[lineFeed] = 1
stops[quote] = 1
stops[comma] = 1

/** What a scan of one record found, where it is not the offset behind the record. */
const incomplete = -1
const quoteInside = -2
const quoteFollowed = -3
const quoteOpen = -4

const reasons: Readonly<Record<number, string>> = {
  [quoteInside]: 'broken quote: a quote stands inside a field that does not begin with one',
  [quoteFollowed]: 'broken quote: a closing quote is followed by something else than a comma or the end of the line',
  [quoteOpen]: 'broken quote: a quoted field is not closed',
}

export class CsvParser implements RecordParser {
  readonly #origin: string
  readonly #strings: StringCache
  readonly #window = new ByteWindow()
  #header: readonly string[] | undefined
  #makeRecord: RecordMaker = () => ({})
  // Of the record scanned last: its fields, their number, line feeds inside it, its first field that is no UTF-8 (or -1), and where the scan
  // stopped: before the line end of a whole record, at what is wrong, at the end of the window.
  #values: string[] = []
  #columns = 0
  #lineFeeds = 0
  #notUtf8 = -1
  #stoppedAt = 0

  constructor(origin: string, strings: StringCache) {
    this.#origin = origin
    this.#strings = strings
  }

  parse(chunk: Uint8Array, into: RecordBatch): void {
    this.#window.append(chunk)
    this.#drain(into, false)
  }

  finish(into: RecordBatch): void {
    this.#drain(into, true)
  }

  place(parsedBytes: number): ParserPlace | undefined {
    const place = this.#window.place(parsedBytes)
    return place === undefined || this.#header === undefined ? undefined : { ...place, header: this.#header }
  }

  resume(place: ParserPlace): void {
    this.#window.resume(place)
    if (place.header === undefined) return
    this.#header = place.header
    this.#makeRecord = recordMaker(place.header, this.#origin)
  }

  #drain(into: RecordBatch, atEnd: boolean): void {
    const window = this.#window
    if (!window.ready(atEnd)) return
    while (window.start < window.end) {
      const next = this.#scan(window.bytes, window.start, window.end, atEnd)
      const fits = this.#stoppedAt - window.start <= recordMaxBytes
      if (next === incomplete && fits) return
      if (next < 0 || !fits) {
        // Invariant 2. As long as the line's end is on its way its text is not whole.
        if (!atEnd && window.lineEnd() === window.end && window.end - window.start <= recordMaxBytes) return
        this.#rejectLine(into, fits ? (reasons[next] ?? tooLong) : tooLong)
      } else {
        this.#takeRecord(into, next)
        window.start = next
        window.line += this.#lineFeeds + 1
      }
    }
  }

  #rejectLine(into: RecordBatch, reason: string): void {
    const window = this.#window
    if (this.#header === undefined) throw invalidArgument(`Cannot read "${this.#origin}" as CSV: its header is broken: ${reason}`)
    into.rejected.push({ line: window.line, reason, raw: rawText(window.bytes, window.start, Math.min(window.lineEnd(), window.end)) })
    window.skipLine()
  }

  #takeRecord(into: RecordBatch, next: number): void {
    const { bytes, start, line } = this.#window
    const columns = this.#columns
    const blank = columns === 1 && this.#values[0] === '' && bytes[start] !== quote
    if (blank) return
    const header = this.#header
    if (header === undefined) {
      if (this.#notUtf8 >= 0) throw invalidArgument(`Cannot read "${this.#origin}" as CSV: its header is ${notUtf8}`)
      this.#header = this.#values.slice(0, columns)
      this.#makeRecord = recordMaker(this.#header, this.#origin)
    } else if (columns !== header.length) {
      const few = columns < header.length ? 'too few columns' : 'too many columns'
      into.rejected.push({ line, reason: `${few}: ${columns}, the header has ${header.length}`, raw: rawText(bytes, start, next) })
    } else if (this.#notUtf8 >= 0) {
      into.rejected.push({ line, reason: `column "${header[this.#notUtf8]}" is ${notUtf8}`, raw: rawText(bytes, start, next) })
    } else {
      into.records.push(this.#makeRecord(this.#values))
      into.lines.push(line)
    }
  }

  /** Scans the record at `start`: the offset behind it, or what is wrong. `bytes[end]` is a line feed (ByteWindow, 1). */
  #scan(bytes: Buffer, start: number, end: number, atEnd: boolean): number {
    let position = start
    this.#columns = 0
    this.#lineFeeds = 0
    this.#notUtf8 = -1
    for (;;) {
      if (bytes[position] === quote) {
        const closing = this.#scanQuoted(bytes, position + 1, end)
        if (closing === incomplete) return this.#stop(end, atEnd ? quoteOpen : incomplete)
        position = closing + 1
        if (bytes[position] === comma) {
          position += 1
          continue
        }
        if (bytes[position] === carriageReturn && bytes[position + 1] === lineFeed) position += 1
        if (position === end && !atEnd) return this.#stop(end, incomplete) // it may be half of "" or of CRLF
        return this.#stop(position, bytes[position] === lineFeed ? Math.min(position + 1, end) : quoteFollowed)
      }
      const fieldStart = position
      let hash = 0
      let seen = 0
      let byte = bytes[position] as number
      while (stops[byte] === 0) {
        hash = ((hash << 5) - hash + byte) | 0
        seen |= byte
        position += 1
        byte = bytes[position] as number
      }
      if (byte === comma) {
        this.#addField(bytes, fieldStart, position, hash, seen)
        position += 1
        continue
      }
      if (byte === quote) return this.#stop(position, quoteInside)
      if (position === end && !atEnd) return this.#stop(end, incomplete)
      const crlf = position > fieldStart && bytes[position - 1] === carriageReturn
      if (crlf) this.#addField(bytes, fieldStart, position - 1, hashOf(bytes, fieldStart, position - 1), seen)
      else this.#addField(bytes, fieldStart, position, hash, seen)
      return this.#stop(position, Math.min(position + 1, end))
    }
  }

  #stop(position: number, outcome: number): number {
    this.#stoppedAt = position
    return outcome
  }

  /** Adds the quoted field whose content begins at `start`; the offset of its closing quote. */
  #scanQuoted(bytes: Buffer, start: number, end: number): number {
    let position = start
    let hash = 0
    let seen = 0
    let escaped = false
    for (;;) {
      let byte = bytes[position] as number
      while (byte !== quote) {
        if (byte === lineFeed) {
          if (position === end) return incomplete
          this.#lineFeeds += 1
        }
        hash = ((hash << 5) - hash + byte) | 0
        seen |= byte
        position += 1
        byte = bytes[position] as number
      }
      if (bytes[position + 1] !== quote) break
      escaped = true
      position += 2
    }
    if (escaped) this.#addEscaped(bytes, start, position)
    else this.#addField(bytes, start, position, hash, seen)
    return position
  }

  #addField(bytes: Buffer, start: number, end: number, hash: number, seen: number): void {
    if (seen < 128) this.#values[this.#columns] = this.#strings.get(bytes, start, end, hash)
    else this.#values[this.#columns] = this.#decode(bytes, start, end)
    this.#columns += 1
  }

  #addEscaped(bytes: Buffer, start: number, end: number): void {
    this.#values[this.#columns] = this.#decode(bytes, start, end).replaceAll('""', '"')
    this.#columns += 1
  }

  #decode(bytes: Buffer, start: number, end: number): string {
    if (!isUtf8(bytes.subarray(start, end)) && this.#notUtf8 < 0) this.#notUtf8 = this.#columns
    return bytes.toString('utf8', start, end)
  }
}

function hashOf(bytes: Buffer, start: number, end: number): number {
  let hash = 0
  for (let position = start; position < end; position += 1) hash = ((hash << 5) - hash + (bytes[position] as number)) | 0
  return hash
}
