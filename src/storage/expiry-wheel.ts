/**
 * A hierarchical timer wheel over the entries of one map: lists through the entries themselves (`next`, `previous`), one list
 * per slot. Six levels of 64 slots, ticks of 128 ms: level 0 spans 8 s, level 5 279 years; what is due later waits at its end.
 *
 * Owns: the lists and the tick it stands at. Does not: remove entries, or know a clock.
 *
 * Why intrusive: an entry stands in exactly one list, so that writing an expiring key again and again leaves nothing behind.
 * An entry whose time moved later while it waited is put further when its slot comes.
 *
 * 1. Every entry with `dueAt` finite is in the list of a slot not after its time; the first one's `previous` is ~slot.
 *    Timed entries without (their expiry was lifted) have `next` = `previous` = 0.
 * 2. At each level the slots from the tick's own (0) to 63 further are in use; the tick's own is empty at level 1 and above once
 *    the tick was handled.
 */
import { dueAt, nextOf, previousOf, setNext, setPrevious } from './entry-layout.ts'
import { type EntrySpace, segmentOf, wordOf } from './entry-space.ts'
import type { MemoryBudget } from './memory-budget.ts'

const tickMs = 128
const levels = 6
const slots = 64
const spans = Array.from({ length: levels }, (_, level) => slots ** level)
const wheelBytes = 4 * levels * slots
const noHeads = new Int32Array(0)

export class ExpiryWheel {
  readonly #space: EntrySpace
  readonly #budget: MemoryBudget
  #heads = noHeads
  #linked = 0
  /** The next tick to be handled. */
  #tick = 0

  constructor(space: EntrySpace, budget: MemoryBudget) {
    this.#space = space
    this.#budget = budget
  }

  /** Bytes by which one more entry may grow the wheel. */
  growthForLink(): number {
    return this.#heads === noHeads ? wheelBytes : 0
  }

  /** Takes an entry in, if it has a time due. `wallTimeMs` sets the tick of an empty wheel. */
  link(location: number, wallTimeMs: number): void {
    if (this.#heads === noHeads) {
      this.#heads = new Int32Array(levels * slots)
      this.#budget.add(wheelBytes)
    }
    if (this.#linked === 0) this.#tick = Math.floor(wallTimeMs / tickMs)
    this.#push(location, this.#tick)
  }

  unlink(location: number): void {
    const words = this.#wordsOf(location)
    const at = wordOf(location)
    const next = nextOf(words, at)
    const previous = previousOf(words, at)
    if (previous === 0) return
    this.#linked -= 1
    if (next !== 0) setPrevious(this.#wordsOf(next), wordOf(next), previous)
    if (previous > 0) setNext(this.#wordsOf(previous), wordOf(previous), next)
    else this.#heads[~previous] = next
    setNext(words, at, 0)
    setPrevious(words, at, 0)
  }

  /** The words of an entry were copied to `to`; its neighbours learn of it. */
  moved(to: number): void {
    const words = this.#wordsOf(to)
    const next = nextOf(words, wordOf(to))
    const previous = previousOf(words, wordOf(to))
    if (next !== 0) setPrevious(this.#wordsOf(next), wordOf(next), to)
    if (previous > 0) setNext(this.#wordsOf(previous), wordOf(previous), to)
    else if (previous < 0) this.#heads[~previous] = to
  }

  /**
   * Moves on to `wallTimeMs`, handing every entry past its time to `expire`, which removes it before it returns (one that stays is
   * handed out again a tick later). Answers the number of entries handled, at most `budget`; it goes on from there next time.
   */
  advance(wallTimeMs: number, budget: number, expire: (location: number) => void): number {
    const target = Math.floor(wallTimeMs / tickMs)
    let done = 0
    while (this.#tick <= target && this.#linked > 0) {
      for (let level = levels - 1; level >= 0; level -= 1) {
        const slot = this.#slotAt(level)
        for (let location = this.#head(slot); location !== 0; location = this.#head(slot)) {
          if (done >= budget) return done
          done += 1
          this.#handle(location, wallTimeMs, expire)
        }
      }
      this.#tick = Math.min(this.#nextBusyTick(), target + 1)
    }
    return done
  }

  clear(): void {
    this.#budget.add(-4 * this.#heads.length)
    this.#heads = noHeads
    this.#linked = 0
  }

  /** Takes the entry out of the tick's own slot: expires it, or puts it where it belongs by now. */
  #handle(location: number, wallTimeMs: number, expire: (location: number) => void): void {
    const isDue = dueAt(this.#wordsOf(location), wordOf(location)) <= wallTimeMs
    const slot = ~previousOf(this.#wordsOf(location), wordOf(location))
    if (isDue) expire(location)
    if (this.#head(slot) !== location) return
    this.unlink(location)
    this.#push(location, isDue ? this.#tick + 1 : this.#tick)
  }

  #push(location: number, earliestTick: number): void {
    const words = this.#wordsOf(location)
    const at = wordOf(location)
    const dueAtMs = dueAt(words, at)
    setNext(words, at, 0)
    setPrevious(words, at, 0)
    if (dueAtMs === Number.POSITIVE_INFINITY) return
    const slot = this.#slotFor(Math.max(Math.floor(dueAtMs / tickMs) + 1, earliestTick))
    const next = this.#head(slot)
    setNext(words, at, next)
    setPrevious(words, at, ~slot)
    if (next !== 0) setPrevious(this.#wordsOf(next), wordOf(next), location)
    this.#heads[slot] = location
    this.#linked += 1
  }

  #slotFor(dueTick: number): number {
    for (let level = 0; level < levels; level += 1) {
      const span = spans[level] as number
      const turn = Math.floor(dueTick / span)
      if (turn - Math.floor(this.#tick / span) < slots) return level * slots + (turn % slots)
    }
    return (levels - 1) * slots + ((Math.floor(this.#tick / (spans[levels - 1] as number)) + slots - 1) % slots)
  }

  #slotAt(level: number): number {
    return level * slots + (Math.floor(this.#tick / (spans[level] as number)) % slots)
  }

  /** The next tick at which a list has to be looked at. */
  #nextBusyTick(): number {
    for (let level = 0; level < levels; level += 1) {
      const span = spans[level] as number
      const turn = Math.floor(this.#tick / span)
      for (let ahead = level === 0 ? 0 : 1; ahead < slots; ahead += 1) {
        if (this.#head(level * slots + ((turn + ahead) % slots)) === 0) continue
        // A list of the next turn: higher levels may have something for the start of that turn.
        const turnEnd = (Math.floor(turn / slots) + 1) * slots
        return Math.max(this.#tick, Math.min(turn + ahead, level === levels - 1 ? turn + ahead : turnEnd) * span)
      }
    }
    return Number.POSITIVE_INFINITY
  }

  #head(slot: number): number {
    // None when the removal of the last entry has cleared the wheel under way.
    return this.#heads[slot] ?? 0
  }

  #wordsOf(location: number): Int32Array {
    return this.#space.words[segmentOf(location)] as Int32Array
  }
}
