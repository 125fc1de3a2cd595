/**
 * Frames between the shards of an attempt.
 *
 *   0 kind u8 | 1 flags u8 (bit 0: idle) | 2 edge u16 | 4 attempt u32 | 8 sequence u32 | 12 count u32 | 16 watermark f64
 *   24 length of the job's name u16 | 26 name, UTF-8 | then, for rows only:
 *   times f64 * count | origins f64 * count | partitions i32 * count | rest: encoded [keys, packed rows]
 *
 * Little-endian. `rows`: count rows, and the sender's watermark behind them. `mark`: the watermark alone. `credit`: the sender of
 * this frame takes `count` more frames of rows on that edge. `barrier`: barrier `count`, and the sender's watermark at it. `state`: of
 * no edge; records of barrier `count` for partitions of the receiver, encoded as [partition, stage, key, value] each; bit 1 of the
 * flags: the last of that barrier.
 */
import { Batch } from '../operators/batch.ts'
import { type PackedRows, packRows, unpackRows } from './row-packing.ts'

export type FrameKind = 'rows' | 'mark' | 'credit' | 'barrier' | 'state'
const kinds: readonly FrameKind[] = ['rows', 'mark', 'credit', 'barrier', 'state']
/** In place of an edge. */
const noEdge = 0xffff
const headBytes = 26
const rowBytes = 20

/** Encodes keys and rows; injected, since the value codec is not the core's. */
export interface RowCodec {
  encode(value: unknown): Uint8Array
  decode(bytes: Uint8Array): unknown
}

export interface Frame {
  readonly kind: FrameKind
  readonly job: string
  readonly attempt: number
  readonly edge: number
  readonly sequence: number
  readonly count: number
  readonly watermark: number
  readonly idle: boolean
  /** Of a barrier's state: no more of it follows. */
  readonly last: boolean
  /** Columns and payload of the rows; records of state. */
  readonly body: Uint8Array
}

export class FrameWriter {
  readonly #job: Uint8Array
  readonly #attempt: number
  readonly #codec: RowCodec

  constructor(job: string, attempt: number, codec: RowCodec) {
    this.#job = new TextEncoder().encode(job)
    this.#attempt = attempt
    this.#codec = codec
  }

  control(
    kind: 'mark' | 'credit' | 'barrier',
    edge: number,
    sequence: number,
    count: number,
    watermark: number,
    idle: boolean,
  ): Uint8Array {
    const bytes = new Uint8Array(headBytes + this.#job.length)
    this.#head(bytes, kind, edge, sequence, count, watermark, idle)
    return bytes
  }

  state(sequence: number, n: number, records: unknown, last: boolean): Uint8Array {
    const payload = this.#codec.encode(records)
    const bytes = new Uint8Array(headBytes + this.#job.length + payload.length)
    this.#head(bytes, 'state', noEdge, sequence, n, 0, false)
    if (last) bytes[1] = 2
    bytes.set(payload, headBytes + this.#job.length)
    return bytes
  }

  /** The rows [from, to) of a batch. Throws when a row cannot be encoded. */
  rows(edge: number, sequence: number, batch: Batch, from: number, to: number, watermark: number, idle: boolean): Uint8Array {
    const count = to - from
    const payload = this.#codec.encode([batch.keys.slice(from, to), packRows(batch.rows.slice(from, to))])
    const columnsAt = headBytes + this.#job.length
    const bytes = new Uint8Array(columnsAt + count * rowBytes + payload.length)
    this.#head(bytes, 'rows', edge, sequence, count, watermark, idle)
    bytes.set(bytesOf(batch.times, from, to), columnsAt)
    bytes.set(bytesOf(batch.origins, from, to), columnsAt + count * 8)
    bytes.set(bytesOf(batch.partitions, from, to), columnsAt + count * 16)
    bytes.set(payload, columnsAt + count * rowBytes)
    return bytes
  }

  #head(bytes: Uint8Array, kind: FrameKind, edge: number, sequence: number, count: number, watermark: number, idle: boolean): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    view.setUint8(0, kinds.indexOf(kind))
    view.setUint8(1, idle ? 1 : 0)
    view.setUint16(2, edge, true)
    view.setUint32(4, this.#attempt, true)
    view.setUint32(8, sequence, true)
    view.setUint32(12, count, true)
    view.setFloat64(16, watermark, true)
    view.setUint16(24, this.#job.length, true)
    bytes.set(this.#job, headBytes)
  }
}

/** Reads a frame's head; undefined: these bytes are no frame. The body is a view of them. */
export function readFrame(bytes: Uint8Array): Frame | undefined {
  if (bytes.length < headBytes) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const kind = kinds[view.getUint8(0)]
  const count = view.getUint32(12, true)
  const bodyAt = headBytes + view.getUint16(24, true)
  if (kind === undefined || bodyAt > bytes.length) return undefined
  if (kind === 'rows' && bytes.length - bodyAt < count * rowBytes) return undefined
  return {
    kind,
    job: new TextDecoder().decode(bytes.subarray(headBytes, bodyAt)),
    attempt: view.getUint32(4, true),
    edge: view.getUint16(2, true),
    sequence: view.getUint32(8, true),
    count,
    watermark: view.getFloat64(16, true),
    idle: (view.getUint8(1) & 1) === 1,
    last: (view.getUint8(1) & 2) === 2,
    body: bytes.subarray(bodyAt),
  }
}

/** The rows of a frame. Throws when the payload is none. */
export function readRows(frame: Frame, codec: RowCodec): Batch {
  const { count, body } = frame
  const payload = codec.decode(body.subarray(count * rowBytes)) as readonly [unknown[], PackedRows]
  const [keys, packed] = payload
  if (keys?.length !== count) throw new Error('the payload does not hold as many keys as the frame says')
  const batch = new Batch(0)
  // Copied into a buffer of their own, where they are aligned. (`slice` would not do: of a Buffer it is a view.)
  const columns = new Uint8Array(body.subarray(0, count * rowBytes)).buffer
  batch.size = count
  batch.times = new Float64Array(columns, 0, count)
  batch.origins = new Float64Array(columns, count * 8, count)
  batch.partitions = new Int32Array(columns, count * 16, count)
  batch.keys = keys
  batch.rows = unpackRows(packed, count)
  return batch
}

function bytesOf(column: Float64Array | Int32Array, from: number, to: number): Uint8Array {
  const width = column.BYTES_PER_ELEMENT
  return new Uint8Array(column.buffer, column.byteOffset + from * width, (to - from) * width)
}
