/**
 * Timers by time, then name, then the order in which they were set. An entry that was moved or cleared stays until its turn and is told by
 * its owner. Times are beside the timers: most comparisons look at them alone.
 */

export interface Timer<Owner> {
  readonly timeMs: number
  readonly name: string
  readonly owner: Owner
  readonly order: number
}

export class TimerHeap<Owner> {
  readonly #items: Timer<Owner>[] = []
  readonly #times: number[] = []

  get size(): number {
    return this.#items.length
  }

  peek(): Timer<Owner> | undefined {
    return this.#items[0]
  }

  push(timer: Timer<Owner>): void {
    const items = this.#items
    const times = this.#times
    const { timeMs } = timer
    let at = items.length
    items.push(timer)
    times.push(timeMs)
    while (at > 0) {
      const parent = (at - 1) >> 1
      const time = times[parent] as number
      if (timeMs > time || (timeMs === time && !isBefore(timer, items[parent] as Timer<Owner>))) break
      items[at] = items[parent] as Timer<Owner>
      times[at] = time
      at = parent
    }
    items[at] = timer
    times[at] = timeMs
  }

  take(): Timer<Owner> | undefined {
    const items = this.#items
    const times = this.#times
    const first = items[0]
    const last = items.pop()
    times.pop()
    const size = items.length
    if (first === undefined || last === undefined || size === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= size) break
      let time = times[child] as number
      if (child + 1 < size) {
        const other = times[child + 1] as number
        if (other < time || (other === time && isBefore(items[child + 1] as Timer<Owner>, items[child] as Timer<Owner>))) {
          child += 1
          time = other
        }
      }
      if (time > last.timeMs || (time === last.timeMs && !isBefore(items[child] as Timer<Owner>, last))) break
      items[at] = items[child] as Timer<Owner>
      times[at] = time
      at = child
    }
    items[at] = last
    times[at] = last.timeMs
    return first
  }

  clear(): void {
    this.#items.length = 0
    this.#times.length = 0
  }
}

/** Of two at one time. */
export const isBefore = <Owner>(a: Timer<Owner>, b: Timer<Owner>): boolean => (a.name === b.name ? a.order < b.order : a.name < b.name)
