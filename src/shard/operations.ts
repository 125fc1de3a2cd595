/**
 * What each kind of operation does on a partition that this shard serves.
 *
 * Owns: the meaning of operations, their answers, and what an answer waits for. Does not: queue, route, forward, count.
 *
 * 1. Nothing is answered before all that it saw or wrote is committed. Where that is so at once (one copy), plain reads and writes allocate
 *    nothing but their effect.
 * 2. Each write is one entry of the partition's log, with its number and answer if the client gave it one.
 */
import type { Clock } from '../base/clock.ts'
import { NearstateError } from '../base/errors.ts'
import { durationRefusal, Outcome, type PartitionMap, unchanged } from '../grid/partition-map.ts'
import { checkKeyBytes } from '../keys/encode-key.ts'
import type { RequestId, Ticket } from '../replication/replica-port.ts'
import { OperationKind, type OperationOptions } from '../wire/generated/nearstate/v1/data.ts'
import { isNumbered, type OperationReader } from '../wire/operations.ts'
import { type AnswerWriter, KeptAnswer, okAnswer, writeAnswer } from './answers.ts'
import type { HeldPartition } from './held-partition.ts'
import type { InvokeCall, Invokes } from './invokes.ts'
import { askFor, type MapCatalog, type MapHandle } from './map-catalog.ts'
import type { MapSlot } from './map-slots.ts'
import type { Partitions } from './partitions.ts'
import type { Pipe } from './pipe.ts'
import { isSentAgain, writeRefusal } from './refusals.ts'
import { emptyScanPage, scanPartition } from './scans.ts'
import { encodeTicket } from './tickets.ts'

/** Whether the operation has its answer, or waits and will have `pipe.unpark` called. */
export const Step = { answered: 0, waits: 1 } as const
export type Step = (typeof Step)[keyof typeof Step]

export interface OperationsOptions {
  readonly catalog: MapCatalog
  readonly partitions: Partitions
  readonly invokes: Invokes
  readonly clock: Clock
}

/** The names of the write under way; the replica does not keep it. */
interface NextRequest {
  ticket: Ticket
  number: number
}

const noTicket: Ticket = { epoch: 0, position: 0 }

export class Operations {
  readonly #options: OperationsOptions
  readonly catalog: MapCatalog
  /** The answer of a write, and of a read that waits. */
  readonly #kept = new KeptAnswer()
  readonly #request: NextRequest = { ticket: noTicket, number: 0 }
  // The value of the operation under way: its own bytes or its upload's.
  #value: Buffer = Buffer.alloc(0)
  #valueStart = 0
  #valueEnd = 0

  constructor(options: OperationsOptions) {
    this.#options = options
    this.catalog = options.catalog
  }

  /** `ticket`: of the client's session at the partition, if it has one. `nowMs` was read after the operation was received. */
  execute(
    pipe: Pipe,
    reader: OperationReader,
    index: number,
    slot: MapSlot,
    partition: number,
    ticket: Ticket | undefined,
    nowMs: number,
    wallTimeMs: number,
  ): Step {
    const { partitions } = this.#options
    const kind = reader.kindAt(index)
    slot.resolve(this.catalog)
    if (slot.refusal !== undefined) {
      pipe.discardUpload(reader, index)
      pipe.writer.error(reader.idAt(index), slot.refusal)
      return Step.answered
    }
    const held = partitions.find(partition)
    if (held === undefined) {
      pipe.discardUpload(reader, index)
      pipe.noteRefused(partition, ticket, reader.numberAt(index))
      pipe.writer.notOwner(reader.idAt(index))
      return Step.answered
    }
    const { handle } = slot
    if (handle === undefined) {
      if (partitions.mayServeUnknownMaps(held, nowMs)) {
        pipe.discardUpload(reader, index)
        pipe.noteRefused(partition, ticket, reader.numberAt(index))
        pipe.writer.notNow(reader.idAt(index))
        return Step.answered
      }
      if (createsEntries(kind)) return this.#ensureMap(pipe, reader, index, slot, partition)
    }
    const part = handle?.parts[partition] ?? (handle === undefined ? undefined : partitions.findPart(handle, held))
    if (kind === OperationKind.INVOKE || (kind === OperationKind.INVOKE_ALL && part !== undefined))
      return this.#invoke(pipe, reader, index, slot, held, kind, ticket, nowMs)
    if (isNumbered(kind)) this.#write(pipe, reader, index, slot, held, part, kind, ticket, nowMs, wallTimeMs)
    else this.#read(pipe, reader, index, slot, held, part, kind, nowMs, wallTimeMs)
    return Step.answered
  }

