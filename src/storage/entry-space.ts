/**
 * Where the entries of one map in one partition lie: segments filled from the front, one open at a time.
 *
 *   location (31 bits) = segment number << 14 | word within the segment; segment 0 does not exist, so no location is 0
 *
 * Owns: segments, their fill and dead bytes, the choice of the next one to evacuate. Does not: know keys, or move entries (map-store).
 *
 * Segments grow with the map (1, 4, 16, 64 KiB), so that a map of few entries is small; an entry over 8 KiB has one of its own.
 *
 * 1. What stands in a segment before its fill is a row of entries and dead gaps, each of whose first word tells its size.
 * 2. A segment without a live entry is given back at once, unless it is the open one of a space that is not empty.
 */
import { assert } from '../base/assert.ts'
import { writeDead } from './entry-layout.ts'
import type { MemoryBudget } from './memory-budget.ts'

const wordBits = 14
const wordMask = (1 << wordBits) - 1
const segmentMaxBytes = 4 << wordBits
const segmentMinBytes = 1024
const segmentNumbersMax = 1 << (31 - wordBits)
/** An entry takes at most this part of a shared segment, so that little is left over at its end. */
const entriesPerSegmentMin = 8
/** What the objects of a segment cost besides its bytes: a buffer and two views on the JS heap. */
const segmentObjectBytes = 320
/** Entries are moved together when a quarter of all bytes is dead, and earlier when memory is short. */
const deadShareMax = 1 / 4
const deadShareMaxUnderPressure = 1 / 16
const deadBytesWorthMoving = 4096

const noBytes = new Uint8Array(0)
const noWords = new Int32Array(0)

export const segmentOf = (location: number): number => location >>> wordBits
export const wordOf = (location: number): number => location & wordMask
/** An entry over this has a segment of its own. */
const sharedEntryMaxBytes = segmentMaxBytes / entriesPerSegmentMin

export class EntrySpace {
  /** By segment number. Read only for others. */
  readonly bytes: Uint8Array[] = [noBytes]
  readonly words: Int32Array[] = [noWords]
  /** Bytes of live entries. */
  liveBytes = 0
  /** Bytes of segments. */
  segmentBytes = 0
  readonly #budget: MemoryBudget
  readonly #fill: number[] = [0]
  readonly #dead: number[] = [0]
  readonly #free: number[] = []
  #open = 0
  #hand = 0
  /** The segment that entries are moved out of (0: none), and the byte up to which that is done. */
  #evacuee = 0
  evacuatedBytes = 0

  constructor(budget: MemoryBudget) {
    this.#budget = budget
  }

