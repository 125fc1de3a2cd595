/** Walks the heads of a MessagePack value, without recursion, to bound its depth before a recursive decoder meets it. */

/** Arrays and maps within one another; far below any stack, the same for writers and readers. */
export const nestingMax = 200

/** undefined when `bytes[start..end)` nests at most `nestingMax` deep; else what is wrong. Leaves other damage to the decoder. */
export function checkNesting(bytes: Uint8Array, start: number, end: number): string | undefined {
  const left: number[] = [1]
  let at = start
  while (left.length > 0) {
    const depth = left.length - 1
    const remaining = left[depth] as number
    if (remaining === 0) {
      left.pop()
      continue
    }
    if (at >= end) return 'it is cut short'
    left[depth] = remaining - 1
    const head = bytes[at] as number
    const children = childrenOf(bytes, at, head)
    at += sizeOf(bytes, at, head)
    if (children > 0) {
      if (depth >= nestingMax) return `it nests deeper than ${nestingMax}`
      left.push(children)
    }
  }
  return undefined
}

const uint16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
const uint32 = (bytes: Uint8Array, at: number): number => uint16(bytes, at) * 65536 + uint16(bytes, at + 2)

function childrenOf(bytes: Uint8Array, at: number, head: number): number {
  if (head >= 0x80 && head <= 0x8f) return 2 * (head & 0x0f)
  if (head >= 0x90 && head <= 0x9f) return head & 0x0f
  switch (head) {
    case 0xdc:
      return uint16(bytes, at + 1)
    case 0xdd:
      return uint32(bytes, at + 1)
    case 0xde:
      return 2 * uint16(bytes, at + 1)
    case 0xdf:
      return 2 * uint32(bytes, at + 1)
    case 0xd4:
      // Set, Error and RegExp: a mark, and then an array that belongs to it.
      return bytes[at + 1] === 0x73 || bytes[at + 1] === 0x65 || bytes[at + 1] === 0x78 ? 1 : 0
    default:
      return 0
  }
}

/** Bytes of the head and, for scalars, of what it holds. */
function sizeOf(bytes: Uint8Array, at: number, head: number): number {
  if (head < 0xa0 || head >= 0xe0) return 1
  if (head <= 0xbf) return 1 + (head & 0x1f)
  switch (head) {
    case 0xc4:
    case 0xd9:
      return 2 + (bytes[at + 1] ?? 0)
    case 0xc5:
    case 0xda:
      return 3 + uint16(bytes, at + 1)
    case 0xc6:
    case 0xdb:
      return 5 + uint32(bytes, at + 1)
    case 0xc7:
      return 3 + (bytes[at + 1] ?? 0)
    case 0xc8:
      return 4 + uint16(bytes, at + 1)
    case 0xc9:
      return 6 + uint32(bytes, at + 1)
    case 0xcc:
    case 0xd0:
      return 2
    case 0xcd:
    case 0xd1:
    case 0xdc:
    case 0xde:
    case 0xd4:
      return 3
    case 0xd5:
      return 4
    case 0xca:
    case 0xce:
    case 0xd2:
    case 0xdd:
    case 0xdf:
      return 5
    case 0xd6:
      return 6
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return 9
    case 0xd7:
      return 10
    case 0xd8:
      return 18
    default:
      return 1
  }
}
