/** How many rows (windows, timers) one unit of work takes, so that it lasts about half a slice. */

const rowsMax = 1024
const firstRows = 64
/** A unit shorter than this doubles the next one; a longer one halves it. */
const shortMs = 0.3
const longMs = 0.9

export class UnitSize {
  #rows: number
  /** Rows still to be taken one by one, after a unit with them was cut off. */
  #singles = 0
  readonly #max: number

  constructor(max = rowsMax) {
    this.#max = max
    this.#rows = Math.min(firstRows, max)
  }

  get rows(): number {
    return this.#singles > 0 ? 1 : this.#rows
  }

  cutOff(rows: number): void {
    this.#singles = rows
    // Perhaps no row is to blame, and there were only too many.
    this.#rows = Math.max(1, this.#rows >> 1)
  }

  done(rows: number, elapsedMs: number): void {
    if (this.#singles > 0) {
      this.#singles = Math.max(0, this.#singles - Math.max(1, rows))
      return
    }
    if (elapsedMs > longMs) this.#rows = Math.max(1, this.#rows >> 1)
    else if (elapsedMs < shortMs && rows >= this.#rows) this.#rows = Math.min(this.#max, this.#rows << 1)
  }
}
