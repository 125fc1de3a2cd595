/**
 * What replicas say to each other, as bytes: many messages of one shard to another in one frame.
 *
 * A frame is a protobuf ReplicationBatch: the incarnations that its messages name, and the messages one after the other. Every field is
 * `n`, a varint; `f`, a float64; `s`, a varint of number + 1 for what may be -1; `i`, the place of an incarnation. Positions are effects.
 *
 *   message   kind byte, partition n, epoch n, from i, to i, and then by kind:
 *   1 append       flags (1 has record, 2 serving), [record], previous (epoch n, position s), committed s, floor s, sent at f (ms),
 *                  count of entries n; [bytes of all entries n, entries]
 *             entry: count of effects n, 0 or, if it is not that of the entry before (of `previous`, the first), epoch + 1 n, effects
 *   2 appended     position s, applied s, sent at f
 *   3 hello        flags (1 holds, 2 follows), given up n, [holds: epoch n, position s]
 *   4 served
 *   5 chunk        snapshot n, index n, start (epoch n, position s), flags (1 first, 2 has cursor), position s, [cursor],
 *                  count of effects n, bytes of effects n, effects
 *             cursor: 0 entries: map f, place n | 1 records: space f, key | 2 sessions: from f
 *   6 chunkTaken   snapshot n, index n
 *   record         version n, epoch n, flags (1 primary, 2 handed over is said, 4 handed over, 8 given up is said), [given up n],
 *                  [primary], count of backups n, backups, count of in-sync n, in-sync; a replica is two i: node, shard
 *
 * An entry's position is not written: entries follow `previous` and each other without a gap, each as long as it has effects.
 * In rows, not columns: a message mostly holds few effects of unlike kinds, so that the heads of columns would cost more than they save.
 */
import { assert, unreachable } from '../base/assert.ts'
import { invalidArgument, messageOf, NearstateError } from '../base/errors.ts'
import type { Epoch, NodeId, PartitionId, ShardId } from '../base/ids.ts'
import type { PartitionRecord, Replica } from '../partitioning/partition-table.ts'
import type { AppendMessage, ChunkMessage, EntryName, LogEntry, ReplicationMessage } from '../replication/messages.ts'
import type { Effect } from '../storage/effect.ts'
import type { ImageChunk, ImageCursor } from '../storage/image.ts'
import { ByteReader } from './byte-reader.ts'
import { ByteWriter } from './byte-writer.ts'
import { EffectDecoder, EffectEncoder } from './effect-codec.ts'

const batchTags = { incarnations: 10, messages: 18 } as const

const frame = new ByteWriter()
const body = new ByteWriter()
const effectBytes = new ByteWriter()
const effects = new EffectEncoder(effectBytes)
const decoder = new EffectDecoder()
const places = new Map<string, number>()

/** A view of memory that the next call writes over: to be copied or sent before. */
export function encodeReplication(messages: readonly ReplicationMessage[]): Uint8Array {
  places.clear()
  body.begin()
  for (const message of messages) writeMessage(message)
  frame.begin()
  for (const incarnation of places.keys()) frame.bytes(batchTags.incarnations, Buffer.from(incarnation))
  frame.bytes(batchTags.messages, body.view())
  return frame.view()
}

