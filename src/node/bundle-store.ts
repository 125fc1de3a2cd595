/**
 * Bundles of functions and jobs, kept in the grid itself: chunks in the system map `__bundles`, named by content hash.
 *
 * Owns: the layout of chunks and a bounded cache of bundles. Does not: know who needs a bundle (callers remove what is unused).
 *
 *   key "<hash>/<n>"; the chunks joined are: u32 length of the code | u32 length of the source map | code | source map
 *
 * 1. A bundle's hash is the SHA-256 of its code; what is read back is checked against it.
 * 2. Chunk 0 is written last: a bundle whose first chunk is there is whole.
 * 3. Who puts a bundle in use, and who removes one that no record names, do so in turn: what is just being put is not removed.
 */
import { createHash } from 'node:crypto'
import { NearstateError } from '../base/errors.ts'
import type { Bundle } from '../shard/protocol.ts'

const chunkBytes = 128 * 1024
const headerBytes = 8
/** Oldest first out; a bundle that fell out is read from the map again. */
const cacheMaxBytes = 32 * 1024 * 1024

/** A system map, wherever its keys live. */
export interface SystemMap {
  get(key: string): Promise<Uint8Array | undefined>
  set(key: string, value: Uint8Array): Promise<void>
  delete(key: string): Promise<void>
}

export const bundleOf = (code: Uint8Array, sourceMap: Uint8Array): Bundle => ({
  hash: createHash('sha256').update(code).digest('hex'),
  code,
  sourceMap,
})

export class BundleStore {
  readonly #map: SystemMap
  readonly #cache = new Map<string, Bundle>()
  #cachedBytes = 0
  #turn: Promise<unknown> = Promise.resolve()

  constructor(map: SystemMap) {
    this.#map = map
  }

  /** One after the other. */
  inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => undefined)
    return result
  }

  /** Stores a bundle; nothing is written when it is there already. */
  async put(bundle: Bundle): Promise<void> {
    this.#remember(bundle)
    const first = await this.#map.get(`${bundle.hash}/0`)
    if (first === undefined || !(await this.#isWhole(bundle.hash, first))) await this.#write(bundle)
  }

  /** Writes a bundle of the cache again where the grid has lost parts of it; others are left as they are. */
  async restore(hash: string): Promise<void> {
    const bundle = this.#cache.get(hash)
    if (bundle !== undefined) await this.put(bundle)
  }

  /** NOT_FOUND when it is not stored, or parts of it are lost and it is not in the cache either. */
  async load(hash: string): Promise<Bundle> {
    const cached = this.#cache.get(hash)
    if (cached !== undefined) return cached
    const first = await this.#map.get(`${hash}/0`)
    if (first === undefined) throw missing(hash, 0)
    const chunks = [first]
    for (let i = 1; i < chunkCountOf(first); i += 1) {
      const chunk = await this.#map.get(`${hash}/${i}`)
      if (chunk === undefined) throw missing(hash, i)
      chunks.push(chunk)
    }
    const bundle = unpack(Buffer.concat(chunks))
    if (bundle.hash !== hash)
      throw new NearstateError('INTERNAL', `Cannot use bundle ${hash}: what is stored under it has hash ${bundle.hash}`)
    this.#remember(bundle)
    return bundle
  }

  async removeUnless(hash: string, isUsed: () => Promise<boolean>): Promise<void> {
    await this.inTurn(async () => {
      if (!(await isUsed())) await this.#remove(hash)
    })
  }

  async #remove(hash: string): Promise<void> {
    this.#forget(hash)
    const first = await this.#map.get(`${hash}/0`)
    if (first === undefined) return
    for (let i = 0; i < chunkCountOf(first); i += 1) await this.#map.delete(`${hash}/${i}`)
  }

  async #isWhole(hash: string, first: Uint8Array): Promise<boolean> {
    for (let i = 1; i < chunkCountOf(first); i += 1) if ((await this.#map.get(`${hash}/${i}`)) === undefined) return false
    return true
  }

  async #write(bundle: Bundle): Promise<void> {
    const bytes = pack(bundle)
    for (let i = Math.ceil(bytes.length / chunkBytes) - 1; i >= 0; i -= 1) {
      await this.#map.set(`${bundle.hash}/${i}`, bytes.subarray(i * chunkBytes, (i + 1) * chunkBytes))
    }
  }

  #remember(bundle: Bundle): void {
    this.#forget(bundle.hash)
    this.#cache.set(bundle.hash, bundle)
    this.#cachedBytes += bytesOf(bundle)
    for (const [hash] of this.#cache) {
      if (this.#cachedBytes <= cacheMaxBytes) break
      if (hash !== bundle.hash) this.#forget(hash)
    }
  }

  #forget(hash: string): void {
    const bundle = this.#cache.get(hash)
    if (bundle === undefined) return
    this.#cache.delete(hash)
    this.#cachedBytes -= bytesOf(bundle)
  }
}

const bytesOf = (bundle: Bundle): number => bundle.code.length + bundle.sourceMap.length

const missing = (hash: string, chunk: number): NearstateError =>
  new NearstateError(
    'NOT_FOUND',
    `Cannot load bundle ${hash.slice(0, 12)}: part ${chunk} is not in the cluster (lost with a node?); deploy it again`,
  )

function pack(bundle: Bundle): Buffer {
  const header = Buffer.alloc(headerBytes)
  header.writeUInt32BE(bundle.code.length, 0)
  header.writeUInt32BE(bundle.sourceMap.length, 4)
  return Buffer.concat([header, bundle.code, bundle.sourceMap])
}

function unpack(bytes: Buffer): Bundle {
  const codeEnd = headerBytes + bytes.readUInt32BE(0)
  return bundleOf(
    new Uint8Array(bytes.subarray(headerBytes, codeEnd)),
    new Uint8Array(bytes.subarray(codeEnd, codeEnd + bytes.readUInt32BE(4))),
  )
}

function chunkCountOf(firstChunk: Uint8Array): number {
  const header = Buffer.from(firstChunk.buffer, firstChunk.byteOffset, firstChunk.byteLength)
  return Math.ceil((headerBytes + header.readUInt32BE(0) + header.readUInt32BE(4)) / chunkBytes)
}
