/**
 * The timers of one key: name -> time. Most keys have one, which is kept without a table of its own; what is iterated is in no particular
 * order.
 */
export class Timers {
  #name: string | undefined
  #time = 0
  #more: Map<string, number> | undefined

  get size(): number {
    return (this.#name === undefined ? 0 : 1) + (this.#more?.size ?? 0)
  }

  get(name: string): number | undefined {
    return name === this.#name ? this.#time : this.#more?.get(name)
  }

  has(name: string): boolean {
    return name === this.#name || this.#more?.has(name) === true
  }

  set(name: string, time: number): void {
    if (name === this.#name || (this.#name === undefined && this.#more?.has(name) !== true)) {
      this.#name = name
      this.#time = time
    } else {
      this.#more ??= new Map()
      this.#more.set(name, time)
    }
  }

  /** False: there was none. */
  delete(name: string): boolean {
    if (name !== this.#name) return this.#more?.delete(name) === true
    this.#name = undefined
    return true
  }

  copy(): Timers {
    const copy = new Timers()
    copy.#name = this.#name
    copy.#time = this.#time
    copy.#more = this.#more === undefined ? undefined : new Map(this.#more)
    return copy
  }

  *[Symbol.iterator](): IterableIterator<[name: string, time: number]> {
    if (this.#name !== undefined) yield [this.#name, this.#time]
    if (this.#more !== undefined) yield* this.#more
  }
}