/** Effects own their bytes, those of a message together. Throws INVALID_ARGUMENT for what is no frame. */
export function decodeReplication(bytes: Uint8Array): ReplicationMessage[] {
  try {
    return readBatch(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
  } catch (thrown) {
    if (thrown instanceof NearstateError) throw thrown
    throw new NearstateError('INVALID_ARGUMENT', `Cannot read replication: ${messageOf(thrown)}`, { cause: thrown })
  }
}

function writeMessage(message: ReplicationMessage): void {
  switch (message.kind) {
    case 'append':
      return writeAppend(message)
    case 'appended':
      writeHead(2, message)
      writeSigned(message.position)
      writeSigned(message.applied)
      return body.float64(message.sentAtMs)
    case 'hello':
      writeHead(3, message)
      body.byte((message.holds === undefined ? 0 : 1) | (message.follows ? 2 : 0))
      body.integer(message.givenUp)
      if (message.holds !== undefined) writeName(message.holds)
      return
    case 'served':
      return writeHead(4, message)
    case 'chunk':
      return writeChunk(message)
    case 'chunkTaken':
      writeHead(6, message)
      body.integer(message.snapshot)
      return body.integer(message.index)
    default:
      return unreachable(message)
  }
}

function writeHead(kind: number, { partition, epoch, from, to }: ReplicationMessage): void {
  body.byte(kind)
  body.integer(partition)
  body.integer(epoch)
  writePlace(from)
  writePlace(to)
}

function writeAppend(message: AppendMessage): void {
  const { record, previous, entries } = message
  writeHead(1, message)
  body.byte((record === undefined ? 0 : 1) | (message.serving ? 2 : 0))
  if (record !== undefined) writeRecord(record.version, record.row)
  writeName(previous)
  writeSigned(message.committed)
  writeSigned(message.floor)
  body.float64(message.sentAtMs)
  body.integer(entries.length)
  if (entries.length === 0) return
  effectBytes.begin()
  effects.begin()
  let { epoch, position } = previous
  for (const entry of entries) {
    position += entry.effects.length
    assert(position === entry.position, 'entries follow each other')
    effectBytes.integer(entry.effects.length)
    effectBytes.integer(entry.epoch === epoch ? 0 : entry.epoch + 1)
    epoch = entry.epoch
    for (const effect of entry.effects) effects.write(effect)
  }
  writeEffects()
}

function writeChunk(message: ChunkMessage): void {
  const { snapshot, index, start, chunk } = message
  writeHead(5, message)
  body.integer(snapshot)
  body.integer(index)
  writeName(start)
  body.byte((chunk.first ? 1 : 0) | (chunk.cursor === undefined ? 0 : 2))
  writeSigned(chunk.position)
  if (chunk.cursor !== undefined) writeCursor(chunk.cursor)
  body.integer(chunk.effects.length)
  effectBytes.begin()
  effects.begin()
  for (const effect of chunk.effects) effects.write(effect)
  writeEffects()
}

function writeEffects(): void {
  const bytes = effectBytes.view()
  body.integer(bytes.length)
  body.raw(bytes, 0, bytes.length)
}

function writeCursor(cursor: ImageCursor): void {
  switch (cursor.kind) {
    case 'entries':
      body.byte(0)
      body.float64(cursor.map)
      return body.integer(cursor.place)
    case 'records':
      body.byte(1)
      body.float64(cursor.space)
      body.integer(cursor.from.length)
      return body.raw(cursor.from, 0, cursor.from.length)
    case 'sessions':
      body.byte(2)
      return body.float64(cursor.from)
    default:
      return unreachable(cursor)
  }
}

function writeRecord(version: number, { epoch, primary, backups, inSync, handedOver, givenUp }: PartitionRecord): void {
  body.integer(version)
  body.integer(epoch)
  body.byte(
    (primary === undefined ? 0 : 1) | (handedOver === undefined ? 0 : 2) | (handedOver === true ? 4 : 0) | (givenUp === undefined ? 0 : 8),
  )
  if (givenUp !== undefined) body.integer(givenUp)
  if (primary !== undefined) writeReplica(primary)
  body.integer(backups.length)
  for (const replica of backups) writeReplica(replica)
  body.integer(inSync.length)
  for (const replica of inSync) writeReplica(replica)
}

function writeReplica({ node, shard }: Replica): void {
  writePlace(node)
  writePlace(shard)
}

function writeName({ epoch, position }: EntryName): void {
  body.integer(epoch)
  writeSigned(position)
}

const writeSigned = (value: number): void => body.integer(value + 1)

function writePlace(incarnation: string): void {
  let place = places.get(incarnation)
  if (place === undefined) {
    place = places.size
    places.set(incarnation, place)
  }
  body.integer(place)
}

const known = new Map<string, string>()
const knownMax = 1024

/** The same string for the same name, which compares faster; there are few. */
function interned(incarnation: string): string {
  const own = known.get(incarnation)
  if (own !== undefined) return own
  if (known.size >= knownMax) known.clear()
  known.set(incarnation, incarnation)
  return incarnation
}

function readBatch(bytes: Buffer): ReplicationMessage[] {
  const reader = new ByteReader(bytes)
  const incarnations: string[] = []
  let messages: Buffer | undefined
  while (!reader.done) {
    const tag = reader.uint32()
    if (tag === batchTags.incarnations) incarnations.push(interned(reader.bytes().toString()))
    else if (tag === batchTags.messages) messages = reader.bytes()
    else reader.skip(tag)
  }
  return messages === undefined ? [] : new MessageReader(messages, incarnations).readAll()
}

class MessageReader {
  readonly #bytes: Buffer
  readonly #reader: ByteReader
  readonly #incarnations: readonly string[]

  constructor(bytes: Buffer, incarnations: readonly string[]) {
    this.#bytes = bytes
    this.#reader = new ByteReader(bytes)
    this.#incarnations = incarnations
  }

  readAll(): ReplicationMessage[] {
    const messages: ReplicationMessage[] = []
    while (!this.#reader.done) messages.push(this.#message())
    return messages
  }

  #message(): ReplicationMessage {
    const reader = this.#reader
    const kind = reader.byte()
    const partition = reader.integer() as PartitionId
    const epoch = this.#epoch()
    const from = this.#incarnation() as ShardId
    const to = this.#incarnation() as ShardId
    switch (kind) {
      case 1:
        return this.#append(partition, epoch, from, to)
      case 2: {
        const position = this.#signed()
        const applied = this.#signed()
        return { kind: 'appended', partition, epoch, from, to, position, applied, sentAtMs: reader.float64() }
      }
      case 3: {
        const flags = reader.byte()
        const givenUp = reader.integer()
        const holds = (flags & 1) === 0 ? undefined : this.#name()
        return { kind: 'hello', partition, epoch, from, to, holds, givenUp, follows: (flags & 2) !== 0 }
      }
      case 4:
        return { kind: 'served', partition, epoch, from, to }
      case 5:
        return this.#chunk(partition, epoch, from, to)
      case 6: {
        const snapshot = reader.integer()
        return { kind: 'chunkTaken', partition, epoch, from, to, snapshot, index: reader.integer() }
      }
      default:
        throw invalidArgument(`Cannot read replication: message kind ${kind} is not known`)
    }
  }

  #append(partition: PartitionId, epoch: Epoch, from: ShardId, to: ShardId): AppendMessage {
    const reader = this.#reader
    const flags = reader.byte()
    const record = (flags & 1) === 0 ? undefined : this.#record()
    const previous = this.#name()
    const committed = this.#signed()
    const floor = this.#signed()
    const sentAtMs = reader.float64()
    const entries = this.#entries(reader.integer(), previous)
    const message: AppendMessage = {
      kind: 'append',
      partition,
      epoch,
      from,
      to,
      previous,
      entries,
      committed,
      floor,
      serving: (flags & 2) !== 0,
      sentAtMs,
    }
    return record === undefined ? message : { ...message, record }
  }

  #entries(count: number, previous: EntryName): readonly LogEntry[] {
    const entries: LogEntry[] = []
    if (count === 0) return entries
    decoder.begin(this.#copy())
    let { epoch, position } = previous as { epoch: number; position: number }
    for (let i = 0; i < count; i += 1) {
      const effectCount = decoder.integer()
      const other = decoder.integer()
      if (other > 0) epoch = other - 1
      if (effectCount === 0) throw invalidArgument('Cannot read replication: an entry has no effects')
      const effects: Effect[] = []
      for (let j = 0; j < effectCount; j += 1) effects.push(decoder.read())
      position += effectCount
      entries.push({ epoch: epoch as Epoch, position, effects })
    }
    checkEnd()
    return entries
  }

  #chunk(partition: PartitionId, epoch: Epoch, from: ShardId, to: ShardId): ChunkMessage {
    const reader = this.#reader
    const snapshot = reader.integer()
    const index = reader.integer()
    const start = this.#name()
    const flags = reader.byte()
    const position = this.#signed()
    const cursor = (flags & 2) === 0 ? undefined : this.#cursor()
    const count = reader.integer()
    decoder.begin(this.#copy())
    const effects: ImageChunk['effects'][number][] = []
    for (let i = 0; i < count; i += 1) effects.push(decoder.readOfImage())
    checkEnd()
    return {
      kind: 'chunk',
      partition,
      epoch,
      from,
      to,
      snapshot,
      index,
      start,
      chunk: { position, first: (flags & 1) !== 0, effects, cursor },
    }
  }

  #cursor(): ImageCursor {
    const reader = this.#reader
    const kind = reader.byte()
    switch (kind) {
      case 0: {
        const map = reader.float64()
        return { kind: 'entries', map, place: reader.integer() }
      }
      case 1: {
        const space = reader.float64()
        return { kind: 'records', space, from: new Uint8Array(this.#copy()) }
      }
      case 2:
        return { kind: 'sessions', from: reader.float64() }
      default:
        throw invalidArgument(`Cannot read replication: cursor kind ${kind} is not known`)
    }
  }

  #record(): { readonly version: number; readonly row: PartitionRecord } {
    const reader = this.#reader
    const version = reader.integer()
    const epoch = this.#epoch()
    const flags = reader.byte()
    const givenUp = (flags & 8) === 0 ? {} : { givenUp: reader.integer() }
    const handedOver = (flags & 2) === 0 ? {} : { handedOver: (flags & 4) !== 0 }
    const primary = (flags & 1) === 0 ? undefined : this.#replica()
    const backups = this.#replicas()
    return { version, row: { epoch, primary, backups, inSync: this.#replicas(), ...handedOver, ...givenUp } }
  }

  #replicas(): readonly Replica[] {
    const count = this.#reader.integer()
    const replicas: Replica[] = []
    for (let i = 0; i < count; i += 1) replicas.push(this.#replica())
    return replicas
  }

  #replica(): Replica {
    const node = this.#incarnation() as NodeId
    return { node, shard: this.#incarnation() as ShardId }
  }

  #name(): EntryName {
    const epoch = this.#epoch()
    return { epoch, position: this.#signed() }
  }

  #epoch(): Epoch {
    return this.#reader.integer() as Epoch
  }

  #signed(): number {
    return this.#reader.integer() - 1
  }

  #incarnation(): string {
    const place = this.#reader.integer()
    const incarnation = this.#incarnations[place]
    if (incarnation === undefined)
      throw invalidArgument(`Cannot read replication: incarnation ${place} is named, there are ${this.#incarnations.length}`)
    return incarnation
  }

  /** Bytes after their length, of their own, or of Node's pool when they are few: a log that keeps one of them must not hold on to the frame. */
  #copy(): Buffer {
    const start = this.#reader.span(this.#reader.integer())
    const copy = Buffer.allocUnsafe(this.#reader.at - start)
    copy.set(this.#bytes.subarray(start, this.#reader.at))
    return copy
  }
}

function checkEnd(): void {
  if (!decoder.done) throw invalidArgument('Cannot read replication: bytes are left after the last effect')
}
