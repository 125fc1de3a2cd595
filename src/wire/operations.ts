/**
 * Batches of operations: a validated reader for shards and a builder for clients.
 *
 * The columns of an OperationBatch (kinds, map slots, key and value lengths) may be written short: one element stands for all.
 * The reader checks every length and sum once, so that what walks it afterwards can trust the bounds:
 * keys and values of all operations lie one after the other and fill `keys` and `values` exactly.
 */
import { invalidArgument } from '../base/errors.ts'
import { copyInto } from '../base/copy-into.ts'
import { type OperationBatch, OperationKind, type OperationOptions, type SessionDeclaration } from './generated/nearstate/v1/data.ts'
import { batchOperationsMax, ticketBytes } from './limits.ts'

const kindMax = OperationKind.OPEN_SESSION
const kindNames: readonly string[] = Object.entries(OperationKind)
  .filter(([, kind]) => kind >= 0)
  .sort((a, b) => a[1] - b[1])
  .map(([name]) => name)
export const operationName = (kind: number): string => kindNames[kind] ?? `kind ${kind}`

/** Operations that carry a value (or, for the last two, encoded arguments). */
const carriesValue = Uint8Array.from({ length: kindMax + 1 }, (_, kind) =>
  kind === OperationKind.SET ||
  kind === OperationKind.PUT_IF_ABSENT ||
  kind === OperationKind.REPLACE ||
  kind === OperationKind.INVOKE ||
  kind === OperationKind.INVOKE_ALL
    ? 1
    : 0,
)
/** Operations on one key; the others are on a partition. */
export const isKeyed = (kind: number): boolean => kind <= OperationKind.INVOKE
/** Operations that may change entries. */
export const isWrite = (kind: number): boolean => isNumbered(kind) || kind === OperationKind.INVOKE_ALL

/**
 * Writes that clients number in their session, so that a retry takes effect once: each is one entry of its partition's log.
 * Not INVOKE_ALL: a page is many entries, and some of them may be done when it ends.
 */
export const isNumbered = (kind: number): boolean => numbered[kind] === 1
const numbered = Uint8Array.from({ length: kindMax + 1 }, (_, kind) =>
  kind === OperationKind.SET ||
  kind === OperationKind.DELETE ||
  kind === OperationKind.PUT_IF_ABSENT ||
  kind === OperationKind.REPLACE ||
  kind === OperationKind.EXPIRE ||
  kind === OperationKind.INVOKE ||
  kind === OperationKind.CLEAR
    ? 1
    : 0,
)

export class OperationReader {
  readonly batch: OperationBatch
  readonly count: number
  readonly keys: Buffer
  readonly values: Buffer
  /** Operation i's key is keys[keyBounds[i] .. keyBounds[i + 1]), and its value likewise. */
  readonly keyBounds: Int32Array
  readonly valueBounds: Int32Array
  readonly #kinds: number[]
  readonly #slots: number[]
  readonly #options: OperationOptions[]
  readonly #oneKind: boolean
  readonly #oneSlot: boolean
  readonly #numbers: number[]
  readonly #distances: number[]

  /** Throws INVALID_ARGUMENT for a broken batch: its stream must end. */
  constructor(batch: OperationBatch) {
    const count = batch.keyLengths.length
    if (count > batchOperationsMax) throw broken(`${count} operations, limit is ${batchOperationsMax}`)
    checkColumn('kinds', batch.kinds.length, count)
    checkColumn('map_slots', batch.mapSlots.length, count)
    if (batch.valueLengths.length > 0) checkColumn('value_lengths', batch.valueLengths.length, count)
    this.batch = batch
    this.count = count
    this.keys = batch.keys
    this.values = batch.values
    this.keyBounds = boundsOf('keys', batch.keyLengths, count, batch.keys.length)
    this.valueBounds = boundsOf('values', batch.valueLengths, count, batch.values.length)
    this.#kinds = batch.kinds
    this.#slots = batch.mapSlots
    this.#options = batch.options
    this.#oneKind = batch.kinds.length === 1
    this.#oneSlot = batch.mapSlots.length === 1
    this.#numbers = batch.requestNumbers
    this.#distances = batch.unansweredDistances
    this.#checkOptions()
    this.#checkKinds()
    this.#checkSessions()
  }

  /** Sessions that this batch declares, before its operations. */
  get sessions(): readonly SessionDeclaration[] {
    return this.batch.sessions
  }

  /** The operation's number in the session of its partition; 0: none. */
  numberAt(index: number): number {
    return this.#numbers.length === 0 ? 0 : (this.#numbers[index] as number)
  }

