/**
 * How a key of a map becomes bytes, and how that choice is written down (`string`, `tuple(string,int64)`).
 * A tuple's first element decides its place and is the key of a space of its own; it may be a tuple itself. The others are scalars.
 */
import { invalidArgument } from '../base/errors.ts'

export type ScalarCodec = 'string' | 'int64' | 'bytes'
export type KeyCodec = ScalarCodec | readonly ['tuple', ...KeyCodec[]]
export type Scalar = string | number | Uint8Array

/** Elements of a tuple key. */
const tupleElementsMax = 16
const nestingMax = 4

export const isScalarCodec = (text: string): text is ScalarCodec => text === 'string' || text === 'int64' || text === 'bytes'

export function formatKeyCodec(codec: KeyCodec): string {
  if (typeof codec === 'string') return codec
  const [, ...elements] = codec
  return `tuple(${elements.map(formatKeyCodec).join(',')})`
}

/** The codec that `formatKeyCodec` wrote; INVALID_ARGUMENT for anything else. */
export function parseKeyCodec(text: string): KeyCodec {
  const codec = parseTuple(text, 0)
  if (codec === undefined)
    throw invalidArgument(
      `Cannot read key codec "${text.slice(0, 100)}": string, int64, bytes or a tuple of 2 to ${tupleElementsMax} of them is wanted, such as "tuple(string,int64)"; only the first element of a tuple may be a tuple (${nestingMax} deep)`,
    )
  return codec
}

function parseTuple(text: string, depth: number): KeyCodec | undefined {
  if (isScalarCodec(text)) return text
  if (depth === nestingMax || !text.startsWith('tuple(') || !text.endsWith(')')) return undefined
  const inner = text.slice('tuple('.length, -1)
  const firstEnd = inner.startsWith('tuple(') ? inner.lastIndexOf(')') + 1 : inner.indexOf(',')
  if (firstEnd <= 0 || inner[firstEnd] !== ',') return undefined
  const first = parseTuple(inner.slice(0, firstEnd), depth + 1)
  const rest = inner.slice(firstEnd + 1).split(',')
  if (first === undefined || rest.length + 1 > tupleElementsMax || !rest.every(isScalarCodec)) return undefined
  return ['tuple', first, ...rest]
}
