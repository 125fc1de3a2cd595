/**
 * The values of an embedded coordinator in a file, for a node that keeps its data on disk: without the table nobody could say what the
 * data is worth. Written anew as a whole, beside the old file, synced, and moved into its place before a change counts.
 *
 *   { format: 1, lastVersion, values: [[key, version, value in base64]...] }
 *
 * Sessions are not kept: their processes are over.
 */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { messageOf, NearstateError } from '../base/errors.ts'
import type { CoordinatorValue } from '../membership/coordinator-port.ts'

interface Content {
  readonly format: number
  readonly lastVersion: number
  readonly values: readonly (readonly [key: string, version: number, value: string])[]
}

export interface KeptValues {
  readonly lastVersion: number
  readonly values: readonly CoordinatorValue[]
}

const format = 1

export class CoordinatorFile {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
  }

  /** INVALID_ARGUMENT when it is there and cannot be read: nothing must be begun anew then. */
  load(): KeptValues {
    if (!existsSync(this.#path)) return { lastVersion: 0, values: [] }
    try {
      const content = JSON.parse(readFileSync(this.#path, 'utf8')) as Content
      if (content.format !== format) throw new Error(`its format is ${content.format}, this release reads ${format}`)
      const values = content.values.map(([key, version, value]) => ({ key, version, value: new Uint8Array(Buffer.from(value, 'base64')) }))
      return { lastVersion: content.lastVersion, values }
    } catch (cause) {
      throw new NearstateError('INVALID_ARGUMENT', `Cannot read the coordinator's file ${this.#path}: ${messageOf(cause)}`, { cause })
    }
  }

  /** UNAVAILABLE when it cannot be written; the old content is there then, or the new one. */
  save({ lastVersion, values }: KeptValues): void {
    const rows = values.map(({ key, version, value }) => [key, version, Buffer.from(value).toString('base64')] as const)
    const next = `${this.#path}.new`
    try {
      mkdirSync(dirname(this.#path), { recursive: true })
      writeFileSync(next, JSON.stringify({ format, lastVersion, values: rows } satisfies Content), { flush: true })
      renameSync(next, this.#path)
      syncDirectory(dirname(this.#path))
    } catch (cause) {
      throw new NearstateError('UNAVAILABLE', `Cannot write the coordinator's file ${this.#path}: ${messageOf(cause)}`, { cause })
    }
  }
}

function syncDirectory(path: string): void {
  const directory = openSync(path, 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}
