/**
 * The part of a file that a parser is looking at: what it has not consumed, and the chunk just read.
 *
 * Owns: the working buffer, the line number of its first byte, leaving out the rest of a line that was given up.
 * Does not: know records.
 *
 * Invariants
 * 1. `bytes[end]` is a line feed, so a scan for one needs no test against the end; a scan that stops at `end` has found nothing.
 * 2. The window holds at most what the parser leaves (`recordMaxBytes`, plus the chunk in which it noticed) and one chunk.
 */
const lineFeed = 10

/** Where reading can go on: in the content of the file, after unpacking. */
export interface WindowPlace {
  readonly offset: number
  readonly line: number
  /** Within a line that was given up. */
  readonly skipping: boolean
}

export class ByteWindow {
  bytes: Buffer = Buffer.allocUnsafe(128 * 1024)
  start = 0
  end = 0
  /** Line number, from 1, of the byte at `start`. */
  line = 1
  #started = false
  #skipping = false

  /** The window as it stands at a place in the file that `place` gave. */
  resume({ line, skipping }: WindowPlace): void {
    this.line = line
    this.#skipping = skipping
    this.#started = true
  }

  /** What is consumed: how many of the `appended` bytes, and how the window stands there; undefined before the first byte is looked at. */
  place(appended: number): WindowPlace | undefined {
    if (!this.#started) return undefined
    return { offset: appended - (this.end - this.start), line: this.line, skipping: this.#skipping }
  }

  append(chunk: Uint8Array): void {
    const kept = this.end - this.start
    const needed = kept + chunk.length + 1
    if (needed > this.bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, this.bytes.length * 2))
      this.bytes.copy(larger, 0, this.start, this.end)
      this.bytes = larger
    } else if (this.start > 0) this.bytes.copyWithin(0, this.start, this.end)
    this.bytes.set(chunk, kept)
    this.start = 0
    this.end = kept + chunk.length
    this.bytes[this.end] = lineFeed
    if (this.#skipping) this.skipLine()
  }

  /** Leaves out a byte order mark at the very beginning; false as long as more bytes are needed to know. */
  ready(atEnd: boolean): boolean {
    if (this.#started) return true
    if (this.end - this.start < 3 && !atEnd) return false
    this.#started = true
    if (
      this.end - this.start >= 3 &&
      this.bytes[this.start] === 0xef &&
      this.bytes[this.start + 1] === 0xbb &&
      this.bytes[this.start + 2] === 0xbf
    )
      this.start += 3
    return true
  }

  /** The line feed that ends the line at `start`, or `end`. */
  lineEnd(): number {
    return this.bytes.indexOf(lineFeed, this.start) // invariant 1: there is one
  }

  /** Goes on after the line at `start`, also when it ends in a chunk that is still to come. */
  skipLine(): void {
    const lineEnd = this.lineEnd()
    this.#skipping = lineEnd >= this.end
    this.start = this.#skipping ? this.end : lineEnd + 1
    if (!this.#skipping) this.line += 1
  }
}
