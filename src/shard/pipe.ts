/**
 * One stream of operations: a client's, a peer's (forwarded by its gateway), or a single call of the shard itself.
 *
 * Owns: the batches taken and not yet executed, operations that wait, uploads, declared maps, the answers of the slice under way.
 * Does not: touch entries (operations.ts), decide about other pipes (turns.ts, admission.ts).
 *
 * 1. Operations of a pipe on one partition are executed in the order in which they came. One that has to wait (an invoke for
 *    its slice, a write for its map to be created) parks its partition: later operations of this pipe on it wait behind it.
 * 2. Every admitted operation is answered once, or dropped with the pipe; either way admission gets it back.
 * 3. Bounds: operations and bytes by admission control; this pipe is paused above `pausedAbove` operations or `pausedAboveBytes`;
 *    nothing is executed while the client does not read its answers; uploads by ChunkAssembler; declared maps by `mapSlotsMax`.
 * 4. All answers of a slice leave as one batch (or the few that hold 1 MiB each). An operation that was executed and whose answer waits for
 *    other copies holds nothing up.
 * 5. A number of a write means the session that was declared for its partition when the operation was come to, not later.
 * 6. A numbered write is not done before one of its session that was refused for now and will be sent again (refused-writes.ts).
 */
import { invalidArgument, NearstateError } from '../base/errors.ts'
import type { PartitionMap } from '../grid/partition-map.ts'
import { partitionOfKey } from '../keys/partition-of.ts'
import type { Ticket } from '../replication/replica-port.ts'
import { hashKey } from '../storage/key-hash.ts'
import type { PipeClient, PipeHandler } from '../transport/ports.ts'
import { ChunkAssembler } from '../wire/chunks.ts'
import { type OperationBatch, OperationKind, type SessionDeclaration } from '../wire/generated/nearstate/v1/data.ts'
import { batchTargetBytes, wireVersion } from '../wire/limits.ts'
import { isKeyed, OperationReader } from '../wire/operations.ts'
import { ResultWriter } from '../wire/results.ts'
import type { Admission } from './admission.ts'
import type { Gateway } from './gateway.ts'
import { MapSlots, type MapSlot } from './map-slots.ts'
import { type Operations, Step } from './operations.ts'
import { type Ownership, serving } from './ownership.ts'
import { RefusedWrites } from './refused-writes.ts'
import { decodeTicket } from './tickets.ts'
import type { Turns, WorkSource } from './turns.ts'
import type { Clock } from '../base/clock.ts'

/** What all pipes of a shard share. */
export interface PipeShared {
  readonly clock: Clock
  readonly turns: Turns
  readonly admission: Admission
  readonly ownership: Ownership
  readonly operations: Operations
  readonly gateway: Gateway
  readonly valueMaxBytes: number
  /** Operations queued on one pipe above which it is not read any more, and at half of which it is again. */
  readonly pausedAbove: number
}

/** Whom a pipe belongs to: users do not see system maps; peers' keys are never forwarded again. */
export type PipeKind = 'user' | 'system' | 'peer'

/** An operation of a batch that is kept for later. */
interface Waiting {
  readonly reader: OperationReader
  readonly index: number
  readonly ticket: Ticket | undefined
}

interface ParkedPartition {
  readonly waiting: Waiting[]
  next: number
}

/** Keys and values of batches that still hold operations, above which a pipe is not read any more, and at half of which it is again. */
const pausedAboveBytes = 16 * 1024 * 1024

/** The clock is read when operations of this cost are done; a plain one costs 1 and takes well under 10 us. */
const clockEvery = 16
/** Operations whose entries are looked at ahead: as many as keep the processor's loads busy, few enough to stay in its cache. */
const warmCount = 32

