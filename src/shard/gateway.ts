/**
 * Operations for keys of other shards, on their way there and back.
 *
 * Owns: per peer the operations sent and not answered, their batches, the maps named to it. Does not: open links (transport),
 * decide whom a key belongs to (ownership), retry (the client does: "not owner" passes through).
 *
 * 1. Every forwarded operation is answered once: by the peer, or when the peer is down: NOT_NOW for reads, OUTCOME_UNKNOWN for writes.
 * 2. Ids are never used again while a late answer can come: an answer that matches nothing is dropped.
 * 3. After a link broke, the first batch carries the wire version: the peer begins a new pipe, with no maps named.
 * 4. A channel carries the sessions of many clients, at a partition one at a time: the next client's is declared with a batch of its own.
 * 5. A write that its client will send again is noted with the pipe, so that none behind it goes to another peer or over a new link first.
 * 6. Bounds: `pendingMax` operations per peer, `uploadsUnderWayMax` large values; above either, or while the link is full, an
 *    operation waits and its pipe parks the partition.
 */
import type { NearstateError } from '../base/errors.ts'
import type { ShardId } from '../base/ids.ts'
import type { Ticket } from '../replication/replica-port.ts'
import type { PeerLinks } from '../transport/ports.ts'
import { ChunkAssembler, chunksOf } from '../wire/chunks.ts'
import { OperationBatch, ResultBatch, ResultStatus, type SessionDeclaration } from '../wire/generated/nearstate/v1/data.ts'
import { answerMaxBytesOf, batchOperationsMax, batchTargetBytes, chunkMaxBytes, uploadsMax, wireVersion } from '../wire/limits.ts'
import { emptyBatch, emptyOptions, isWrite, OperationBuilder, type OperationReader } from '../wire/operations.ts'
import { errorOf, ResultReader } from '../wire/results.ts'
import type { MapSlot } from './map-slots.ts'
import type { Ownership } from './ownership.ts'
import type { Pipe } from './pipe.ts'
import { outcomeUnknown } from './refusals.ts'
import { encodeTicket, isSameTicket } from './tickets.ts'

const pendingMax = 16_384
const uploadsUnderWayMax = Math.floor(uploadsMax / 4)

interface Forwarded {
  readonly pipe: Pipe
  /** In the pipe. */
  readonly id: number
  readonly isWrite: boolean
  readonly isUpload: boolean
  /** Of a write with a number; 0: it has none. */
  readonly number: number
  readonly partition: number
  readonly ticket: Ticket | undefined
}

class PeerChannel {
  readonly peer: ShardId
  readonly pending = new Map<number, Forwarded>()
  readonly builder = new OperationBuilder()
  readonly uploads: ChunkAssembler
  slots = new Map<string, number>()
  newMaps: OperationBatch['maps'] = []
  /** Declared to the peer, by partition. */
  readonly tickets = new Map<number, Ticket>()
  newSessions: SessionDeclaration[] = []
  greeted = false
  congested = false
  nextId = 1
  uploadsUnderWay = 0
  waiters: (() => void)[] = []

  constructor(peer: ShardId, answerMaxBytes: number) {
    this.peer = peer
    this.uploads = new ChunkAssembler(answerMaxBytes)
  }

  get isFull(): boolean {
    return this.congested || this.pending.size >= pendingMax || this.uploadsUnderWay >= uploadsUnderWayMax
  }
}

export class Gateway {
  readonly #links: PeerLinks
  readonly #ownership: Ownership
  readonly #answerMaxBytes: number
  readonly #channels = new Map<ShardId, PeerChannel>()
  readonly #unsent = new Set<PeerChannel>()

  constructor(links: PeerLinks, ownership: Ownership, valueMaxBytes: number) {
    this.#links = links
    this.#ownership = ownership
    this.#answerMaxBytes = answerMaxBytesOf(valueMaxBytes)
  }

  /** Sends the operation with the next `flush`. False: it has to wait, and `pipe.unpark` will be called. */
  forward(
    pipe: Pipe,
    reader: OperationReader,
    index: number,
    slot: MapSlot | undefined,
    partition: number,
    ticket: Ticket | undefined,
  ): boolean {
    const peer = this.#ownership.primaryOf(partition)
    if (peer === undefined || this.#ownership.addressOf(peer) === undefined) {
      pipe.discardUpload(reader, index)
      pipe.noteRefused(partition, ticket, reader.numberAt(index))
      pipe.writer.notNow(reader.idAt(index)) // another shard will serve it
      return true
    }
    const channel = this.#channelTo(peer)
    if (channel.isFull) {
      channel.waiters.push(() => pipe.unpark(partition, false))
      return false
    }
    const number = reader.numberAt(index)
    if (number !== 0) {
      if (ticket === undefined) {
        pipe.discardUpload(reader, index)
        pipe.writer.sessionUnknown(reader.idAt(index))
        return true
      }
      if (pipe.mustWait(partition, ticket, number, reader.distanceAt(index))) {
        pipe.discardUpload(reader, index)
        pipe.noteRefused(partition, ticket, number)
        pipe.writer.notNow(reader.idAt(index))
        return true
      }
      pipe.noteTaken(partition, ticket)
      this.#declare(channel, partition, ticket)
    }
    this.#append(channel, pipe, reader, index, slot, partition, ticket)
    return true
  }

