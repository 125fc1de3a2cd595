/**
 * The two messages of the hot path by hand: same bytes as the generated code (tested against it), but payloads are views of the
 * message instead of copies, and what is not protobuf is INVALID_ARGUMENT. Rare parts go through the generated code.
 */
import { messageOf, NearstateError } from '../base/errors.ts'
import { ByteReader } from './byte-reader.ts'
import { ByteWriter } from './byte-writer.ts'
import {
  Chunk,
  MapDeclaration,
  type OperationBatch,
  OperationOptions,
  type ResultBatch,
  ResultDetail,
  SessionDeclaration,
} from './generated/nearstate/v1/data.ts'
import { emptyBatch } from './operations.ts'
import { emptyResults } from './results.ts'

// Tags: field number * 8 + wire type.
const operation = { wireVersion: 8, tableVersion: 16, firstId: 24, maps: 34, kinds: 42, mapSlots: 50, keyLengths: 58, keys: 66 } as const
const operationTail = {
  valueLengths: 74,
  values: 82,
  options: 90,
  chunk: 98,
  gateway: 104,
  sessions: 114,
  requestNumbers: 122,
  unansweredDistances: 130,
} as const
const result = {
  tableVersion: 8,
  ids: 18,
  firstId: 24,
  count: 32,
  statuses: 42,
  valueLengths: 50,
  values: 58,
  details: 66,
  chunk: 74,
  last: 80,
} as const

const writer = new ByteWriter()

/** A view of memory that the next call of this module's encoders writes over: to be copied or sent before. */
export function encodeOperationBatch(batch: OperationBatch): Buffer {
  writer.begin()
  if (batch.wireVersion !== 0) writer.uint32(operation.wireVersion, batch.wireVersion)
  if (batch.tableVersion !== 0n) writer.uint64(operation.tableVersion, batch.tableVersion)
  if (batch.firstId !== 0) writer.uint32(operation.firstId, batch.firstId)
  for (const map of batch.maps) writer.bytes(operation.maps, MapDeclaration.encode(map).finish())
  if (batch.kinds.length > 0) writer.packed(operation.kinds, batch.kinds)
  if (batch.mapSlots.length > 0) writer.packed(operation.mapSlots, batch.mapSlots)
  if (batch.keyLengths.length > 0) writer.packed(operation.keyLengths, batch.keyLengths)
  if (batch.keys.length > 0) writer.bytes(operation.keys, batch.keys)
  if (batch.valueLengths.length > 0) writer.packed(operationTail.valueLengths, batch.valueLengths)
  if (batch.values.length > 0) writer.bytes(operationTail.values, batch.values)
  for (const options of batch.options) writer.bytes(operationTail.options, OperationOptions.encode(options).finish())
  if (batch.chunk !== undefined) writer.bytes(operationTail.chunk, Chunk.encode(batch.chunk).finish())
  if (batch.gateway) writer.uint32(operationTail.gateway, 1)
  for (const session of batch.sessions) writer.bytes(operationTail.sessions, SessionDeclaration.encode(session).finish())
  if (batch.requestNumbers.length > 0) writer.packed(operationTail.requestNumbers, batch.requestNumbers)
  if (batch.unansweredDistances.length > 0) writer.packed(operationTail.unansweredDistances, batch.unansweredDistances)
  return writer.view()
}

/** Keys and values are views of `bytes`, which must not change afterwards. */
export function decodeOperationBatch(bytes: Buffer): OperationBatch {
  const batch = emptyBatch()
  const reader = new ByteReader(bytes)
  return guarded('operations', () => {
    while (!reader.done) readOperationField(reader, batch)
    return batch
  })
}

