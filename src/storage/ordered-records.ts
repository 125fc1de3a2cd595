/**
 * A partition's ordered records: (space, key bytes) to value bytes, in byte order of the keys. For timers and stream state.
 *
 * Owns: per space a row of blocks; a block is bytes with a sorted list of offsets into them. Does not: expire or evict.
 *
 *   block.bytes:  [key length u32][value length u32][key][value] ... in order of writing, with gaps of removed records
 *
 * 1. Keys rise within a block and from block to block; no block is empty.
 * 2. A block holds at most `recordsMax` records, and at most `bytesMax` bytes unless it holds a single record.
 */
import type { MemoryBudget } from './memory-budget.ts'

const recordsMax = 128
const bytesMax = 16 * 1024
const firstBytes = 256
const headerBytes = 8
/** Objects and offsets of a block besides its bytes. */
const blockObjectBytes = 256 + 8 * recordsMax

class Block {
  bytes: Uint8Array
  /** Offsets of records, by key. */
  offsets: number[] = []
  fill = 0
  deadBytes = 0

  constructor(bytes: number) {
    this.bytes = new Uint8Array(bytes)
  }

  keyAt(i: number): Uint8Array {
    const offset = this.offsets[i] as number
    return this.bytes.subarray(offset + headerBytes, offset + headerBytes + readLength(this.bytes, offset))
  }

  valueAt(i: number): Uint8Array {
    const offset = this.offsets[i] as number
    const start = offset + headerBytes + readLength(this.bytes, offset)
    return this.bytes.subarray(start, start + readLength(this.bytes, offset + 4))
  }

  sizeAt(i: number): number {
    const offset = this.offsets[i] as number
    return headerBytes + readLength(this.bytes, offset) + readLength(this.bytes, offset + 4)
  }

  /** Index of the first key >= `key`. */
  lowerBound(key: Uint8Array): number {
    let low = 0
    let high = this.offsets.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const offset = this.offsets[middle] as number
      if (compareTo(this.bytes, offset + headerBytes, readLength(this.bytes, offset), key) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  holds(i: number, key: Uint8Array): boolean {
    if (i >= this.offsets.length) return false
    const offset = this.offsets[i] as number
    return compareTo(this.bytes, offset + headerBytes, readLength(this.bytes, offset), key) === 0
  }

  append(key: Uint8Array, value: Uint8Array): number {
    const offset = this.fill
    writeLength(this.bytes, offset, key.length)
    writeLength(this.bytes, offset + 4, value.length)
    this.bytes.set(key, offset + headerBytes)
    this.bytes.set(value, offset + headerBytes + key.length)
    this.fill = offset + headerBytes + key.length + value.length
    return offset
  }
}

export class OrderedRecords {
  readonly #budget: MemoryBudget
  readonly #spaces = new Map<number, Block[]>()
  records = 0

  constructor(budget: MemoryBudget) {
    this.#budget = budget
  }

  /** The spaces that hold records, ascending. */
  spaces(): number[] {
    return [...this.#spaces.keys()].sort((a, b) => a - b)
  }

  /** Writes a record; the bytes are copied. */
  put(space: number, key: Uint8Array, value: Uint8Array): void {
    const blocks = this.#spaces.get(space) ?? []
    if (blocks.length === 0) this.#spaces.set(space, blocks)
    if (blocks.length === 0) blocks.push(this.#newBlock(firstBytes))
    const index = blockFor(blocks, key)
    const block = blocks[index] as Block
    const at = block.lowerBound(key)
    const size = headerBytes + key.length + value.length
    if (block.holds(at, key)) {
      const offset = block.offsets[at] as number
      if (block.sizeAt(at) === size) {
        block.bytes.set(value, offset + headerBytes + key.length)
        return
      }
      block.deadBytes += block.sizeAt(at)
      block.offsets.splice(at, 1)
    } else this.records += 1
    this.#makeRoom(block, size)
    block.offsets.splice(at, 0, block.append(key, value))
    if (block.offsets.length > recordsMax || (block.fill > bytesMax && block.offsets.length > 1)) this.#split(blocks, index)
  }

  /** Whether it was there. */
  remove(space: number, key: Uint8Array): boolean {
    const blocks = this.#spaces.get(space)
    if (blocks === undefined) return false
    const index = blockFor(blocks, key)
    const block = blocks[index] as Block
    const at = block.lowerBound(key)
    if (!block.holds(at, key)) return false
    this.records -= 1
    block.deadBytes += block.sizeAt(at)
    block.offsets.splice(at, 1)
    if (block.offsets.length === 0) this.#dropBlock(space, blocks, index)
    else this.#mergeWithNext(blocks, index)
    return true
  }

  /** The value, as a view that is valid until the next write. */
  find(space: number, key: Uint8Array): Uint8Array | undefined {
    const blocks = this.#spaces.get(space)
    if (blocks === undefined) return undefined
    const block = blocks[blockFor(blocks, key)] as Block
    const at = block.lowerBound(key)
    return block.holds(at, key) ? block.valueAt(at) : undefined
  }

  /** Visits records with key >= `from` in byte order until `visit` answers false. The views are valid during the visit, which must not write. */
  scanFrom(space: number, from: Uint8Array, visit: (key: Uint8Array, value: Uint8Array) => boolean): void {
    const blocks = this.#spaces.get(space)
    if (blocks === undefined) return
    let index = blockFor(blocks, from)
    let at = (blocks[index] as Block).lowerBound(from)
    for (; index < blocks.length; index += 1, at = 0) {
      const block = blocks[index] as Block
      for (; at < block.offsets.length; at += 1) if (!visit(block.keyAt(at), block.valueAt(at))) return
    }
  }

  clear(): void {
    for (const blocks of this.#spaces.values()) for (const block of blocks) this.#count(block, -1)
    this.#spaces.clear()
    this.records = 0
  }

  #newBlock(bytes: number): Block {
    const block = new Block(bytes)
    this.#count(block, 1)
    return block
  }

  #count(block: Block, sign: 1 | -1): void {
    this.#budget.add(sign * (block.bytes.length + blockObjectBytes))
  }

  #dropBlock(space: number, blocks: Block[], index: number): void {
    this.#count(blocks[index] as Block, -1)
    blocks.splice(index, 1)
    if (blocks.length === 0) this.#spaces.delete(space)
  }

  /** Room at the end for `size` bytes: gaps are closed first, then the block is made longer. */
  #makeRoom(block: Block, size: number): void {
    if (block.fill + size <= block.bytes.length) return
    const live = block.fill - block.deadBytes + size
    const bytes = live > block.bytes.length / 2 ? Math.max(live, Math.min(2 * block.bytes.length, bytesMax + size)) : block.bytes.length
    this.#count(block, -1)
    rewrite(block, bytes)
    this.#count(block, 1)
  }

  #split(blocks: Block[], index: number): void {
    const block = blocks[index] as Block
    this.#count(block, -1)
    const halves = halvesOf(block)
    for (const half of halves) this.#count(half, 1)
    blocks.splice(index, 1, ...halves)
    // A half can still be too big, when one of few records is.
    for (let i = halves.length - 1; i >= 0; i -= 1) {
      const half = halves[i] as Block
      if (half.fill > bytesMax && half.offsets.length > 1) this.#split(blocks, index + i)
    }
  }

