/**
 * Rows of one shape as fields and a flat list of values, so that field names travel once per frame and not once per row.
 * Rows that are no plain objects, or not all of one shape, travel as they are.
 */

export type PackedRows = readonly [fields: readonly string[], values: readonly unknown[]] | readonly [rows: readonly unknown[]]

export function packRows(rows: readonly unknown[]): PackedRows {
  const first = rows[0]
  if (!isPlain(first)) return [rows]
  const fields = Object.keys(first)
  // "__proto__" as a field cannot be assigned back.
  if (fields.length === 0 || fields.includes('__proto__')) return [rows]
  const values: unknown[] = []
  for (let i = 0; i < rows.length; i += 1) {
    const row = rows[i]
    if (!isPlain(row)) return [rows]
    let at = 0
    for (const field in row) {
      if (field !== fields[at]) return [rows]
      values.push(row[field])
      at += 1
    }
    if (at !== fields.length) return [rows]
  }
  return [fields, values]
}

/** Throws when what it gets was not packed, or does not make `count` rows. */
export function unpackRows(packed: PackedRows, count: number): unknown[] {
  if (packed.length === 1) {
    if (packed[0].length !== count) throw new Error(`the payload holds ${packed[0].length} rows where the frame says ${count}`)
    return [...packed[0]]
  }
  const [fields, values] = packed
  const width = fields.length
  if (values.length !== width * count) throw new Error(`the payload holds ${values.length} values where ${count} rows of ${width} are said`)
  const rows: unknown[] = []
  let at = 0
  for (let i = 0; i < count; i += 1) {
    const row: Record<string, unknown> = {}
    for (let field = 0; field < width; field += 1) {
      row[fields[field] as string] = values[at]
      at += 1
    }
    rows.push(row)
  }
  return rows
}

function isPlain(row: unknown): row is Record<string, unknown> {
  return typeof row === 'object' && row !== null && Object.getPrototypeOf(row) === Object.prototype
}
