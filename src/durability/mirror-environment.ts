/**
 * One LMDB file: the only door to the library.
 *
 * Owns: the file and its writes. A commit happens on LMDB's own thread; all rows of one `commit` are there after a crash, or none.
 * Does not: know what rows mean, retry.
 *
 * With `sync`, commits become visible first and are written to the disk after; what survives a kill of the process is what was committed,
 * what survives a power cut is what was synced (LMDB goes back to it by itself when the machine was started anew). Without `sync` a
 * power cut may leave a broken file: whoever opens it so must not trust it after one.
 */
import { closeSync, fsyncSync, openSync } from 'node:fs'
import { open, type RootDatabase } from 'lmdb'
import { messageOf, NearstateError } from '../base/errors.ts'
import { checkMirrorFile } from './check-file.ts'
import { afterPrefix, type RowChange } from './mirror-format.ts'

export interface Row {
  readonly key: Buffer
  readonly value: Buffer
}

export class MirrorEnvironment {
  readonly path: string
  readonly #db: RootDatabase<Buffer, Uint8Array>
  readonly #sync: boolean

  private constructor(path: string, db: RootDatabase<Buffer, Uint8Array>, sync: boolean) {
    this.path = path
    this.#db = db
    this.#sync = sync
  }

  static open(path: string, sync: boolean): MirrorEnvironment {
    const flaw = attempt(path, () => checkMirrorFile(path))
    if (flaw !== undefined) throw damaged(path, flaw)
    const options = { noSubdir: true, encoding: 'binary', keyEncoding: 'binary', noMemInit: true, eventTurnBatching: false } as const
    const db = attempt(path, () => open<Buffer, Uint8Array>(path, sync ? options : { ...options, noSync: true, overlappingSync: false }))
    return new MirrorEnvironment(path, db, sync)
  }

  /** Resolves with when these rows are on disk too. Rejects with RESOURCE_EXHAUSTED: nothing of them was written; it may be tried again. */
  async commit(rows: readonly RowChange[]): Promise<{ readonly synced: Promise<unknown> }> {
    // A batch of the library's own, per turn, would leave a promise that nobody can handle.
    const written = this.#db.batch(() => {
      for (const { key, value } of rows) void (value === undefined ? this.#db.remove(key) : this.#db.put(key, asBuffer(value)))
    })
    const synced = this.#sync ? Promise.resolve(this.#db.flushed) : Promise.resolve()
    synced.catch(() => {}) // said by `written`
    try {
      await written
    } catch (error) {
      throw await writeFailure(this.path, error)
    }
    return { synced }
  }

  get(key: Uint8Array): Buffer | undefined {
    return attempt(this.path, () => this.#db.getBinary(key))
  }

  /** Rows whose keys begin with `prefix`, after the key `after`. The bytes are valid until the next call. */
  scan(prefix: Uint8Array, limit: number, after?: Uint8Array): Row[] {
    return attempt(this.path, () => {
      const range = { start: after ?? prefix, end: afterPrefix(prefix), limit, exclusiveStart: after !== undefined }
      return Array.from(this.#db.getRange(range), ({ key, value }) => ({ key: asBuffer(key), value }))
    })
  }

  keys(prefix: Uint8Array, limit: number): Buffer[] {
    return attempt(this.path, () =>
      Array.from(this.#db.getKeys({ start: prefix, end: afterPrefix(prefix), limit }), key => Buffer.from(key)),
    )
  }

  /** After the last commit. Everything committed is on disk then. */
  async close(): Promise<void> {
    await this.#db.close()
    if (this.#sync) return
    const file = openSync(this.path, 'r+')
    try {
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
  }
}

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** INVALID_ARGUMENT for a file that cannot be read. */
export const damaged = (path: string, what: string, cause?: unknown): NearstateError =>
  new NearstateError(
    'INVALID_ARGUMENT',
    `Cannot read the durable mirror ${path}: ${what}. If the file is damaged, move it away: the node then starts without it`,
    { cause },
  )

function attempt<T>(path: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw damaged(path, messageOf(error), error)
  }
}

async function writeFailure(path: string, thrown: unknown): Promise<NearstateError> {
  // The library hands over the cause as a promise that rejects.
  const cause: unknown = await (thrown as { readonly commitError?: Promise<unknown> }).commitError?.catch((error: unknown) => error)
  const reason = messageOf(cause ?? thrown)
  return new NearstateError('RESOURCE_EXHAUSTED', `Cannot write the durable mirror ${path}: ${reason}; is the disk full?`, {
    cause: cause ?? thrown,
  })
}
