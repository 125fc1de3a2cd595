/** How a key of a map becomes bytes. A tuple's first element is encoded as in its own space; see protocols.md section 1. */
export type ScalarCodec = 'string' | 'int64' | 'bytes'
export type KeyCodec = ScalarCodec | readonly ['tuple', ...KeyCodec[]]
export type Scalar = string | number | Uint8Array
