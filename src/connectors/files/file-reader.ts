/**
 * Reads one file as a split: bytes ahead in the background, records when they are taken.
 *
 * Owns: the open file, unpacking gzip (told by content), the bytes read ahead.
 * Does not: parse ahead. `take()` parses one chunk, so parsing is paid for by the slice that asks.
 *
 * A position is where a chunk's first record begins: the offset in the content, and what the parser knows there. A plain file is opened
 * at it; a packed one is unpacked from its beginning, and what lies before is dropped.
 *
 * At most `chunksAhead` chunks of `chunkBytes` wait (and what the unpacker holds); at the bound reading stops until one is taken.
 */
import { type FileHandle, open } from 'node:fs/promises'
import { pipeline, Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { messageOf, NearstateError } from '../../base/errors.ts'
import type { SourceBatch, SplitListener, SplitPosition, SplitReader } from '../../streaming/source.ts'
import { emptyBatch, type ParserPlace, type RecordParser } from './record-batch.ts'

const chunkBytes = 64 * 1024
const chunksAhead = 4

export class FileReader implements SplitReader {
  readonly #path: string
  readonly #parser: RecordParser
  readonly #listener: SplitListener
  readonly #chunks: Uint8Array[] = []
  #bytesRead = 0
  #state: { readonly kind: 'reading' } | { readonly kind: 'ended' } | { readonly kind: 'failed'; readonly error: NearstateError } = {
    kind: 'reading',
  }
  #finished = false
  #closed = false
  #stream: Readable | undefined
  /** Set while reading waits for room. */
  #goOn: (() => void) | undefined
  readonly #startsAt: number
  #parsedBytes: number

  constructor(path: string, parser: RecordParser, listener: SplitListener, from?: ParserPlace) {
    if (from !== undefined) parser.resume(from)
    this.#startsAt = from?.offset ?? 0
    this.#parsedBytes = this.#startsAt
    this.#path = path
    this.#parser = parser
    this.#listener = listener
    void this.#read()
  }

  take(): SourceBatch | 'end' | undefined {
    const batch = emptyBatch()
    const place = this.#parser.place(this.#parsedBytes)
    const chunk = this.#chunks.shift()
    if (chunk !== undefined) {
      this.#goOn?.()
      this.#parsedBytes += chunk.length
      this.#parser.parse(chunk, batch)
    } else if (this.#state.kind === 'failed') throw this.#state.error
    else if (this.#state.kind === 'reading') return undefined
    else if (this.#finished) return 'end'
    else {
      this.#finished = true
      this.#parser.finish(batch)
    }
    const position = place === undefined ? null : toPosition(place)
    return { origin: this.#path, ...batch, position }
  }

  close(): void {
    this.#closed = true
    this.#chunks.length = 0
    this.#stream?.destroy()
    this.#goOn?.()
  }

  /** Never rejects: what goes wrong is the state that `take` throws from. */
  async #read(): Promise<void> {
    let file: FileHandle | undefined
    try {
      file = await open(this.#path)
      this.#stream = await contentOf(file, this.#startsAt)
      if (this.#closed) this.#stream.destroy()
      for await (const chunk of this.#stream as AsyncIterable<Uint8Array>) {
        if (this.#closed) break
        this.#bytesRead += chunk.length
        this.#chunks.push(chunk)
        this.#listener.onReady()
        if (this.#chunks.length >= chunksAhead && !this.#closed) await this.#room()
      }
      this.#state = { kind: 'ended' }
    } catch (thrown) {
      const where = this.#bytesRead === 0 ? '' : ` after byte ${this.#bytesRead} of its content`
      const message = `Cannot read "${this.#path}"${where}: ${explain(thrown)}`
      this.#state = { kind: 'failed', error: new NearstateError('UNAVAILABLE', message, { cause: thrown }) }
    } finally {
      await file?.close().catch(() => undefined) // the stream has closed it, or there is nothing to save
    }
    if (!this.#closed) this.#listener.onReady()
  }

  async #room(): Promise<void> {
    await new Promise<void>(resolve => (this.#goOn = resolve))
    this.#goOn = undefined
  }
}

const toPosition = ({ offset, line, skipping, header }: ParserPlace): SplitPosition => ({
  offset,
  line,
  skipping,
  ...(header === undefined ? {} : { header }),
})

/** What the file holds, unpacked, from an offset on. */
async function contentOf(file: FileHandle, offset: number): Promise<Readable> {
  const magic = Buffer.alloc(2)
  const { bytesRead } = await file.read(magic, 0, 2, 0)
  const isPacked = bytesRead === 2 && magic[0] === 0x1f && magic[1] === 0x8b
  const bytes = file.createReadStream({ start: isPacked ? 0 : offset, highWaterMark: chunkBytes })
  if (!isPacked) return bytes
  // The error, if any, comes out of the unpacker's own iteration.
  const unpacked = pipeline(bytes, createGunzip({ chunkSize: chunkBytes }), () => undefined)
  return offset === 0 ? unpacked : Readable.from(dropFirst(unpacked, offset), { objectMode: true, highWaterMark: 1 })
}

async function* dropFirst(content: AsyncIterable<Uint8Array>, count: number): AsyncIterable<Uint8Array> {
  let left = count
  for await (const chunk of content) {
    if (chunk.length > left) yield left === 0 ? chunk : chunk.subarray(left)
    left = Math.max(0, left - chunk.length)
  }
}

function explain(thrown: unknown): string {
  const code = (thrown as NodeJS.ErrnoException).code ?? ''
  if (code === 'Z_BUF_ERROR') return 'the gzip data ends too early; the file is cut off'
  if (code.startsWith('Z_')) return `the gzip data is damaged (${messageOf(thrown)})`
  return messageOf(thrown)
}