function readOperationField(reader: ByteReader, batch: OperationBatch): void {
  const tag = reader.uint32()
  switch (tag) {
    case operation.wireVersion:
      batch.wireVersion = reader.uint32()
      return
    case operation.tableVersion:
      batch.tableVersion = reader.uint64()
      return
    case operation.firstId:
      batch.firstId = reader.uint32()
      return
    case operation.maps:
      batch.maps.push(MapDeclaration.decode(reader.bytes()))
      return
    case operation.kinds:
    case operation.kinds - 2:
      return reader.column(tag, batch.kinds)
    case operation.mapSlots:
    case operation.mapSlots - 2:
      return reader.column(tag, batch.mapSlots)
    case operation.keyLengths:
    case operation.keyLengths - 2:
      return reader.column(tag, batch.keyLengths)
    case operation.keys:
      batch.keys = reader.bytes()
      return
    case operationTail.valueLengths:
    case operationTail.valueLengths - 2:
      return reader.column(tag, batch.valueLengths)
    case operationTail.values:
      batch.values = reader.bytes()
      return
    case operationTail.options:
      batch.options.push(OperationOptions.decode(reader.bytes()))
      return
    case operationTail.chunk:
      batch.chunk = Chunk.decode(reader.bytes())
      return
    case operationTail.gateway:
      batch.gateway = reader.uint32() !== 0
      return
    case operationTail.sessions:
      batch.sessions.push(SessionDeclaration.decode(reader.bytes()))
      return
    case operationTail.requestNumbers:
    case operationTail.requestNumbers - 2:
      return reader.column(tag, batch.requestNumbers)
    case operationTail.unansweredDistances:
    case operationTail.unansweredDistances - 2:
      return reader.column(tag, batch.unansweredDistances)
    default:
      return reader.skip(tag)
  }
}

/** A view of memory that the next call of this module's encoders writes over: to be copied or sent before. */
export function encodeResultBatch(batch: ResultBatch): Buffer {
  writer.begin()
  if (batch.tableVersion !== 0n) writer.uint64(result.tableVersion, batch.tableVersion)
  if (batch.ids.length > 0) writer.packed(result.ids, batch.ids)
  if (batch.firstId !== 0) writer.uint32(result.firstId, batch.firstId)
  if (batch.count !== 0) writer.uint32(result.count, batch.count)
  if (batch.statuses.length > 0) writer.packed(result.statuses, batch.statuses)
  if (batch.valueLengths.length > 0) writer.packed(result.valueLengths, batch.valueLengths)
  if (batch.values.length > 0) writer.bytes(result.values, batch.values)
  for (const detail of batch.details) writer.bytes(result.details, ResultDetail.encode(detail).finish())
  if (batch.chunk !== undefined) writer.bytes(result.chunk, Chunk.encode(batch.chunk).finish())
  if (batch.last) writer.uint32(result.last, 1)
  return writer.view()
}

/** Values are views of `bytes`, which must not change afterwards. */
export function decodeResultBatch(bytes: Buffer): ResultBatch {
  const batch = emptyResults()
  const reader = new ByteReader(bytes)
  return guarded('results', () => {
    while (!reader.done) readResultField(reader, batch)
    return batch
  })
}

function readResultField(reader: ByteReader, batch: ResultBatch): void {
  const tag = reader.uint32()
  switch (tag) {
    case result.tableVersion:
      batch.tableVersion = reader.uint64()
      return
    case result.ids:
    case result.ids - 2:
      return reader.column(tag, batch.ids)
    case result.firstId:
      batch.firstId = reader.uint32()
      return
    case result.count:
      batch.count = reader.uint32()
      return
    case result.statuses:
    case result.statuses - 2:
      return reader.column(tag, batch.statuses)
    case result.valueLengths:
    case result.valueLengths - 2:
      return reader.column(tag, batch.valueLengths)
    case result.values:
      batch.values = reader.bytes()
      return
    case result.details:
      batch.details.push(ResultDetail.decode(reader.bytes()))
      return
    case result.chunk:
      batch.chunk = Chunk.decode(reader.bytes())
      return
    case result.last:
      batch.last = reader.uint32() !== 0
      return
    default:
      return reader.skip(tag)
  }
}

function guarded<T>(what: string, read: () => T): T {
  try {
    return read()
  } catch (thrown) {
    if (thrown instanceof NearstateError) throw thrown
    throw new NearstateError('INVALID_ARGUMENT', `Cannot read ${what}: ${messageOf(thrown)}`, { cause: thrown })
  }
}
