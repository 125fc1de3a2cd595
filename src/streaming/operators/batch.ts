/**
 * Rows on their way from one operator to the next, as parallel columns. Batches are reused: a consumer never keeps one, and
 * never changes one that it was given.
 */
export class Batch {
  size = 0
  rows: unknown[] = []
  /** Event time in milliseconds since the epoch. */
  times: Float64Array
  /** Where the row's event was read, see origin.ts. */
  origins: Float64Array
  /** Key and partition; meaningless before the first keyBy. */
  keys: unknown[] = []
  partitions: Int32Array

  constructor(capacity = 64) {
    this.times = new Float64Array(capacity)
    this.origins = new Float64Array(capacity)
    this.partitions = new Int32Array(capacity)
  }

  push(row: unknown, time: number, origin: number, key: unknown, partition: number): void {
    const at = this.size
    if (at === this.times.length) this.#grow(at + 1)
    this.rows[at] = row
    this.times[at] = time
    this.origins[at] = origin
    this.keys[at] = key
    this.partitions[at] = partition
    this.size = at + 1
  }

  /**
   * Makes room for `rows` rows in all columns, for an operator that fills them itself: it empties the batch. New columns of rows and
   * keys each time: a young object in an old array costs the collector more than a young array.
   */
  reserve(rows: number): void {
    this.size = 0
    if (rows > this.times.length) this.#grow(rows)
    this.rows = arrayOf(rows)
    this.keys = arrayOf(rows)
  }

  /** As push, where there is room. */
  add(row: unknown, time: number, origin: number, key: unknown, partition: number): void {
    const at = this.size
    this.rows[at] = row
    this.times[at] = time
    this.origins[at] = origin
    this.keys[at] = key
    this.partitions[at] = partition
    this.size = at + 1
  }

  /** Copies row `index` of another batch, with `row` in its place. */
  pushFrom(other: Batch, index: number, row: unknown): void {
    this.push(row, other.times[index] as number, other.origins[index] as number, other.keys[index], other.partitions[index] as number)
  }

  /** A copy of the rows from this one on. */
  from(index: number): Batch {
    const rest = new Batch(this.size - index)
    for (let at = index; at < this.size; at += 1) rest.pushFrom(this, at, this.rows[at])
    return rest
  }

  /** Lets go of the first rows; the others move up. */
  dropFirst(count: number): void {
    const { size } = this
    if (count === size) {
      this.clear()
      return
    }
    this.rows.splice(0, count)
    this.keys.splice(0, count)
    this.times.copyWithin(0, count, size)
    this.origins.copyWithin(0, count, size)
    this.partitions.copyWithin(0, count, size)
    this.size = size - count
  }

  /** Empties it and lets go of what it held. */
  clear(): void {
    this.size = 0
    this.rows.length = 0
    this.keys.length = 0
  }

  #grow(least: number): void {
    const capacity = Math.max(least, this.times.length * 2)
    const times = new Float64Array(capacity)
    times.set(this.times)
    this.times = times
    const origins = new Float64Array(capacity)
    origins.set(this.origins)
    this.origins = origins
    const partitions = new Int32Array(capacity)
    partitions.set(this.partitions)
    this.partitions = partitions
  }
}

// oxlint-disable-next-line unicorn/no-new-array -- nothing else allocates it at once
const arrayOf = (length: number): unknown[] => new Array<unknown>(length)
