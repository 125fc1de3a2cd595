/** The documentation is true: its code compiles and runs, its links lead somewhere, its generated pages are current. */
import { execFile } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { promisify } from 'node:util'
import { type RunningCluster, startCluster } from 'nearstate/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { codeOfPage, type PageCode } from './code-blocks.ts'

const run = promisify(execFile)
const root = resolve(import.meta.dirname, '../..')
const folder = join(root, '.nearstate', `docs-${process.pid}`)
const documentedEndpoint = 'localhost:7400'

const pages = [
  'README.md',
  'CHANGELOG.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.md'))
    .map(name => `docs/${name}`)
    .sort(),
]
const textOf = new Map(pages.map(page => [page, readFileSync(join(root, page), 'utf8')]))
const codeOf = new Map<string, PageCode>([...textOf].map(([page, text]) => [page, codeOfPage(text)]))
const folderOf = (page: string): string => join(folder, page.replaceAll(/[/.]/g, '-'))
const runnable = pages.filter(page => codeOf.get(page)?.program !== undefined)

/** Without what the test runner sets for its own processes. */
const environment = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(NEARSTATE_|NODE_OPTIONS|VITEST)/.test(name)))

beforeAll(() => {
  for (const [page, { files }] of codeOf) {
    if (files.size === 0) continue
    mkdirSync(folderOf(page), { recursive: true })
    for (const [file, text] of files) writeFileSync(join(folderOf(page), file), `${text}\nexport {}\n`)
  }
  const options = {
    extends: '../../tsconfig.json',
    compilerOptions: { noUnusedLocals: false, noUnusedParameters: false },
    include: ['**/*.ts'],
  }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(options))
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

it('compiles, every block of it', async () => {
  const compiler = join(root, 'node_modules/@typescript/native/bin/tsc')
  const complaints = await run(process.execPath, [compiler, '-p', folder], { cwd: folder }).then(
    () => '',
    (failed: { stdout?: string }) => failed.stdout ?? String(failed),
  )
  expect(complaints).toBe('')
}, 60_000)

describe('programs', () => {
  let cluster: RunningCluster

  beforeAll(async () => {
    cluster = await startCluster({ nodes: 1, options: { partitions: 24, memoryMax: '64mb', logLevel: 'error' } })
  })
  afterAll(() => cluster.stop())

  it.for(runnable)('of %s run', { timeout: 60_000 }, async page => {
    const { program = '', prints } = codeOf.get(page) ?? {}
    const file = join(folderOf(page), 'program.ts')
    writeFileSync(file, program.replaceAll(documentedEndpoint, cluster.endpoints[0] ?? ''))
    // Relative paths in a page are those of its own folder.
    const { stdout } = await run(process.execPath, ['--conditions=nearstate-source', file], { cwd: folderOf(page), env: environment() })
    if (prints !== undefined) expect(stdout).toBe(prints)
  })

  it("of the README's tour run when pasted", async () => {
    const tour = /^## Five minutes$(.*?)^## /ms.exec(textOf.get('README.md') ?? '')?.[1] ?? ''
    const commands = [...tour.matchAll(/^```sh\n(.*?)^```/gms)].map(([, block]) => block ?? '').filter(block => !/ -- dev$/m.test(block))
    const env = { ...environment(), NODE: process.execPath, NEARSTATE_ENDPOINT: cluster.endpoints[0], FOLDER: folder }
    const { stdout } = await run('bash', ['-c', shellPrelude + commands.join('')], { cwd: root, env })
    expect(stdout).toContain('points after invoke: 15')
    expect(stdout).toContain('{"key":"17850","spend":19.75,"orders":2}')
    expect(stdout).toContain('orders.csv:6:orders')
    // The README's other job runs beside it, and again.
    const main = (...args: string[]) => run(process.execPath, ['src/cli/main.ts', ...args], { cwd: root, env })
    const job = join(folderOf('README.md'), 'net-spend.ts')
    for (let time = 0; time < 2; time += 1) await main('job', 'submit', job, '--watch')
    expect((await main('map', 'scan', 'net-spend')).stdout).toContain('{"key":"17850","spend":19.75,"orders":2}')
    expect((await main('map', 'scan', 'net-spend.dead-letters')).stdout.trim().split('\n')).toHaveLength(1)
  }, 120_000)
})

/** `npm run -s <script> --` by the Node that runs this test, and clients that find this test's cluster. */
const shellPrelude = `
set -e
npm() {
  local script="$3"
  shift 4
  case "$script" in
    nearstate) "$NODE" src/cli/main.ts "$@" ;;
    example) sed "s/localhost:7400/$NEARSTATE_ENDPOINT/" "$1" > "$FOLDER/example.ts" && "$NODE" --conditions=nearstate-source "$FOLDER/example.ts" ;;
    *) echo "the tour runs npm script $script, which this test does not know" >&2; return 1 ;;
  esac
}
`

describe('links', () => {
  it.for(pages)('of %s lead somewhere', page => {
    const broken = linksOf(textOf.get(page) ?? '').filter(link => !leadsSomewhere(page, link))
    expect(broken).toEqual([])
  })

  it('reach every page from the README', () => {
    const reached = new Set<string>()
    const visit = (page: string): void => {
      if (reached.has(page) || !textOf.has(page)) return
      reached.add(page)
      for (const link of linksOf(textOf.get(page) ?? '')) visit(targetOf(page, link).path)
    }
    visit('README.md')
    expect(pages.filter(page => !reached.has(page))).toEqual([])
  })
})

describe('reference pages', () => {
  it('that are generated are current', async () => {
    await run(process.execPath, [join(root, 'scripts/generate-docs.ts'), '--check'], { cwd: root, env: environment() })
  })

  it('name exactly the metrics that a node has', async () => {
    const metrics = createMetrics(() =>
      Promise.resolve({
        ready: true,
        leader: true,
        clusterVersion: 1,
        members: {},
        partitions: { total: 0, primary: 0, backup: 0, lost: 0, unavailable: 0, underReplicated: 0, migrating: 0 },
        promiseMisses: 0,
        history: { failovers: 0, handOvers: 0, migrations: 0 },
        shards: [],
        userCodeStops: 0,
        jobs: [],
      }),
    )
    const scraped = await metrics.scrape()
    metrics.close()
    const real = new Set([...scraped.matchAll(/^# TYPE (nearstate_\w+)/gm)].map(([, name]) => name))
    const documented = new Set(
      [...(textOf.get('docs/reference/metrics.md') ?? '').matchAll(/^\| `(nearstate_\w+)/gm)].map(([, name]) => name),
    )
    expect([...documented].sort()).toEqual([...real].sort())
  })
})

/** Targets of Markdown links to places of this repository, outside of code blocks. */
function linksOf(markdown: string): readonly string[] {
  const prose = markdown.replaceAll(/^```.*?^```/gms, '').replaceAll(/`[^`\n]*`/g, '')
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(match => match[1] ?? '').filter(link => !/^[a-z]+:/.test(link))
}

function targetOf(page: string, link: string): { readonly path: string; readonly anchor: string | undefined } {
  const [path = '', anchor] = link.split('#')
  return { path: path === '' ? page : relative(root, resolve(root, dirname(page), path)), anchor }
}

function leadsSomewhere(page: string, link: string): boolean {
  const { path, anchor } = targetOf(page, link)
  if (statSync(join(root, path), { throwIfNoEntry: false }) === undefined) return false
  return anchor === undefined || anchorsOf(textOf.get(path) ?? '').includes(anchor)
}

const anchorsOf = (markdown: string): readonly string[] =>
  [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(/\s/g, '-'),
  )
