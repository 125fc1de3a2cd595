/** Copies and rough sizes of user state: plain data, as it can be stored. */
import { invalidArgument } from '../../base/errors.ts'

const depthMax = 100

/** A deep copy. Functions, symbols and nesting deeper than 100 (or a cycle) are refused; instances of classes keep their prototype. */
export function cloneState(value: unknown, depth = 0): unknown {
  if (typeof value !== 'object' || value === null) {
    if (typeof value === 'function' || typeof value === 'symbol') throw invalidArgument(`Cannot keep state: it holds a ${typeof value}`)
    return value
  }
  if (depth > depthMax) throw invalidArgument(`Cannot keep state: it nests deeper than ${depthMax}, or contains itself`)
  if (Array.isArray(value)) {
    const copy: unknown[] = []
    for (let i = 0; i < value.length; i += 1) {
      const item: unknown = value[i]
      copy.push(isScalar(item) ? item : cloneState(item, depth + 1))
    }
    return copy
  }
  if (value instanceof Set) return cloneSet(value, depth)
  if (value instanceof Map) return cloneMap(value, depth)
  if (value instanceof Date) return new Date(value.getTime())
  if (ArrayBuffer.isView(value)) return structuredClone(value)
  return cloneObject(value, depth)
}

const isScalar = (value: unknown): boolean => typeof value === 'string' || typeof value === 'number' || value === undefined

function cloneObject(value: object, depth: number): object {
  const prototype: unknown = Object.getPrototypeOf(value)
  const copy: Record<string, unknown> = {}
  for (const key of Object.keys(value)) {
    const item = (value as Readonly<Record<string, unknown>>)[key]
    const copied = isScalar(item) ? item : cloneState(item, depth + 1)
    // A field of that name cannot be assigned, and must not become the prototype.
    if (key === '__proto__') Object.defineProperty(copy, key, { value: copied, writable: true, enumerable: true, configurable: true })
    else copy[key] = copied
  }
  return prototype === Object.prototype ? copy : (Object.setPrototypeOf(copy, prototype as object | null) as object)
}

function cloneSet(value: ReadonlySet<unknown>, depth: number): Set<unknown> {
  const copy = new Set<unknown>()
  for (const item of value) copy.add(cloneState(item, depth + 1))
  return copy
}

function cloneMap(value: ReadonlyMap<unknown, unknown>, depth: number): Map<unknown, unknown> {
  const copy = new Map<unknown, unknown>()
  for (const [key, item] of value) copy.set(cloneState(key, depth + 1), cloneState(item, depth + 1))
  return copy
}

/** Bytes that the value takes in memory, within a factor of two or so; looks at no more than 200 parts and extends from them. */
export function roughBytes(value: unknown, depth = 0): number {
  if (typeof value === 'string') return 24 + value.length
  if (typeof value !== 'object' || value === null) return 8
  if (ArrayBuffer.isView(value)) return 64 + value.byteLength
  if (depth > 6) return 64
  if (Array.isArray(value)) return 32 + extended(value, value.length, item => 8 + roughBytes(item, depth + 1))
  if (value instanceof Set) return 64 + extended(value, value.size, item => 24 + roughBytes(item, depth + 1))
  if (value instanceof Map)
    return 64 + extended(value, value.size, ([key, item]) => 24 + roughBytes(key, depth + 1) + roughBytes(item, depth + 1))
  const fields = Object.values(value)
  return 32 + extended(fields, fields.length, item => 8 + roughBytes(item, depth + 1))
}

function extended<T>(items: Iterable<T>, count: number, bytesOf: (item: T) => number): number {
  let seen = 0
  let bytes = 0
  for (const item of items) {
    bytes += bytesOf(item)
    seen += 1
    if (seen === 200) break
  }
  return seen === 0 ? 0 : Math.round((bytes * count) / seen)
}
