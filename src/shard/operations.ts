/**
 * What each kind of operation does on a partition that this shard serves.
 *
 * Owns: the meaning of operations and their answers. Does not: queue, route, forward, count.
 * Plain reads and writes are answered at once and allocate nothing but their effect.
 */
import { NearstateError } from '../base/errors.ts'
import { durationRefusal, Outcome, type PartitionMap, unchanged } from '../grid/partition-map.ts'
import { checkKeyBytes } from '../keys/encode-key.ts'
import { OperationKind, type OperationOptions } from '../wire/generated/nearstate/v1/data.ts'
import type { OperationReader } from '../wire/operations.ts'
import type { ResultWriter } from '../wire/results.ts'
import type { InvokeCall, Invokes } from './invokes.ts'
import { askFor, type MapCatalog, type MapHandle } from './map-catalog.ts'
import type { MapSlot } from './map-slots.ts'
import type { Partitions } from './partitions.ts'
import type { Pipe } from './pipe.ts'
import { emptyScanPage, scanPartition } from './scans.ts'

/** Whether the operation has its answer, or waits and will have `pipe.unpark` called. */
export const Step = { answered: 0, waits: 1 } as const
export type Step = (typeof Step)[keyof typeof Step]

export interface OperationsOptions {
  readonly catalog: MapCatalog
  readonly partitions: Partitions
  readonly invokes: Invokes
}

export class Operations {
  readonly #options: OperationsOptions
  readonly catalog: MapCatalog
  // The value of the operation under way: its own bytes or its upload's.
  #value: Buffer = Buffer.alloc(0)
  #valueStart = 0
  #valueEnd = 0

  constructor(options: OperationsOptions) {
    this.#options = options
    this.catalog = options.catalog
  }

  execute(pipe: Pipe, reader: OperationReader, index: number, slot: MapSlot, partition: number, wallTimeMs: number): Step {
    const kind = reader.kindAt(index)
    slot.resolve(this.catalog)
    if (slot.refusal !== undefined) {
      pipe.discardUpload(reader, index)
      pipe.writer.error(reader.idAt(index), slot.refusal)
      return Step.answered
    }
    const part = slot.handle?.parts[partition]
    if (part !== undefined) return this.#onPart(pipe, reader, index, slot, partition, part, kind, wallTimeMs)
    if (slot.handle !== undefined && createsEntries(kind)) {
      const made = this.#options.partitions.openPart(slot.handle, partition)
      return this.#onPart(pipe, reader, index, slot, partition, made, kind, wallTimeMs)
    }
    if (createsEntries(kind)) return this.#ensureMap(pipe, reader, index, slot, partition)
    pipe.discardUpload(reader, index)
    return this.#onNothing(pipe.writer, reader, index, kind, slot)
  }

