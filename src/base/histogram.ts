/**
 * Counts of non-negative numbers in buckets of about 3 % width: 32 per power of two.
 * `record` costs some nanoseconds and allocates nothing; percentiles are upper bounds of their bucket.
 */
const subBuckets = 32

export class Histogram {
  readonly #counts = new Float64Array(subBuckets * 54)
  count = 0
  sum = 0
  max = 0

  record(value: number): void {
    this.count += 1
    this.sum += value
    if (value > this.max) this.max = value
    const index = bucketOf(value)
    this.#counts[index] = (this.#counts[index] as number) + 1
  }

  /** The value that `share` (0..1) of the recorded ones do not exceed; 0 when empty. */
  percentile(share: number): number {
    const wanted = Math.ceil(this.count * share)
    let seen = 0
    for (let i = 0; i < this.#counts.length && this.count > 0; i += 1) {
      seen += this.#counts[i] as number
      if (seen >= wanted && seen > 0) return Math.min(upperBoundOf(i), this.max)
    }
    return 0
  }

  reset(): void {
    this.#counts.fill(0)
    this.count = 0
    this.sum = 0
    this.max = 0
  }
}

// Bucket 0..31: [i/1024, (i+1)/1024). From there on, value*1024 = (32 + sub) * 2^shift.
function bucketOf(value: number): number {
  const scaled = value * 1024
  if (!(scaled >= subBuckets)) return Math.max(0, Math.floor(scaled) || 0)
  const exponent = Math.floor(Math.log2(scaled))
  const shift = exponent - 5
  const sub = Math.floor(scaled / 2 ** shift) - subBuckets
  return Math.min(subBuckets * 53 - 1, subBuckets + shift * subBuckets + sub)
}

function upperBoundOf(index: number): number {
  if (index < subBuckets) return (index + 1) / 1024
  const shift = Math.floor(index / subBuckets) - 1
  return ((subBuckets + (index % subBuckets) + 1) * 2 ** shift) / 1024
}
