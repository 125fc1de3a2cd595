/**
 * The simulation's time: a queue of things to happen, run one after the other. Nothing else moves time, and nothing else decides
 * order, so that a seed is a run. Things of the same moment happen in the order in which they were scheduled.
 */
import { assert } from '../../../src/base/assert.ts'

interface Scheduled {
  readonly atMs: number
  readonly sequence: number
  readonly run: () => void
}

const before = (a: Scheduled, b: Scheduled): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.sequence < b.sequence)

export class Scheduler {
  /** True time: what no participant can read. */
  nowMs = 0
  readonly #heap: Scheduled[] = []
  #sequence = 0

  at(atMs: number, run: () => void): void {
    const item = { atMs: Math.max(atMs, this.nowMs), sequence: this.#sequence, run }
    this.#sequence += 1
    const heap = this.#heap
    let i = heap.length
    heap.push(item)
    while (i > 0) {
      const parent = (i - 1) >> 1
      const other = heap[parent] as Scheduled
      if (!before(item, other)) break
      heap[i] = other
      i = parent
    }
    heap[i] = item
  }

  after(ms: number, run: () => void): void {
    this.at(this.nowMs + ms, run)
  }

  /** Runs everything up to `untilMs`; `afterEach` looks at the world after each step, and stops the run by answering false. */
  runUntil(untilMs: number, afterEach: () => boolean): void {
    for (;;) {
      const first = this.#heap[0]
      if (first === undefined || first.atMs > untilMs) break
      this.#removeFirst()
      assert(first.atMs >= this.nowMs, 'time does not go back')
      this.nowMs = first.atMs
      first.run()
      if (!afterEach()) return
    }
    this.nowMs = untilMs
  }

  #removeFirst(): void {
    const heap = this.#heap
    const item = heap.pop() as Scheduled
    if (heap.length === 0) return
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1] as Scheduled, heap[child] as Scheduled)) child += 1
      if (!before(heap[child] as Scheduled, item)) break
      heap[i] = heap[child] as Scheduled
      i = child
    }
    heap[i] = item
  }
}
