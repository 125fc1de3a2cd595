/** Keys as people write them on a command line: text, a number, hex for bytes, a JSON list for tuples. */
import { invalidArgument } from '../base/errors.ts'
import { formatKeyCodec, type KeyCodec } from '../keys/key-codec.ts'

/** INVALID_ARGUMENT names the form wanted, never the key. */
export function parseKey(codec: KeyCodec, text: string): unknown {
  if (typeof codec === 'string') return parseScalar(codec, text)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    value = undefined
  }
  if (!Array.isArray(value))
    throw invalidArgument(`Cannot read the key: ${formatKeyCodec(codec)} is wanted as a JSON list, such as '["DE","2024-01-31"]'`)
  return fromJson(codec, value)
}

/** The key as JSON shows it: bytes as hex. */
export function keyJson(key: unknown): unknown {
  if (key instanceof Uint8Array) return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('hex')
  return Array.isArray(key) ? key.map(keyJson) : key
}

export function keyText(key: unknown): string {
  const json = keyJson(key)
  return typeof json === 'string' ? json : JSON.stringify(json)
}

function parseScalar(codec: 'string' | 'int64' | 'bytes', text: string): unknown {
  switch (codec) {
    case 'string':
      return text
    case 'int64': {
      const value = Number(text)
      if (!/^-?\d+$/.test(text) || !Number.isSafeInteger(value))
        throw invalidArgument('Cannot read the key: a whole number in the safe range is wanted (int64)')
      return value
    }
    case 'bytes':
      if (!/^([0-9a-f]{2})+$/i.test(text)) throw invalidArgument('Cannot read the key: bytes are wanted as hex digits, two for each byte')
      return new Uint8Array(Buffer.from(text, 'hex'))
  }
}

/** Elements of a tuple come from JSON as they are, bytes as hex; wrong types are refused when the key is encoded. */
function fromJson(codec: KeyCodec, value: unknown): unknown {
  if (typeof codec === 'string') return codec === 'bytes' && typeof value === 'string' ? parseScalar('bytes', value) : value
  const [, ...elements] = codec
  return Array.isArray(value) ? value.map((item, i) => fromJson(elements[i] ?? 'string', item)) : value
}
