/**
 * A look at a file before LMDB maps it into memory: the library ends the process on what is no LMDB file, and the machine ends it on
 * a mapped file that is shorter than it says.
 *
 *   page 0: header (24 bytes) | magic u32 | version u32 | address u64 | map size u64 | page size u32 ... | last page u64 at 144 | transaction u64
 *   page 1, and half of page 0: the same, of other transactions
 */
import { closeSync, existsSync, fstatSync, ftruncateSync, openSync, readSync } from 'node:fs'

const magic = 0xbeefc0de
const headerBytes = 24
const metaBytes = 160

/** undefined: it may be opened (or is not there). Otherwise why not. A file cut short is filled up: LMDB then says which page is bad. */
export function checkMirrorFile(path: string): string | undefined {
  if (!existsSync(path)) return undefined
  const file = openSync(path, 'r+')
  try {
    const { size } = fstatSync(file)
    if (size === 0) return undefined
    const first = readAt(file, 0)
    if (first === undefined || first.readUInt32LE(headerBytes) !== magic) return 'it is no LMDB file'
    const pageBytes = first.readUInt32LE(48)
    if (pageBytes < 512 || pageBytes > 65_536) return `its pages have ${pageBytes} bytes`
    const metas = [first, readAt(file, pageBytes / 2), readAt(file, pageBytes)].filter(
      meta => meta !== undefined && meta.readUInt32LE(headerBytes) === magic,
    )
    const lastPage = Math.max(...metas.map(meta => Number(meta?.readBigUInt64LE(144) ?? 0n)))
    const wanted = (lastPage + 1) * pageBytes
    if (!Number.isSafeInteger(wanted) || wanted > size * 1000 + 2 ** 30)
      return `it says that it has ${lastPage} pages, and has ${size} bytes`
    if (size < wanted) ftruncateSync(file, wanted)
    return undefined
  } finally {
    closeSync(file)
  }
}

function readAt(file: number, at: number): Buffer | undefined {
  const bytes = Buffer.alloc(metaBytes)
  return readSync(file, bytes, 0, metaBytes, at) === metaBytes ? bytes : undefined
}
