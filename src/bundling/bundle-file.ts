/**
 * User TypeScript -> one bundle with its source map and content hash. The only importer of esbuild.
 *
 * Owns: what a bundle is. CommonJS, because a function compiled from text can be collected by the garbage collector and a module
 * of Node's ESM loader cannot; the hash of its code is its version. The same sources in the same layout give the same bytes,
 * whatever the working directory and the machine: no absolute path is in code or map.
 * Does not: evaluate it (shard/user-code).
 */
import { createHash } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import { build, type BuildFailure, type Message, type Plugin } from 'esbuild'
import { present, unreachable } from '../base/assert.ts'
import { formatByteSize } from '../base/byte-size.ts'
import { invalidArgument, messageOf, NearstateError } from '../base/errors.ts'
import { judgeImport } from './allowed-imports.ts'

/** Of code and of source map, each. */
export const bundleMaxBytes = 4 * 1024 * 1024

export interface BundledFile {
  /** Base name of the file; a deploy of functions replaces those that this name had. */
  readonly file: string
  readonly code: Uint8Array
  readonly sourceMap: Uint8Array
  /** SHA-256 of the code, hexadecimal: the version. */
  readonly hash: string
}

/**
 * Bundles a TypeScript or JavaScript file with everything it imports, but not `nearstate` itself.
 * A relative path starts at the working directory. NOT_FOUND for a missing file; INVALID_ARGUMENT for an error in the code (with file, line and column), an import that cannot run inside a
 * shard, or a bundle above 4 MiB.
 */
export async function bundleFile(path: string): Promise<BundledFile> {
  const entry = resolve(path)
  await checkIsFile(path, entry)
  const folder = dirname(entry)
  const result = await build({
    absWorkingDir: folder,
    entryPoints: [`./${basename(entry)}`],
    outfile: 'bundle.js',
    write: false,
    bundle: true,
    format: 'cjs',
    platform: 'node',
    target: 'node22.19',
    // `import()` of a bundled module becomes a require, which works inside a shard.
    supported: { 'dynamic-import': false },
    mainFields: ['module', 'main'],
    define: { 'process.env.NODE_ENV': '"production"' },
    charset: 'utf8',
    // Smaller to store, and no comments that name the folders of node_modules. Stacks are mapped to the source anyway.
    minifyWhitespace: true,
    legalComments: 'none',
    sourcemap: 'external',
    sourcesContent: false,
    logLevel: 'silent',
    logOverride: { 'empty-import-meta': 'error' },
    plugins: [importGuard],
  }).catch((thrown: unknown) => {
    throw invalidArgument(`Cannot bundle "${path}": ${describeFailure(thrown)}`)
  })
  const code = outputOf(result.outputFiles, '.js')
  const sourceMap = outputOf(result.outputFiles, '.js.map')
  checkSize(path, 'bundle', code)
  checkSize(path, 'source map', sourceMap)
  return { file: basename(entry), code, sourceMap, hash: createHash('sha256').update(code).digest('hex') }
}

async function checkIsFile(path: string, entry: string): Promise<void> {
  const found = await stat(entry).catch(() => undefined)
  if (found === undefined) throw new NearstateError('NOT_FOUND', `Cannot bundle "${path}": there is no such file (looked for ${entry})`)
  if (!found.isFile()) throw invalidArgument(`Cannot bundle "${path}": it is not a file`)
}

const importGuard: Plugin = {
  name: 'nearstate-imports',
  setup(build) {
    // Bare specifiers only; relative paths and packages are esbuild's to resolve.
    build.onResolve({ filter: /^[^./]/ }, ({ path, kind }) => {
      if (kind === 'entry-point') return undefined
      const verdict = judgeImport(path)
      switch (verdict.kind) {
        case 'given':
          return { path, external: true }
        case 'builtin':
          return { path: path.replace(/^(?!node:)/, 'node:'), external: true }
        case 'refused':
          return { errors: [{ text: verdict.reason }] }
        case 'bundled':
          return undefined
        default:
          return unreachable(verdict)
      }
    })
  },
}

function outputOf(files: readonly { readonly path: string; readonly contents: Uint8Array }[], suffix: string): Uint8Array {
  return present(
    files.find(file => file.path.endsWith(suffix)),
    `the ${suffix} of esbuild`,
  ).contents
}

function checkSize(path: string, what: string, bytes: Uint8Array): void {
  if (bytes.length > bundleMaxBytes) {
    throw invalidArgument(
      `Cannot bundle "${path}": its ${what} is ${formatByteSize(bytes.length)}, limit is ${formatByteSize(bundleMaxBytes)}. ` +
        'Import less: a large package, or data that belongs into a map',
    )
  }
}

const isBuildFailure = (thrown: unknown): thrown is BuildFailure =>
  thrown instanceof Error && 'errors' in thrown && Array.isArray(thrown.errors) && thrown.errors.length > 0

const shownMax = 5

function describeFailure(thrown: unknown): string {
  if (!isBuildFailure(thrown)) return messageOf(thrown)
  const shown = thrown.errors.slice(0, shownMax).map(describeMessage)
  const rest = thrown.errors.length - shown.length
  return rest === 0 ? shown.join('; ') : `${shown.join('; ')}; and ${rest} more`
}

const describeMessage = ({ text, location }: Message): string =>
  location === null ? text : `${location.file}:${location.line}:${location.column + 1}: ${text}`