  #onPart(
    pipe: Pipe,
    reader: OperationReader,
    index: number,
    slot: MapSlot,
    partition: number,
    part: PartitionMap,
    kind: number,
    wallTimeMs: number,
  ): Step {
    const { writer } = pipe
    const id = reader.idAt(index)
    const { keys } = reader
    const start = reader.keyBounds[index] as number
    const end = reader.keyBounds[index + 1] as number
    switch (kind) {
      case OperationKind.GET:
        if (part.find(keys, start, end, wallTimeMs)) {
          const { found } = part
          writer.value(id, found.segment, found.valueStart, found.valueEnd)
        } else writer.absent(id)
        return Step.answered
      case OperationKind.GET_ENTRY:
        if (part.find(keys, start, end, wallTimeMs)) {
          const { found } = part
          writer.value(id, found.segment, found.valueStart, found.valueEnd)
          writer.detail(BigInt(found.version), expiryOf(found.expiresAtMs, found.maxIdleMs, wallTimeMs))
        } else writer.absent(id)
        return Step.answered
      case OperationKind.DELETE:
        if (part.delete(keys, start, end, wallTimeMs) === Outcome.done) writer.ok(id)
        else writer.absent(id)
        return Step.answered
      case OperationKind.INVOKE:
      case OperationKind.INVOKE_ALL:
        return this.#invoke(pipe, reader, index, slot, partition, kind)
      case OperationKind.SIZE:
        writeCount(writer, id, part.entries)
        return Step.answered
      case OperationKind.CLEAR:
        part.clear()
        writer.ok(id)
        return Step.answered
      case OperationKind.SCAN:
        scanPartition(writer, id, part, reader.optionsAt(index), wallTimeMs)
        return Step.answered
      default:
        this.#write(pipe, reader, index, slot, part, kind, wallTimeMs)
        return Step.answered
    }
  }

  #write(pipe: Pipe, reader: OperationReader, index: number, slot: MapSlot, part: PartitionMap, kind: number, wallTimeMs: number): void {
    const { writer } = pipe
    const id = reader.idAt(index)
    const options = reader.optionsAt(index)
    const refusal =
      this.#loadValue(pipe, reader, index, options, slot, true) ?? (options === undefined ? undefined : expiryRefusal(options))
    if (refusal !== undefined) {
      writer.error(id, refusal)
      return
    }
    const { keys } = reader
    const start = reader.keyBounds[index] as number
    const end = reader.keyBounds[index + 1] as number
    const ttlMs = options?.ttlMs === undefined ? unchanged : Number(options.ttlMs)
    const maxIdleMs = options?.maxIdleMs === undefined ? unchanged : Number(options.maxIdleMs)
    let outcome: Outcome
    switch (kind) {
      case OperationKind.SET:
        outcome = part.set(keys, start, end, this.#value, this.#valueStart, this.#valueEnd, ttlMs, maxIdleMs, wallTimeMs)
        break
      case OperationKind.PUT_IF_ABSENT:
        outcome = part.putIfAbsent(keys, start, end, this.#value, this.#valueStart, this.#valueEnd, ttlMs, maxIdleMs, wallTimeMs)
        if (outcome === Outcome.done) outcome = Outcome.absent // the answer says what was there before
        break
      case OperationKind.REPLACE: {
        const version = Number(options?.ifVersion ?? -1n)
        outcome = part.replace(keys, start, end, this.#value, this.#valueStart, this.#valueEnd, version, ttlMs, maxIdleMs, wallTimeMs)
        break
      }
      default:
        outcome = part.expire(keys, start, end, ttlMs, maxIdleMs, wallTimeMs)
    }
    answerWrite(writer, id, part, outcome)
    if (options?.withVersion === true && outcome === Outcome.done) writer.detail(BigInt(part.writtenVersion), undefined)
  }

  /** Sets the value that the operation carries, if it carries one. */
  #loadValue(
    pipe: Pipe,
    reader: OperationReader,
    index: number,
    options: OperationOptions | undefined,
    slot: MapSlot,
    keyed: boolean,
  ): NearstateError | undefined {
    try {
      if (keyed) checkKeyBytes(slot.codec, reader.keys, reader.keyBounds[index] as number, reader.keyBounds[index + 1] as number)
      if (options !== undefined && options.upload !== 0) {
        this.#value = pipe.takeUpload(options.upload)
        this.#valueStart = 0
        this.#valueEnd = this.#value.length
        return undefined
      }
    } catch (error) {
      return error as NearstateError
    }
    this.#value = reader.values
    this.#valueStart = reader.valueBounds[index] as number
    this.#valueEnd = reader.valueBounds[index + 1] as number
    return undefined
  }

  #invoke(pipe: Pipe, reader: OperationReader, index: number, slot: MapSlot, partition: number, kind: number): Step {
    const id = reader.idAt(index)
    const options = reader.optionsAt(index)
    const refusal = this.#loadValue(pipe, reader, index, options, slot, kind === OperationKind.INVOKE)
    if (refusal !== undefined) {
      pipe.writer.error(id, refusal)
      return Step.answered
    }
    const call: InvokeCall = {
      handle: slot.handle as MapHandle,
      partition,
      name: options?.function ?? '',
      args: this.#value.subarray(this.#valueStart, this.#valueEnd),
      isAbandoned: () => pipe.isClosed,
      done(outcome) {
        if (pipe.isClosed) return
        if (outcome.kind === 'failed') pipe.writer.error(id, outcome.error)
        else if (outcome.kind === 'result') pipe.writer.value(id, outcome.bytes, 0, outcome.bytes.length)
        pipe.unpark(partition, outcome.kind !== 'moved')
      },
    }
    const { invokes } = this.#options
    const early =
      kind === OperationKind.INVOKE
        ? invokes.invoke(call, reader.keys.subarray(reader.keyBounds[index], reader.keyBounds[index + 1]))
        : invokes.invokeAll(call, options?.cursor, options?.limit ?? 0)
    if (early === undefined) return Step.waits
    pipe.writer.error(id, early)
    return Step.answered
  }

  #ensureMap(pipe: Pipe, reader: OperationReader, index: number, slot: MapSlot, partition: number): Step {
    // A call that fails anyway makes no map.
    const isInvoke = reader.kindAt(index) === OperationKind.INVOKE
    const failure =
      (isInvoke ? this.#options.invokes.refusalOf(reader.optionsAt(index)?.function ?? '') : undefined) ??
      slot.ensureFailure ??
      this.catalog.ensure(askFor(slot.name, slot.keySpace, slot.codecText === '' ? undefined : slot.codec), slot.isSystem, error => {
        slot.ensureFailure = error
        pipe.unpark(partition, false)
      })
    if (failure === undefined) return Step.waits
    pipe.discardUpload(reader, index)
    pipe.writer.error(reader.idAt(index), failure)
    return Step.answered
  }

  /** Nothing of this map is in this partition. */
  #onNothing(writer: ResultWriter, reader: OperationReader, index: number, kind: number, slot: MapSlot): Step {
    const id = reader.idAt(index)
    switch (kind) {
      case OperationKind.SIZE:
        writeCount(writer, id, 0)
        break
      case OperationKind.SCAN:
      case OperationKind.INVOKE_ALL:
        writer.value(id, emptyScanPage, 0, emptyScanPage.length)
        break
      case OperationKind.CLEAR:
        writer.ok(id)
        break
      case OperationKind.REPLACE:
        writer.error(id, conflict(slot.name))
        break
      default:
        writer.absent(id)
    }
    return Step.answered
  }
}

