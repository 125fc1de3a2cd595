/**
 * The accumulators of many keys side by side: one column per aggregate, a position per key. Numbers in typed arrays; sets, texts and
 * what custom aggregates make in plain ones.
 *
 * A pane begins `sparse`, with positions in the order in which its keys came and a small hash table from slot to position; when a
 * good part of all slots is in it, it becomes `dense`, and a slot is its own position. Positions of one form do not change.
 */
const firstCapacity = 16

export class Columns {
  /** The first counts rows: a position with 0 of them is empty. */
  readonly numbers: Float64Array[]
  readonly objects: unknown[][]
  readonly capacity: number

  constructor(numberCount: number, objectCount: number, capacity: number) {
    this.capacity = capacity
    this.numbers = Array.from({ length: numberCount }, () => new Float64Array(capacity))
    this.objects = Array.from({ length: objectCount }, () => [])
  }

  get rows(): Float64Array {
    return this.numbers[0] as Float64Array
  }

  clear(count: number): void {
    for (const column of this.numbers) column.fill(0, 0, count)
    for (const column of this.objects) column.length = 0
  }

  grown(capacity: number): Columns {
    const longer = new Columns(this.numbers.length, this.objects.length, capacity)
    for (const [at, column] of this.numbers.entries()) (longer.numbers[at] as Float64Array).set(column)
    // Plain arrays grow by themselves.
    for (const [at, column] of this.objects.entries()) longer.objects[at] = column
    return longer
  }
}

/** Positions of slots, and their columns. Replaced as a whole when it grows, so a unit cut off in between finds the old one. */
interface Form {
  readonly columns: Columns
  /** undefined: dense. Slot by position, and a hash table of positions + 1. */
  readonly slots: Int32Array | undefined
  readonly table: Int32Array
}

const noTable = new Int32Array(0)

export class Cells {
  #form: Form
  /** Positions in use, where it is sparse. */
  #count = 0

  constructor(numberCount: number, objectCount: number) {
    this.#form = sparseForm(new Columns(numberCount, objectCount, firstCapacity), new Int32Array(firstCapacity), 0)
  }

  get columns(): Columns {
    return this.#form.columns
  }

  get isDense(): boolean {
    return this.#form.slots === undefined
  }

  /** Positions are below it. */
  get top(): number {
    return this.isDense ? this.#form.columns.capacity : this.#count
  }

  slotAt(position: number): number {
    const { slots } = this.#form
    return slots === undefined ? position : (slots[position] as number)
  }

  /** -1: none; a position that is found may be empty. */
  find(slot: number): number {
    const { slots, table, columns } = this.#form
    if (slots === undefined) return slot < columns.capacity ? slot : -1
    const mask = table.length - 1
    let at = spread(slot) & mask
    for (;;) {
      const position = (table[at] as number) - 1
      if (position === -1 || slots[position] === slot) return position
      at = (at + 1) & mask
    }
  }

  /** The position of a slot, made when there is none. `slotsTop`: all slots are below it. */
  ensure(slot: number, slotsTop: number): number {
    const found = this.find(slot)
    if (found !== -1) return found
    return this.#make(slot, slotsTop)
  }

  #make(slot: number, slotsTop: number): number {
    const { slots, columns } = this.#form
    if (slots === undefined) {
      this.#form = { columns: columns.grown(capacityFor(slotsTop)), slots: undefined, table: noTable }
      return slot
    }
    if (this.#count === columns.capacity) this.#form = sparseForm(columns.grown(columns.capacity * 2), doubled(slots), this.#count)
    const { slots: room, table } = this.#form
    const position = this.#count
    ;(room as Int32Array)[position] = slot
    this.#count = position + 1
    place(table, slot, position)
    return position
  }

  /** Before a run of rows: positions may change now, not later. */
  settle(slotsTop: number): void {
    const { slots, columns } = this.#form
    if (slots === undefined || columns.capacity < 64 || this.#count * 4 < slotsTop) return
    const dense = new Columns(columns.numbers.length, columns.objects.length, capacityFor(slotsTop))
    for (const [at, column] of columns.numbers.entries()) {
      const to = dense.numbers[at] as Float64Array
      for (let i = 0; i < this.#count; i += 1) to[slots[i] as number] = column[i] as number
    }
    for (const [at, column] of columns.objects.entries()) {
      if (column.length === 0) continue
      const to = dense.objects[at] as unknown[]
      for (let i = 0; i < dense.capacity; i += 1) to.push(undefined)
      for (let i = 0; i < this.#count; i += 1) to[slots[i] as number] = column[i]
    }
    this.#form = { columns: dense, slots: undefined, table: noTable }
  }
}

const capacityFor = (slots: number): number => 2 ** Math.ceil(Math.log2(Math.max(slots, 64)))

const spread = (slot: number): number => {
  const mixed = Math.imul(slot, 0x9e3779b1)
  return mixed ^ (mixed >>> 15)
}

function place(table: Int32Array, slot: number, position: number): void {
  const mask = table.length - 1
  let at = spread(slot) & mask
  while (table[at] !== 0) at = (at + 1) & mask
  table[at] = position + 1
}

function doubled(slots: Int32Array): Int32Array {
  const longer = new Int32Array(slots.length * 2)
  longer.set(slots)
  return longer
}

function sparseForm(columns: Columns, slots: Int32Array, count: number): Form {
  const table = new Int32Array(slots.length * 2)
  for (let i = 0; i < count; i += 1) place(table, slots[i] as number, i)
  return { columns, slots, table }
}
