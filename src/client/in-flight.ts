/**
 * The unanswered calls of a pipe, by number: a ring, since numbers are given in order and most answers come soon; a call that is
 * still there when its place is needed again moves to a map beside it.
 */
import type { Operation } from './operation.ts'

const places = 4096

export class InFlight {
  readonly #ring: (Operation | undefined)[] = Array.from({ length: places })
  readonly #ids = new Uint32Array(places)
  readonly #late = new Map<number, Operation>()
  #lastId = 0
  size = 0

  /** Numbers ascend by one, modulo 2^32. */
  add(id: number, operation: Operation): void {
    const place = id % places
    const before = this.#ring[place]
    if (before !== undefined) this.#late.set(this.#ids[place] as number, before)
    this.#ring[place] = operation
    this.#ids[place] = id
    this.#lastId = id
    this.size += 1
  }

  take(id: number): Operation | undefined {
    const place = id % places
    let operation = this.#ring[place]
    if (operation !== undefined && this.#ids[place] === id) {
      this.#ring[place] = undefined
    } else {
      operation = this.#late.get(id)
      if (operation === undefined) return undefined
      this.#late.delete(id)
    }
    this.size -= 1
    return operation
  }

  /** Takes those of which `isOver` says so, oldest first. */
  takeIf(isOver: (operation: Operation) => boolean): Operation[] {
    const taken: Operation[] = []
    if (this.size === 0) return taken
    for (const [id, operation] of this.#late) {
      if (!isOver(operation)) continue
      this.#late.delete(id)
      taken.push(operation)
    }
    for (let i = 1; i <= places; i += 1) {
      const place = (this.#lastId + i) % places
      const operation = this.#ring[place]
      if (operation === undefined || !isOver(operation)) continue
      this.#ring[place] = undefined
      taken.push(operation)
    }
    this.size -= taken.length
    return taken
  }
}
