/** Timers by time, then name, then the order in which they were set. An entry that was moved or cleared stays until its turn and is told by its owner. */

export interface Timer<Owner> {
  readonly timeMs: number
  readonly name: string
  readonly owner: Owner
  readonly order: number
}

export class TimerHeap<Owner> {
  readonly #items: Timer<Owner>[] = []

  get size(): number {
    return this.#items.length
  }

  peek(): Timer<Owner> | undefined {
    return this.#items[0]
  }

  push(timer: Timer<Owner>): void {
    const items = this.#items
    let at = items.length
    items.push(timer)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!before(timer, items[parent] as Timer<Owner>)) break
      items[at] = items[parent] as Timer<Owner>
      at = parent
    }
    items[at] = timer
  }

  take(): Timer<Owner> | undefined {
    const items = this.#items
    const first = items[0]
    const last = items.pop()
    if (first === undefined || last === undefined || items.length === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= items.length) break
      if (child + 1 < items.length && before(items[child + 1] as Timer<Owner>, items[child] as Timer<Owner>)) child += 1
      if (!before(items[child] as Timer<Owner>, last)) break
      items[at] = items[child] as Timer<Owner>
      at = child
    }
    items[at] = last
    return first
  }

  clear(): void {
    this.#items.length = 0
  }
}

function before<Owner>(a: Timer<Owner>, b: Timer<Owner>): boolean {
  if (a.timeMs !== b.timeMs) return a.timeMs < b.timeMs
  if (a.name !== b.name) return a.name < b.name
  return a.order < b.order
}
