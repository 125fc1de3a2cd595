/**
 * Recorded results by number: a ring, since numbers ascend and are soon trimmed; one that finds its place taken after the ring has
 * grown to its most lies in a map beside it. A Map alone costs more: each number is set once and deleted once.
 */
import type { RecordedResult } from './session-table.ts'

const placesMin = 8
const placesMax = 2048

export class ResultWindow {
  #numbers: number[] = []
  #results: (RecordedResult | undefined)[] = []
  readonly #beside = new Map<number, RecordedResult>()
  size = 0

  constructor(from: Iterable<readonly [number, RecordedResult]> = []) {
    for (const [number, result] of from) this.set(number, result)
  }

  get(number: number): RecordedResult | undefined {
    const place = number & (this.#numbers.length - 1)
    const result = this.#results[place]
    if (result !== undefined && this.#numbers[place] === number) return result
    return this.#beside.size === 0 ? undefined : this.#beside.get(number)
  }

  set(number: number, result: RecordedResult): void {
    for (;;) {
      const place = number & (this.#numbers.length - 1)
      const there = this.#numbers.length === 0 ? undefined : this.#results[place]
      if (this.#numbers.length > 0 && (there === undefined || this.#numbers[place] === number)) {
        if (there === undefined && !this.#beside.has(number)) this.size += 1
        this.#beside.delete(number)
        this.#numbers[place] = number
        this.#results[place] = result
        return
      }
      if (this.#numbers.length >= placesMax) {
        if (!this.#beside.has(number)) this.size += 1
        this.#beside.set(number, result)
        return
      }
      this.#grow()
    }
  }

  delete(number: number): void {
    const place = number & (this.#numbers.length - 1)
    if (this.#results[place] !== undefined && this.#numbers[place] === number) {
      this.#results[place] = undefined
      this.size -= 1
    } else if (this.#beside.delete(number)) this.size -= 1
  }

  keys(): number[] {
    return Array.from(this, ([number]) => number)
  }

  values(): RecordedResult[] {
    return Array.from(this, ([, result]) => result)
  }

  /** In no order. */
  *[Symbol.iterator](): Generator<[number, RecordedResult]> {
    for (const [place, result] of this.#results.entries()) if (result !== undefined) yield [this.#numbers[place] as number, result]
    yield* this.#beside
  }

  #grow(): void {
    const kept = [...this]
    const places = Math.max(placesMin, this.#numbers.length * 2)
    this.#numbers = Array.from({ length: places }, () => 0)
    this.#results = Array.from({ length: places })
    this.size = 0
    for (const [number, result] of kept) this.set(number, result)
  }
}
