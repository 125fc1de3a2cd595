/**
 * State of user code as the value codec can bring it back: the codec makes a plain object of a Map, so Maps are written as arrays
 * behind a sign, and an array that itself begins like one as a whole behind another sign. State without a Map is passed on as it is.
 */
const sign = '\u0000map'
const escape = '\u0000array'

export function packMaps(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
  if (value instanceof Map) return [sign, ...[...value].map(([key, item]) => [packMaps(key), packMaps(item)])]
  if (value instanceof Set) return packSet(value)
  if (Array.isArray(value)) return packArray(value)
  if (Object.getPrototypeOf(value) !== Object.prototype) return value
  let packed: Record<string, unknown> | undefined
  for (const [field, item] of Object.entries(value)) {
    const inner = packMaps(item)
    if (inner === item) continue
    packed ??= { ...value }
    packed[field] = inner
  }
  return packed ?? value
}

function packArray(value: readonly unknown[]): unknown {
  let packed: unknown[] | undefined
  for (let at = 0; at < value.length; at += 1) {
    const inner = packMaps(value[at])
    if (inner === value[at]) continue
    packed ??= value.slice()
    packed[at] = inner
  }
  const result = packed ?? value
  return result[0] === sign || result[0] === escape ? [escape, result] : result
}

function packSet(value: ReadonlySet<unknown>): unknown {
  for (const item of value) if (packMaps(item) !== item) return new Set([...value].map(packMaps))
  return value
}

export function unpackMaps(plain: unknown): unknown {
  if (typeof plain !== 'object' || plain === null || ArrayBuffer.isView(plain)) return plain
  if (Array.isArray(plain)) {
    if (plain[0] === escape) return unpackItems(plain[1] as unknown[])
    if (plain[0] !== sign) return unpackItems(plain)
    return new Map((plain.slice(1) as [unknown, unknown][]).map(([key, item]) => [unpackMaps(key), unpackMaps(item)]))
  }
  if (plain instanceof Set) return new Set([...plain].map(unpackMaps))
  if (Object.getPrototypeOf(plain) !== Object.prototype) return plain
  const fields = plain as Record<string, unknown>
  for (const field of Object.keys(fields)) {
    const inner = unpackMaps(fields[field])
    if (inner !== fields[field]) fields[field] = inner
  }
  return plain
}

function unpackItems(items: unknown[]): unknown[] {
  for (let at = 0; at < items.length; at += 1) items[at] = unpackMaps(items[at])
  return items
}
