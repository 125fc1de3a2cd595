/**
 * Hash -> location of an entry, in the order of hashes: linear probing over cells kept sorted by hash.
 *
 *   cells:  [hash, location] [hash, location] [0, 0] [hash, location] ...      location 0: empty
 *
 * Owns: the cells, their growth and shrinking. Does not: know keys; who looks up compares them among cells of equal hash.
 *
 * Why sorted: a miss ends early, deletion shifts back and leaves no tombstones, and a walk of the cells is a walk in hash order,
 * so that a place in the space of hashes is a cursor that survives every resize.
 *
 * 1. An entry stands at or after the home of its hash, with no empty cell between; hashes never fall from one cell to the next.
 * 2. Homes rise with hashes and do not wrap: a tail after the last home takes the overflow, and its last cell is always empty.
 * 3. While it resizes, hashes below `boundary` are in `next`, all others in `current`; every insert and remove moves a few more.
 */
import type { MemoryBudget } from './memory-budget.ts'

const lowestHash = -0x80000000
const cellsMin = 8
const tailMin = 8
/** Cells that one insert or remove moves while the index resizes. */
const cellsPerStep = 32
const growAtLoad = 0.85
const shrinkAtLoad = 0.2

/** Index into the cells of a table of this capacity at which a hash is at home. */
export const homeOf = (hash: number, capacity: number): number => ((hash + 0x80000000) * capacity * 2 ** -32) << 1

class HashTable {
  readonly capacity: number
  cells: Int32Array

  constructor(capacity: number) {
    this.capacity = capacity
    this.cells = new Int32Array(2 * (capacity + tailMin))
  }

  get bytes(): number {
    return this.cells.byteLength
  }

  /** Index into `cells` of a hash's home. */
  home(hash: number): number {
    return homeOf(hash, this.capacity)
  }

  /** Index of the first cell with a hash >= `hash`, or of an empty one where probing for it ends. */
  lowerBound(hash: number): number {
    const cells = this.cells
    let cell = this.home(hash)
    while ((cells[cell + 1] as number) !== 0 && (cells[cell] as number) < hash) cell += 2
    return cell
  }

  /** Index of the cell with this hash and location, which must be there. */
  cellOf(hash: number, location: number): number {
    const cells = this.cells
    let cell = this.lowerBound(hash)
    while ((cells[cell + 1] as number) !== location) cell += 2
    return cell
  }

  /** Index of the first occupied cell at or after `cell`; -1: none. */
  nextOccupied(cell: number): number {
    const cells = this.cells
    for (let i = cell; i < cells.length; i += 2) if ((cells[i + 1] as number) !== 0) return i
    return -1
  }

  /** Inserts; answers the bytes by which the tail had to grow. */
  insert(hash: number, location: number): number {
    const cell = this.lowerBound(hash)
    let cells = this.cells
    let empty = cell
    while ((cells[empty + 1] as number) !== 0) empty += 2
    let grown = 0
    if (empty === cells.length - 2) {
      const longer = new Int32Array(cells.length + 2 * Math.max(tailMin, cells.length >>> 4))
      longer.set(cells)
      grown = longer.byteLength - cells.byteLength
      this.cells = longer
      cells = longer
    }
    for (let i = empty; i > cell; i -= 2) {
      cells[i] = cells[i - 2] as number
      cells[i + 1] = cells[i - 1] as number
    }
    cells[cell] = hash
    cells[cell + 1] = location
    return grown
  }

  removeAt(cell: number): void {
    const cells = this.cells
    let gap = cell
    for (let next = cell + 2; (cells[next + 1] as number) !== 0 && this.home(cells[next] as number) < next; next += 2) {
      cells[gap] = cells[next] as number
      cells[gap + 1] = cells[next + 1] as number
      gap = next
    }
    cells[gap] = 0
    cells[gap + 1] = 0
  }
}

/** A table without homes, in which nothing is found. */
export const noTable = new HashTable(0)

export class HashIndex {
  entries = 0
  readonly #budget: MemoryBudget
  #current: HashTable = noTable
  #next: HashTable = noTable
  #boundary = lowestHash
  /** Cell of `current` after the last one moved. */
  #moved = 0

  constructor(budget: MemoryBudget) {
    this.#budget = budget
  }

  get bytes(): number {
    return this.#current === noTable ? 0 : this.#current.bytes + (this.#next === noTable ? 0 : this.#next.bytes)
  }

  /** The only table; one without homes while there are two. */
  get settled(): HashTable {
    return this.#next === noTable ? this.#current : noTable
  }

  /** The table that holds, or would hold, this hash. */
  tableOf(hash: number): HashTable {
    return hash < this.#boundary ? this.#next : this.#current
  }