  /** By how much the lowest number without an answer at the client lies below the operation's number; less than the number. */
  distanceAt(index: number): number {
    return this.#distances.length === 0 ? 0 : (this.#distances[index] as number)
  }

  kindAt(index: number): OperationKind {
    return this.#kinds[this.#oneKind ? 0 : index] as OperationKind
  }

  slotAt(index: number): number {
    return this.#slots[this.#oneSlot ? 0 : index] as number
  }

  idAt(index: number): number {
    return (this.batch.firstId + index) >>> 0
  }

  optionsAt(index: number): OperationOptions | undefined {
    const options = this.#options
    if (options.length === 0) return undefined
    if (options.length === this.count) return options[index]
    let low = 0
    let high = options.length - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const at = (options[middle] as OperationOptions).index
      if (at === index) return options[middle]
      if (at < index) low = middle + 1
      else high = middle - 1
    }
    return undefined
  }

  #checkOptions(): void {
    let last = -1
    for (const option of this.#options) {
      if (option.index <= last || option.index >= this.count) {
        throw broken(
          `options of operation ${option.index} come after those of ${last}, of ${this.count} operations; ascending ones are wanted`,
        )
      }
      last = option.index
    }
  }

  #checkSessions(): void {
    for (const { ticket } of this.batch.sessions) {
      if (ticket.length !== ticketBytes) throw broken(`a session's ticket has ${ticket.length} bytes, ${ticketBytes} are wanted`)
    }
    const numbers = this.#numbers
    const distances = this.#distances
    if (numbers.length === 0 && distances.length === 0) return
    const { count } = this
    if (numbers.length !== count || distances.length !== count) {
      throw broken(`${numbers.length} request numbers and ${distances.length} unanswered distances for ${count} operations`)
    }
    for (let i = 0; i < count; i += 1) {
      const number = numbers[i] as number
      const distance = distances[i] as number
      if (distance < number || (number === 0 && distance === 0)) continue
      throw broken(`operation ${i} has number ${number}, and the lowest unanswered one lies ${distance} below`)
    }
  }

  #checkKinds(): void {
    const { count, keyBounds, valueBounds } = this
    for (let i = 0; i < count; i += 1) {
      const kind = this.kindAt(i)
      if (!(kind >= 1 && kind <= kindMax)) {
        throw broken(`operation ${i} is of kind ${kind}, known are 1 to ${kindMax}; the sender may be newer than this node`)
      }
      const hasKey = (keyBounds[i + 1] as number) > (keyBounds[i] as number)
      if (hasKey !== isKeyed(kind)) throw broken(`operation ${i} (${operationName(kind)}) carries ${hasKey ? 'a' : 'no'} key`)
      if (carriesValue[kind] === 1 && valueBounds[i + 1] === valueBounds[i] && (this.optionsAt(i)?.upload ?? 0) === 0) {
        throw broken(`operation ${i} (${operationName(kind)}) carries no value`)
      }
    }
  }
}

const broken = (what: string): Error => invalidArgument(`Cannot read batch: ${what}`)

function checkColumn(name: string, length: number, count: number): void {
  if (length !== count && (length !== 1 || count === 0)) throw broken(`${name} has ${length} elements for ${count} operations`)
}

/** Running sums of a column of lengths; throws when they do not fill the payload exactly. */
export function boundsOf(name: string, lengths: readonly number[], count: number, payloadBytes: number): Int32Array {
  const bounds = new Int32Array(count + 1)
  const only = lengths.length === 1 ? (lengths[0] as number) : -1
  let sum = 0
  if (lengths.length > 0) {
    for (let i = 0; i < count; i += 1) {
      sum += only >= 0 ? only : (lengths[i] as number)
      if (sum > payloadBytes) throw broken(`the lengths of ${name} pass ${payloadBytes}, the bytes that came, at ${i} of ${count}`)
      bounds[i + 1] = sum
    }
  }
  if (sum !== payloadBytes) throw broken(`the lengths of ${name} sum up to ${sum}, but ${payloadBytes} bytes came`)
  return bounds
}

const noBytes: Buffer = Buffer.alloc(0)

/** Options with nothing set, for an operation to fill in. */
export const emptyOptions = (index = 0): OperationOptions => ({
  index,
  ttlMs: undefined,
  maxIdleMs: undefined,
  ifVersion: undefined,
  function: '',
  partition: 0,
  cursor: noBytes,
  limit: 0,
  prefix: noBytes,
  keysOnly: false,
  withVersion: false,
  upload: 0,
  anyReplica: false,
})