  /** Bytes by which an allocation of this size would grow the space. */
  growthFor(size: number): number {
    if (size > sharedEntryMaxBytes) return size + segmentObjectBytes
    if ((this.#fill[this.#open] as number) + size <= (this.bytes[this.#open] as Uint8Array).length) return 0
    return this.#segmentBytesFor(size) + segmentObjectBytes
  }

  /** Whether an allocation of this size can be numbered. */
  get hasNumbers(): boolean {
    return this.#free.length > 0 || this.bytes.length < segmentNumbersMax
  }

  /** Room for an entry; its content is whatever was there. */
  allocate(size: number): number {
    this.liveBytes += size
    if (size > sharedEntryMaxBytes) {
      const segment = this.#addSegment(size)
      this.#fill[segment] = size
      return segment << wordBits
    }
    let fill = this.#fill[this.#open] as number
    if (fill + size > (this.bytes[this.#open] as Uint8Array).length) {
      this.#closeOpen()
      this.#open = this.#addSegment(this.#segmentBytesFor(size))
      fill = 0
    }
    this.#fill[this.#open] = fill + size
    return (this.#open << wordBits) | (fill >>> 2)
  }

  /** Marks bytes at a location as dead: an entry, or the end of one that has become smaller (`word` is its first word). */
  release(segment: number, word: number, size: number): void {
    this.liveBytes -= size
    writeDead(this.words[segment] as Int32Array, word, size)
    this.#dead[segment] = (this.#dead[segment] as number) + size
    if (this.liveBytes === 0) this.clear()
    else if (segment !== this.#open) this.#dropIfDead(segment)
    else if (this.#dead[segment] === this.#fill[segment]) {
      this.#dead[segment] = 0
      this.#fill[segment] = 0
    }
  }

  get deadBytes(): number {
    return this.segmentBytes - this.liveBytes - this.#openBytesLeft
  }

  /** The segment to move entries out of, or 0: none is worth it. */
  evacuee(): number {
    if (this.#evacuee !== 0) return this.#evacuee
    const dead = this.deadBytes
    if (dead < deadBytesWorthMoving) return 0
    const share = this.#budget.canGrow(segmentMaxBytes) ? deadShareMax : deadShareMaxUnderPressure
    if (dead < this.segmentBytes * share) return 0
    const average = dead / this.segmentBytes
    for (let i = 0; i < Math.min(64, this.bytes.length); i += 1) {
      this.#hand = this.#hand + 1 < this.bytes.length ? this.#hand + 1 : 1
      const length = (this.bytes[this.#hand] as Uint8Array).length
      if (length > 0 && this.#hand !== this.#open && (this.#dead[this.#hand] as number) >= length * average) {
        this.#evacuee = this.#hand
        this.evacuatedBytes = 0
        return this.#hand
      }
    }
    return 0
  }

  locationOf(segment: number, word: number): number {
    return (segment << wordBits) | word
  }

  /** The byte up to which a segment is filled. */
  fillOf(segment: number): number {
    return this.#fill[segment] as number
  }

  clear(): void {
    for (let segment = 1; segment < this.bytes.length; segment += 1) {
      if ((this.bytes[segment] as Uint8Array).length > 0) this.#dropSegment(segment)
    }
    this.bytes.length = 1
    this.words.length = 1
    this.#fill.length = 1
    this.#dead.length = 1
    this.#free.length = 0
    this.#open = 0
    this.#hand = 0
    this.liveBytes = 0
  }

  get #openBytesLeft(): number {
    return (this.bytes[this.#open] as Uint8Array).length - (this.#fill[this.#open] as number)
  }

  /** The larger the map and the entry, the larger; smaller where memory is short, so that its last part can be used and compaction goes on. */
  #segmentBytesFor(size: number): number {
    let bytes = segmentMinBytes
    while (bytes < segmentMaxBytes && (bytes < size * entriesPerSegmentMin || bytes < this.segmentBytes)) bytes *= 4
    while (bytes > segmentMinBytes && bytes / 4 >= size && !this.#budget.canBorrow(bytes + segmentObjectBytes)) bytes /= 4
    return bytes
  }

  /** What is left at the end of a segment that is open no more is dead. */
  #closeOpen(): void {
    const segment = this.#open
    if (segment === 0) return
    this.#dead[segment] = (this.#dead[segment] as number) + this.#openBytesLeft
    this.#open = 0
    this.#dropIfDead(segment)
  }

  #dropIfDead(segment: number): void {
    if (this.#dead[segment] === (this.bytes[segment] as Uint8Array).length) {
      this.#dropSegment(segment)
      this.#free.push(segment)
    }
  }

  #addSegment(size: number): number {
    const segment = this.#free.pop() ?? this.bytes.length
    assert(segment < segmentNumbersMax, `a map has ${segment} segments in one partition`)
    const buffer = this.#budget.take(size)
    this.#budget.add(segmentObjectBytes)
    this.segmentBytes += size
    this.bytes[segment] = new Uint8Array(buffer)
    this.words[segment] = new Int32Array(buffer)
    this.#fill[segment] = 0
    this.#dead[segment] = 0
    return segment
  }

  #dropSegment(segment: number): void {
    const bytes = this.bytes[segment] as Uint8Array<ArrayBuffer>
    this.segmentBytes -= bytes.length
    this.#budget.add(-segmentObjectBytes)
    this.#budget.give(bytes.buffer, bytes.length <= segmentMaxBytes && (bytes.length & (bytes.length - 1)) === 0)
    this.bytes[segment] = noBytes
    this.words[segment] = noWords
    if (this.#evacuee === segment) this.#evacuee = 0
  }
}