  /** See MapStore.warmIndex. */
  warm(partition: number, number: number): number {
    return this.#options.partitions.find(partition)?.replica.warm(number) ?? 0
  }

  /** Opens the client's session at the partition. */
  openSession(pipe: Pipe, id: number, partition: number, nowMs: number): void {
    const held = this.#options.partitions.find(partition)
    if (held === undefined) return pipe.writer.notOwner(id)
    const opened = held.replica.openSession(nowMs)
    if (opened.kind === 'refused') return writeRefusal(pipe.writer, id, opened.reason)
    const ticket = encodeTicket(opened.ticket)
    this.#kept.value(id, ticket, 0, ticket.length)
    held.replica.wait('write', opened.position, { pipe, id, isWrite: true, answer: this.#kept.take() })
    // Also where nothing is sent: the replica has a session to forget one day.
    this.#options.partitions.touch(held)
  }

  /** Answers a read with what this replica has, if it has anything whole; false: it has not. Touches nothing. */
  readAny(pipe: Pipe, reader: OperationReader, index: number, slot: MapSlot, partition: number, wallTimeMs: number): boolean {
    const held = this.#options.partitions.find(partition)
    if (held === undefined || (held.replica.role !== 'backup' && held.replica.role !== 'primary')) return false
    slot.resolve(this.catalog)
    if (slot.refusal !== undefined) return false
    if (slot.handle === undefined && this.#options.partitions.holdsUnknownMaps(held)) return false
    const part = slot.handle === undefined ? undefined : this.#options.partitions.findPart(slot.handle, held)
    const id = reader.idAt(index)
    const kind = reader.kindAt(index)
    if (part === undefined) writeNothing(pipe.writer, id, kind, slot.name)
    else if (kind === OperationKind.SCAN) scanPartition(pipe.writer, id, part, reader.optionsAt(index), wallTimeMs)
    else if (kind === OperationKind.SIZE) writeCount(pipe.writer, id, part.entries)
    else {
      const { keys, keyBounds } = reader
      const isThere = part.peek(keys, keyBounds[index] as number, keyBounds[index + 1] as number, wallTimeMs)
      writeFound(pipe.writer, id, part, isThere, kind, wallTimeMs)
    }
    return true
  }

  #read(
    pipe: Pipe,
    reader: OperationReader,
    index: number,
    slot: MapSlot,
    held: HeldPartition,
    part: PartitionMap | undefined,
    kind: number,
    nowMs: number,
    wallTimeMs: number,
  ): void {
    const id = reader.idAt(index)
    const { replica } = held
    const admission = held.isFree ? undefined : replica.beginRead(nowMs)
    if (admission?.kind === 'refused') {
      pipe.discardUpload(reader, index)
      if (reader.optionsAt(index)?.anyReplica === true && this.readAny(pipe, reader, index, slot, held.partition, wallTimeMs)) return
      return writeRefusal(pipe.writer, id, admission.reason)
    }
    const isLookup = part !== undefined && (kind === OperationKind.GET || kind === OperationKind.GET_ENTRY)
    // May append the end of an entry past its time, which the answer then waits for.
    const isThere = isLookup && part.find(reader.keys, reader.keyBounds[index] as number, reader.keyBounds[index + 1] as number, wallTimeMs)
    const waits = !held.isFree && replica.committed < replica.applied
    const out: AnswerWriter = waits ? this.#kept : pipe.writer
    if (part === undefined) {
      pipe.discardUpload(reader, index)
      writeNothing(out, id, kind, slot.name)
    } else if (kind === OperationKind.SIZE) writeCount(out, id, part.entries)
    else if (kind === OperationKind.SCAN) scanPartition(out, id, part, reader.optionsAt(index), wallTimeMs)
    else writeFound(out, id, part, isThere, kind, wallTimeMs)
    if (waits) replica.wait('read', replica.applied, { pipe, id, isWrite: false, answer: this.#kept.take() })
  }

  #write(
    pipe: Pipe,
    reader: OperationReader,
    index: number,
    slot: MapSlot,
    held: HeldPartition,
    known: PartitionMap | undefined,
    kind: number,
    ticket: Ticket | undefined,
    nowMs: number,
    wallTimeMs: number,
  ): void {
    const id = reader.idAt(index)
    const number = reader.numberAt(index)
    const distance = reader.distanceAt(index)
    // Where there is no log the effects of a write need no entry around them.
    const session =
      number !== 0 && held.isFree && ticket !== undefined && !pipe.hasRefused
        ? held.replica.beginFree(nowMs, ticket, number, number - distance)
        : undefined
    const isPlain = session !== undefined || (number === 0 && held.isFree)
    if (!isPlain && !this.#beginWrite(pipe, id, held, ticket, number, distance, nowMs)) return pipe.discardUpload(reader, index)
    const refusal = this.#loadWrite(pipe, reader, index, slot, kind)
    if (refusal !== undefined) {
      if (!isPlain) held.replica.cancelWrite()
      return pipe.writer.error(id, refusal)
    }
    const { handle } = slot
    const part = known ?? (handle !== undefined && createsEntries(kind) ? this.#options.partitions.openPart(handle, held) : undefined)
    const out: AnswerWriter = isPlain && session === undefined ? pipe.writer : this.#kept
    if (part === undefined) writeNothing(out, id, kind, slot.name)
    else this.#change(out, id, reader, index, part, kind, wallTimeMs)
    if (session !== undefined) {
      const answer = this.#kept.take()
      held.replica.finishFree(session, number, answer, number - distance)
      if (!pipe.isClosed) writeAnswer(pipe.writer, id, answer)
    } else if (!isPlain) this.#finishWrite(pipe, id, held, number, nowMs)
  }

  /** False: the write is not to be decided; it has its answer, or will have. */
  #beginWrite(
    pipe: Pipe,
    id: number,
    held: HeldPartition,
    ticket: Ticket | undefined,
    number: number,
    distance: number,
    nowMs: number,
  ): boolean {
    let request: RequestId | undefined
    if (number !== 0) {
      if (ticket === undefined) {
        pipe.writer.sessionUnknown(id)
        return false
      }
      if (pipe.mustWait(held.partition, ticket, number, distance)) {
        pipe.noteRefused(held.partition, ticket, number)
        pipe.writer.notNow(id)
        return false
      }
      request = this.#request
      this.#request.ticket = ticket
      this.#request.number = number
    }
    const { replica } = held
    const admission = replica.beginWrite(nowMs, request, number - distance)
    if (admission.kind === 'refused' && isSentAgain(admission.reason)) pipe.noteRefused(held.partition, ticket, number)
    else if (number !== 0 && ticket !== undefined) pipe.noteTaken(held.partition, ticket)
    if (admission.kind === 'execute') return true
    if (admission.kind === 'refused') writeRefusal(pipe.writer, id, admission.reason)
    else {
      replica.wait('write', admission.position, { pipe, id, isWrite: true, answer: admission.result })
      this.#options.partitions.touch(held)
    }
    return false
  }

  /** Ends the write that `#beginWrite` began, with the answer kept. */
  #finishWrite(pipe: Pipe, id: number, held: HeldPartition, number: number, nowMs: number): void {
    const { replica } = held
    const answer = this.#kept.take()
    const position = replica.finishWrite(nowMs, number === 0 ? undefined : this.#request, answer)
    if (replica.committed >= position) {
      if (!pipe.isClosed) writeAnswer(pipe.writer, id, answer)
      if (replica.keepsLog) this.#options.partitions.touch(held)
      return
    }
    replica.wait('write', position, { pipe, id, isWrite: true, answer })
    if (!replica.gathers) this.#options.partitions.touch(held)
  }

  #loadWrite(pipe: Pipe, reader: OperationReader, index: number, slot: MapSlot, kind: number): NearstateError | undefined {
    if (kind === OperationKind.DELETE || kind === OperationKind.CLEAR) return undefined
    const options = reader.optionsAt(index)
    return this.#loadValue(pipe, reader, index, options, slot, true) ?? (options === undefined ? undefined : expiryRefusal(options))
  }

  /** Carries the write out on the map. */
  #change(
    out: AnswerWriter,
    id: number,
    reader: OperationReader,
    index: number,
    part: PartitionMap,
    kind: number,
    wallTimeMs: number,
  ): void {
    const { keys } = reader
    const start = reader.keyBounds[index] as number
    const end = reader.keyBounds[index + 1] as number
    if (kind === OperationKind.DELETE) {
      const ifVersion = reader.optionsAt(index)?.ifVersion
      const version = ifVersion === undefined ? undefined : Number(ifVersion)
      return answerWrite(out, id, part, part.delete(keys, start, end, wallTimeMs, version))
    }
    if (kind === OperationKind.CLEAR) {
      part.clear()
      return out.ok(id)
    }
    const options = reader.optionsAt(index)
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
    answerWrite(out, id, part, outcome)
    if (options?.withVersion === true && outcome === Outcome.done) out.detail(BigInt(part.writtenVersion), undefined)
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
    if (this.#value !== reader.values) this.#value = reader.values
    this.#valueStart = reader.valueBounds[index] as number
    this.#valueEnd = reader.valueBounds[index + 1] as number
    return undefined
  }

  #invoke(
    pipe: Pipe,
    reader: OperationReader,
    index: number,
    slot: MapSlot,
    held: HeldPartition,
    kind: number,
    ticket: Ticket | undefined,
    nowMs: number,
  ): Step {
    const { invokes, partitions, clock } = this.#options
    const { replica, partition } = held
    const id = reader.idAt(index)
    const options = reader.optionsAt(index)
    const isInvoke = kind === OperationKind.INVOKE
    const number = isInvoke ? reader.numberAt(index) : 0
    const distance = isInvoke ? reader.distanceAt(index) : 0
    // Only a look: the function runs in its own slice, and the write is decided when it has.
    if (!this.#beginWrite(pipe, id, held, ticket, number, distance, nowMs)) {
      pipe.discardUpload(reader, index)
      return Step.answered
    }
    replica.cancelWrite()
    const handle = slot.handle as MapHandle
    const name = options?.function ?? ''
    const refusal = invokes.refusalOf(name) ?? this.#loadValue(pipe, reader, index, options, slot, isInvoke)
    if (refusal !== undefined) {
      pipe.discardUpload(reader, index)
      pipe.writer.error(id, refusal)
      return Step.answered
    }
    partitions.openPart(handle, held)
    const call: InvokeCall = {
      handle,
      partition,
      name,
      args: this.#value.subarray(this.#valueStart, this.#valueEnd),
      isAbandoned: () => pipe.isClosed,
      isServed: () => replica.isServing(clock.nowMs()),
      moved: () => pipe.unpark(partition, false),
      abort(error) {
        if (!pipe.isClosed) pipe.writer.error(id, error)
        pipe.unpark(partition, true)
      },
      store(change) {
        if (replica.beginWrite(clock.nowMs()).kind !== 'execute') return false
        const before = replica.applied
        change()
        if (replica.applied === before) replica.cancelWrite()
        else replica.finishWrite(clock.nowMs(), undefined, okAnswer)
        if (replica.keepsLog) partitions.touch(held)
        return true
      },
      finish: decide => {
        const endedAtMs = clock.nowMs()
        if (this.#beginWrite(pipe, id, held, ticket, number, distance, endedAtMs)) {
          decide(this.#kept)
          this.#finishWrite(pipe, id, held, number, endedAtMs)
        }
        pipe.unpark(partition, true)
      },
    }
    const early = isInvoke
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
}

/** Kinds that may bring an entry, and so a map, into being. */
const createsEntries = (kind: number): boolean =>
  kind === OperationKind.SET || kind === OperationKind.PUT_IF_ABSENT || kind === OperationKind.INVOKE

/** Nothing of this map is in this partition. */
function writeNothing(out: AnswerWriter, id: number, kind: number, map: string): void {
  switch (kind) {
    case OperationKind.SIZE:
      writeCount(out, id, 0)
      break
    case OperationKind.SCAN:
    case OperationKind.INVOKE_ALL:
      out.value(id, emptyScanPage, 0, emptyScanPage.length)
      break
    case OperationKind.CLEAR:
      out.ok(id)
      break
    case OperationKind.REPLACE:
      out.error(id, conflict(map))
      break
    default:
      out.absent(id)
  }
}

/** Of a lookup. */
function writeFound(out: AnswerWriter, id: number, part: PartitionMap, isThere: boolean, kind: number, wallTimeMs: number): void {
  if (!isThere) return out.absent(id)
  const { found } = part
  out.value(id, found.segment, found.valueStart, found.valueEnd)
  if (kind === OperationKind.GET_ENTRY) out.detail(BigInt(found.version), expiryOf(found.expiresAtMs, found.maxIdleMs, wallTimeMs))
}

function answerWrite(out: AnswerWriter, id: number, part: PartitionMap, outcome: Outcome): void {
  switch (outcome) {
    case Outcome.done:
      return out.ok(id)
    case Outcome.absent:
      return out.absent(id)
    case Outcome.present: {
      const { found } = part
      return out.value(id, found.segment, found.valueStart, found.valueEnd)
    }
    case Outcome.conflict:
      return out.error(id, conflict(part.definition.name))
    case Outcome.refused:
      return out.error(id, part.refusal as NearstateError)
  }
}

const conflict = (map: string): NearstateError =>
  new NearstateError('CONFLICT', `Cannot replace or delete entry in map "${map}": it is not there with the expected version`)

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

function writeCount(writer: AnswerWriter, id: number, count: number): void {
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeBigUInt64BE(BigInt(count))
  writer.value(id, bytes, 0, 8)
}