/** A batch with no operations, for declarations and chunks. */
export const emptyBatch = (): OperationBatch => ({
  wireVersion: 0,
  tableVersion: 0n,
  firstId: 0,
  maps: [],
  kinds: [],
  mapSlots: [],
  keyLengths: [],
  keys: noBytes,
  valueLengths: [],
  values: noBytes,
  options: [],
  chunk: undefined,
  gateway: false,
  sessions: [],
  requestNumbers: [],
  unansweredDistances: [],
})

/** Collects operations into growing columns. `take` hands them over and begins anew. */
export class OperationBuilder {
  #batch = emptyBatch()
  #keys: Buffer = noBytes
  #keysEnd = 0
  #values: Buffer = noBytes
  #valuesEnd = 0
  #sameKind = true
  #sameSlot = true

  get count(): number {
    return this.#batch.keyLengths.length
  }

  get bytes(): number {
    return this.#keysEnd + this.#valuesEnd
  }

  /** Takes copies of key and value; `options.index` is set here. Returns the operation's position in the batch. */
  append(
    kind: number,
    slot: number,
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    value: Uint8Array | undefined,
    valueStart: number,
    valueEnd: number,
    options: OperationOptions | undefined,
  ): number {
    const batch = this.#batch
    const index = batch.keyLengths.length
    if (index > 0) {
      this.#sameKind &&= batch.kinds[0] === kind
      this.#sameSlot &&= batch.mapSlots[0] === slot
    }
    batch.kinds.push(kind)
    batch.mapSlots.push(slot)
    batch.keyLengths.push(keyEnd - keyStart)
    if (keyEnd > keyStart) {
      this.#keys = withRoom(this.#keys, this.#keysEnd, keyEnd - keyStart)
      this.#keysEnd = copyInto(this.#keys, this.#keysEnd, key, keyStart, keyEnd)
    }
    if (value === undefined) {
      batch.valueLengths.push(0)
    } else {
      this.#values = withRoom(this.#values, this.#valuesEnd, valueEnd - valueStart)
      this.#valuesEnd = copyInto(this.#values, this.#valuesEnd, value, valueStart, valueEnd)
      batch.valueLengths.push(valueEnd - valueStart)
    }
    if (options !== undefined) {
      options.index = index
      batch.options.push(options)
    }
    return index
  }

  /** Numbers the operation appended last; see `OperationBatch.request_numbers`. */
  number(number: number, unansweredDistance: number): void {
    const { requestNumbers, unansweredDistances, keyLengths } = this.#batch
    fill(requestNumbers, keyLengths.length - 1)
    fill(unansweredDistances, keyLengths.length - 1)
    requestNumbers.push(number)
    unansweredDistances.push(unansweredDistance)
  }

  /** The batch, in its shortest form. The builder keeps nothing of it. */
  take(firstId: number, tableVersion: bigint): OperationBatch {
    const batch = this.#batch
    batch.firstId = firstId
    batch.tableVersion = tableVersion
    batch.keys = this.#keys.subarray(0, this.#keysEnd)
    batch.values = this.#values.subarray(0, this.#valuesEnd)
    if (this.#sameKind && batch.kinds.length > 1) batch.kinds.length = 1
    if (this.#sameSlot && batch.mapSlots.length > 1) batch.mapSlots.length = 1
    if (this.#valuesEnd === 0) batch.valueLengths = []
    if (batch.requestNumbers.length > 0) {
      fill(batch.requestNumbers, batch.keyLengths.length)
      fill(batch.unansweredDistances, batch.keyLengths.length)
    }
    // The next batch is probably like this one.
    this.#keys = this.#keysEnd === 0 ? this.#keys : freshBytes(this.#keysEnd)
    this.#values = this.#valuesEnd === 0 ? noBytes : freshBytes(this.#valuesEnd)
    this.#keysEnd = 0
    this.#valuesEnd = 0
    this.#sameKind = true
    this.#sameSlot = true
    this.#batch = emptyBatch()
    return batch
  }
}

function fill(column: number[], length: number): void {
  while (column.length < length) column.push(0)
}

/** Uninitialized. Short ones come from Node's pool: memory of their own would cost more than what they hold. */
export const freshBytes = (length: number): Buffer => Buffer.allocUnsafe(Math.max(256, length))

export function withRoom(buffer: Buffer, used: number, more: number): Buffer {
  if (used + more <= buffer.length) return buffer
  const larger = freshBytes(Math.max(used + more, 2 * buffer.length))
  if (used > 0) larger.set(buffer.subarray(0, used))
  return larger
}
