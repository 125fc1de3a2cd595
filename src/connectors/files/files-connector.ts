/**
 * Source kind `files`: CSV and JSON lines, plain or gzip, one split per file. The paths are those of the machine that runs the task.
 * `ratePerSecond` is shared by the files as their bytes are, so that they end together.
 */
import { stat } from 'node:fs/promises'
import { invalidArgument } from '../../base/errors.ts'
import type { Split } from '../../streaming/assignment.ts'
import type { SourceConnector, SourceOptions, SplitListener, SplitPosition, SplitReader } from '../../streaming/source.ts'
import { CsvParser } from './csv-parser.ts'
import { type Format, formats, listFiles } from './file-list.ts'
import { FileReader } from './file-reader.ts'
import { JsonLinesParser } from './json-lines-parser.ts'
import { PacedReader } from './paced-reader.ts'
import type { ParserPlace } from './record-batch.ts'
import { StringCache } from './string-cache.ts'

export class FilesConnector implements SourceConnector {
  readonly kind = 'files'
  /** One for all files of the thread: their columns repeat. */
  readonly #strings = new StringCache()

  async listSplits(options: SourceOptions): Promise<readonly Split[]> {
    const { paths, format } = read(options)
    const files = await Promise.all((await listFiles(paths, format)).map(async path => ({ path, bytes: await sizeOf(path) })))
    // An empty file has a share too: it may have grown when it is read.
    const allBytes = files.reduce((sum, { bytes }) => sum + Math.max(1, bytes), 0)
    return files.map(({ path, bytes }) => ({ id: path, descriptor: { path, bytes, share: Math.max(1, bytes) / allBytes } }))
  }

  open(options: SourceOptions, split: Split, listener: SplitListener, position?: SplitPosition): SplitReader {
    const { path, share } = split.descriptor
    if (typeof path !== 'string') throw invalidArgument(`Cannot open split "${split.id}": it names no path`)
    const { format, ratePerSecond } = read(options)
    const parser = format === 'csv' ? new CsvParser(path, this.#strings) : new JsonLinesParser()
    const reader = new FileReader(path, parser, listener, readPlace(position))
    if (ratePerSecond === undefined) return reader
    return new PacedReader(reader, ratePerSecond * (typeof share === 'number' ? share : 1), listener, position !== undefined)
  }
}

/** By which the files are spread over the shards; 0: one that cannot be looked at, as reading it will say. */
const sizeOf = (path: string): Promise<number> =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  )

interface FilesOptions {
  readonly paths: readonly string[]
  readonly format: Format
  readonly ratePerSecond: number | undefined
}

function read(options: SourceOptions): FilesOptions {
  const { path, format, ratePerSecond, ...others } = options
  const [unknown] = Object.keys(others)
  if (unknown !== undefined)
    throw invalidArgument(`Cannot read files: unknown option "${unknown}"; there are path, format and ratePerSecond`)
  const paths = typeof path === 'string' ? [path] : path
  if (!Array.isArray(paths)) throw invalidArgument(`Cannot read files: path is ${typeof path}, a path, a glob or a list of them is wanted`)
  const known = formats.find(name => name === format)
  if (known === undefined) throw invalidArgument(`Cannot read files: format is "${String(format)}", one of ${formats.join(', ')} is wanted`)
  if (ratePerSecond !== undefined && (typeof ratePerSecond !== 'number' || !(ratePerSecond > 0)))
    throw invalidArgument(`Cannot read files: ratePerSecond is ${String(ratePerSecond)}, a number above 0 is wanted`)
  return { paths, format: known, ratePerSecond }
}

/** A position that a FileReader gave. */
function readPlace(position: SplitPosition | undefined): ParserPlace | undefined {
  if (typeof position !== 'object' || position === null || Array.isArray(position)) return undefined
  const { offset, line, skipping, header } = position as { readonly [field: string]: SplitPosition }
  if (typeof offset !== 'number' || typeof line !== 'number') return undefined
  return { offset, line, skipping: skipping === true, ...(Array.isArray(header) ? { header: header.map(String) } : {}) }
}