export class Pipe implements PipeHandler, WorkSource {
  readonly kind: PipeKind
  readonly #shared: PipeShared
  readonly #client: PipeClient
  readonly #slots: MapSlots
  readonly #uploads: ChunkAssembler
  readonly #writer = new ResultWriter()
  readonly #queue: OperationReader[] = []
  /** Of the first batch in the queue. */
  #nextIndex = 0
  readonly #parked = new Map<number, ParkedPartition>()
  /** Kept so that the reads are done. */
  // oxlint-disable-next-line eslint/no-unused-private-class-members -- written for the sake of what it reads
  #warmed = 0
  /** Partitions of the operations that were warmed, each by its index modulo `warmCount`; -1: to be found out. */
  readonly #warmPartitions = new Int32Array(warmCount)
  readonly #warmHashes = new Int32Array(warmCount)
  readonly #warmParts: (PartitionMap | undefined)[] = Array.from({ length: warmCount })
  /** Of the catalog when they were warmed: with another one a slot may have another codec. */
  #warmGeneration = 0
  /** Parked partitions whose first operation may go on. */
  readonly #ready: number[] = []
  /** By partition: of the client's session there. */
  readonly #tickets: (Ticket | undefined)[] = []
  readonly #onlyTicket: Ticket | undefined
  /** Undefined where none is, which is nearly always. */
  #refused: RefusedWrites | undefined
  /** Read after everything in the queue was received. */
  #nowMs = 0
  #underWay = 0
  /** Keys and values of the batches in the queue, and of those gone through that have left parked operations. */
  #heldBytes = 0
  /** Of the latter. */
  #parkedBytes = 0
  #greeted = false
  #paused = false
  /** The client does not read; wait for `drained`. */
  #blocked = false
  #closed = false
  #working = false
  #finishing = false

  /** `onlyTicket`: of a single call, whatever its partition. */
  constructor(shared: PipeShared, client: PipeClient, kind: PipeKind, onlyTicket?: Ticket) {
    this.#shared = shared
    this.#client = client
    this.kind = kind
    this.#onlyTicket = onlyTicket
    this.#slots = new MapSlots(kind !== 'user')
    this.#uploads = new ChunkAssembler(shared.valueMaxBytes, shared.admission.uploads)
  }

