/** `npm run bench -- <name> [--json] [its own arguments]`: runs one benchmark, prints tables, and with --json one object as the last line. A benchmark never asserts. */
import { execFileSync } from 'node:child_process'
import { cpus } from 'node:os'
import { type Benchmark, formatReport } from './report.ts'

/** In `bench/<name>.ts`, each exporting `benchmark`. */
const names = ['store', 'ops', 'retail', 'failover', 'replication', 'scaling', 'soak', 'nexmark', 'recovery', 'stream-soak'] as const

async function load(name: string): Promise<Benchmark> {
  const module = (await import(new URL(`${name}.ts`, import.meta.url).href)) as { readonly benchmark?: Benchmark }
  if (module.benchmark === undefined) throw new Error(`bench/${name}.ts exports no benchmark`)
  return module.benchmark
}

function commitOf(directory: string): string | null {
  try {
    const git = (...args: string[]): string =>
      execFileSync('git', args, { cwd: directory, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
    return git('rev-parse', '--short=12', 'HEAD') + (git('status', '--porcelain') === '' ? '' : '+changes')
  } catch {
    return null // a tarball has no history
  }
}

const [name, ...rest] = process.argv.slice(2)
const json = rest.includes('--json')
const args = rest.filter(arg => arg !== '--json')

if (name === undefined || !names.some(known => known === name)) {
  console.error(name === undefined ? 'Which benchmark?' : `There is no benchmark "${name}".`)
  for (const known of names)
    console.error(`  npm run bench -- ${known.padEnd(11)} ${(await load(known).catch(() => undefined))?.description ?? ''}`)
  process.exit(2)
}

const benchmark = await load(name)
console.log(`${benchmark.name}: ${benchmark.description}`)
const started = performance.now()
const report = await benchmark.run({ json, args })
console.log(`\n${formatReport(report)}\n\n${((performance.now() - started) / 1000).toFixed(0)} s`)
if (json) {
  const { model } = cpus()[0] ?? { model: 'unknown' }
  console.log(
    JSON.stringify({
      benchmark: benchmark.name,
      commit: commitOf(import.meta.dirname),
      node: process.version,
      cpus: cpus().length,
      cpu: model,
      rows: report.rows,
      figures: report.figures,
    }),
  )
}
process.exit(0)