  /** Bytes by which one more entry may grow the index. */
  growthForInsert(): number {
    if (this.#next !== noTable) return 0
    if (this.#current === noTable) return tableBytes(cellsMin)
    return this.entries + 1 > this.#current.capacity * growAtLoad ? tableBytes(grownCapacity(this.#current.capacity)) : 0
  }

  insert(hash: number, location: number): void {
    this.entries += 1
    if (this.#current === noTable) this.#current = this.#newTable(cellsMin)
    else if (this.#next !== noTable) this.#step()
    else if (this.entries > this.#current.capacity * growAtLoad) this.#resizeTo(grownCapacity(this.#current.capacity))
    const grown = this.tableOf(hash).insert(hash, location)
    if (grown > 0) this.#budget.add(grown)
  }

  /** Removes the entry of this hash at this location, which must be there. */
  remove(hash: number, location: number): void {
    const table = this.tableOf(hash)
    this.entries -= 1
    table.removeAt(table.cellOf(hash, location))
    if (this.entries === 0) this.clear()
    else if (this.#next !== noTable) this.#step()
    else if (this.entries < this.#current.capacity * shrinkAtLoad && this.#current.capacity > cellsMin) {
      const capacity = Math.max(cellsMin, Math.ceil(this.entries * 2))
      if (this.#budget.canBorrow(tableBytes(capacity))) this.#resizeTo(capacity)
    }
  }

  /** The entry of this hash at `from` stands at `to` now. */
  relocate(hash: number, from: number, to: number): void {
    const table = this.tableOf(hash)
    table.cells[table.cellOf(hash, from) + 1] = to
  }

  /**
   * Visits locations in hash order, from the first with a hash >= `from`, until `visit` answers false: it is asked before each
   * entry with the entry's hash and location.
   */
  walk(from: number, visit: (hash: number, location: number) => boolean): void {
    if (this.#next !== noTable && from < this.#boundary && !walkTable(this.#next, from, visit)) return
    walkTable(this.#current, Math.max(from, this.#boundary), visit)
  }

  /** Location of the first entry with a hash >= `hash`, else of the very first; 0: there is none. */
  near(hash: number): number {
    return this.#firstFrom(hash) || this.#firstFrom(lowestHash)
  }

  /** Location of an entry other than this one. */
  other(location: number): number {
    let other = 0
    this.walk(lowestHash, (_, found) => {
      other = found
      return found === location
    })
    return other
  }

  #firstFrom(hash: number): number {
    if (hash < this.#boundary) {
      const cell = this.#next.nextOccupied(this.#next.lowerBound(hash))
      if (cell !== -1) return this.#next.cells[cell + 1] as number
    }
    const cell = this.#current.nextOccupied(this.#current.lowerBound(Math.max(hash, this.#boundary)))
    return cell === -1 ? 0 : (this.#current.cells[cell + 1] as number)
  }

  clear(): void {
    this.#budget.add(-this.bytes)
    this.entries = 0
    this.#current = noTable
    this.#next = noTable
    this.#boundary = lowestHash
    this.#moved = 0
  }

  #newTable(capacity: number): HashTable {
    const table = new HashTable(capacity)
    this.#budget.add(table.bytes)
    return table
  }

  #resizeTo(capacity: number): void {
    this.#next = this.#newTable(capacity)
    this.#boundary = lowestHash
    this.#moved = 0
    this.#step()
  }

  /** Moves the next cells, and all of the last one's hash. All at once if `next` fills up meanwhile, which its size makes all but impossible. */
  #step(): void {
    const cells = this.#current.cells
    const crowded = this.entries >= this.#next.capacity * growAtLoad
    const stop = crowded ? cells.length : this.#moved + 2 * cellsPerStep
    let last = 0
    let moved = false
    for (let cell = this.#moved; cell < cells.length; cell += 2) {
      const location = cells[cell + 1] as number
      if (location === 0) continue
      const hash = cells[cell] as number
      if (moved && cell >= stop && hash !== last) {
        this.#boundary = last + 1
        return
      }
      const grown = this.#next.insert(hash, location)
      if (grown > 0) this.#budget.add(grown)
      moved = true
      last = hash
      this.#moved = cell + 2
    }
    this.#budget.add(-this.#current.bytes)
    this.#current = this.#next
    this.#next = noTable
    this.#boundary = lowestHash
    this.#moved = 0
  }
}

const tableBytes = (capacity: number): number => 8 * (capacity + tailMin)
const grownCapacity = (capacity: number): number => Math.ceil(capacity * 1.5)

function walkTable(table: HashTable, from: number, visit: (hash: number, location: number) => boolean): boolean {
  for (let cell = table.nextOccupied(table.lowerBound(from)); cell !== -1; cell = table.nextOccupied(cell + 2)) {
    if (!visit(table.cells[cell] as number, table.cells[cell + 1] as number)) return false
  }
  return true
}
