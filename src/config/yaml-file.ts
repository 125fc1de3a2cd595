/** The configuration file: one YAML mapping from option keys to plain values, each with its line and column. */
import { isMap, isScalar, LineCounter, parseDocument } from 'yaml'
import { invalidArgument, type NearstateError } from '../base/errors.ts'

export interface FileEntry {
  readonly key: string
  readonly value: unknown
  /** `nearstate.yaml:3:7`. */
  readonly place: string
}

/** Entries in the order of the file. INVALID_ARGUMENT names file, line and column. */
export function readYaml(fileName: string, text: string): readonly FileEntry[] {
  const lines = new LineCounter()
  const placeOf = (offset: number): string => {
    const { line, col } = lines.linePos(offset)
    return `${fileName}:${line}:${col}`
  }
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const [error] = document.errors
  if (error !== undefined) throw refusal(placeOf(error.pos[0]), error.message)
  const root = document.contents
  if (root === null) return []
  if (!isMap(root)) throw refusal(placeOf(0), 'the file must be a mapping such as "port: 7400", one option a line')
  return root.items.map(({ key, value }) => {
    if (!isScalar(key) || typeof key.value !== 'string') throw refusal(placeOf(offsetOf(key)), 'an option name is wanted before the colon')
    const place = placeOf(offsetOf(value) || offsetOf(key))
    if (!isScalar(value)) throw refusal(place, `option ${key.value} takes one plain value, not a list or a mapping`)
    if (value.value === null) throw refusal(placeOf(offsetOf(key)), `option ${key.value} has no value; give it one or remove the line`)
    return { key: key.value, value: value.value, place }
  })
}

const refusal = (place: string, problem: string): NearstateError => invalidArgument(`Cannot read configuration at ${place}: ${problem}`)

function offsetOf(node: unknown): number {
  if (typeof node !== 'object' || node === null || !('range' in node) || !Array.isArray(node.range)) return 0
  return Number(node.range[0])
}