  /** Sends what `forward` has collected. */
  flush(): void {
    for (const channel of this.#unsent) this.#send(channel)
  }

  /** Bytes of a ResultBatch. An empty one says that the peer has ended the pipe. */
  handleResults(from: ShardId, bytes: Uint8Array): void {
    const channel = this.#channels.get(from)
    if (channel === undefined) return
    try {
      const batch = ResultBatch.decode(bytes)
      if (batch.chunk !== undefined) {
        if (channel.pending.has(batch.chunk.id)) channel.uploads.accept(batch.chunk)
        return
      }
      const reader = new ResultReader(batch)
      if (reader.count > 0) this.#relay(channel, reader)
      if (batch.last) this.#reset(channel, 'notDone')
      else if (reader.count === 0) this.peerDown(from)
    } catch {
      this.peerDown(from) // answers that cannot be read are as good as none
    }
  }

  peerDrained(peer: ShardId): void {
    const channel = this.#channels.get(peer)
    if (channel === undefined) return
    channel.congested = false
    wake(channel)
  }

  /** What was under way to the peer has no answer any more. */
  peerDown(peer: ShardId): void {
    const channel = this.#channels.get(peer)
    if (channel !== undefined) this.#reset(channel, 'lost')
  }

  /** `notDone`: the peer has answered all that it did. */
  #reset(channel: PeerChannel, unanswered: 'lost' | 'notDone'): void {
    const { peer } = channel
    const fresh = new PeerChannel(peer, this.#answerMaxBytes)
    fresh.nextId = channel.nextId
    this.#channels.set(peer, fresh)
    this.#unsent.delete(channel)
    const touched = new Set<Pipe>()
    for (const { pipe, id, isWrite: wrote, number, partition, ticket } of channel.pending.values()) {
      if (pipe.isClosed) continue
      pipe.noteRefused(partition, ticket, number)
      if (wrote && unanswered === 'lost') pipe.writer.error(id, outcomeUnknown('the shard that serves the key went away before its answer'))
      else pipe.writer.notNow(id)
      touched.add(pipe)
    }
    for (const pipe of touched) pipe.touched()
    wake(channel)
  }

  /** Peers that left the table will not answer. */
  viewChanged(): void {
    for (const peer of Array.from(this.#channels.keys())) {
      if (this.#ownership.addressOf(peer) !== undefined) continue
      this.peerDown(peer)
      this.#channels.delete(peer)
    }
  }

  #channelTo(peer: ShardId): PeerChannel {
    let channel = this.#channels.get(peer)
    if (channel === undefined) {
      channel = new PeerChannel(peer, this.#answerMaxBytes)
      this.#channels.set(peer, channel)
    }
    return channel
  }

  #declare(channel: PeerChannel, partition: number, ticket: Ticket): void {
    const known = channel.tickets.get(partition)
    if (isSameTicket(known, ticket)) return
    // Operations before it in the batch may be of the session known.
    if (known !== undefined) this.#send(channel)
    channel.tickets.set(partition, ticket)
    channel.newSessions.push({ partition, ticket: encodeTicket(ticket) })
  }

  #append(
    channel: PeerChannel,
    pipe: Pipe,
    reader: OperationReader,
    index: number,
    slot: MapSlot | undefined,
    partition: number,
    ticket: Ticket | undefined,
  ): void {
    const given = reader.optionsAt(index)
    const options = given === undefined ? undefined : { ...given, upload: 0 }
    let value: Buffer = reader.values
    let start = reader.valueBounds[index] as number
    let end = reader.valueBounds[index + 1] as number
    if (given !== undefined && given.upload !== 0) {
      try {
        value = pipe.takeUpload(given.upload)
      } catch (error) {
        pipe.writer.error(reader.idAt(index), error as NearstateError)
        return
      }
      start = 0
      end = value.length
    }
    const kind = reader.kindAt(index)
    const slotNumber = slot === undefined ? 0 : slotOf(channel, slot)
    const id = channel.nextId
    const upload = (id % 0x7fffffff) + 1 // 0 means inline
    channel.nextId = (channel.nextId + 1) >>> 0
    const isUpload = end - start > chunkMaxBytes
    const number = reader.numberAt(index)
    channel.pending.set(id, { pipe, id: reader.idAt(index), isWrite: isWrite(kind), isUpload, number, partition, ticket })
    const { keys, keyBounds } = reader
    const keyStart = keyBounds[index] as number
    const keyEnd = keyBounds[index + 1] as number
    this.#unsent.add(channel)
    if (isUpload) {
      channel.uploadsUnderWay += 1
      this.#sendChunks(channel, upload, value.subarray(start, end))
      channel.builder.append(kind, slotNumber, keys, keyStart, keyEnd, undefined, 0, 0, { ...(options ?? emptyOptions()), upload })
    } else {
      channel.builder.append(kind, slotNumber, keys, keyStart, keyEnd, end > start ? value : undefined, start, end, options)
    }
    if (number !== 0) channel.builder.number(number, reader.distanceAt(index))
    if (channel.builder.bytes >= batchTargetBytes || channel.builder.count >= batchOperationsMax) this.#send(channel)
  }

  #sendChunks(channel: PeerChannel, upload: number, value: Buffer): void {
    for (const chunk of chunksOf(upload, value)) this.#sendBatch(channel, { ...emptyBatch(), chunk })
  }

