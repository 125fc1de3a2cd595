/**
 * Which files a `path` means: a file, a folder (the files of the format directly in it, by name), a glob, or a list of these.
 * A name that exists is taken as it is, so a file called `a[1].csv` can be named. Each file once, ordered by path in code units.
 */
import { promises } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { invalidArgument, messageOf, NearstateError } from '../../base/errors.ts'

export const formats = ['csv', 'jsonl'] as const
export type Format = (typeof formats)[number]

/** What a folder's files of the format are called; whether one is compressed is seen from its content. */
const namePatterns: Readonly<Record<Format, { readonly test: RegExp; readonly text: string }>> = {
  csv: { test: /^[^.].*\.csv(\.gz)?$/i, text: '*.csv or *.csv.gz' },
  jsonl: { test: /^[^.].*\.(jsonl|ndjson)(\.gz)?$/i, text: '*.jsonl, *.ndjson or these with .gz' },
}

/** Every file is a split of the job's record, which the coordinator keeps. */
const filesMax = 2000

/** Absolute paths; NOT_FOUND names the path, folder or glob that gives no file. */
export async function listFiles(paths: readonly string[], format: Format): Promise<readonly string[]> {
  if (paths.length === 0) throw invalidArgument('Cannot list files: the list of paths is empty')
  const found = new Set<string>()
  for (const path of paths) {
    for (const file of await filesOf(path, format)) found.add(file)
    if (found.size > filesMax)
      throw invalidArgument(
        `Cannot read "${path}": with it there are ${found.size} files, the limit of a source is ${filesMax}; join small files`,
      )
  }
  return [...found].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
}

async function filesOf(path: string, format: Format): Promise<readonly string[]> {
  const absolute = resolve(path)
  const kind = await kindOf(absolute)
  if (kind === 'file') return [absolute]
  if (kind === 'folder') {
    const names = (await readdir(absolute, { withFileTypes: true })).filter(
      entry => !entry.isDirectory() && namePatterns[format].test.test(entry.name),
    )
    if (names.length === 0) throw notFound(`Cannot read files: folder "${absolute}" holds no ${namePatterns[format].text}`)
    return names.map(entry => join(absolute, entry.name))
  }
  if (!/[*?[\]{}]/.test(path)) throw notFound(`Cannot read files: there is no "${absolute}"`)
  const matches: string[] = []
  // Not imported by its name: where a Node lacks it, what imports us shall be able to say that it is too old.
  for await (const match of promises.glob(path)) {
    const file = resolve(match)
    if ((await kindOf(file)) === 'file') matches.push(file)
  }
  if (matches.length === 0) throw notFound(`Cannot read files: "${path}" matches no file (looked in ${resolve('.')})`)
  return matches
}

async function kindOf(path: string): Promise<'file' | 'folder' | 'none'> {
  try {
    const found = await stat(path)
    return found.isDirectory() ? 'folder' : 'file'
  } catch (thrown) {
    const code = (thrown as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ENOTDIR') return 'none'
    throw new NearstateError('INVALID_ARGUMENT', `Cannot read files: "${path}" cannot be looked at: ${messageOf(thrown)}`, {
      cause: thrown,
    })
  }
}

const notFound = (message: string): NearstateError => new NearstateError('NOT_FOUND', message)
