/**
 * What user code made, as data that can be read outside a slice without running user code: no getters, no proxies, no `toJSON`.
 * To be called where user code may run. Throws what encoding throws for what cannot be stored.
 */
import type { RowCodec } from '../exchange/frame.ts'

/** A row of a plain object with plain fields is copied; anything deeper goes through the codec and back. */
export function plainOf(value: unknown, codec: RowCodec): unknown {
  if (isPrimitive(value)) return value
  if (typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype) {
    const copy: Readonly<Record<string, unknown>> = { ...value }
    return isFlat(copy) ? copy : codec.decode(codec.encode(copy))
  }
  return codec.decode(codec.encode(value))
}

function isFlat(row: Readonly<Record<string, unknown>>): boolean {
  for (const field in row) if (!isPrimitive(row[field])) return false
  return true
}

function isPrimitive(value: unknown): value is string | number | bigint | boolean | null | undefined {
  const type = typeof value
  return (type !== 'object' && type !== 'function' && type !== 'symbol') || value === null
}
