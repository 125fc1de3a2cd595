/**
 * What a partition knows of a job whose state it holds: the row that starts an attempt, and where the records of each stage are.
 *
 *   space 0: job -> [attempt u32][restore attempt u32][restore n u32][count u16] and per stage [pair u32][length u16][name]
 *   space 2 * pair + slot: record key -> [attempt u32][n u32][1 value | 0 tombstone][value]
 *
 * A slot is a record of its own in the ordered store: a write moves half of a record, and logs, images and the durable mirror carry
 * state as they carry any record.
 */
import { assert } from '../base/assert.ts'

export const jobSpace = 0
export const slotHeaderBytes = 9
const fixedBytes = 14

export interface JobRow {
  readonly attempt: number
  readonly restoreAttempt: number
  readonly restoreN: number
  /** The pair of spaces of each stage by its name. */
  readonly stages: ReadonlyMap<string, number>
}

const decoder = new TextDecoder()

export const jobKey = (job: string): Uint8Array => new TextEncoder().encode(job)

export function encodeJobRow({ attempt, restoreAttempt, restoreN, stages }: JobRow): Uint8Array {
  const names = [...stages].map(([name, pair]) => ({ bytes: new TextEncoder().encode(name), pair }))
  const bytes = new Uint8Array(names.reduce((sum, { bytes: name }) => sum + 6 + name.length, fixedBytes))
  const view = new DataView(bytes.buffer)
  view.setUint32(0, attempt)
  view.setUint32(4, restoreAttempt)
  view.setUint32(8, restoreN)
  view.setUint16(12, names.length)
  let at = fixedBytes
  for (const { bytes: name, pair } of names) {
    assert(name.length <= 0xffff, `the name of a stage takes ${name.length} bytes`)
    view.setUint32(at, pair)
    view.setUint16(at + 4, name.length)
    bytes.set(name, at + 6)
    at += 6 + name.length
  }
  return bytes
}

export function decodeJobRow(bytes: Uint8Array): JobRow {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const stages = new Map<string, number>()
  let at = fixedBytes
  for (let left = view.getUint16(12); left > 0; left -= 1) {
    const end = at + 6 + view.getUint16(at + 4)
    stages.set(decoder.decode(bytes.subarray(at + 6, end)), view.getUint32(at))
    at = end
  }
  return { attempt: view.getUint32(0), restoreAttempt: view.getUint32(4), restoreN: view.getUint32(8), stages }
}

export const attemptOfRow = (row: Uint8Array): number => readUint32(row, 0)

export const slotAttempt = (slot: Uint8Array): number => readUint32(slot, 0)
export const slotN = (slot: Uint8Array): number => readUint32(slot, 4)
export const slotIsTombstone = (slot: Uint8Array): boolean => slot[8] === 0

export function encodeSlot(attempt: number, n: number, value: Uint8Array | undefined): Uint8Array {
  const slot = new Uint8Array(slotHeaderBytes + (value?.length ?? 0))
  writeUint32(slot, 0, attempt)
  writeUint32(slot, 4, n)
  if (value !== undefined) {
    slot[8] = 1
    slot.set(value, slotHeaderBytes)
  }
  return slot
}

export const isNewerSlot = (a: Uint8Array, b: Uint8Array): boolean =>
  slotAttempt(a) > slotAttempt(b) || (slotAttempt(a) === slotAttempt(b) && slotN(a) > slotN(b))

function readUint32(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] as number) << 24) | ((bytes[at + 1] as number) << 16)
  return (high | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number)) >>> 0
}

function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}
