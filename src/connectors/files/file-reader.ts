/**
 * Reads one file as a split: bytes ahead in the background, records when they are taken.
 *
 * Owns: the open file, unpacking gzip (told by content), the bytes read ahead.
 * Does not: parse ahead. `take()` parses one chunk, so parsing is paid for by the slice that asks.
 *
 * At most `chunksAhead` chunks of `chunkBytes` wait (and what the unpacker holds); at the bound reading stops until one is taken.
 */
import { type FileHandle, open } from 'node:fs/promises'
import { pipeline, type Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { messageOf, NearstateError } from '../../base/errors.ts'
import type { SourceBatch, SplitListener, SplitReader } from '../../streaming/source.ts'
import { emptyBatch, type RecordParser } from './record-batch.ts'

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

  constructor(path: string, parser: RecordParser, listener: SplitListener) {
    this.#path = path
    this.#parser = parser
    this.#listener = listener
    void this.#read()
  }

  take(): SourceBatch | 'end' | undefined {
    const batch = emptyBatch()
    const chunk = this.#chunks.shift()
    if (chunk !== undefined) {
      this.#goOn?.()
      this.#parser.parse(chunk, batch)
    } else if (this.#state.kind === 'failed') throw this.#state.error
    else if (this.#state.kind === 'reading') return undefined
    else if (this.#finished) return 'end'
    else {
      this.#finished = true
      this.#parser.finish(batch)
    }
    return { origin: this.#path, ...batch }
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
      this.#stream = await contentOf(file)
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

async function contentOf(file: FileHandle): Promise<Readable> {
  const magic = Buffer.alloc(2)
  const { bytesRead } = await file.read(magic, 0, 2, 0)
  const bytes = file.createReadStream({ start: 0, highWaterMark: chunkBytes })
  if (bytesRead < 2 || magic[0] !== 0x1f || magic[1] !== 0x8b) return bytes
  // The error, if any, comes out of the unpacker's own iteration.
  return pipeline(bytes, createGunzip({ chunkSize: chunkBytes }), () => undefined)
}

function explain(thrown: unknown): string {
  const code = (thrown as NodeJS.ErrnoException).code ?? ''
  if (code === 'Z_BUF_ERROR') return 'the gzip data ends too early; the file is cut off'
  if (code.startsWith('Z_')) return `the gzip data is damaged (${messageOf(thrown)})`
  return messageOf(thrown)
}