/** Kinds that may bring an entry, and so a map, into being. */
const createsEntries = (kind: number): boolean =>
  kind === OperationKind.SET || kind === OperationKind.PUT_IF_ABSENT || kind === OperationKind.INVOKE

function answerWrite(writer: ResultWriter, id: number, part: PartitionMap, outcome: Outcome): void {
  switch (outcome) {
    case Outcome.done:
      writer.ok(id)
      break
    case Outcome.absent:
      writer.absent(id)
      break
    case Outcome.present: {
      const { found } = part
      writer.value(id, found.segment, found.valueStart, found.valueEnd)
      break
    }
    case Outcome.conflict:
      writer.error(id, conflict(part.definition.name))
      break
    case Outcome.refused:
      writer.error(id, part.refusal as NearstateError)
  }
}

const conflict = (map: string): NearstateError =>
  new NearstateError('CONFLICT', `Cannot replace entry in map "${map}": it is not there with the expected version`)

function expiryRefusal(options: OperationOptions): NearstateError | undefined {
  return durationRefusal('ttl', Number(options.ttlMs ?? 0n)) ?? durationRefusal('maxIdle', Number(options.maxIdleMs ?? 0n))
}

/** Wall time at which an entry that was just read goes if nobody touches it. */
function expiryOf(expiresAtMs: number, maxIdleMs: number, wallTimeMs: number): bigint | undefined {
  const idleOutAtMs = maxIdleMs === 0 ? 0 : wallTimeMs + maxIdleMs
  if (expiresAtMs === 0 && idleOutAtMs === 0) return undefined
  if (expiresAtMs === 0 || idleOutAtMs === 0) return BigInt(expiresAtMs + idleOutAtMs)
  return BigInt(Math.min(expiresAtMs, idleOutAtMs))
}

function writeCount(writer: ResultWriter, id: number, count: number): void {
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeBigUInt64BE(BigInt(count))
  writer.value(id, bytes, 0, 8)
}
