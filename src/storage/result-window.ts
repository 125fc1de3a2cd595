/**
 * Recorded results by number: a ring, since numbers ascend and are soon trimmed; one that finds its place taken after the ring has
 * grown to its most lies in a map beside it. In columns: an object for each would be made and dropped with every write.
 */
import type { RecordedResult } from './session-table.ts'

const placesMin = 8
const placesMax = 2048
const noResult = new Uint8Array(0)

/** Numbers are from 1 to 2^32 - 1. */
export class ResultWindow {
  /** 0: the place is free. */
  #numbers = new Uint32Array(0)
  #positions = new Float64Array(0)
  #results: Uint8Array[] = []
  readonly #beside = new Map<number, RecordedResult>()
  size = 0

  constructor(from: Iterable<readonly [number, RecordedResult]> = []) {
    for (const [number, { result, position }] of from) this.set(number, result, position)
  }

  /** Reads what `has` and `set` will touch. */
  warm(number: number): number {
    const place = number & (this.#numbers.length - 1)
    return (this.#numbers[place] ?? 0) + (this.#positions[place] ?? 0) + (this.#results[place] === undefined ? 0 : 1)
  }

  has(number: number): boolean {
    return this.#numbers[number & (this.#numbers.length - 1)] === number || (this.#beside.size > 0 && this.#beside.has(number))
  }

  get(number: number): RecordedResult | undefined {
    const place = number & (this.#numbers.length - 1)
    if (this.#numbers[place] === number) return { result: this.#results[place] as Uint8Array, position: this.#positions[place] as number }
    return this.#beside.size === 0 ? undefined : this.#beside.get(number)
  }

  set(number: number, result: Uint8Array, position: number): void {
    for (;;) {
      const place = number & (this.#numbers.length - 1)
      const there = this.#numbers[place]
      if (there === 0 || there === number) {
        if (there === 0 && !(this.#beside.size > 0 && this.#beside.delete(number))) this.size += 1
        this.#numbers[place] = number
        this.#positions[place] = position
        this.#results[place] = result
        return
      }
      if (this.#numbers.length >= placesMax) {
        if (!this.#beside.has(number)) this.size += 1
        this.#beside.set(number, { result, position })
        return
      }
      this.#grow()
    }
  }

  delete(number: number): void {
    const place = number & (this.#numbers.length - 1)
    if (this.#numbers[place] === number) {
      this.#numbers[place] = 0
      this.#results[place] = noResult
      this.size -= 1
    } else if (this.#beside.size > 0 && this.#beside.delete(number)) this.size -= 1
  }

  keys(): number[] {
    return Array.from(this, ([number]) => number)
  }

  values(): RecordedResult[] {
    return Array.from(this, ([, result]) => result)
  }

  /** In no order. */
  *[Symbol.iterator](): Generator<[number, RecordedResult]> {
    for (const [place, number] of this.#numbers.entries()) {
      if (number !== 0) yield [number, { result: this.#results[place] as Uint8Array, position: this.#positions[place] as number }]
    }
    yield* this.#beside
  }

  #grow(): void {
    const kept = [...this]
    const places = Math.max(placesMin, this.#numbers.length * 2)
    this.#numbers = new Uint32Array(places)
    this.#positions = new Float64Array(places)
    this.#results = Array.from({ length: places }, () => noResult)
    this.size = 0
    this.#beside.clear()
    for (const [number, { result, position }] of kept) this.set(number, result, position)
  }
}
