import { cp, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bundleFile } from '../../src/bundling/bundle-file.ts'
import { createPositionMapper } from '../../src/bundling/position-mapper.ts'

let root = ''
const write = async (name: string, text: string): Promise<string> => {
  const path = join(root, 'one', name)
  await writeFile(path, text)
  return path
}

beforeAll(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'nearstate-bundle-')))
  await mkdir(join(root, 'one/lib'), { recursive: true })
  await write('lib/rule.ts', 'export const limit: number = 5\nexport const fail = (): never => {\n  throw new Error("no")\n}\n')
  await write(
    'functions.ts',
    `import { createHash } from 'crypto'\nimport { defineFunctions } from 'nearstate/functions'\nimport { fail, limit } from './lib/rule.ts'\nexport default defineFunctions({ fail, limit: () => createHash('md5').update(String(limit)).digest('hex') })\n`,
  )
})
afterAll(() => rm(root, { recursive: true, force: true }))

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

describe('bundleFile', () => {
  it('bundles a file and its imports, but not nearstate, and names the version by its content', async () => {
    const bundle = await bundleFile(join(root, 'one/functions.ts'))
    expect(bundle.file).toBe('functions.ts')
    expect(bundle.hash).toMatch(/^[0-9a-f]{64}$/)
    const code = textOf(bundle.code)
    expect(code).toContain('require("nearstate/functions")')
    expect(code).toContain('require("node:crypto")')
    expect(code).not.toContain('rule.ts')
  })

  it('gives the same bytes from another folder and another working directory', async () => {
    await cp(join(root, 'one'), join(root, 'elsewhere/two'), { recursive: true })
    const before = process.cwd()
    const first = await bundleFile(join(root, 'one/functions.ts'))
    process.chdir(join(root, 'elsewhere'))
    const second = await bundleFile('two/functions.ts').finally(() => process.chdir(before))
    expect(second.hash).toBe(first.hash)
    expect(textOf(second.sourceMap)).toBe(textOf(first.sourceMap))
    expect(textOf(first.code) + textOf(first.sourceMap)).not.toContain(root)
  })

  it('maps positions back to the sources', async () => {
    const { code, sourceMap } = await bundleFile(join(root, 'one/functions.ts'))
    const lines = textOf(code).split('\n')
    const line = lines.findIndex(text => text.includes('throw'))
    const column = (lines[line] ?? '').indexOf('throw')
    expect(createPositionMapper(sourceMap).map(line + 1, column + 1)).toEqual({ file: 'lib/rule.ts', line: 3, column: 3 })
    expect(createPositionMapper(new Uint8Array([1, 2])).map(1, 1)).toBeUndefined()
  })

  it.each([
    ['a syntax error', 'const x = = 1', /broken\.ts:1:11: Unexpected "="/],
    [
      'an import that is not there',
      `import { x } from './nowhere.ts'\nexport default x`,
      /broken\.ts:1:\d+: Could not resolve "\.\/nowhere\.ts"/,
    ],
    ['a module of Node that does I/O', `import fs from 'node:fs'\nexport default fs`, /broken\.ts:1:\d+: "node:fs" does I\/O/],
    [
      'a node inside a shard',
      `import { startNode } from 'nearstate/node'\nexport default startNode`,
      /broken\.ts:1:\d+: "nearstate\/node" does not run inside a shard/,
    ],
    ['await at the top level', 'export default await Promise.resolve(1)', /broken\.ts:1:\d+: Top-level await/],
    ['its own address', 'export default import.meta.url', /broken\.ts:1:\d+: "import\.meta" is not available/],
  ])('refuses %s, with its place', async (_, text, message) => {
    const path = await write('broken.ts', text)
    await expect(bundleFile(path)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(message) })
  })

  it('names a missing file, and a folder', async () => {
    const missing = join(root, 'one/missing.ts')
    await expect(bundleFile(missing)).rejects.toMatchObject({ code: 'NOT_FOUND', message: expect.stringContaining(missing) })
    await expect(bundleFile(root)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining('not a file') })
  })

  it('refuses a bundle above the limit, with both sizes', async () => {
    const path = await write('large.ts', `export default ${JSON.stringify('x'.repeat(5 * 1024 * 1024))}`)
    await expect(bundleFile(path)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(/5\.0 MB, limit is 4\.0 MB/),
    })
  })

  it('turns an import at run time into one that works inside a shard', async () => {
    const path = await write('lazy.ts', `export default () => import('./lib/rule.ts')`)
    expect(textOf((await bundleFile(path)).code)).not.toContain('import(')
  })
})