  /** Joins a block and the next when both are small, so that memory follows the records down. */
  #mergeWithNext(blocks: Block[], index: number): void {
    const first = Math.min(index, Math.max(0, blocks.length - 2))
    const left = blocks[first] as Block
    const right = blocks[first + 1]
    const liveBytes = (block: Block): number => block.fill - block.deadBytes
    if (right === undefined) {
      if (left.bytes.length > 4 * Math.max(firstBytes, liveBytes(left))) this.#shrink(left, liveBytes(left))
      return
    }
    const bytes = liveBytes(left) + liveBytes(right)
    if (left.offsets.length + right.offsets.length > recordsMax / 2 || bytes > bytesMax / 2) return
    this.#count(left, -1)
    rewrite(left, bytes)
    for (let i = 0; i < right.offsets.length; i += 1) left.offsets.push(left.append(right.keyAt(i), right.valueAt(i)))
    this.#count(left, 1)
    this.#count(right, -1)
    blocks.splice(first + 1, 1)
  }

  #shrink(block: Block, bytes: number): void {
    this.#count(block, -1)
    rewrite(block, Math.max(firstBytes, bytes))
    this.#count(block, 1)
  }
}

/** Index of the only block that can hold the key. */
function blockFor(blocks: readonly Block[], key: Uint8Array): number {
  let low = 0
  let high = blocks.length - 1
  while (low < high) {
    const middle = (low + high + 1) >>> 1
    const block = blocks[middle] as Block
    const offset = block.offsets[0] as number
    if (compareTo(block.bytes, offset + headerBytes, readLength(block.bytes, offset), key) <= 0) low = middle
    else high = middle - 1
  }
  return low
}

/** Writes the live records, in order, into a buffer of so many bytes. */
function rewrite(block: Block, bytes: number): void {
  const fresh = copyOf(block, 0, block.offsets.length, bytes)
  block.bytes = fresh.bytes
  block.offsets = fresh.offsets
  block.fill = fresh.fill
  block.deadBytes = 0
}

function copyOf(block: Block, start: number, end: number, bytes: number): Block {
  const copy = new Block(bytes)
  for (let i = start; i < end; i += 1) copy.offsets.push(copy.append(block.keyAt(i), block.valueAt(i)))
  return copy
}

/** Two blocks of about the same bytes each. */
function halvesOf(block: Block): [Block, Block] {
  const live = block.fill - block.deadBytes
  let left = block.sizeAt(0)
  let middle = 1
  while (middle < block.offsets.length - 1 && left + block.sizeAt(middle) <= live / 2) left += block.sizeAt(middle++)
  return [copyOf(block, 0, middle, left), copyOf(block, middle, block.offsets.length, live - left)]
}

function readLength(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 24)
}

function writeLength(bytes: Uint8Array, at: number, length: number): void {
  bytes[at] = length
  bytes[at + 1] = length >>> 8
  bytes[at + 2] = length >>> 16
  bytes[at + 3] = length >>> 24
}

/** Order of `bytes[start, start + length)` against `key`, as bytes; a prefix comes first. */
function compareTo(bytes: Uint8Array, start: number, length: number, key: Uint8Array): number {
  const shared = Math.min(length, key.length)
  for (let i = 0; i < shared; i += 1) {
    const difference = (bytes[start + i] as number) - (key[i] as number)
    if (difference !== 0) return difference
  }
  return length - key.length
}
