/**
 * Where the promises of each other node stand in the promise cell, and what stands there.
 *
 * Owns: the slots. A slot that was freed is the last to be used again, and its promise is taken out at once. A shard with an older table
 * that still looks there finds promises of newer tables only, which do not count for it.
 */
import { assert } from '../base/assert.ts'
import type { NodeId } from '../base/ids.ts'
import type { HeldPromise } from '../replication/replica-port.ts'
import { PromiseCellWriter, promiseSlotCount } from '../shard/promise-cell.ts'

export class PromiseSlots {
  readonly #writer: PromiseCellWriter
  readonly #slots = new Map<NodeId, number>()
  readonly #free = Array.from({ length: promiseSlotCount }, (_, slot) => slot)

  constructor(cell: SharedArrayBuffer) {
    this.#writer = new PromiseCellWriter(cell)
  }

  /** The other nodes in the table. */
  handleNodes(nodes: readonly NodeId[]): void {
    const there = new Set(nodes)
    for (const [node, slot] of this.#slots) {
      if (there.has(node)) continue
      this.#slots.delete(node)
      this.#writer.publish(slot, undefined)
      this.#free.push(slot)
    }
    for (const node of nodes) {
      if (this.#slots.has(node)) continue
      const slot = this.#free.shift()
      assert(slot !== undefined, `at most ${promiseSlotCount} other nodes`)
      this.#slots.set(node, slot)
    }
  }

  entries(): readonly (readonly [NodeId, number])[] {
    return [...this.#slots]
  }

  publish(node: NodeId, promise: HeldPromise | undefined): void {
    const slot = this.#slots.get(node)
    if (slot !== undefined) this.#writer.publish(slot, promise)
  }

  clear(): void {
    for (const slot of this.#slots.values()) this.#writer.publish(slot, undefined)
  }
}