  handleBatch(batch: OperationBatch): void {
    // What comes after the shard began to stop was not taken: the last answers say so.
    if (this.#closed || this.#finishing) return
    let reader: OperationReader
    try {
      this.#checkVersion(batch.wireVersion)
      for (const declaration of batch.maps) this.#slots.declare(declaration)
      if (batch.chunk !== undefined) this.#uploads.accept(batch.chunk)
      reader = new OperationReader(batch)
    } catch (error) {
      this.fail(error as Error)
      return
    }
    if (reader.count === 0 && reader.sessions.length === 0) return
    const refusal = this.#shared.admission.admit(reader.count, bytesOf(reader))
    if (refusal !== undefined) {
      this.#refuseAll(reader, refusal)
      return
    }
    this.#underWay += reader.count
    this.#heldBytes += bytesOf(reader)
    this.#queue.push(reader)
    if (!this.#paused && (this.#underWay > this.#shared.pausedAbove || this.#heldBytes > pausedAboveBytes)) {
      this.#paused = true
      this.#client.pause()
    }
    if (!this.#blocked) this.#shared.turns.request(this)
  }

  drained(): void {
    this.#blocked = false
    if (!this.#closed) this.#shared.turns.request(this)
  }

  /** Takes nothing more, and ends the stream when everything taken is answered. */
  finish(): void {
    this.#finishing = true
    this.#endIfDone()
  }

  closed(): void {
    if (this.#closed) return
    this.#closed = true
    this.#shared.turns.forget(this)
    this.#queue.length = 0
    this.#parked.clear()
    this.#uploads.clear()
    const dropped = this.#underWay
    this.#underWay = 0
    this.#releaseBytes(this.#heldBytes)
    if (dropped > 0) this.#shared.admission.release(dropped)
  }

  /** Ends the stream with an error. */
  fail(error: Error): void {
    if (this.#closed) return
    this.closed()
    this.#client.fail(error)
  }

  work(deadlineMs: number): boolean {
    this.#working = true
    const { clock } = this.#shared
    const wallTimeMs = clock.wallTimeMs()
    this.#nowMs = clock.nowMs()
    let more = false
    while (!this.#blocked && !this.#closed) {
      const partition = this.#ready.pop()
      if (partition !== undefined) this.#resumePartition(partition, wallTimeMs, deadlineMs)
      else if (!this.#workBatch(wallTimeMs, deadlineMs)) break
      if (this.#writer.bytes >= batchTargetBytes) this.#flush()
      this.#nowMs = clock.nowMs()
      if (this.#nowMs >= deadlineMs) {
        more = this.#ready.length > 0 || this.#queue.length > 0
        break
      }
    }
    this.#working = false
    this.#flush()
    this.#readOn()
    this.#shared.gateway.flush()
    return more && !this.#blocked && !this.#closed
  }

  /** The answers' writer, for whoever answers an operation; `touched` sends them when no slice is under way. */
  get writer(): ResultWriter {
    return this.#writer
  }

  get isClosed(): boolean {
    return this.#closed
  }

  touched(): void {
    if (!this.#working) this.#flush()
  }

  takeUpload(id: number): Buffer {
    return this.#uploads.take(id)
  }

  /** Of an operation that is answered without it. */
  discardUpload(reader: OperationReader, index: number): void {
    const id = reader.optionsAt(index)?.upload ?? 0
    if (id === 0) return
    try {
      this.#uploads.take(id)
    } catch {
      // It was refused, or never came: there is nothing to discard.
    }
  }

  /** Writes were refused that the client will send again. */
  get hasRefused(): boolean {
    return this.#refused !== undefined
  }

  /** Whether a write has to be refused, since the client will send one before it again. */
  mustWait(partition: number, ticket: Ticket, number: number, distance: number): boolean {
    return this.#refused !== undefined && this.#refused.mustWait(partition, ticket, number, number - distance)
  }

  /** The client hears that the write was not done, or maybe not, and sends it again if it has a number. */
  noteRefused(partition: number, ticket: Ticket | undefined, number: number): void {
    if (number === 0 || ticket === undefined) return
    this.#refused ??= new RefusedWrites()
    this.#refused.refused(partition, ticket, number)
  }

  noteTaken(partition: number, ticket: Ticket): void {
    if (this.#refused === undefined) return
    this.#refused.taken(partition, ticket)
    if (this.#refused.isEmpty) this.#refused = undefined
  }

  /**
   * The operation that parked this partition has its answer (`answered`) or may be tried again. Goes on in a turn of its own:
   * user code may run next on the caller's stack, and nothing of the transport may lie beneath it.
   */
  unpark(partition: number, answered: boolean): void {
    const parked = this.#parked.get(partition)
    if (parked === undefined || this.#closed) return
    if (answered) parked.next += 1
    this.#ready.push(partition)
    this.#shared.turns.requestLater(this)
  }

  #checkVersion(version: number): void {
    if (this.#greeted && version === 0) return
    if (version !== wireVersion) {
      throw new NearstateError(
        'UNSUPPORTED_VERSION',
        `Cannot open pipe: the client speaks wire version ${version}, this node speaks ${wireVersion}`,
      )
    }
    this.#greeted = true
  }

  /** A run over the first batch of the queue; false: there is none. */
  #workBatch(wallTimeMs: number, deadlineMs: number): boolean {
    const reader = this.#queue[0]
    if (reader === undefined) return false
    const { clock } = this.#shared
    const { count } = reader
    let index = this.#nextIndex
    let cost = 0
    if (index === 0 && reader.sessions.length > 0) this.#declareSessions(reader.sessions)
    while (index < count) {
      if (index % warmCount === 0) this.#warm(reader, index, Math.min(count, index + warmCount))
      const bytesBefore = this.#writer.bytes
      this.#step(reader, index, wallTimeMs)
      if (this.#closed) return false
      cost += costOf(reader, index, this.#writer.bytes - bytesBefore)
      index += 1
      if (cost < clockEvery) continue
      cost = 0
      this.#nowMs = clock.nowMs()
      if (this.#writer.bytes >= batchTargetBytes || this.#nowMs >= deadlineMs) break
    }
    if (index < count) {
      this.#nextIndex = index
    } else {
      this.#nextIndex = 0
      this.#queue.shift()
      if (this.#parked.size === 0) this.#releaseBytes(bytesOf(reader))
      else this.#parkedBytes += bytesOf(reader)
    }
    return true
  }

  /** See MapStore.warmIndex. Keys that are none are found out later. */
  #warm(reader: OperationReader, from: number, to: number): void {
    const { operations, ownership } = this.#shared
    const { partitionCount } = ownership
    const partitions = this.#warmPartitions
    for (let index = from; index < to; index += 1) partitions[index % warmCount] = -1
    // One alone has nobody to overlap with.
    if (partitionCount === 0 || to - from < 2) return
    const { catalog } = operations
    this.#warmGeneration = catalog.generation
    const parts = this.#warmParts
    const hashes = this.#warmHashes
    try {
      for (let index = from; index < to; index += 1) {
        const slot = this.#slots.find(reader.slotAt(index))
        if (slot === undefined || slot.denied !== undefined || !isKeyed(reader.kindAt(index))) continue
        slot.resolve(catalog)
        if (slot.handle === undefined) continue
        const start = reader.keyBounds[index] as number
        const end = reader.keyBounds[index + 1] as number
        const partition = partitionOfKey(slot.codec, reader.keys, start, end, partitionCount)
        const at = index % warmCount
        partitions[at] = partition
        hashes[at] = hashKey(reader.keys, start, end)
        parts[at] = slot.handle.parts[partition]
      }
    } catch {
      // That operation's own turn refuses it.
    }
    // Loop by loop, each over loads that do not wait for one another.
    let warmed = 0
    const count = to - from
    for (let at = 0; at < count; at += 1) {
      const part = parts[at]
      if (part !== undefined) warmed ^= part.warmIndex(hashes[at] as number)
    }
    for (let at = 0; at < count; at += 1) {
      const part = parts[at]
      if (part !== undefined) warmed ^= part.warmEntry(hashes[at] as number)
    }
    for (let at = 0; at < count; at += 1) {
      if (parts[at] === undefined) continue
      parts[at] = undefined
      const number = reader.numberAt(from + at)
      if (number !== 0) warmed ^= operations.warm(partitions[at] as number, number)
    }
    this.#warmed ^= warmed
  }

  #step(reader: OperationReader, index: number, wallTimeMs: number): void {
    if (reader.kindAt(index) === OperationKind.OPEN_SESSION) return this.#openSession(reader, index)
    const slot = this.#slots.find(reader.slotAt(index))
    if (slot === undefined || slot.denied !== undefined) {
      this.discardUpload(reader, index)
      this.#writer.error(reader.idAt(index), slot?.denied ?? undeclared(reader.slotAt(index)))
      return
    }
    const { catalog } = this.#shared.operations
    slot.resolve(catalog)
    const warmed = this.#warmGeneration === catalog.generation ? (this.#warmPartitions[index % warmCount] as number) : -1
    const partition = warmed >= 0 ? warmed : this.#partitionOf(reader, index, slot)
    if (partition < 0) return
    if (this.#parked.size > 0) {
      const parked = this.#parked.get(partition)
      if (parked !== undefined) {
        parked.waiting.push({ reader, index, ticket: this.#ticketAt(partition) })
        return
      }
    }
    const ticket = this.#ticketAt(partition)
    if (this.#execute(reader, index, slot, partition, ticket, wallTimeMs)) return
    this.#parked.set(partition, { waiting: [{ reader, index, ticket }], next: 0 })
  }

  /** The operation's partition; -1: there is none, and the operation has its answer. */
  #partitionOf(reader: OperationReader, index: number, slot: MapSlot | undefined): number {
    const count = this.#shared.ownership.partitionCount
    const id = reader.idAt(index)
    if (count === 0) {
      this.discardUpload(reader, index)
      this.#writer.notOwner(id)
      return -1
    }
    if (slot === undefined || !isKeyed(reader.kindAt(index))) {
      const partition = reader.optionsAt(index)?.partition ?? 0
      if (partition < count) return partition
      this.#writer.error(id, invalidArgument(`Cannot use partition ${partition}: there are ${count}`))
      return -1
    }
    const { keyBounds } = reader
    try {
      return partitionOfKey(slot.codec, reader.keys, keyBounds[index] as number, keyBounds[index + 1] as number, count)
    } catch (error) {
      this.#writer.error(id, error as NearstateError)
      return -1
    }
  }

  /** False: the operation waits, and somebody will call `unpark`. */
  #execute(
    reader: OperationReader,
    index: number,
    slot: MapSlot,
    partition: number,
    ticket: Ticket | undefined,
    wallTimeMs: number,
  ): boolean {
    const { ownership, operations, gateway } = this.#shared
    if (reader.batch.tableVersion > ownership.wireTableVersion) {
      this.#refuseOwner(reader, index, partition, ticket)
      return true
    }
    const right = ownership.rightTo(partition)
    if (right === serving.here)
      return operations.execute(this, reader, index, slot, partition, ticket, this.#nowMs, wallTimeMs) === Step.answered
    const id = reader.idAt(index)
    if (reader.optionsAt(index)?.anyReplica === true && mayBeStale(reader.kindAt(index))) {
      slot.resolve(operations.catalog)
      if (operations.readAny(this, reader, index, slot, partition, wallTimeMs)) return true
    }
    if (right === serving.lost) {
      this.discardUpload(reader, index)
      this.#writer.error(id, partitionLost(partition))
    } else if (reader.batch.gateway && this.kind !== 'peer') {
      return gateway.forward(this, reader, index, slot, partition, ticket)
    } else {
      this.#refuseOwner(reader, index, partition, ticket)
    }
    return true
  }

  #refuseOwner(reader: OperationReader, index: number, partition: number, ticket: Ticket | undefined): void {
    this.discardUpload(reader, index)
    this.noteRefused(partition, ticket, reader.numberAt(index))
    this.#writer.notOwner(reader.idAt(index))
  }

  #openSession(reader: OperationReader, index: number): void {
    const { ownership, operations, gateway } = this.#shared
    const partition = this.#partitionOf(reader, index, undefined)
    if (partition < 0) return
    const id = reader.idAt(index)
    if (reader.batch.tableVersion > ownership.wireTableVersion) return this.#writer.notOwner(id)
    const right = ownership.rightTo(partition)
    if (right === serving.here) operations.openSession(this, id, partition, this.#nowMs)
    else if (right === serving.lost) this.#writer.error(id, partitionLost(partition))
    else if (!reader.batch.gateway || this.kind === 'peer') this.#writer.notOwner(id)
    // Asked for again when the link has room.
    else if (!gateway.forward(this, reader, index, undefined, partition, undefined)) this.#writer.notNow(id)
  }

  #declareSessions(sessions: readonly SessionDeclaration[]): void {
    const { partitionCount } = this.#shared.ownership
    for (const { partition, ticket } of sessions) {
      if (partition >= partitionCount) continue
      while (this.#tickets.length < partition) this.#tickets.push(undefined)
      this.#tickets[partition] = decodeTicket(ticket)
    }
  }

  #ticketAt(partition: number): Ticket | undefined {
    return this.#tickets[partition] ?? this.#onlyTicket
  }

  #resumePartition(partition: number, wallTimeMs: number, deadlineMs: number): void {
    const parked = this.#parked.get(partition)
    if (parked === undefined) return
    const { clock } = this.#shared
    while (parked.next < parked.waiting.length) {
      const { reader, index, ticket } = parked.waiting[parked.next] as Waiting
      const slot = this.#slots.find(reader.slotAt(index)) as MapSlot
      if (!this.#execute(reader, index, slot, partition, ticket, wallTimeMs)) return
      parked.next += 1
      if (clock.nowMs() >= deadlineMs && parked.next < parked.waiting.length) {
        this.#ready.push(partition)
        return
      }
    }
    this.#parked.delete(partition)
    if (this.#parked.size > 0) return
    this.#slots.forgetFailures()
    this.#releaseBytes(this.#parkedBytes)
    this.#parkedBytes = 0
  }

  #releaseBytes(bytes: number): void {
    this.#heldBytes -= bytes
    this.#shared.admission.releaseBytes(bytes)
  }

  #readOn(): void {
    if (!this.#paused || this.#closed) return
    if (this.#underWay > this.#shared.pausedAbove / 2 || this.#heldBytes > pausedAboveBytes / 2) return
    this.#paused = false
    this.#client.resume()
  }

  #refuseAll(reader: OperationReader, refusal: NearstateError): void {
    const writer = new ResultWriter()
    for (let index = 0; index < reader.count; index += 1) {
      this.discardUpload(reader, index)
      // The shard stops: a gateway's client waits for the one that comes after it.
      if (this.kind === 'peer' && refusal.code === 'UNAVAILABLE') writer.notNow(reader.idAt(index))
      else writer.error(reader.idAt(index), refusal)
    }
    this.#send(writer)
  }

  #flush(): void {
    const { count } = this.#writer
    if (count === 0 || this.#closed) return
    this.#underWay -= count
    this.#shared.admission.release(count)
    this.#send(this.#writer)
    if (!this.#working) this.#readOn()
    if (this.#finishing) this.#endIfDone()
  }

  #endIfDone(): void {
    if (this.#closed || this.#underWay > 0) return
    for (const batch of this.#writer.takeLast(this.#shared.ownership.wireTableVersion)) this.#client.send(batch)
    this.closed()
  }

  #send(writer: ResultWriter): void {
    for (const batch of writer.take(this.#shared.ownership.wireTableVersion)) {
      if (!this.#client.send(batch)) this.#blocked = true
    }
  }
}

/** Kinds that any replica may answer where the caller allows it. */
const mayBeStale = (kind: number): boolean =>
  kind === OperationKind.GET || kind === OperationKind.GET_ENTRY || kind === OperationKind.SCAN || kind === OperationKind.SIZE

const bytesOf = (reader: OperationReader): number => reader.keys.length + reader.values.length

const partitionLost = (partition: number): NearstateError =>
  new NearstateError(
    'PARTITION_LOST',
    `Cannot serve partition ${partition}: all its copies are gone; "nearstate partitions recover --accept-loss" gives its data up`,
  )

const undeclared = (slot: number): NearstateError => invalidArgument(`Cannot use map slot ${slot}: it was not declared on this stream`)

/** What an operation may have cost, in plain ones: 4 KiB copied count as one, a scan or a chunked value as enough to read the clock. */
function costOf(reader: OperationReader, index: number, bytesAnswered: number): number {
  const { valueBounds, keyBounds } = reader
  const isOnPartition = keyBounds[index + 1] === keyBounds[index]
  if (isOnPartition || (reader.batch.options.length > 0 && (reader.optionsAt(index)?.upload ?? 0) !== 0)) return clockEvery
  return 1 + ((bytesAnswered + (valueBounds[index + 1] as number) - (valueBounds[index] as number)) >>> 12)
}
