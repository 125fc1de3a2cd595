import { encodeKey } from '../../keys/encode-key.ts'
import type { KeyCodec } from '../../keys/key-codec.ts'

/** What names a key in a JavaScript Map: equal for equal keys of the codec. */
export type KeyId = string | number

export function keyIdOf(codec: KeyCodec): (key: unknown) => KeyId {
  if (codec === 'string') return key => key as string
  // -0 and 0 are one key for a Map, and one for the codec.
  if (codec === 'int64') return key => key as number
  if (codec === 'bytes') return key => latin1Of(key as Uint8Array)
  return key => latin1Of(encodeKey(codec, key))
}

/** Bytes as a string of as many characters. */
export function latin1Of(bytes: Uint8Array): string {
  let text = ''
  for (let i = 0; i < bytes.length; i += 1) text += String.fromCharCode(bytes[i] as number)
  return text
}
