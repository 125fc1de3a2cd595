import { invalidArgument } from './errors.ts'

const unitBytes: Readonly<Record<string, number>> = { '': 1, b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 }

/** Bytes of a size such as `65536`, `'256kb'`, `'1.5gb'` (powers of 1024, any letter case). */
export function parseByteSize(text: string | number, what = 'size'): number {
  const match = /^(\d+(?:\.\d+)?)\s*(b|kb|mb|gb)?$/i.exec(String(text))
  const bytes = match === null ? Number.NaN : Math.round(Number(match[1]) * (unitBytes[(match[2] ?? '').toLowerCase()] ?? Number.NaN))
  if (!Number.isSafeInteger(bytes))
    throw invalidArgument(`Cannot read ${what} "${text}": a number and one of b, kb, mb, gb is wanted, such as "512mb"`)
  return bytes
}

/** Short text for people: `512 B`, `1.5 MB`. */
export function formatByteSize(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${units[unit]}`
}
