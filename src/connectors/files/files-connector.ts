/** Source kind `files`: CSV and JSON lines, plain or gzip, one split per file. The paths are those of the machine that runs the task. */
import { stat } from 'node:fs/promises'
import { invalidArgument } from '../../base/errors.ts'
import type { Split } from '../../streaming/assignment.ts'
import type { SourceConnector, SourceOptions, SplitListener, SplitPosition, SplitReader } from '../../streaming/source.ts'
import { CsvParser } from './csv-parser.ts'
import { type Format, formats, listFiles } from './file-list.ts'
import { FileReader } from './file-reader.ts'
import { JsonLinesParser } from './json-lines-parser.ts'
import type { ParserPlace } from './record-batch.ts'
import { StringCache } from './string-cache.ts'

export class FilesConnector implements SourceConnector {
  readonly kind = 'files'
  /** One for all files of the thread: their columns repeat. */
  readonly #strings = new StringCache()

  async listSplits(options: SourceOptions): Promise<readonly Split[]> {
    const { paths, format } = read(options)
    return Promise.all((await listFiles(paths, format)).map(async path => ({ id: path, descriptor: { path, bytes: await sizeOf(path) } })))
  }

  open(options: SourceOptions, split: Split, listener: SplitListener, position?: SplitPosition): SplitReader {
    const path = split.descriptor['path']
    if (typeof path !== 'string') throw invalidArgument(`Cannot open split "${split.id}": it names no path`)
    const parser = read(options).format === 'csv' ? new CsvParser(path, this.#strings) : new JsonLinesParser()
    return new FileReader(path, parser, listener, readPlace(position))
  }
}

/** By which the files are spread over the shards; 0: one that cannot be looked at, as reading it will say. */
const sizeOf = (path: string): Promise<number> =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  )

function read(options: SourceOptions): { readonly paths: readonly string[]; readonly format: Format } {
  const { path, format, ...others } = options
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) throw invalidArgument(`Cannot read files: unknown option "${unknown}"; there are path and format`)
  const paths = typeof path === 'string' ? [path] : path
  if (!Array.isArray(paths)) throw invalidArgument(`Cannot read files: path is ${typeof path}, a path, a glob or a list of them is wanted`)
  const known = formats.find(name => name === format)
  if (known === undefined) throw invalidArgument(`Cannot read files: format is "${String(format)}", one of ${formats.join(', ')} is wanted`)
  return { paths, format: known }
}

/** A position that a FileReader gave. */
function readPlace(position: SplitPosition | undefined): ParserPlace | undefined {
  if (typeof position !== 'object' || position === null || Array.isArray(position)) return undefined
  const { offset, line, skipping, header } = position as { readonly [field: string]: SplitPosition }
  if (typeof offset !== 'number' || typeof line !== 'number') return undefined
  return { offset, line, skipping: skipping === true, ...(Array.isArray(header) ? { header: header.map(String) } : {}) }
}