  #send(channel: PeerChannel): void {
    this.#unsent.delete(channel)
    const { count } = channel.builder
    if (count === 0) return
    const batch = channel.builder.take((channel.nextId - count) >>> 0, this.#ownership.wireTableVersion)
    batch.maps = channel.newMaps
    channel.newMaps = []
    batch.sessions = channel.newSessions
    channel.newSessions = []
    this.#sendBatch(channel, batch)
  }

  #sendBatch(channel: PeerChannel, batch: OperationBatch): void {
    if (!channel.greeted) {
      batch.wireVersion = wireVersion
      channel.greeted = true
    }
    if (!this.#links.send(channel.peer, 'operations', OperationBatch.encode(batch).finish())) channel.congested = true
  }

  #relay(channel: PeerChannel, reader: ResultReader): void {
    const touched = new Set<Pipe>()
    const wasFull = channel.isFull
    for (let index = 0; index < reader.count; index += 1) {
      const id = reader.idAt(index)
      const forwarded = channel.pending.get(id)
      if (forwarded === undefined) continue
      channel.pending.delete(id)
      if (forwarded.isUpload) channel.uploadsUnderWay -= 1
      const chunked = reader.detailAt(index)?.chunked === true ? channel.uploads.take(id) : undefined
      if (forwarded.pipe.isClosed) continue
      relayOne(forwarded, reader, index, chunked)
      touched.add(forwarded.pipe)
    }
    for (const pipe of touched) pipe.touched()
    if (wasFull && !channel.isFull) wake(channel)
  }
}

function relayOne(
  { pipe, id, number, partition, ticket }: Forwarded,
  reader: ResultReader,
  index: number,
  chunked: Buffer | undefined,
): void {
  const { writer } = pipe
  const detail = reader.detailAt(index)
  switch (reader.statusAt(index)) {
    case ResultStatus.OK: {
      if (chunked !== undefined) writer.value(id, chunked, 0, chunked.length)
      else writer.value(id, reader.values, reader.valueBounds[index] as number, reader.valueBounds[index + 1] as number)
      if (detail !== undefined) writer.detail(detail.version, detail.expiresAtMs)
      return
    }
    case ResultStatus.ABSENT:
      writer.absent(id)
      return
    case ResultStatus.NOT_OWNER:
      pipe.noteRefused(partition, ticket, number)
      writer.notOwner(id)
      return
    case ResultStatus.NOT_NOW:
      pipe.noteRefused(partition, ticket, number)
      writer.notNow(id)
      return
    case ResultStatus.SESSION_UNKNOWN:
      writer.sessionUnknown(id)
      return
    default: {
      const error = errorOf(detail)
      if (error.code === 'OUTCOME_UNKNOWN') pipe.noteRefused(partition, ticket, number)
      writer.error(id, error)
    }
  }
}

/** The map's number on the channel, named to the peer with the next batch if it is new. */
function slotOf(channel: PeerChannel, slot: MapSlot): number {
  const identity = JSON.stringify([slot.name, slot.keySpace, slot.codecText])
  let number = channel.slots.get(identity)
  if (number === undefined) {
    number = channel.slots.size
    channel.slots.set(identity, number)
    channel.newMaps.push({ slot: number, name: slot.name, keySpace: slot.keySpace, keyCodec: slot.codecText })
  }
  return number
}

function wake(channel: PeerChannel): void {
  const { waiters } = channel
  channel.waiters = []
  for (const waiter of waiters) waiter()
}
