/**
 * Carries out the aggregates of a stage on accumulators: one array of slots per key (and window).
 *
 * A row is first asked for all of its values, then all slots change: a row that throws changes nothing. Numbers are saved once
 * per unit; sets of distinct values take their additions back one by one, since a copy would cost as much as the set.
 */
import { invalidArgument } from '../../base/errors.ts'
import type { AggregateOperation, Aggregates } from '../graph/aggregate.ts'
import { BrokenRow } from '../graph/broken-row.ts'
import { cloneState } from './clone-state.ts'
import { refusePromise } from '../graph/refuse-async.ts'
import { latin1Of } from './key-id.ts'
import type { Undoable, Unit } from './unit.ts'
import type { CustomAggregate } from './window/steps.ts'

interface Step {
  readonly name: string
  readonly operation: AggregateOperation | 'custom'
  readonly custom: CustomAggregate | undefined
  readonly of: (row: unknown) => unknown
  /** Its slot; a mean has the next one too, for its count. */
  readonly slot: number
}

export class Accumulator implements Undoable {
  slots: unknown[]
  #saved: unknown[] | undefined
  #touchedIn = -1

  constructor(slots: unknown[]) {
    this.slots = slots
  }

  /** To be called before the slots change. */
  touch(unit: Unit): void {
    if (this.#touchedIn === unit.number) return
    this.#saved = this.slots.slice()
    unit.changing(this)
    this.#touchedIn = unit.number
  }

  undo(): void {
    if (this.#saved !== undefined) this.slots = this.#saved
  }
}

export class Reducer {
  readonly #steps: readonly Step[]
  readonly #values: unknown[]
  readonly #width: number
  readonly #customs: readonly Step[]
  #row: unknown
  #distinct = 0

  constructor(aggregates: Aggregates<never>) {
    let slot = 0
    this.#steps = Object.entries(aggregates).map(([name, aggregate]) => {
      const { of } = aggregate
      const custom = (aggregate as { readonly custom?: CustomAggregate }).custom
      const operation = custom === undefined ? aggregate.operation : 'custom'
      const step: Step = { name, operation, custom, of: (of ?? (() => 1)) as (row: unknown) => unknown, slot }
      slot += operation === 'avg' ? 2 : 1
      return step
    })
    this.#width = slot
    this.#customs = this.#steps.filter(({ custom }) => custom !== undefined)
    this.#values = this.#steps.map(() => undefined)
  }

  create(): Accumulator {
    const slots: unknown[] = Array.from({ length: this.#width }, () => undefined)
    for (const { operation, slot, custom } of this.#steps) {
      if (custom !== undefined) slots[slot] = custom.create()
      else if (operation === 'countDistinct') slots[slot] = new Set<unknown>()
      else if (operation !== 'max' && operation !== 'min') slots[slot] = 0
      if (operation === 'avg') slots[slot + 1] = 0
    }
    return new Accumulator(slots)
  }

  /** Asks the row for its values: user code; throws what it throws, and BrokenRow for a value of the wrong kind. */
  read(row: unknown): void {
    this.#row = row
    const steps = this.#steps
    for (let i = 0; i < steps.length; i += 1) {
      const { operation, of, name } = steps[i] as Step
      if (operation === 'count' || operation === 'custom') continue
      const value = of(row)
      checkAggregated(name, operation, value)
      this.#values[i] =
        operation === 'countDistinct' && typeof value === 'object' ? `\u0000bytes\u0000${latin1Of(value as Uint8Array)}` : value
    }
  }

  /** Adds what `read` has read. */
  add(accumulator: Accumulator, unit: Unit): void {
    if (unit.undo) accumulator.touch(unit)
    const { slots } = accumulator
    if (this.#customs.length > 0) this.#addCustom(slots, unit)
    const steps = this.#steps
    for (let i = 0; i < steps.length; i += 1) {
      const { operation, slot } = steps[i] as Step
      const value = this.#values[i]
      switch (operation) {
        case 'count':
          slots[slot] = (slots[slot] as number) + 1
          break
        case 'sum':
          slots[slot] = (slots[slot] as number) + (value as number)
          break
        case 'avg':
          slots[slot] = (slots[slot] as number) + (value as number)
          slots[slot + 1] = (slots[slot + 1] as number) + 1
          break
        case 'max':
          if (slots[slot] === undefined || (value as number) > (slots[slot] as number)) slots[slot] = value
          break
        case 'min':
          if (slots[slot] === undefined || (value as number) < (slots[slot] as number)) slots[slot] = value
          break
        case 'countDistinct':
          this.#addDistinct(slots[slot] as Set<unknown>, value, unit)
          break
        case 'custom': // added before
          break
      }
    }
  }

  /** Writes the results into `row`, in the order in which the aggregates were named. */
  write(accumulator: Accumulator, row: Record<string, unknown>): void {
    const { slots } = accumulator
    const steps = this.#steps
    for (let i = 0; i < steps.length; i += 1) {
      const { name, operation, slot, custom } = steps[i] as Step
      const value = slots[slot]
      if (custom !== undefined) row[name] = custom.finish(value)
      else if (operation === 'countDistinct') row[name] = (value as Set<unknown>).size
      else if (operation === 'avg') row[name] = slots[slot + 1] === 0 ? undefined : (value as number) / (slots[slot + 1] as number)
      else row[name] = value
    }
  }

  /** The accumulator as plain data. */
  encode(accumulator: Accumulator): readonly unknown[] {
    return accumulator.slots.map(slot => (slot instanceof Set ? [...slot] : slot))
  }

  decode(plain: readonly unknown[]): Accumulator {
    const accumulator = this.create()
    const { slots } = accumulator
    for (let slot = 0; slot < slots.length; slot += 1) slots[slot] = plain[slot]
    for (const { operation, slot } of this.#steps) {
      if (operation !== 'countDistinct') continue
      const values = new Set(plain[slot] as readonly unknown[])
      this.#distinct += values.size
      slots[slot] = values
    }
    return accumulator
  }

  /** Custom aggregates change state in user code: they come first, and where units are undone they work on copies. */
  #addCustom(slots: unknown[], unit: Unit): void {
    const before = unit.undo ? this.#customs.map(({ slot }) => slots[slot]) : undefined
    try {
      for (const { slot, custom } of this.#customs) {
        const accumulator = before === undefined ? slots[slot] : cloneState(slots[slot])
        const after = custom?.add(accumulator, this.#row) ?? accumulator
        refusePromise(after)
        slots[slot] = after
      }
    } catch (thrown) {
      if (before !== undefined) for (const [i, { slot }] of this.#customs.entries()) slots[slot] = before[i]
      throw thrown
    }
  }

  /** Adds what `from` holds; `from` stays as it is. */
  merge(into: Accumulator, from: Accumulator): void {
    for (const { operation, slot, custom } of this.#steps) {
      const mine = into.slots[slot]
      const its = from.slots[slot]
      if (custom !== undefined) into.slots[slot] = custom.combine(mine, cloneState(its)) ?? mine
      else if (operation === 'countDistinct') {
        const union = mine as Set<unknown>
        const before = union.size
        for (const value of its as Set<unknown>) union.add(value)
        this.#distinct += union.size - before
      } else if (operation === 'max' || operation === 'min') {
        if (its === undefined) continue
        const isBetter = operation === 'max' ? (its as number) > (mine as number) : (its as number) < (mine as number)
        if (mine === undefined || isBetter) into.slots[slot] = its
      } else {
        into.slots[slot] = (mine as number) + (its as number)
        if (operation === 'avg') into.slots[slot + 1] = (into.slots[slot + 1] as number) + (from.slots[slot + 1] as number)
      }
    }
  }

  /** One that later changes of the other leave alone. */
  copy(accumulator: Accumulator): Accumulator {
    return new Accumulator(accumulator.slots.map(slot => (slot instanceof Set ? new Set(slot) : cloneState(slot))))
  }

  /** Rough bytes of `accumulators` many, with all their distinct values. */
  bytesOf(accumulators: number): number {
    return accumulators * (120 + 16 * this.#width) + this.#distinct * 40
  }

  /** The accumulator is given up. */
  forget(accumulator: Accumulator): void {
    for (const { operation, slot } of this.#steps) {
      if (operation === 'countDistinct') this.#distinct -= (accumulator.slots[slot] as Set<unknown>).size
    }
  }

  #addDistinct(values: Set<unknown>, value: unknown, unit: Unit): void {
    if (values.has(value)) return
    if (unit.undo) {
      unit.changing({
        undo: () => {
          if (values.delete(value)) this.#distinct -= 1
        },
      })
    }
    values.add(value)
    this.#distinct += 1
  }
}

function checkAggregated(name: string, operation: AggregateOperation, value: unknown): void {
  refusePromise(value)
  if (typeof value === 'number' && !Number.isNaN(value)) return
  if (typeof value === 'string' && operation !== 'sum' && operation !== 'avg') return
  if (value instanceof Uint8Array && operation === 'countDistinct') return
  const wanted = operation === 'sum' || operation === 'avg' ? 'a number' : 'a number or a text'
  const got = typeof value === 'number' ? 'NaN' : value === null ? 'null' : typeof value
  const sentence = `aggregate "${name}" (${operation}) got ${got}, ${wanted} is wanted`
  // A row without the value is broken data; an object is broken code.
  throw got === 'object' ? invalidArgument(sentence) : new BrokenRow(sentence)
}
